//! What the hub was configured with. Built by `app` from the configuration.

use std::time::Duration;

use crate::base::ids::UserName;
use crate::base::secret::SecretHash;
use crate::protocol::schedule::Zone;
use crate::protocol::scope::ScopeSet;

/// All of it.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Gateway version, for `status` and `hello-ok`.
    pub version: String,
    /// Who gets in.
    pub auth: AuthPolicy,
    /// `[gateway.heartbeat]`
    pub heartbeat: HeartbeatPolicy,
    /// `[gateway.cron]`
    pub cron: CronPolicy,
    /// `[gateway.limits]`, as far as the hub enforces it.
    pub limits: HubLimits,
}

/// `[gateway.auth]` and `[gateway.controlUi]`, as far as the hub decides.
#[derive(Clone, Debug)]
pub struct AuthPolicy {
    /// The shared secrets, hashed: the gateway's own (user `default`) and the users'.
    pub secrets: Vec<SharedSecret>,
    /// `sharedSecretWithoutDevice`
    pub secret_without_device: SecretWithoutDevice,
    /// `controlUi.requireDeviceAuth`
    pub browser_needs_device: bool,
    /// `deviceAuth.enabled`
    pub devices_enabled: bool,
    /// `deviceAuth.requireSignature`
    pub require_signature: bool,
    /// `deviceAuth.tokenTTL`
    pub token_ttl: Duration,
    /// `deviceAuth.maxDevicesPerUser`
    pub devices_per_user_max: usize,
    /// `deviceAuth.registration`
    pub registration: Registration,
    /// The hash of the one-time pairing code printed at the start, if one was.
    pub pairing_code: Option<SecretHash>,
    /// `[gateway.auth.rateLimit]`
    pub rate_limit: RateLimitPolicy,
}

/// A shared secret and what it gives.
#[derive(Clone, Debug)]
pub struct SharedSecret {
    /// Whose it is.
    pub user: UserName,
    /// Whether it is compared with `auth.token` or `auth.password`.
    pub kind: SecretKind,
    /// Its hash.
    pub hash: SecretHash,
    /// What it may grant at most.
    pub scopes: ScopeSet,
}

/// Where a shared secret is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// `auth.token`
    Token,
    /// `auth.password`
    Password,
}

/// `gateway.auth.sharedSecretWithoutDevice`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretWithoutDevice {
    /// From a local peer only.
    Loopback,
    /// From anywhere.
    Always,
    /// Never.
    Never,
}

/// `gateway.auth.deviceAuth.registration`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Shared secret, local first operator, local agents with a free name, pairing code.
    Auto,
    /// Any valid signature.
    Open,
    /// Always pending.
    Manual,
}

/// `[gateway.auth.rateLimit]`
#[derive(Clone, Copy, Debug)]
pub struct RateLimitPolicy {
    /// Failed proofs within the window that lock an address out.
    pub attempts_max: u32,
    /// The window.
    pub window: Duration,
    /// How long the lock-out lasts.
    pub lockout: Duration,
}

/// `[gateway.heartbeat]`
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatPolicy {
    /// A peer silent for this long is pinged.
    pub interval: Duration,
    /// Unanswered pings in a row that end the connection.
    pub missed_max: u32,
}

/// `[gateway.cron]`
#[derive(Clone, Debug, PartialEq)]
pub struct CronPolicy {
    /// `enabled`
    pub enabled: bool,
    /// `maxJobs`
    pub jobs_max: usize,
    /// `maxConcurrentRuns`
    pub concurrent_max: usize,
    /// `timezone`, of jobs that name none.
    pub zone: Zone,
}

/// `[gateway.limits]`, as far as the hub enforces it.
#[derive(Clone, Copy, Debug)]
pub struct HubLimits {
    /// `journalEntries`
    pub journal_entries_max: usize,
    /// `journalBytes`
    pub journal_bytes_max: usize,
    /// `sessions`
    pub sessions_max: usize,
    /// `snapshotSessions`
    pub snapshot_sessions_max: usize,
    /// `tickMilliseconds`: ticks caused by changes are at least this far apart.
    pub tick_coalesce: Duration,
    /// `messageBytes`, for `hello-ok`.
    pub message_bytes_max: usize,
    /// `backlogBytes`, for `hello-ok`.
    pub backlog_bytes_max: usize,
}
