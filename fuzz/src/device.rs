//! Keys, signatures, PEM, nonces and the text that is signed.
//!
//! A proof is made with a real key, then the frame that carries it is changed as the input says.
//! What still verifies must say, word for word, what was signed.

use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::protocol::connect::{Connect, parse_first};
use openclaw_gateway::protocol::device::{DeviceProof, PublicKey, prove};
use openclaw_gateway::protocol::device_key::{DeviceKey, SignedFields};
use openclaw_gateway::protocol::scope::ScopeSet;
use serde_json::json;

use super::bytes::Bytes;

pub const NOW_MS: u64 = 1_795_000_000_000;
pub const NONCE: &str = "0123456789abcdef0123456789abcdef";

pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    match bytes.byte() % 4 {
        0 => check_keys(&String::from_utf8_lossy(bytes.rest())),
        1 => check_claim(&mut bytes),
        2 => check_frame(bytes.rest()),
        _ => check_changed(&mut bytes),
    }
}

/// Any text as a key.
fn check_keys(text: &str) {
    if let Some(key) = PublicKey::parse(text) {
        assert_eq!(PublicKey::parse(&key.to_base64url()), Some(key));
        assert_eq!(key.device_id().len(), 64);
    }
    if let Some(key) = DeviceKey::from_pem(text) {
        let again = DeviceKey::from_pem(&key.to_pem()).expect("what we write can be read");
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(PublicKey::parse(&key.public_text()), Some(key.public_key()));
    }
}

/// Any texts as the members of a claim; nobody can have signed it.
fn check_claim(bytes: &mut Bytes<'_>) {
    let mut text = || String::from_utf8_lossy(bytes.chunk(120)).into_owned();
    let (id, key, signature, nonce) = (text(), text(), text(), text());
    let frame = json!({
        "type": "req", "id": "1", "method": "connect",
        "params": {
            "minProtocol": 3, "maxProtocol": 3,
            "client": {"id": "ui", "version": "1", "platform": "linux", "mode": "ui"},
            "device": {
                "id": id, "publicKey": key, "signature": signature, "signedAt": NOW_MS,
                "nonce": if nonce.is_empty() { NONCE } else { &nonce },
            },
        },
    });
    check_frame(frame.to_string().as_bytes());
}

/// Any frame whatever; nobody can have signed it.
fn check_frame(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(connect) = parse_first(text) else { return };
    let proof = prove(&connect, NONCE, NOW_MS);
    assert_eq!(connect.device.is_none(), proof == DeviceProof::Absent);
    assert!(!matches!(proof, DeviceProof::Valid(_)), "a signature from nowhere");
}

/// What the device says of itself when it signs.
struct Signed {
    frame: String,
    connect: Connect,
    token: &'static str,
    is_v3: bool,
}

/// Changes a proof and looks whether it still holds.
fn check_changed(bytes: &mut Bytes<'_>) {
    let key = DeviceKey::from_seed(&[bytes.byte() % 4; 32]);
    let signed = sign(&key, bytes);
    let proof = prove(&signed.connect, NONCE, NOW_MS);
    assert_eq!(proof, DeviceProof::Valid(key.public_key()), "{}", signed.frame);
    let mut frame = signed.frame.clone().into_bytes();
    while !bytes.is_empty() {
        change(&mut frame, bytes);
        let Ok(text) = std::str::from_utf8(&frame) else { continue };
        let Ok(connect) = parse_first(text) else { continue };
        if let DeviceProof::Valid(proven) = prove(&connect, NONCE, NOW_MS) {
            assert_eq!(proven, key.public_key(), "{text}");
            check_same(&signed, &connect, text);
        }
    }
    // Another connection's nonce, another time.
    assert!(!matches!(prove(&signed.connect, "other", NOW_MS), DeviceProof::Valid(_)));
    assert!(!matches!(prove(&signed.connect, NONCE, NOW_MS + 120_001), DeviceProof::Valid(_)));
}

