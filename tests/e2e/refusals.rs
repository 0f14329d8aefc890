//! Every row of the table of connect errors: words, detail code and close code, plain and TLS.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::kit::{Client, Connect, Device, Gateway, PATIENCE, Refusal, SECRET, eventually};

/// Each case plays on a gateway of its own, once plain and once over TLS.
#[track_caller]
fn check(
    config: &str,
    play: impl Fn(&Gateway) -> Refusal,
    message: &str,
    details_code: &str,
    close_code: u16,
) {
    for tls in [false, true] {
        let gateway = Gateway::setup().config(config).tls(tls).start();
        let refusal = play(&gateway);
        assert!(refusal.message().contains(message), "{:?} in {refusal:?}", message);
        assert_eq!(refusal.details_code(), details_code, "{refusal:?}");
        assert_eq!(refusal.close_code, close_code, "{refusal:?}");
        assert!(!refusal.close_reason.is_empty(), "a close says why: {refusal:?}");
        assert!(!gateway.diagnostics().contains(SECRET), "a secret is never logged");
    }
}

#[track_caller]
fn refused(gateway: &Gateway, connect: &Connect<'_>) -> Refusal {
    gateway.dial().open().refused(connect)
}

/// Registers a first operator, after which no other is let in just for being local.
#[track_caller]
fn register_first(gateway: &Gateway) -> Device {
    let device = Device::new();
    gateway.dial().open().admitted(&Connect::operator(&device));
    device
}

#[test]
fn foreign_origin_is_refused_naming_itself_and_the_key_to_change() {
    let play = |gateway: &Gateway| {
        let device = Device::new();
        let mut client = gateway.dial().origin("https://evil.example").open();
        let refusal = client.refused(&Connect::mission_control(&device).secret(SECRET));
        assert_eq!(refusal.error["details"]["origin"], "https://evil.example");
        assert_eq!(refusal.error["details"]["configKey"], "gateway.controlUi.allowedOrigins");
        refusal
    };
    check("", play, "origin not allowed", "CONTROL_UI_ORIGIN_NOT_ALLOWED", 4001);
}

#[test]
fn every_origin_is_refused_when_the_control_ui_is_off() {
    let play = |gateway: &Gateway| {
        let device = Device::new();
        let mut client = gateway.dial().origin("http://localhost:3000").open();
        client.refused(&Connect::mission_control(&device))
    };
    let config = "[gateway.controlUi]\nenabled = false";
    check(config, play, "origin not allowed", "CONTROL_UI_ORIGIN_NOT_ALLOWED", 4001);
}

#[test]
fn browser_with_the_shared_secret_alone_needs_a_device() {
    let play = |gateway: &Gateway| {
        let mut client = gateway.dial().origin("http://localhost:3000").open();
        client.refused(&Connect::backend())
    };
    check("", play, "device identity required", "DEVICE_IDENTITY_REQUIRED", 4001);
}

#[test]
fn spoilt_signature_is_refused() {
    let play = |gateway: &Gateway| {
        let device = Device::new();
        let connect = Connect::operator(&device).then_set("/client/mode", json!("cli"));
        refused(gateway, &connect)
    };
    let message = "device signature invalid (device_auth_signature_invalid)";
    check("", play, message, "DEVICE_AUTH_SIGNATURE_INVALID", 4001);
}

#[test]
fn eleventh_wrong_secret_within_a_minute_is_locked_out_with_the_time_to_wait() {
    let play = |gateway: &Gateway| {
        for _ in 0..10 {
            let refusal = refused(gateway, &Connect::backend().secret("wrong"));
            assert_eq!(refusal.details_code(), "AUTH_TOKEN_MISMATCH", "{refusal:?}");
        }
        let refusal = refused(gateway, &Connect::backend().secret("wrong"));
        assert_eq!(refusal.error["retryable"], true, "{refusal:?}");
        let wait = refusal.error["retryAfterMs"].as_u64().unwrap();
        assert!((1..=60_000).contains(&wait), "{refusal:?}");
        refusal
    };
    check("", play, "auth rate limit: too many failed", "AUTH_RATE_LIMITED", 4001);
}

#[test]
fn missing_secrets_do_not_count_towards_the_lock_out() {
    let gateway = Gateway::start();
    register_first(&gateway);
    for _ in 0..12 {
        let connect = Connect::backend().with("/auth", Value::Null);
        refused(&gateway, &connect);
    }
    gateway.dial().open().admitted(&Connect::backend());
}

