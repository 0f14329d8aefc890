//! Device proofs: the frames of a real Mission Control, and keys of our own.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey, Verifier as _};
use openclaw_gateway::protocol::connect::{Connect, parse_connect};
use openclaw_gateway::protocol::device::{
    DeviceFailure, DeviceProof, PublicKey, SignedForm, challenge, encode_nonce, prove, prove_trying,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use crate::samples::{NOW, captured, parse_frame};

fn connect(frame: &Value) -> Connect {
    let text = frame.to_string();
    parse_connect(&parse_frame(&text)).unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

/// The proof of a frame at the moment and with the nonce that it names itself.
fn prove_as_signed(frame: &Value) -> DeviceProof {
    let connect = connect(frame);
    let device = connect.device.as_ref().unwrap();
    let now = u64::try_from(device.signed_at_ms).unwrap();
    let nonce = frame["params"]["device"]["nonce"].as_str().unwrap().to_owned();
    prove(&connect, &nonce, now)
}

fn captured_connects() -> Vec<Value> {
    let frames: Vec<_> =
        captured().into_iter().filter(|frame| frame["method"] == "connect").collect();
    assert_eq!(frames.len(), 2);
    frames
}

#[test]
fn what_mission_control_signed_is_valid_at_the_moment_it_signed() {
    for frame in captured_connects() {
        let DeviceProof::Valid(key) = prove_as_signed(&frame) else { panic!("{frame}") };
        assert_eq!(key.device_id(), frame["params"]["device"]["id"].as_str().unwrap());
    }
}

/// Every character replaced by another of the same alphabet.
fn changed(text: &str) -> impl Iterator<Item = String> + use<'_> {
    text.char_indices().map(|(at, character)| {
        let other = if character == '0' { '1' } else { '0' };
        format!("{}{other}{}", &text[..at], &text[at + 1..])
    })
}

#[test]
fn a_change_of_any_byte_of_signature_or_id_or_nonce_is_found() {
    for frame in captured_connects() {
        let device = &frame["params"]["device"];
        for signature in changed(device["signature"].as_str().unwrap()) {
            let mut frame = frame.clone();
            frame["params"]["device"]["signature"] = json!(signature);
            assert_eq!(
                prove_as_signed(&frame),
                DeviceProof::Failed(DeviceFailure::SignatureInvalid)
            );
        }
        for id in changed(device["id"].as_str().unwrap()) {
            let mut frame = frame.clone();
            frame["params"]["device"]["id"] = json!(id);
            assert_eq!(prove_as_signed(&frame), DeviceProof::Failed(DeviceFailure::IdMismatch));
        }
        for nonce in changed(device["nonce"].as_str().unwrap()) {
            // On another connection: the frame is as it was, our nonce is another.
            let connect = connect(&frame);
            let now = device["signedAt"].as_u64().unwrap();
            let proof = prove(&connect, &nonce, now);
            assert_eq!(proof, DeviceProof::Failed(DeviceFailure::NonceMismatch));
            // A frame made to fit our nonce: the signature no longer does.
            let mut frame = frame.clone();
            frame["params"]["device"]["nonce"] = json!(nonce);
            assert_eq!(
                prove_as_signed(&frame),
                DeviceProof::Failed(DeviceFailure::SignatureInvalid)
            );
        }
    }
}

#[test]
fn a_change_of_any_other_signed_field_is_found() {
    for frame in captured_connects() {
        for (pointer, value) in [
            ("/params/client/id", json!("openclaw-control-uj")),
            ("/params/client/mode", json!("cli")),
            ("/params/role", json!("node")),
            ("/params/scopes", json!(["operator.admin", "operator.read"])),
            ("/params/scopes", json!([])),
        ] {
            let mut frame = frame.clone();
            *frame.pointer_mut(pointer).unwrap() = value;
            let proof = prove_as_signed(&frame);
            assert_eq!(proof, DeviceProof::Failed(DeviceFailure::SignatureInvalid), "{pointer}");
        }
        let mut later = frame.clone();
        later["params"]["device"]["signedAt"] =
            json!(frame["params"]["device"]["signedAt"].as_u64().unwrap() + 1);
        assert_eq!(prove_as_signed(&later), DeviceProof::Failed(DeviceFailure::SignatureInvalid));
    }
}

/// A device of our own, and the connect that it signs.
struct Device {
    key: SigningKey,
    params: Value,
}

const NONCE: &str = "0123456789abcdef0123456789abcdef";

impl Device {
    fn new() -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public_key = key.verifying_key().to_bytes();
        let params = json!({
            "minProtocol": 3, "maxProtocol": 4,
            "client": {
                "id": "cli", "mode": "cli", "version": "1", "platform": " LinÜx ",
                "deviceFamily": "Desktop",
            },
            "role": "operator", "scopes": ["operator.write", "operator.read"],
            "device": {
                "id": PublicKey(public_key).device_id(), "publicKey": STANDARD.encode(public_key),
                "signedAt": NOW, "nonce": NONCE,
            },
        });
        Self { key, params }
    }

    fn raw_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = self.params.pointer_mut(parent).unwrap();
        parent[name] = value;
        self
    }

    /// Signs a text in which `{id}`, `{at}` and `{nonce}` stand for what the frame holds.
    fn sign(self, text: &str) -> Self {
        let device = &self.params["device"];
        let text = text
            .replace("{id}", device["id"].as_str().unwrap())
            .replace("{at}", &device["signedAt"].to_string())
            .replace("{nonce}", NONCE);
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        self.set("/device/signature", json!(STANDARD.encode(signature)))
    }

    /// Signs what a client of ours signs without any token.
    fn sign_v2(self) -> Self {
        self.sign(V2)
    }

    fn prove_at(&self, now: u64) -> DeviceProof {
        let frame = json!({"type": "req", "id": "1", "method": "connect", "params": self.params});
        prove(&connect(&frame), NONCE, now)
    }

    /// Which form a proof was found to have, for either guess.
    fn forms_found(&self) -> [SignedForm; 2] {
        let frame = json!({"type": "req", "id": "1", "method": "connect", "params": self.params});
        [SignedForm::V2, SignedForm::V3].map(|mut form| {
            let valid = DeviceProof::Valid(PublicKey(self.raw_key()));
            assert_eq!(prove_trying(&connect(&frame), NONCE, NOW, &mut form), valid);
            form
        })
    }

    #[track_caller]
    fn check(&self, failure: Option<DeviceFailure>) {
        let valid = DeviceProof::Valid(PublicKey(self.raw_key()));
        let expected = failure.map_or(valid, DeviceProof::Failed);
        assert_eq!(self.prove_at(NOW), expected);
    }
}

