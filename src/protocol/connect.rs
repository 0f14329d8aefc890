//! The `connect` request: its parameters, typed and checked (`docs/protocol.md`, "Handshake").

use crate::base::ids::{AgentName, DeviceId, RequestId};
use crate::base::secret::Secret;
use crate::protocol::scope::{Role, ScopeSet};

/// A well-formed `connect`.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The request's id; a second `connect` with the same id gets the same answer.
    pub id: RequestId,
    /// The protocol that the answer names: 3 when the offered range holds it, else 4.
    pub protocol: u8,
    /// Who the client says it is.
    pub client: Client,
    /// The role asked for. `node` is an alias of `agent`.
    pub role: Role,
    /// `None` when the frame named no role (a connect by token alone takes the token's).
    pub role_named: bool,
    /// The scopes asked for, as a set. `None` when the frame had no `scopes`.
    pub scopes: Option<ScopeSet>,
    /// The scopes as sent: their order goes into the signed text.
    pub scopes_sent: Vec<String>,
    /// An agent's name: `agent.name`, else `client.id`. `None` for operators.
    pub agent_name: Option<AgentName>,
    /// The device, if one was presented.
    pub device: Option<DeviceClaim>,
    /// `auth.token`
    pub auth_token: Option<Secret>,
    /// `auth.deviceToken`
    pub auth_device_token: Option<Secret>,
    /// `deviceToken` at the root of the params.
    pub root_device_token: Option<Secret>,
    /// `auth.password`
    pub password: Option<Secret>,
    /// `auth.pairingCode`
    pub pairing_code: Option<Secret>,
}

/// The `client` object. Strings are at most 128 bytes.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// `client.id`; empty only in a connect by device token alone.
    pub id: String,
    /// `client.displayName`
    pub display_name: Option<String>,
    /// `client.version`
    pub version: String,
    /// `client.platform`
    pub platform: String,
    /// `client.mode`
    pub mode: String,
    /// `client.instanceId`
    pub instance_id: Option<String>,
    /// `client.deviceFamily`
    pub device_family: Option<String>,
}

/// The `device` object as claimed, before any proof. Key and signature are kept as sent.
#[derive(Clone, Debug)]
pub struct DeviceClaim {
    /// `device.id`
    pub id: DeviceId,
    /// `device.publicKey`
    pub public_key: String,
    /// `device.signature`
    pub signature: String,
    /// `device.signedAt`, milliseconds since the epoch.
    pub signed_at_ms: i64,
    /// `device.nonce`; `None` when absent or empty.
    pub nonce: Option<String>,
}