#[test]
fn approved_device_passes_a_lock_out() {
    let gateway = Gateway::start();
    let device = register_first(&gateway);
    for _ in 0..11 {
        refused(&gateway, &Connect::backend().secret("wrong"));
    }
    gateway.dial().open().admitted(&Connect::operator(&device));
}

#[test]
fn signature_of_another_time_is_refused() {
    for skew in [-121_500, 121_500] {
        let play = |gateway: &Gateway| {
            let device = Device::new();
            refused(gateway, &Connect::operator(&device).clock_off_by_ms(skew))
        };
        check("", play, "device signature expired", "DEVICE_AUTH_SIGNATURE_EXPIRED", 1008);
    }
}

#[test]
fn signature_within_two_minutes_is_accepted() {
    let gateway = Gateway::start();
    let device = Device::new();
    for skew in [-110_000, 110_000] {
        gateway.dial().open().admitted(&Connect::operator(&device).clock_off_by_ms(skew));
    }
}

#[test]
fn absent_nonce_is_refused() {
    for nonce in [Value::Null, json!("")] {
        let play = |gateway: &Gateway| {
            let device = Device::new();
            let connect = Connect::operator(&device).then_set("/device/nonce", nonce.clone());
            refused(gateway, &connect)
        };
        check("", play, "device nonce required", "DEVICE_AUTH_NONCE_REQUIRED", 1008);
    }
}

#[test]
fn nonce_of_another_connection_is_refused() {
    let play = |gateway: &Gateway| {
        let device = Device::new();
        let mut client = gateway.dial().open();
        let other = gateway.dial().open().challenge();
        let params = Connect::operator(&device).params(other["nonce"].as_str().unwrap());
        client.challenge();
        let response = client.request("connect", params);
        client.refusal(&response)
    };
    check("", play, "device nonce mismatch", "DEVICE_AUTH_NONCE_MISMATCH", 1008);
}

#[test]
fn hex_id_that_is_not_the_hash_of_the_key_is_refused() {
    let play = |gateway: &Gateway| {
        let device = Device::new().with_lost_key();
        refused(gateway, &Connect::operator(&device))
    };
    check("", play, "device identity mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH", 1008);
}

#[test]
fn malformed_key_is_refused() {
    for key in ["", "AAAA", "not base64 at all!"] {
        let play = |gateway: &Gateway| {
            let device = Device::with_uuid();
            let connect = Connect::operator(&device).then_set("/device/publicKey", json!(key));
            refused(gateway, &connect)
        };
        check("", play, "device public key invalid", "DEVICE_AUTH_PUBLIC_KEY_INVALID", 1008);
    }
}

#[test]
fn unknown_device_token_alone_is_refused_in_words_that_old_clients_know() {
    let play = |gateway: &Gateway| {
        let refusal = refused(gateway, &Connect::device_token_alone("dt_unknown"));
        assert!(refusal.close_reason.contains("device token mismatch"), "{refusal:?}");
        refusal
    };
    check("", play, "device token mismatch", "AUTH_DEVICE_TOKEN_MISMATCH", 1008);
}

#[test]
fn expired_device_token_alone_is_refused() {
    let play = |gateway: &Gateway| {
        let device = Device::new();
        let hello = gateway.dial().open().admitted(&Connect::operator(&device));
        let token = hello["result"]["deviceToken"].as_str().unwrap();
        eventually("the token expires", PATIENCE, || {
            let mut client = gateway.dial().open();
            let response = client.connect(&Connect::device_token_alone(token));
            (response["ok"] == false).then(|| client.refusal(&response))
        })
    };
    let config = "[gateway.auth.deviceAuth]\ntokenTTL = 1";
    check(config, play, "device token mismatch", "AUTH_DEVICE_TOKEN_MISMATCH", 1008);
}

#[test]
fn missing_secret_is_refused() {
    let play = |gateway: &Gateway| {
        register_first(gateway);
        refused(gateway, &Connect::backend().with("/auth", Value::Null))
    };
    check("", play, "unauthorized: gateway token missing", "AUTH_TOKEN_MISSING", 1008);
}

#[test]
fn wrong_secret_is_refused() {
    let play = |gateway: &Gateway| refused(gateway, &Connect::backend().secret("wrong"));
    check("", play, "unauthorized: gateway token mismatch", "AUTH_TOKEN_MISMATCH", 1008);
}

