//! The refusals of a `connect`: one constructor for each row of the table of connect errors
//! (`docs/protocol.md`, "Refusals"), with the words that old and new clients look for.
//!
//! Decides nothing. Called by the connection threads for what they can check alone, and by the
//! hub for the rest. The close frame repeats the message where it fits: clients that see only
//! the close look for the same words there.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::close_reason::CloseReason;
use crate::base::limits::{ECHO_ORIGIN_CHARS_MAX, STORE_RETRY_AFTER};
use crate::base::time::millis;
use crate::protocol::connect::PROTOCOLS;
use crate::protocol::device::DeviceFailure;
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::safe_text::echo;

/// Every `details.code` with which a `connect` is refused, here or by the hub.
pub const DETAIL_CODES: &[&str] = &[
    "CONTROL_UI_ORIGIN_NOT_ALLOWED",
    "DEVICE_IDENTITY_REQUIRED",
    "DEVICE_AUTH_SIGNATURE_INVALID",
    "AUTH_RATE_LIMITED",
    "DEVICE_AUTH_SIGNATURE_EXPIRED",
    "DEVICE_AUTH_NONCE_REQUIRED",
    "DEVICE_AUTH_NONCE_MISMATCH",
    "DEVICE_AUTH_DEVICE_ID_MISMATCH",
    "DEVICE_AUTH_PUBLIC_KEY_INVALID",
    "AUTH_DEVICE_TOKEN_MISMATCH",
    "AUTH_TOKEN_MISSING",
    "AUTH_TOKEN_MISMATCH",
    "AUTH_PASSWORD_MISSING",
    "AUTH_PASSWORD_MISMATCH",
    "DEVICE_REVOKED",
    "PAIRING_REQUIRED",
    "PAIRING_QUEUE_FULL",
    "DEVICE_LIMIT_REACHED",
    "INVALID_ROLE",
    "INVALID_HANDSHAKE",
    "PROTOCOL_MISMATCH",
    "UNAVAILABLE_CAPACITY",
    "UNAVAILABLE_STARTING",
    "UNAVAILABLE_STOPPING",
    "UNAVAILABLE_STORAGE",
    "UNAVAILABLE_DEVICE_CHANGED",
];

/// Whether a `connect` refused with this `details.code` failed for what the peer presented to
/// prove itself, or did not present; and not for its form, for lack of room, or because somebody
/// has yet to approve it.
pub fn is_failed_authentication(detail_code: &str) -> bool {
    detail_code.starts_with("DEVICE_AUTH_")
        || detail_code.starts_with("AUTH_")
        || matches!(detail_code, "DEVICE_IDENTITY_REQUIRED" | "DEVICE_REVOKED")
}

/// A `connect` that is not let in: the response first, then the close.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The error response, to be written with `frame::write_refusal`.
    pub error: ProtocolError,
    /// The close that follows.
    pub close: CloseReason,
}

/// Why a device is not approved as it asks: `details.reason` of `pairing required`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairingReason {
    /// The device is unknown.
    NotPaired,
    /// The id is known with another key.
    KeyChanged,
    /// It asks for another role than it was approved for.
    RoleUpgrade,
    /// It asks for more scopes than it was approved for.
    ScopeUpgrade,
}

impl PairingReason {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotPaired => "not-paired",
            Self::KeyChanged => "key-changed",
            Self::RoleUpgrade => "role-upgrade",
            Self::ScopeUpgrade => "scope-upgrade",
        }
    }
}

impl Refusal {
    fn new(code: ErrorCode, close: u16, detail: &str, message: impl Into<String>) -> Self {
        Self::with(code, close, json!({ "code": detail }), message)
    }

    fn with(code: ErrorCode, close: u16, details: Value, message: impl Into<String>) -> Self {
        let message = message.into();
        let close = CloseReason::Refused { code: close, text: message.clone() };
        Self { error: ProtocolError::new(code, message).with_details(details), close }
    }

    /// The `Origin` header is not on the list. Names what to add, and where.
    pub fn origin_not_allowed(origin: &str) -> Self {
        let origin = echo(origin, ECHO_ORIGIN_CHARS_MAX);
        let details = json!({
            "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED",
            "origin": origin,
            "configKey": "gateway.controlUi.allowedOrigins",
        });
        let message = format!(
            "origin not allowed: {origin} (add it to gateway.controlUi.allowedOrigins and reload the gateway)"
        );
        let mut refusal = Self::with(ErrorCode::InvalidRequest, 4001, details, message);
        // The origin may be too long for a close frame.
        refusal.close = CloseReason::Refused { code: 4001, text: "origin not allowed".to_owned() };
        refusal
    }

