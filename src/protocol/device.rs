//! The device proof: key and signature decoding, the signed texts v2 and v3, strict Ed25519
//! verification, the id rule (`docs/protocol.md`, "Device proof").
//!
//! Owns what a proof says, not what follows from it: whether the device is approved, and whether
//! its token is good, is for the hub. Called by the connection threads, in parallel.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::base::limits::{SIGNATURE_ATTEMPTS_MAX, SIGNATURE_SKEW_MAX};
use crate::base::secret::Secret;
use crate::protocol::connect::{Connect, DeviceClaim, PROTOCOLS};
use crate::protocol::device_key::SignedFields;
use crate::protocol::json::{ObjectWriter, hex_digit, push_array, push_u64};

/// The raw 32 bytes of an Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The id that belongs to this key: the lowercase hex SHA-256 of its raw bytes.
    pub fn device_id(&self) -> String {
        hex(&Sha256::digest(self.0))
    }

    /// The key as clients send it: base64url without padding (RFC 4648 section 5).
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads a key as clients send it: base64 or base64url of the 32 bytes, padded or not, or PEM
    /// (SubjectPublicKeyInfo, RFC 8410). Says nothing of whether it is a good key.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = match text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----") {
            Some(rest) => {
                let body = rest.strip_suffix("-----END PUBLIC KEY-----")?;
                let body: String = body.split_ascii_whitespace().collect();
                decode_base64(&body)?.strip_prefix(&SPKI_PREFIX)?.to_vec()
            }
            None => decode_base64(text)?,
        };
        bytes.try_into().ok().map(Self)
    }
}

/// What stands before the 32 bytes in the DER of an Ed25519 SubjectPublicKeyInfo (RFC 8410).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// How the device proof of a `connect` came out. Computed on the connection's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceProof {
    /// No device was presented.
    Absent,
    /// Signature, nonce, time and id all hold.
    Valid(PublicKey),
    /// The first check that failed.
    Failed(DeviceFailure),
}

/// Why a device proof failed, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFailure {
    /// `device identity mismatch`
    IdMismatch,
    /// `device signature expired`
    SignatureExpired,
    /// `device nonce required`
    NonceRequired,
    /// `device nonce mismatch`
    NonceMismatch,
    /// `device signature invalid (device_auth_signature_invalid)`
    SignatureInvalid,
    /// `device public key invalid`
    PublicKeyInvalid,
}

/// Which form of the text is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignedForm {
    /// The second form, which older clients sign.
    V2,
    /// The third form, which also covers the platform.
    #[default]
    V3,
}

impl SignedForm {
    /// Both, this one first.
    fn first(self) -> [Self; 2] {
        match self {
            Self::V2 => [Self::V2, Self::V3],
            Self::V3 => [Self::V3, Self::V2],
        }
    }
}

/// Checks the device proof of a `connect` against this connection's nonce and the clock.
///
/// Costs one signature verification for a client that signs v3, two for one that signs v2, and at
/// most `SIGNATURE_ATTEMPTS_MAX`; the cheap checks come first.
pub fn prove(connect: &Connect, nonce: &str, now_unix_ms: u64) -> DeviceProof {
    prove_trying(connect, nonce, now_unix_ms, &mut SignedForm::default())
}

/// The same with `form` tried first; it becomes the form that was signed, if the proof holds. The
/// outcome does not depend on it, only the number of verifications, which are most of the cost of
/// a handshake.
pub fn prove_trying(
    connect: &Connect,
    nonce: &str,
    now_unix_ms: u64,
    form: &mut SignedForm,
) -> DeviceProof {
    match &connect.device {
        None => DeviceProof::Absent,
        Some(claim) => match check(connect, claim, nonce, now_unix_ms, form) {
            Ok(key) => DeviceProof::Valid(key),
            Err(failure) => DeviceProof::Failed(failure),
        },
    }
}