const V2: &str = "v2|{id}|cli|cli|operator|operator.write,operator.read|{at}||{nonce}";
const V3: &str =
    "v3|{id}|cli|cli|operator|operator.write,operator.read|{at}||{nonce}|linÜx|desktop";

#[test]
fn the_form_that_is_tried_first_changes_no_outcome() {
    assert_eq!(Device::new().sign(V2).forms_found(), [SignedForm::V2; 2]);
    assert_eq!(Device::new().sign(V3).forms_found(), [SignedForm::V3; 2]);
}

#[test]
fn both_texts_are_accepted_and_only_ascii_is_lowercased() {
    Device::new().sign(V2).check(None);
    Device::new().sign(V3).check(None);
    let wrong = Some(DeviceFailure::SignatureInvalid);
    Device::new().sign(&V3.replace("linÜx", "linüx")).check(wrong);
    Device::new().sign(&V3.replace("linÜx", " LinÜx ")).check(wrong);
    Device::new().sign(&V3.replace("v3", "v2")).check(wrong);
    Device::new()
        .sign(&V2.replace("operator.write,operator.read", "operator.read,operator.write"))
        .check(wrong);
    Device::new()
        .set("/client/platform", Value::Null)
        .set("/client/deviceFamily", Value::Null)
        .sign(&V3.replace("linÜx|desktop", "|"))
        .check(None);
}

