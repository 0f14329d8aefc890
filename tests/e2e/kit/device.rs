//! Device identities: an Ed25519 key, an id, and the way a client writes both down.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

/// How a client encodes its key and signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// Standard alphabet, padded: the seed.
    Padded,
    /// base64url without padding: Mission Control.
    Url,
}

/// A device with its private key.
#[derive(Debug)]
pub(crate) struct Device {
    id: String,
    key: SigningKey,
    encoding: Encoding,
}

impl Device {
    /// As Mission Control 2.3.0 makes them: the id is the SHA-256 of the key, in hex.
    pub(crate) fn new() -> Self {
        let key = random_key();
        let id = hex(&Sha256::digest(key.verifying_key().as_bytes()));
        Self { id, key, encoding: Encoding::Url }
    }

    /// As the seed's product page shows them: a UUID for an id, padded base64.
    pub(crate) fn with_uuid() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).unwrap();
        let digits = hex(&bytes);
        let (head, tail) = digits.split_at(8);
        let id = format!("device-{head}-{}-{}-{}", &tail[..4], &tail[4..8], &tail[8..12]);
        Self { id, key: random_key(), encoding: Encoding::Padded }
    }

    /// The same id with another key: a browser that lost its key store.
    pub(crate) fn with_lost_key(&self) -> Self {
        Self { id: self.id.clone(), key: random_key(), encoding: self.encoding }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The public key as this device sends it.
    pub(crate) fn public_key(&self) -> String {
        self.encode(self.key.verifying_key().as_bytes())
    }

    /// A signature over a text, as this device sends it.
    pub(crate) fn sign(&self, text: &str) -> String {
        self.encode(&self.key.sign(text.as_bytes()).to_bytes())
    }

    fn encode(&self, bytes: &[u8]) -> String {
        match self.encoding {
            Encoding::Padded => STANDARD.encode(bytes),
            Encoding::Url => URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}

fn random_key() -> SigningKey {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    SigningKey::from_bytes(&seed)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
