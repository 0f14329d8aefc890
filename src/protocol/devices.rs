//! What is asked and answered about devices (`docs/protocol.md`, "Devices").
//!
//! Owns the typed requests and replies of `device.pair.*`, `device.token.*` and
//! `auth.rateLimit.clear`, and the encoding of the replies. Reads no parameters (`methods::devices`
//! does) and decides nothing (the hub does).

use std::net::IpAddr;

use serde_json::Value;

use crate::base::ids::{DeviceId, PairingId};
use crate::base::secret::Secret;
use crate::protocol::json::{ObjectWriter, push_array};
use crate::protocol::scope::{Role, ScopeSet};

/// A method of this family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceMethod {
    /// `device.pair.list`
    List,
    /// `device.pair.approve`
    Approve,
    /// `device.pair.reject`
    Reject,
    /// `device.pair.remove`
    Remove,
    /// `device.pair.forget`
    Forget,
    /// `device.pair.code`
    OfferCode,
    /// `device.token.rotate`
    RotateToken,
    /// `device.token.revoke`
    RevokeTokens,
    /// `auth.rateLimit.clear`
    ClearRateLimit,
}

impl DeviceMethod {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "device.pair.list",
            Self::Approve => "device.pair.approve",
            Self::Reject => "device.pair.reject",
            Self::Remove => "device.pair.remove",
            Self::Forget => "device.pair.forget",
            Self::OfferCode => "device.pair.code",
            Self::RotateToken => "device.token.rotate",
            Self::RevokeTokens => "device.token.revoke",
            Self::ClearRateLimit => "auth.rateLimit.clear",
        }
    }
}

/// A request about devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceRequest {
    /// `device.pair.list`
    List,
    /// `device.pair.approve`
    Approve(PairingId),
    /// `device.pair.reject`
    Reject(PairingId),
    /// `device.pair.remove`
    Remove(DeviceId),
    /// `device.pair.forget`
    Forget(DeviceId),
    /// `device.pair.code`
    OfferCode,
    /// `device.token.rotate`
    RotateToken(TokenOf),
    /// `device.token.revoke`
    RevokeTokens(TokenOf),
    /// `auth.rateLimit.clear`, for one address or for all.
    ClearRateLimit(Option<IpAddr>),
}

/// Whose tokens are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOf {
    /// The device.
    pub device: DeviceId,
    /// For which role; without one, the device's own.
    pub role: Option<Role>,
}

/// What a request about devices is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum DeviceReply {
    /// `device.pair.list`
    List(DeviceList),
    /// `device.pair.approve`
    Approved {
        /// The request.
        request: PairingId,
        /// The device as it is now.
        device: DeviceView,
    },
    /// `device.pair.reject`
    Rejected {
        /// The request.
        request: PairingId,
        /// Whose it was.
        device: DeviceId,
    },
    /// `device.pair.remove`
    Removed {
        /// The device.
        device: DeviceId,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// `device.pair.forget`
    Forgotten(DeviceId),
    /// `device.pair.code`
    Code {
        /// The code.
        code: Secret,
        /// Until when it is good, in Unix milliseconds.
        expires_at_ms: u64,
    },
    /// `device.token.rotate`
    Rotated {
        /// Whose tokens they were.
        device: DeviceId,
        /// For which role.
        role: Role,
        /// With which scopes the next one comes.
        scopes: ScopeSet,
        /// When, in Unix milliseconds.
        at_ms: u64,
        /// The new token, to the device that signed and to nobody else.
        bearer: Option<Bearer>,
    },
    /// `device.token.revoke`
    TokensRevoked {
        /// Whose tokens they were.
        device: DeviceId,
        /// For which role.
        role: Role,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// `auth.rateLimit.clear`: how many addresses were forgotten.
    RateLimitCleared(usize),
}

/// A token with its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Bearer {
    /// The token.
    pub token: Secret,
    /// Until when it is good, in Unix milliseconds.
    pub expires_at_ms: u64,
}

/// Every device that may be shown to whoever asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceList {
    /// The requests that wait, oldest first, as `device.pair.requested` shows them.
    pub pending: Vec<Value>,
    /// The devices, last seen first; at most `DEVICES_LISTED_MAX`.
    pub devices: Vec<DeviceView>,
    /// How many there are, shown or not.
    pub total: usize,
}

