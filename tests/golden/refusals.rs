//! Every row of the table of connect errors: words, codes and close.

use std::fmt::Write as _;
use std::time::Duration;

use expect_test::expect;
use openclaw_gateway::protocol::device::DeviceFailure;
use openclaw_gateway::protocol::frame::write_refusal;
use openclaw_gateway::protocol::refusal::{DETAIL_CODES, PairingReason, Refusal};
use openclaw_gateway::protocol::safe_text::CONNECT_DETAIL_CODES;

use crate::samples::written;

/// A row of the contract: what the message contains, the detail code, the close code.
pub(crate) type Row = (Refusal, &'static str, &'static str, u16);

pub(crate) fn table() -> Vec<Row> {
    [device_rows(), credential_rows(), handshake_rows()].concat()
}

#[rustfmt::skip]
fn device_rows() -> Vec<Row> {
    let device = Refusal::device;
    let pairing = Refusal::pairing_required("pair-1", "d30fef5b", PairingReason::NotPaired);
    let invalid = "device signature invalid (device_auth_signature_invalid)";
    vec![
        (Refusal::device_identity_required(), "device identity required", "DEVICE_IDENTITY_REQUIRED", 4001),
        (device(DeviceFailure::SignatureInvalid), invalid, "DEVICE_AUTH_SIGNATURE_INVALID", 4001),
        (device(DeviceFailure::SignatureExpired), "device signature expired", "DEVICE_AUTH_SIGNATURE_EXPIRED", 1008),
        (device(DeviceFailure::NonceRequired), "device nonce required", "DEVICE_AUTH_NONCE_REQUIRED", 1008),
        (device(DeviceFailure::NonceMismatch), "device nonce mismatch", "DEVICE_AUTH_NONCE_MISMATCH", 1008),
        (device(DeviceFailure::IdMismatch), "device identity mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH", 1008),
        (device(DeviceFailure::PublicKeyInvalid), "device public key invalid", "DEVICE_AUTH_PUBLIC_KEY_INVALID", 1008),
        (Refusal::device_revoked(), "device revoked", "DEVICE_REVOKED", 4001),
        (pairing, "pairing required: device is not approved yet", "PAIRING_REQUIRED", 1008),
        (Refusal::device_limit_reached(10), "device limit reached", "DEVICE_LIMIT_REACHED", 1008),
    ]
}

#[rustfmt::skip]
fn credential_rows() -> Vec<Row> {
    let locked = Refusal::rate_limited(Duration::from_millis(9_001));
    vec![
        (locked, "auth rate limit: too many failed authentication attempts (retry in 10 s)", "AUTH_RATE_LIMITED", 4001),
        (Refusal::device_token_mismatch(), "device token mismatch", "AUTH_DEVICE_TOKEN_MISMATCH", 1008),
        (Refusal::token_missing(), "unauthorized: gateway token missing", "AUTH_TOKEN_MISSING", 1008),
        (Refusal::token_mismatch(), "unauthorized: gateway token mismatch", "AUTH_TOKEN_MISMATCH", 1008),
        (Refusal::password_missing(), "unauthorized: gateway password missing", "AUTH_PASSWORD_MISSING", 1008),
        (Refusal::password_mismatch(), "unauthorized: gateway password mismatch", "AUTH_PASSWORD_MISMATCH", 1008),
    ]
}

#[rustfmt::skip]
fn handshake_rows() -> Vec<Row> {
    let origin = Refusal::origin_not_allowed("https://evil.example");
    let first = "invalid handshake: first request must be connect";
    let full = Refusal::over_capacity(Duration::from_secs(10));
    vec![
        (origin, "origin not allowed", "CONTROL_UI_ORIGIN_NOT_ALLOWED", 4001),
        (Refusal::invalid_role(), "invalid role", "INVALID_ROLE", 1008),
        (Refusal::invalid_handshake(), first, "INVALID_HANDSHAKE", 1008),
        (Refusal::invalid_connect_params("client is required"), "invalid connect params: client is required", "INVALID_HANDSHAKE", 1008),
        (Refusal::protocol_mismatch(1, 2), "protocol mismatch", "PROTOCOL_MISMATCH", 1002),
        (Refusal::protocol_mismatch(5, 6), "protocol mismatch", "PROTOCOL_MISMATCH", 1002),
        (full, "gateway at capacity; retry in 10 s", "UNAVAILABLE_CAPACITY", 1013),
        (Refusal::starting(), "gateway starting", "UNAVAILABLE_STARTING", 1013),
    ]
}

#[test]
fn every_row_says_what_clients_look_for_and_closes_as_it_must() {
    for (refusal, words, detail, close) in table() {
        assert!(refusal.error.message.contains(words), "{refusal:?}");
        assert_eq!(refusal.error.details.as_ref().unwrap()["code"], detail);
        assert_eq!(refusal.close.code(), Some(close), "{refusal:?}");
        assert!(DETAIL_CODES.contains(&detail), "{detail} is counted under \"other\"");
        assert!(CONNECT_DETAIL_CODES.contains(&detail), "{detail} may slip out after admission");
        let shown = refusal.close.text();
        // The close frame alone must be enough for a client that looks only there.
        assert!(shown.starts_with(words), "{shown}");
    }
}

