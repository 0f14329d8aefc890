//! What the hub was configured with. Built by `app` from the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::ids::{AgentName, UserName};
use crate::base::limits::{
    SPAWN_ENV_ALLOW_DEFAULT, SPAWN_GRACE_DEFAULT, SPAWN_LEFTOVER_GRACE_DEFAULT,
    SPAWN_OUTPUT_BYTES_PER_SECOND_DEFAULT, SPAWN_TIMEOUT_DEFAULT, SPAWNS_CONCURRENT_DEFAULT,
    SPAWNS_QUEUED_DEFAULT,
};
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
    /// `[gateway.spawn]` and `[gateway.agents]`
    pub spawn: SpawnPolicy,
    /// `[gateway.approvals]`
    pub approvals: ApprovalPolicy,
}

/// `[gateway.approvals]`
#[derive(Clone, Copy, Debug)]
pub struct ApprovalPolicy {
    /// `withoutApprover`
    pub without_approver: WithoutApprover,
    /// `timeoutSeconds`: how long a request waits that asks for no time of its own.
    pub timeout: Duration,
}

/// `gateway.approvals.withoutApprover`: what becomes of a request when nobody is connected who
/// could decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutApprover {
    /// It waits: somebody may come.
    Wait,
    /// It is denied.
    Deny,
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

/// `[gateway.spawn]` and `[gateway.agents]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnPolicy {
    /// `enabled`; off refuses templates, too.
    pub enabled: bool,
    /// `allowedCommands`: names, absolute paths, or `*`. Templates need no mention here.
    pub allowed_commands: Vec<String>,
    /// `allowedDirs`, each with what is below it.
    pub allowed_dirs: Vec<PathBuf>,
    /// `maxConcurrent`
    pub concurrent_max: usize,
    /// `maxQueued`
    pub queued_max: usize,
    /// `timeoutSeconds`: how long a program may run, and the most that can be asked for.
    pub timeout: Duration,
    /// `graceSeconds`: between TERM and KILL.
    pub grace: Duration,
    /// `leftoverGraceSeconds`: for what a program that has exited left running.
    pub leftover_grace: Duration,
    /// `outputBytesPerSecondMax`
    pub output_bytes_per_second_max: u64,
    /// `envAllow`: names of variables that are handed on from the gateway's environment.
    pub env_allow: Vec<String>,
    /// `runAs`: the user that programs run as, where no template names another.
    pub run_as: Option<String>,
    /// `gateway.agents.default`: who is asked when nobody is named; it need not be a template.
    pub default_agent: Option<AgentName>,
    /// `[gateway.agents.NAME]`
    pub templates: BTreeMap<AgentName, AgentTemplate>,
}

/// `[gateway.agents.NAME]`: how an agent of that name is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentTemplate {
    /// A name or an absolute path.
    pub command: String,
    /// Arguments; `{task}`, `{model}` and `{label}` in them are filled in.
    pub args: Vec<String>,
    /// Variables set for it.
    pub env: Vec<(String, String)>,
    /// The working directory; the gateway's own when absent.
    pub cwd: Option<PathBuf>,
    /// How long it may run.
    pub timeout: Duration,
    /// How many of it may run at a time.
    pub concurrent_max: usize,
    /// Whether report lines on its stdout are reports.
    pub stdout_reports: bool,
    /// The user it runs as.
    pub run_as: Option<String>,
}

impl Default for SpawnPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            allowed_commands: Vec::new(),
            allowed_dirs: Vec::new(),
            concurrent_max: SPAWNS_CONCURRENT_DEFAULT,
            queued_max: SPAWNS_QUEUED_DEFAULT,
            timeout: SPAWN_TIMEOUT_DEFAULT,
            grace: SPAWN_GRACE_DEFAULT,
            leftover_grace: SPAWN_LEFTOVER_GRACE_DEFAULT,
            output_bytes_per_second_max: SPAWN_OUTPUT_BYTES_PER_SECOND_DEFAULT,
            env_allow: SPAWN_ENV_ALLOW_DEFAULT.map(str::to_owned).into(),
            run_as: None,
            default_agent: None,
            templates: BTreeMap::new(),
        }
    }
}