#[test]
fn wrong_password_is_refused() {
    for tls in [false, true] {
        let config = "[gateway.auth]\npassword = \"correct horse battery\"";
        let gateway = Gateway::setup().without_secret().config(config).tls(tls).start();
        let connect = Connect::backend().with("/auth", Value::Null).password("wrong");
        let refusal = refused(&gateway, &connect);
        assert!(refusal.message().contains("unauthorized: gateway password mismatch"));
        assert_eq!(refusal.details_code(), "AUTH_PASSWORD_MISMATCH");
        assert_eq!(refusal.close_code, 1008);
    }
}

#[test]
fn second_operator_waits_for_approval() {
    let play = |gateway: &Gateway| {
        register_first(gateway);
        let device = Device::new();
        let refusal = refused(gateway, &Connect::operator(&device));
        let details = &refusal.error["details"];
        assert_eq!(refusal.error["code"], "NOT_PAIRED", "{refusal:?}");
        assert_eq!(details["deviceId"], device.id(), "{refusal:?}");
        assert_eq!(details["reason"], "not-paired", "{refusal:?}");
        let again = refused(gateway, &Connect::operator(&device));
        assert_eq!(&again.error["details"]["requestId"], &details["requestId"], "one per device");
        refusal
    };
    check("", play, "pairing required: device is not approved yet", "PAIRING_REQUIRED", 1008);
}

#[test]
fn known_id_with_another_key_waits_for_approval() {
    let play = |gateway: &Gateway| {
        let device = Device::with_uuid();
        gateway.dial().open().admitted(&Connect::seed(&device));
        let impostor = device.with_lost_key();
        let refusal = refused(gateway, &Connect::seed(&impostor));
        assert_eq!(refusal.error["details"]["reason"], "key-changed", "{refusal:?}");
        refusal
    };
    check("", play, "pairing required", "PAIRING_REQUIRED", 1008);
}

#[test]
fn manual_registration_lets_nobody_in_unseen() {
    let play = |gateway: &Gateway| {
        let device = Device::new();
        refused(gateway, &Connect::operator(&device).secret(SECRET))
    };
    let config = "[gateway.auth.deviceAuth]\nregistration = \"manual\"";
    check(config, play, "pairing required", "PAIRING_REQUIRED", 1008);
}

#[test]
fn open_registration_lets_a_second_operator_in() {
    let config = "[gateway.auth.deviceAuth]\nregistration = \"open\"";
    let gateway = Gateway::setup().config(config).start();
    register_first(&gateway);
    register_first(&gateway);
}

#[test]
fn one_device_more_than_a_user_may_have_is_refused() {
    let play = |gateway: &Gateway| {
        let (first, second) = (Device::new(), Device::new());
        gateway.dial().open().admitted(&Connect::operator(&first).secret(SECRET));
        refused(gateway, &Connect::operator(&second).secret(SECRET))
    };
    let config = "[gateway.auth.deviceAuth]\nmaxDevicesPerUser = 1";
    check(config, play, "device limit reached", "DEVICE_LIMIT_REACHED", 1008);
}

#[test]
fn protocol_out_of_range_is_refused_naming_both_ranges() {
    for (min, max) in [(1, 2), (5, 9)] {
        let play = |gateway: &Gateway| {
            let refusal = refused(gateway, &Connect::backend().protocols(min, max));
            let details = &refusal.error["details"];
            assert_eq!(details["clientMinProtocol"], min, "{refusal:?}");
            assert_eq!(details["clientMaxProtocol"], max, "{refusal:?}");
            assert!(!details["expectedProtocol"].is_null(), "{refusal:?}");
            refusal
        };
        check("", play, "protocol mismatch", "PROTOCOL_MISMATCH", 1002);
    }
}

#[test]
fn unknown_role_is_refused() {
    let play =
        |gateway: &Gateway| refused(gateway, &Connect::backend().with("/role", json!("king")));
    check("", play, "invalid role", "INVALID_ROLE", 1008);
}

#[test]
fn first_frame_that_is_no_connect_is_refused() {
    let play = |gateway: &Gateway| {
        let mut client = gateway.dial().open();
        client.challenge();
        let response = client.request("ping", Value::Null);
        client.refusal(&response)
    };
    let message = "invalid handshake: first request must be connect";
    check("", play, message, "INVALID_HANDSHAKE", 1008);
}

#[test]
fn malformed_connect_is_refused_naming_the_field() {
    let cases = [
        ("/client/id", json!(7), "client.id"),
        ("/scopes", json!("operator.admin"), "scopes"),
        ("/minProtocol", json!("three"), "minProtocol"),
        ("/client/mode", json!("a|b"), "client.mode"),
    ];
    for (pointer, value, field) in cases {
        let play = |gateway: &Gateway| {
            let refusal = refused(gateway, &Connect::backend().with(pointer, value.clone()));
            assert!(refusal.message().contains(field), "{field} in {refusal:?}");
            refusal
        };
        check("", play, "invalid connect params", "INVALID_HANDSHAKE", 1008);
    }
}

