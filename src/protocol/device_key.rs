//! The signing half of the device proof: a private key, its PEM form, and the texts it signs
//! (`docs/protocol.md`, "Device proof").
//!
//! Owns what is signed and how it is written down, not where a key is kept nor where its
//! randomness comes from. Called by the command-line client; `device` holds the verifying half and
//! takes its texts from here, so that the two cannot differ.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};

use crate::protocol::device::PublicKey;

/// An Ed25519 private key. `Debug` shows the public half only.
#[derive(Clone)]
pub struct DeviceKey(SigningKey);

/// What stands before the 32 bytes in the DER of an Ed25519 PrivateKeyInfo (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

impl DeviceKey {
    /// The key that comes of 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads what [`DeviceKey::to_pem`] writes: an unencrypted PKCS #8 key (RFC 8410), as OpenSSL
    /// writes it too.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let body = pem.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
        let body: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(body).ok()?;
        let seed: &[u8; 32] = der.strip_prefix(&PKCS8_PREFIX)?.try_into().ok()?;
        Some(Self::from_seed(seed))
    }

    /// The private key itself, as PEM with a line end.
    pub fn to_pem(&self) -> String {
        let der = [&PKCS8_PREFIX[..], self.0.as_bytes()].concat();
        format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(der))
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The public half as `device.publicKey`: base64url without padding.
    pub fn public_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.public_key().0)
    }

    /// The signature over a text as `device.signature`: base64url without padding.
    pub fn sign(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sign(text.as_bytes()).to_bytes())
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceKey").field(&self.public_key()).finish()
    }
}

/// What goes into the signed text, as it stands in the `connect`.
#[derive(Clone, Copy, Debug)]
pub struct SignedFields<'a> {
    /// `device.id`
    pub device_id: &'a str,
    /// `client.id`
    pub client_id: &'a str,
    /// `client.mode`
    pub client_mode: &'a str,
    /// The role as sent, `operator` if none was.
    pub role: &'a str,
    /// `scopes`, in the order sent.
    pub scopes: &'a [String],
    /// `device.signedAt`, milliseconds since 1970.
    pub signed_at_ms: i64,
    /// The token that the client presents beside its proof, else nothing.
    pub token: &'a str,
    /// The nonce of the challenge.
    pub nonce: &'a str,
    /// `client.platform`
    pub platform: &'a str,
    /// `client.deviceFamily`, else nothing.
    pub device_family: &'a str,
}

impl SignedFields<'_> {
    /// The second form of the text, which older clients sign.
    pub fn v2(&self) -> String {
        format!("v2|{}", self.common())
    }

    /// The third form, which also covers the platform.
    pub fn v3(&self) -> String {
        let (platform, family) = (lowered(self.platform), lowered(self.device_family));
        format!("v3|{}|{platform}|{family}", self.common())
    }

    fn common(&self) -> String {
        [
            self.device_id,
            self.client_id,
            self.client_mode,
            self.role,
            &self.scopes.join(","),
            &self.signed_at_ms.to_string(),
            self.token,
            self.nonce,
        ]
        .join("|")
    }
}

/// Trimmed, and lowercase as far as ASCII goes: other letters differ between languages.
fn lowered(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_pem_form() {
        let key = DeviceKey::from_seed(&[7; 32]);
        let pem = key.to_pem();
        let read = DeviceKey::from_pem(&pem).unwrap();
        assert_eq!(read.public_key(), key.public_key());
        assert_eq!(PublicKey::parse(&key.public_text()), Some(key.public_key()));
        for cut in 0..pem.trim_end().len() {
            assert!(DeviceKey::from_pem(&pem[..cut]).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn a_key_that_openssl_wrote_is_read() {
        // The private key of RFC 8410, section 10.3.
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
        let key = DeviceKey::from_pem(pem).unwrap();
        assert_eq!(key.public_text(), "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
        assert_eq!(key.to_pem(), pem);
    }

    #[test]
    fn debug_shows_no_private_byte() {
        let shown = format!("{:?}", DeviceKey::from_seed(&[7; 32]));
        assert!(shown.starts_with("DeviceKey(PublicKey(["), "{shown}");
        assert!(!shown.contains("7, 7, 7"), "{shown}");
    }
}