fn check(
    connect: &Connect,
    claim: &DeviceClaim,
    nonce: &str,
    now_unix_ms: u64,
    form: &mut SignedForm,
) -> Result<PublicKey, DeviceFailure> {
    // A key that cannot be read has no id to compare; it is refused at the end, as itself.
    let key = PublicKey::parse(&claim.public_key);
    let id = claim.id.as_str();
    let id_is_hash = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if id_is_hash && key.is_some_and(|key| key.device_id() != id) {
        return Err(DeviceFailure::IdMismatch);
    }
    let skew_max = i128::try_from(SIGNATURE_SKEW_MAX.as_millis()).unwrap_or(i128::MAX);
    let skew = i128::from(now_unix_ms).abs_diff(i128::from(claim.signed_at_ms));
    if skew_max.unsigned_abs() < skew {
        return Err(DeviceFailure::SignatureExpired);
    }
    match &claim.nonce {
        None => return Err(DeviceFailure::NonceRequired),
        Some(sent) if sent != nonce => return Err(DeviceFailure::NonceMismatch),
        Some(_) => {}
    }
    let key = key.ok_or(DeviceFailure::PublicKeyInvalid)?;
    let verifier = VerifyingKey::from_bytes(&key.0)
        .ok()
        // With a key of small order, one signature fits every text.
        .filter(|verifier| !verifier.is_weak())
        .ok_or(DeviceFailure::PublicKeyInvalid)?;
    let signature = decode_base64(&claim.signature)
        .and_then(|bytes| Signature::from_slice(&bytes).ok())
        .ok_or(DeviceFailure::SignatureInvalid)?;
    let (signed, _) = signed_texts(connect, claim, nonce, *form)
        .take(SIGNATURE_ATTEMPTS_MAX)
        .find(|(_, text)| verifier.verify_strict(text.as_bytes(), &signature).is_ok())
        .ok_or(DeviceFailure::SignatureInvalid)?;
    *form = signed;
    Ok(key)
}

/// Every text that the peer may have signed, the likeliest first: with the first token present,
/// as clients do, and in the form that is expected.
fn signed_texts<'a>(
    connect: &'a Connect,
    claim: &'a DeviceClaim,
    nonce: &'a str,
    form: SignedForm,
) -> impl Iterator<Item = (SignedForm, String)> + use<'a> {
    let mut tokens: Vec<&str> = Vec::with_capacity(5);
    let present = [
        &connect.auth_token,
        &connect.auth_device_token,
        &connect.root_device_token,
        // The reference client signs with the code that it pairs by (`auth.bootstrapToken`).
        &connect.pairing_code,
    ];
    for token in present.into_iter().flatten().map(Secret::expose).chain([""]) {
        if !tokens.contains(&token) {
            tokens.push(token);
        }
    }
    tokens.into_iter().flat_map(move |token| {
        let client = &connect.client;
        let fields = SignedFields {
            device_id: claim.id.as_str(),
            client_id: &client.id,
            client_mode: &client.mode,
            role: connect.role_sent,
            scopes: &connect.scopes_sent,
            signed_at_ms: claim.signed_at_ms,
            token,
            nonce,
            platform: &client.platform,
            device_family: client.device_family.as_deref().unwrap_or_default(),
        };
        form.first().map(|form| match form {
            SignedForm::V2 => (form, fields.v2()),
            SignedForm::V3 => (form, fields.v3()),
        })
    })
}

/// base64 or base64url, padded or not.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let standard: Vec<u8> = text
        .trim()
        .trim_end_matches('=')
        .bytes()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    STANDARD_NO_PAD.decode(standard).ok()
}

/// The first message of the server: the event that asks for a proof.
/// `deviceAuthRequired` is a hint for the client; the rules are the hub's.
pub fn challenge(nonce: &str, ts_unix_ms: u64, device_auth_required: bool) -> String {
    let mut out = Vec::with_capacity(192);
    let mut frame = ObjectWriter::open(&mut out);
    frame.str("type", "event").str("event", "connect.challenge");
    frame.object("payload", |payload| {
        payload.str("nonce", nonce).u64("ts", ts_unix_ms);
        push_array(payload.key("protocols"), PROTOCOLS, |out, version| {
            push_u64(out, version.into());
        });
        payload.bool("deviceAuthRequired", device_auth_required);
    });
    frame.close();
    // Lossless: all of it was written from `str`.
    String::from_utf8_lossy(&out).into_owned()
}

/// The nonce of a connection as text, from at least 16 random bytes.
pub fn encode_nonce(random: &[u8]) -> String {
    hex(random)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [char::from(hex_digit(byte >> 4)), char::from(hex_digit(byte & 0x0f))])
        .collect()
}