#[test]
fn every_row_is_word_for_word_what_it_was() {
    let mut text = String::new();
    for (refusal, ..) in table() {
        let close = &refusal.close;
        let frame = written(|out| write_refusal(out, "1", &refusal.error));
        let error = frame.strip_prefix(r#"{"type":"res","id":"1","ok":false,"error":"#).unwrap();
        writeln!(text, "{error}\n    {} {}", close.code().unwrap(), close.text()).unwrap();
    }
    expect![[r#"
        {"code":"NOT_PAIRED","message":"device identity required","details":{"code":"DEVICE_IDENTITY_REQUIRED"}}}
            4001 device identity required
        {"code":"INVALID_REQUEST","message":"device signature invalid (device_auth_signature_invalid)","details":{"code":"DEVICE_AUTH_SIGNATURE_INVALID"}}}
            4001 device signature invalid (device_auth_signature_invalid)
        {"code":"INVALID_REQUEST","message":"device signature expired","details":{"code":"DEVICE_AUTH_SIGNATURE_EXPIRED"}}}
            1008 device signature expired
        {"code":"INVALID_REQUEST","message":"device nonce required","details":{"code":"DEVICE_AUTH_NONCE_REQUIRED"}}}
            1008 device nonce required
        {"code":"INVALID_REQUEST","message":"device nonce mismatch","details":{"code":"DEVICE_AUTH_NONCE_MISMATCH"}}}
            1008 device nonce mismatch
        {"code":"INVALID_REQUEST","message":"device identity mismatch","details":{"code":"DEVICE_AUTH_DEVICE_ID_MISMATCH"}}}
            1008 device identity mismatch
        {"code":"INVALID_REQUEST","message":"device public key invalid","details":{"code":"DEVICE_AUTH_PUBLIC_KEY_INVALID"}}}
            1008 device public key invalid
        {"code":"UNAUTHORIZED","message":"device revoked","details":{"code":"DEVICE_REVOKED"}}}
            4001 device revoked
        {"code":"NOT_PAIRED","message":"pairing required: device is not approved yet","details":{"code":"PAIRING_REQUIRED","deviceId":"d30fef5b","reason":"not-paired","requestId":"pair-1"}}}
            1008 pairing required: device is not approved yet (requestId: pair-1)
        {"code":"RESOURCE_EXHAUSTED","message":"device limit reached: 10 devices are approved for this user (free a place with: openclaw-gateway devices revoke DEVICE)","details":{"code":"DEVICE_LIMIT_REACHED","limit":10}}}
            1008 device limit reached
        {"code":"UNAUTHORIZED","message":"auth rate limit: too many failed authentication attempts (retry in 10 s)","details":{"code":"AUTH_RATE_LIMITED"},"retryable":true,"retryAfterMs":9001}}
            4001 auth rate limit: too many failed authentication attempts (retry in 10 s)
        {"code":"UNAUTHORIZED","message":"device token mismatch","details":{"code":"AUTH_DEVICE_TOKEN_MISMATCH"}}}
            1008 device token mismatch
        {"code":"UNAUTHORIZED","message":"unauthorized: gateway token missing","details":{"code":"AUTH_TOKEN_MISSING"}}}
            1008 unauthorized: gateway token missing
        {"code":"UNAUTHORIZED","message":"unauthorized: gateway token mismatch","details":{"code":"AUTH_TOKEN_MISMATCH"}}}
            1008 unauthorized: gateway token mismatch
        {"code":"UNAUTHORIZED","message":"unauthorized: gateway password missing","details":{"code":"AUTH_PASSWORD_MISSING"}}}
            1008 unauthorized: gateway password missing
        {"code":"UNAUTHORIZED","message":"unauthorized: gateway password mismatch","details":{"code":"AUTH_PASSWORD_MISMATCH"}}}
            1008 unauthorized: gateway password mismatch
        {"code":"INVALID_REQUEST","message":"origin not allowed: https://evil.example (add it to gateway.controlUi.allowedOrigins and reload the gateway)","details":{"code":"CONTROL_UI_ORIGIN_NOT_ALLOWED","configKey":"gateway.controlUi.allowedOrigins","origin":"https://evil.example"}}}
            4001 origin not allowed
        {"code":"INVALID_REQUEST","message":"invalid role: must be operator, agent or node","details":{"code":"INVALID_ROLE"}}}
            1008 invalid role: must be operator, agent or node
        {"code":"INVALID_REQUEST","message":"invalid handshake: first request must be connect","details":{"code":"INVALID_HANDSHAKE"}}}
            1008 invalid handshake: first request must be connect
        {"code":"INVALID_REQUEST","message":"invalid connect params: client is required","details":{"code":"INVALID_HANDSHAKE"}}}
            1008 invalid connect params: client is required
        {"code":"INVALID_REQUEST","message":"protocol mismatch","details":{"clientMaxProtocol":2,"clientMinProtocol":1,"code":"PROTOCOL_MISMATCH","expectedProtocol":3}}}
            1002 protocol mismatch
        {"code":"INVALID_REQUEST","message":"protocol mismatch","details":{"clientMaxProtocol":6,"clientMinProtocol":5,"code":"PROTOCOL_MISMATCH","expectedProtocol":4}}}
            1002 protocol mismatch
        {"code":"UNAVAILABLE","message":"gateway at capacity; retry in 10 s","details":{"code":"UNAVAILABLE_CAPACITY"},"retryable":true,"retryAfterMs":10000}}
            1013 gateway at capacity; retry in 10 s
        {"code":"UNAVAILABLE","message":"gateway starting; retry shortly","details":{"code":"UNAVAILABLE_STARTING"},"retryable":true,"retryAfterMs":500}}
            1013 gateway starting
    "#]].assert_eq(&text);
}

#[test]
fn texts_of_any_length_fit_a_close_frame_and_a_message() {
    let long = "é".repeat(10_000);
    for refusal in [
        Refusal::origin_not_allowed(&long),
        Refusal::invalid_connect_params(&long),
        Refusal::pairing_required(&long, &long, PairingReason::KeyChanged),
    ] {
        assert!(refusal.close.text().len() <= 123);
    }
    assert!(Refusal::origin_not_allowed(&long).error.message.len() < 1_000);
}
