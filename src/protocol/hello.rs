//! The answer to `connect`: two different objects under `result` and `payload`.

use std::sync::Arc;

use crate::base::ids::{AgentName, ConnId, DeviceId, RequestId, UserName};
use crate::base::secret::Secret;
use crate::protocol::event::PresenceEntry;
use crate::protocol::scope::{Role, ScopeSet};

/// What the connection may do; fixed at admission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The operator scopes.
    pub scopes: ScopeSet,
    /// An agent's name.
    pub agent: Option<AgentName>,
    /// The device that was proven, if any.
    pub device: Option<DeviceId>,
    /// Whose credential admitted it.
    pub user: UserName,
}

/// Everything that the answer to `connect` says.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The request's id.
    pub id: RequestId,
    /// 3 or 4.
    pub protocol: u8,
    /// The connection.
    pub conn: ConnId,
    /// What was granted.
    pub grant: Grant,
    /// The device token, whenever a device was proven and tokens are on.
    pub token: Option<IssuedToken>,
    /// Everyone present.
    pub presence: Arc<[PresenceEntry]>,
    /// `stateVersion.presence`
    pub presence_version: u64,
    /// `stateVersion.health`
    pub health_version: u64,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// How this peer was admitted: `device`, `device-token`, `token`, `password` or `none`.
    pub auth_mode: &'static str,
    /// `policy.maxPayload`, bytes.
    pub message_bytes_max: usize,
    /// `policy.maxBufferedBytes`, bytes.
    pub backlog_bytes_max: usize,
    /// `policy.tickIntervalMs`
    pub tick_interval_ms: u64,
}

/// A device token with its life.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: Secret,
    /// When it was issued, Unix milliseconds.
    pub issued_at_ms: u64,
    /// When it expires, Unix milliseconds.
    pub expires_at_ms: u64,
}