/// A device as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceView {
    /// Its id.
    pub id: DeviceId,
    /// Whether it was removed and its key is kept out.
    pub is_revoked: bool,
    /// Whether a connection of it is open.
    pub is_connected: bool,
    /// The owner's name.
    pub user: String,
    /// The role it was approved for.
    pub role: Role,
    /// The scopes it was approved for.
    pub scopes: ScopeSet,
    /// An agent's name.
    pub agent: Option<String>,
    /// What it called itself.
    pub display_name: Option<String>,
    /// `client.id` at registration.
    pub client_id: String,
    /// `client.platform` at registration.
    pub platform: String,
    /// The address that it registered from.
    pub address: IpAddr,
    /// Unix milliseconds.
    pub created_at_ms: u64,
    /// Unix milliseconds, kept to the hour.
    pub last_seen_ms: u64,
    /// Its live tokens, without their text.
    pub tokens: Vec<TokenView>,
}

/// A token without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenView {
    /// For which role.
    pub role: Role,
    /// With which scopes.
    pub scopes: ScopeSet,
    /// Unix milliseconds.
    pub issued_at_ms: u64,
    /// Unix milliseconds.
    pub expires_at_ms: u64,
}

impl DeviceReply {
    /// Appends the body of the response.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Self::List(list) = self {
            return list.write(out);
        }
        let mut body = ObjectWriter::open(out);
        match self {
            Self::List(_) => {}
            Self::Approved { request, device } => {
                body.str("requestId", request.as_str());
                device.write(body.key("device"));
            }
            Self::Rejected { request, device } => {
                body.str("requestId", request.as_str()).str("deviceId", device.as_str());
            }
            Self::Removed { device, at_ms } => {
                body.str("deviceId", device.as_str()).u64("revokedAtMs", *at_ms);
            }
            Self::Forgotten(device) => {
                body.str("deviceId", device.as_str());
            }
            Self::Code { code, expires_at_ms } => {
                body.str("code", code.expose()).u64("expiresAtMs", *expires_at_ms);
            }
            Self::Rotated { device, role, scopes, at_ms, bearer } => {
                body.str("deviceId", device.as_str());
                body.str("role", role.as_str()).strs("scopes", scopes.names());
                body.u64("rotatedAtMs", *at_ms);
                if let Some(Bearer { token, expires_at_ms }) = bearer {
                    body.str("token", token.expose()).u64("expiresAtMs", *expires_at_ms);
                }
            }
            Self::TokensRevoked { device, role, at_ms } => {
                body.str("deviceId", device.as_str()).str("role", role.as_str());
                body.u64("revokedAtMs", *at_ms);
            }
            Self::RateLimitCleared(addresses) => {
                body.usize("cleared", *addresses);
            }
        }
        body.close();
    }
}

impl DeviceList {
    /// `paired` is what the OpenClaw clients read, `devices` what Mission Control reads; the
    /// latter shows the removed ones, too.
    fn write(&self, out: &mut Vec<u8>) {
        let mut body = ObjectWriter::open(out);
        push_array(body.key("pending"), &self.pending, |out, pairing| {
            out.extend_from_slice(pairing.to_string().as_bytes());
        });
        let paired = self.devices.iter().filter(|device| !device.is_revoked);
        push_array(body.key("paired"), paired, |out, device| device.write(out));
        push_array(body.key("devices"), &self.devices, |out, device| device.write(out));
        body.usize("total", self.total).bool("truncated", self.devices.len() < self.total);
        body.close();
    }
}

impl DeviceView {
    fn write(&self, out: &mut Vec<u8>) {
        let mut view = ObjectWriter::open(out);
        view.str("deviceId", self.id.as_str());
        view.str("status", if self.is_revoked { "revoked" } else { "approved" });
        view.bool("connected", self.is_connected).str("user", &self.user);
        view.str("role", self.role.as_str()).strs("scopes", self.scopes.names());
        view.opt_str("agent", self.agent.as_deref());
        view.opt_str("displayName", self.display_name.as_deref());
        view.str("clientId", &self.client_id).str("platform", &self.platform);
        view.str("remoteIp", &self.address.to_string());
        view.u64("createdAtMs", self.created_at_ms).u64("lastSeenMs", self.last_seen_ms);
        push_array(view.key("tokens"), &self.tokens, |out, token| token.write(out));
        view.close();
    }
}

impl TokenView {
    fn write(self, out: &mut Vec<u8>) {
        let mut view = ObjectWriter::open(out);
        view.str("role", self.role.as_str()).strs("scopes", self.scopes.names());
        view.u64("issuedAtMs", self.issued_at_ms).u64("expiresAtMs", self.expires_at_ms);
        view.close();
    }
}