/// What the gateway does to a peer before any `connect` was parsed: the close alone.
#[track_caller]
fn check_close(config: &str, play: impl Fn(&mut Client), close_code: u16, reason: &str) {
    for tls in [false, true] {
        let gateway = Gateway::setup().config(config).tls(tls).start();
        let mut client = gateway.dial().open();
        client.challenge();
        play(&mut client);
        let (code, text) = client.closed();
        assert_eq!(code, close_code, "{text}");
        assert!(text.contains(reason), "{reason:?} in {text:?}");
    }
}

#[test]
fn silence_after_the_challenge_is_closed_with_a_reason() {
    let config = "[gateway.limits]\nhandshakeSeconds = 1";
    check_close(config, |_| {}, 1008, "handshake timeout");
}

#[test]
fn large_message_before_the_handshake_is_closed() {
    let play = |client: &mut Client| {
        // The gateway may close while this is still on its way.
        let _sent = client.try_send(Message::text("x".repeat(65 * 1024)));
    };
    check_close("", play, 1009, "preauth payload too large");
}

#[test]
fn binary_frame_is_closed() {
    let play = |client: &mut Client| client.try_send(Message::binary(vec![1, 2, 3])).unwrap();
    check_close("", play, 1003, "");
}

#[test]
fn unknown_methods_leave_the_connection_open_until_its_patience_is_spent() {
    let gateway = Gateway::start();
    let mut client = gateway.operator();
    let error = client.ask_in_vain("no.such.method", Value::Null);
    assert_eq!(error["code"], "INVALID_REQUEST");
    assert_eq!(error["message"], "unknown method: no.such.method");
    assert_eq!(client.request("ping", Value::Null)["ok"], true);
    // Ten thousand errors are over any budget; the gateway may close before all are sent.
    for _ in 0..10_000 {
        if client.try_send(Message::text("{}")).is_err() {
            break;
        }
    }
    let (code, _) = client.closed();
    assert_eq!(code, 1008);
}

#[test]
fn connection_over_the_limit_is_turned_away_and_the_others_live_on() {
    let gateway = Gateway::setup().config("[gateway.limits]\nconnections = 2").start();
    let mut first = gateway.operator();
    let second = gateway.operator();
    match gateway.dial().try_open() {
        Err(why) => assert!(why == "HTTP 503" || !why.starts_with("HTTP"), "{why}"),
        Ok(mut third) => {
            let (code, reason) = third.closed();
            assert_eq!(code, 1013, "{reason}");
            assert!(reason.contains("gateway at capacity; retry in"), "{reason}");
        }
    }
    assert_eq!(first.request("ping", Value::Null)["ok"], true);
    second.leave();
    eventually("the free place is taken", PATIENCE, || {
        let mut third = gateway.dial().try_open().ok()?;
        matches!(third.hear(Instant::now() + PATIENCE), Some(crate::kit::Heard::Frame(_)))
            .then_some(())
    });
}

#[test]
fn page_that_is_not_allowed_and_says_nothing_is_closed_after_two_seconds() {
    let gateway = Gateway::start();
    let mut client = gateway.dial().origin("https://evil.example").open();
    let began = Instant::now();
    client.challenge();
    let (code, text) = client.closed();
    assert_eq!(code, 4001, "{text}");
    assert!(text.starts_with("origin not allowed"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn refusal_that_the_hub_never_hears_of_is_reported_once_per_minute_and_counted() {
    let gateway = Gateway::setup().config("[gateway.limits]\nhandshakeSeconds = 1").start();
    for _ in 0..3 {
        gateway.dial().origin("https://evil.example").open().refused(&Connect::backend());
    }
    let mut silent = gateway.dial().open();
    silent.challenge();
    assert_eq!(silent.closed().0, 1008);
    eventually("the endings are counted", PATIENCE, || {
        let closed = gateway.http("GET", "/api/status").json()["closed"].clone();
        (closed["refused"] == 3 && closed["handshake_timeout"] == 1).then_some(())
    });
    let said = gateway.diagnostics();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("Connect refused")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    let line: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(line["level"], "warn", "{line}");
    assert_eq!(line["reason"], "CONTROL_UI_ORIGIN_NOT_ALLOWED", "{line}");
    assert_eq!(line["peer"], "127.0.0.1", "{line}");
}