fn sign(key: &DeviceKey, bytes: &mut Bytes<'_>) -> Signed {
    const SCOPES: [&str; 3] = ["operator.read", "operator.admin", "operator.pairing"];
    let (is_v3, is_uuid) = (bytes.one_in(2), bytes.one_in(2));
    let id = if is_uuid { "device-1".to_owned() } else { key.public_key().device_id() };
    let role = bytes.pick(&["operator", "agent", "node"]);
    let scopes: Vec<String> =
        SCOPES.iter().take(bytes.below(4)).map(|scope| (*scope).to_owned()).collect();
    let token = bytes.pick(&["", "secret", "dt_1"]);
    let (platform, family) =
        (bytes.pick(&["linux", " MacOS ", "Web"]), bytes.pick(&["", "Desktop"]));
    let fields = SignedFields {
        device_id: &id,
        client_id: "ui",
        client_mode: "webchat",
        role,
        scopes: &scopes,
        signed_at_ms: NOW_MS as i64,
        token,
        nonce: NONCE,
        platform,
        device_family: family,
    };
    let signature = key.sign(&if is_v3 { fields.v3() } else { fields.v2() });
    let mut auth = json!({});
    if !token.is_empty() {
        auth[bytes.pick(&["token", "deviceToken"])] = json!(token);
    }
    let frame = json!({
        "type": "req", "id": "1", "method": "connect",
        "params": {
            "minProtocol": 3, "maxProtocol": 4, "role": role, "scopes": scopes, "auth": auth,
            "client": {
                "id": "ui", "version": "1", "platform": platform, "mode": "webchat",
                "deviceFamily": family,
            },
            "device": {
                "id": id, "publicKey": key.public_text(), "signature": signature,
                "signedAt": NOW_MS, "nonce": NONCE,
            },
        },
    })
    .to_string();
    let connect = parse_first(&frame).expect("a well-formed connect");
    Signed { frame, connect, token, is_v3 }
}

/// One change: a byte replaced, put in or taken out.
fn change(frame: &mut Vec<u8>, bytes: &mut Bytes<'_>) {
    let how = bytes.byte();
    let at = usize::from(bytes.byte()) << 2 | usize::from(bytes.byte() & 3);
    let at = at % frame.len().max(1);
    match how % 3 {
        0 if at < frame.len() => frame[at] = bytes.byte(),
        1 => frame.insert(at, bytes.byte()),
        _ if at < frame.len() => {
            frame.remove(at);
        }
        _ => {}
    }
}

/// Whether two connects say the same, as far as it is signed.
fn check_same(signed: &Signed, changed: &Connect, text: &str) {
    let was = &signed.connect;
    let (Some(before), Some(after)) = (&was.device, &changed.device) else {
        panic!("a proof without a device: {text}");
    };
    assert_eq!(after.id, before.id, "{text}");
    assert_eq!(after.signed_at_ms, before.signed_at_ms, "{text}");
    assert_eq!(after.nonce, before.nonce, "{text}");
    assert_eq!(changed.client.id, was.client.id, "{text}");
    assert_eq!(changed.client.mode, was.client.mode, "{text}");
    assert_eq!((changed.role, changed.role_sent), (was.role, was.role_sent), "{text}");
    let asked = |connect: &Connect| connect.scopes.unwrap_or(ScopeSet::NONE);
    assert_eq!(asked(changed), asked(was), "{text}");
    assert_eq!(changed.scopes_sent.join(","), was.scopes_sent.join(","), "{text}");
    let tokens = [
        &changed.auth_token,
        &changed.auth_device_token,
        &changed.root_device_token,
        &changed.pairing_code,
    ];
    let has_token = tokens.into_iter().flatten().any(|token| *token == Secret::new(signed.token));
    assert!(signed.token.is_empty() || has_token, "{text}");
    if signed.is_v3 {
        let lowered = |text: &str| text.trim().to_ascii_lowercase();
        assert_eq!(lowered(&changed.client.platform), lowered(&was.client.platform), "{text}");
        let family = |connect: &Connect| {
            lowered(connect.client.device_family.as_deref().unwrap_or_default())
        };
        assert_eq!(family(changed), family(was), "{text}");
    }
}