    /// No device was presented where one is needed.
    pub fn device_identity_required() -> Self {
        Self::new(
            ErrorCode::NotPaired,
            4001,
            "DEVICE_IDENTITY_REQUIRED",
            "device identity required",
        )
    }

    /// The device proof failed.
    pub fn device(failure: DeviceFailure) -> Self {
        match failure {
            DeviceFailure::IdMismatch => Self::device_id_mismatch(),
            DeviceFailure::SignatureExpired => Self::signature_expired(),
            DeviceFailure::NonceRequired => Self::nonce_required(),
            DeviceFailure::NonceMismatch => Self::nonce_mismatch(),
            DeviceFailure::SignatureInvalid => Self::signature_invalid(),
            DeviceFailure::PublicKeyInvalid => Self::public_key_invalid(),
        }
    }

    /// The signature does not fit what was sent.
    pub fn signature_invalid() -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            4001,
            "DEVICE_AUTH_SIGNATURE_INVALID",
            "device signature invalid (device_auth_signature_invalid)",
        )
    }

    /// Too many failed proofs from this address.
    pub fn rate_limited(retry_after: Duration) -> Self {
        let seconds = whole_seconds(retry_after);
        let mut refusal = Self::new(
            ErrorCode::Unauthorized,
            4001,
            "AUTH_RATE_LIMITED",
            format!(
                "auth rate limit: too many failed authentication attempts (retry in {seconds} s)"
            ),
        );
        refusal.error.retry_after_ms = Some(millis(retry_after));
        refusal
    }

    /// `device.signedAt` is too far from our clock.
    pub fn signature_expired() -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            1008,
            "DEVICE_AUTH_SIGNATURE_EXPIRED",
            "device signature expired",
        )
    }

    /// `device.nonce` is absent.
    pub fn nonce_required() -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            1008,
            "DEVICE_AUTH_NONCE_REQUIRED",
            "device nonce required",
        )
    }

    /// `device.nonce` is not this connection's.
    pub fn nonce_mismatch() -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            1008,
            "DEVICE_AUTH_NONCE_MISMATCH",
            "device nonce mismatch",
        )
    }

    /// `device.id` is not the hash of the key.
    pub fn device_id_mismatch() -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            1008,
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
            "device identity mismatch",
        )
    }

    /// `device.publicKey` is no usable Ed25519 key.
    pub fn public_key_invalid() -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            1008,
            "DEVICE_AUTH_PUBLIC_KEY_INVALID",
            "device public key invalid",
        )
    }

    /// A device token that we do not know, that has expired, or that belongs to another device.
    /// The reference client forgets its token on exactly this code and reason.
    pub fn device_token_mismatch() -> Self {
        Self::new(
            ErrorCode::Unauthorized,
            1008,
            "AUTH_DEVICE_TOKEN_MISMATCH",
            "device token mismatch",
        )
    }

    /// A shared token is needed and none was sent.
    pub fn token_missing() -> Self {
        Self::unauthorized("AUTH_TOKEN_MISSING", "token missing")
    }

    /// The shared token is wrong.
    pub fn token_mismatch() -> Self {
        Self::unauthorized("AUTH_TOKEN_MISMATCH", "token mismatch")
    }

    /// A shared password is needed and none was sent.
    pub fn password_missing() -> Self {
        Self::unauthorized("AUTH_PASSWORD_MISSING", "password missing")
    }

    /// The shared password is wrong.
    pub fn password_mismatch() -> Self {
        Self::unauthorized("AUTH_PASSWORD_MISMATCH", "password mismatch")
    }

    fn unauthorized(detail: &str, what: &str) -> Self {
        Self::new(ErrorCode::Unauthorized, 1008, detail, format!("unauthorized: gateway {what}"))
    }

    /// The device was removed by an operator.
    pub fn device_revoked() -> Self {
        Self::new(ErrorCode::Unauthorized, 4001, "DEVICE_REVOKED", "device revoked")
    }

    /// The device waits for approval under this request.
    pub fn pairing_required(request_id: &str, device_id: &str, reason: PairingReason) -> Self {
        let details = json!({
            "code": "PAIRING_REQUIRED",
            "requestId": request_id,
            "deviceId": device_id,
            "reason": reason.as_str(),
        });
        let message = "pairing required: device is not approved yet";
        let mut refusal = Self::with(ErrorCode::NotPaired, 1008, details, message);
        refusal.close = CloseReason::Refused {
            code: 1008,
            text: format!("{message} (requestId: {request_id})"),
        };
        refusal
    }

    /// The user has as many devices as it may.
    pub fn device_limit_reached(limit: usize) -> Self {
        let details = json!({ "code": "DEVICE_LIMIT_REACHED", "limit": limit });
        let message = format!(
            "device limit reached: {limit} devices are approved for this user \
             (free a place with: openclaw-gateway devices revoke DEVICE)"
        );
        let mut refusal = Self::with(ErrorCode::ResourceExhausted, 1008, details, message);
        refusal.close =
            CloseReason::Refused { code: 1008, text: "device limit reached".to_owned() };
        refusal
    }

    /// The role is none of ours.
    pub fn invalid_role() -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            1008,
            "INVALID_ROLE",
            "invalid role: must be operator, agent or node",
        )
    }

    /// The first message is no `connect` request.
    pub fn invalid_handshake() -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            1008,
            "INVALID_HANDSHAKE",
            "invalid handshake: first request must be connect",
        )
    }

    /// A `connect` with a field that is not what it must be; `what` begins with the field's path.
    pub fn invalid_connect_params(what: &str) -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            1008,
            "INVALID_HANDSHAKE",
            format!("invalid connect params: {what}"),
        )
    }

    /// No protocol version in common.
    pub fn protocol_mismatch(client_min: u64, client_max: u64) -> Self {
        let [oldest, newest] = PROTOCOLS;
        let expected = if u64::from(newest) < client_min { newest } else { oldest };
        let details = json!({
            "code": "PROTOCOL_MISMATCH",
            "expectedProtocol": expected,
            "clientMinProtocol": client_min,
            "clientMaxProtocol": client_max,
        });
        Self::with(ErrorCode::InvalidRequest, 1002, details, "protocol mismatch")
    }

    /// There is no room.
    pub fn over_capacity(retry_after: Duration) -> Self {
        let close = CloseReason::OverCapacity { retry_after };
        let mut refusal =
            Self::new(ErrorCode::Unavailable, 1013, "UNAVAILABLE_CAPACITY", close.text());
        refusal.error.retry_after_ms = Some(millis(retry_after));
        refusal.close = close;
        refusal
    }

    /// The audit file takes no lines, and the gateway is to let nobody in without one.
    pub fn audit_failing() -> Self {
        let message = "not let in: the gateway cannot write its audit log right now";
        let mut refusal = Self::new(ErrorCode::Unavailable, 1013, "UNAVAILABLE_STORAGE", message);
        refusal.error.retry_after_ms = Some(millis(STORE_RETRY_AFTER));
        refusal
    }

    /// Too many devices wait for approval; one of them gives up its place after `retry_after`.
    pub fn too_many_pairings(retry_after: Duration) -> Self {
        let message = format!(
            "pairing required: too many devices wait for approval; retry in {} s, or approve or \
             reject one (openclaw-gateway devices list)",
            whole_seconds(retry_after)
        );
        let detail = "PAIRING_QUEUE_FULL";
        let mut refusal = Self::new(ErrorCode::ResourceExhausted, 1008, detail, message);
        refusal.error.retry_after_ms = Some(millis(retry_after));
        refusal
    }

    /// The secret that vouches for an agent does not itself allow to report.
    pub fn agent_needs_write() -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            1008,
            "INVALID_ROLE",
            "invalid role: an agent reports, and this secret lacks operator.write",
        )
    }

    /// A shared token was sent where none is configured.
    pub fn token_not_configured() -> Self {
        Self::unauthorized(
            "AUTH_TOKEN_MISMATCH",
            "token mismatch: none is configured; set OPENCLAW_GATEWAY_TOKEN or gateway.auth.token",
        )
    }

    /// The gateway is not ready yet.
    pub fn starting() -> Self {
        let mut refusal = Self::new(
            ErrorCode::Unavailable,
            1013,
            "UNAVAILABLE_STARTING",
            "gateway starting; retry shortly",
        );
        refusal.error.retry_after_ms = Some(500);
        refusal.close = CloseReason::Refused { code: 1013, text: "gateway starting".to_owned() };
        refusal
    }
}

/// At least one, and never sooner than promised.
fn whole_seconds(duration: Duration) -> u64 {
    millis(duration).div_ceil(1000).max(1)
}