#[test]
fn the_token_in_the_text_is_any_that_was_sent_or_none() {
    let signed_with = |token: &str| {
        Device::new()
            .set("/auth", json!({"token": "shared", "deviceToken": "dt_1"}))
            .set("/deviceToken", json!("dt_2"))
            .sign(&V2.replace("||", &format!("|{token}|")))
    };
    for token in ["shared", "dt_1", "dt_2", ""] {
        signed_with(token).check(None);
    }
    signed_with("dt_3").check(Some(DeviceFailure::SignatureInvalid));
}

#[test]
fn the_role_in_the_text_is_as_sent() {
    let agent = |role: &str, signed: &str| {
        Device::new()
            .set("/role", json!(role))
            .sign(&V3.replace("|operator|", &format!("|{signed}|")))
    };
    agent("node", "node").check(None);
    agent("agent", "agent").check(None);
    agent("node", "agent").check(Some(DeviceFailure::SignatureInvalid));
    Device::new().set("/role", Value::Null).sign(V2).check(None);
}

#[test]
fn keys_and_signatures_are_read_in_every_usual_spelling() {
    let key = Device::new().raw_key();
    let spki: Vec<u8> =
        [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &key]
            .concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(spki)
    );
    for text in [
        STANDARD.encode(key),
        STANDARD_NO_PAD.encode(key),
        URL_SAFE.encode(key),
        URL_SAFE_NO_PAD.encode(key),
        pem.clone(),
        pem.replace('\n', "\r\n"),
    ] {
        Device::new().set("/device/publicKey", json!(text)).sign_v2().check(None);
    }
    let signed = Device::new().sign_v2();
    let raw = STANDARD.decode(signed.params["device"]["signature"].as_str().unwrap()).unwrap();
    for text in [STANDARD_NO_PAD.encode(&raw), URL_SAFE.encode(&raw), URL_SAFE_NO_PAD.encode(&raw)]
    {
        Device::new().set("/device/signature", json!(text)).check(None);
    }
}

#[test]
fn a_key_that_is_none_is_refused_as_such_after_the_other_checks() {
    let invalid = Some(DeviceFailure::PublicKeyInvalid);
    // Of small order: the neutral element, and a point of order eight.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let order_eight = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    // No point at all.
    let mut no_point = [0; 32];
    no_point[0] = 2;
    for key in [&[][..], &[1; 31], &[1; 33], &neutral, &order_eight, &no_point] {
        Device::new()
            .set(
                "/device/publicKey",
                json!(if key.is_empty() { "!".to_owned() } else { STANDARD.encode(key) }),
            )
            .set("/device/id", json!("device-1"))
            .sign_v2()
            .check(invalid);
    }
    let malformed = || Device::new().set("/device/publicKey", json!("?"));
    malformed().sign_v2().check(invalid);
    malformed()
        .set("/device/nonce", json!("x"))
        .sign_v2()
        .check(Some(DeviceFailure::NonceMismatch));
}

#[test]
fn a_signature_that_is_none_is_refused_as_wrong() {
    for text in ["?", "AAAA", "====", &"A".repeat(86), &"/".repeat(86)] {
        let device = Device::new().set("/device/signature", json!(text));
        device.check(Some(DeviceFailure::SignatureInvalid));
    }
}

/// The group order of Ed25519, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn the_same_signature_written_another_way_is_refused() {
    let signed = Device::new().sign_v2();
    let mut raw = STANDARD.decode(signed.params["device"]["signature"].as_str().unwrap()).unwrap();
    let mut carry = 0;
    for (byte, order) in raw[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    let malleable = signed.set("/device/signature", json!(STANDARD.encode(raw)));
    malleable.check(Some(DeviceFailure::SignatureInvalid));
}

/// A number in the field of a scalar, whose type is not ours to name.
fn scalar_like<T: From<u64>>(_: &T, number: u64) -> T {
    number.into()
}

