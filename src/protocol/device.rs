//! The device proof: key and signature decoding, the signed texts v2 and v3, strict Ed25519
//! verification, the id rule (`docs/protocol.md`, "Device proof").

/// The raw 32 bytes of an Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct PublicKey(pub [u8; 32]);

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