/// Whoever has the key can sign with a nonce point of small order; the plain verification
/// equation then holds, but such a signature says nothing of who chose the nonce.
#[test]
fn a_signature_with_a_point_of_small_order_is_refused() {
    let device = Device::new();
    let at = device.params["device"]["signedAt"].to_string();
    let text = V2
        .replace("{id}", device.params["device"]["id"].as_str().unwrap())
        .replace("{at}", &at)
        .replace("{nonce}", NONCE);
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let hash = Sha512::new()
        .chain_update(neutral)
        .chain_update(device.raw_key())
        .chain_update(&text)
        .finalize();
    let secret = device.key.to_scalar();
    // The hash as a number, from its most significant byte down (RFC 8032 section 5.1.7).
    let challenge = hash.iter().rev().fold(scalar_like(&secret, 0), |sum, byte| {
        sum * scalar_like(&secret, 256) + scalar_like(&secret, u64::from(*byte))
    });
    let signature = [neutral, (challenge * secret).to_bytes()].concat();
    let parsed = ed25519_dalek::Signature::from_slice(&signature).unwrap();
    assert!(device.key.verifying_key().verify(text.as_bytes(), &parsed).is_ok());
    device
        .set("/device/signature", json!(STANDARD.encode(signature)))
        .check(Some(DeviceFailure::SignatureInvalid));
}

#[test]
fn a_hex_id_must_be_the_keys_and_any_other_id_is_free() {
    let with_id = |id: &str| Device::new().set("/device/id", json!(id)).sign_v2();
    let own = PublicKey(Device::new().raw_key()).device_id();
    with_id(&own).check(None);
    with_id(&own.to_uppercase()).check(Some(DeviceFailure::IdMismatch));
    with_id(&"0".repeat(64)).check(Some(DeviceFailure::IdMismatch));
    with_id("device-550e8400-e29b-41d4").check(None);
    with_id(&own[..63]).check(None);
}

#[test]
fn the_clock_may_differ_by_two_minutes_either_way() {
    let signed = Device::new().sign_v2();
    for (now, expired) in [
        (NOW, false),
        (NOW + 120_000, false),
        (NOW - 120_000, false),
        (NOW + 120_001, true),
        (NOW - 120_001, true),
        (0, true),
        (u64::MAX, true),
    ] {
        let failed = DeviceProof::Failed(DeviceFailure::SignatureExpired);
        assert_eq!(signed.prove_at(now) == failed, expired, "{now}");
    }
    for signed_at in [i64::MIN, -1, 0, i64::MAX] {
        let device = Device::new().set("/device/signedAt", json!(signed_at)).sign_v2();
        device.check(Some(DeviceFailure::SignatureExpired));
    }
}

#[test]
fn the_first_check_that_fails_decides() {
    let all_wrong = || {
        Device::new()
            .set("/device/id", json!("0".repeat(64)))
            .set("/device/signedAt", json!(0))
            .set("/device/nonce", json!(""))
            .set("/device/signature", json!("?"))
    };
    all_wrong().check(Some(DeviceFailure::IdMismatch));
    let id_right = || all_wrong().set("/device/id", json!("device-1"));
    id_right().check(Some(DeviceFailure::SignatureExpired));
    let time_right = || id_right().set("/device/signedAt", json!(NOW));
    time_right().check(Some(DeviceFailure::NonceRequired));
    time_right().set("/device/nonce", json!("x")).check(Some(DeviceFailure::NonceMismatch));
    time_right().set("/device/nonce", json!(NONCE)).check(Some(DeviceFailure::SignatureInvalid));
    time_right().set("/device/nonce", json!(format!(" {NONCE} "))).sign_v2().check(None);
}

#[test]
fn without_a_device_there_is_no_proof() {
    let device = Device::new().set("/device", Value::Null);
    assert_eq!(device.prove_at(NOW), DeviceProof::Absent);
}

#[test]
fn the_challenge_carries_the_nonce_and_the_clock() {
    let nonce = encode_nonce(&[0, 1, 0x7f, 0x80, 0xff, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(
        challenge(&nonce, NOW, true),
        r#"{"type":"event","event":"connect.challenge","payload":{"nonce":"00017f80ff060708090a0b0c0d0e0f10","ts":1795373022123,"protocols":[3,4],"deviceAuthRequired":true}}"#
    );
}
