//! Policies, as a configuration would make them.

use std::time::Duration;

use openclaw_gateway::base::ids::UserName;
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::hub::policy::{
    ApprovalPolicy, AuthPolicy, CronPolicy, HeartbeatPolicy, HubLimits, Policy, RateLimitPolicy,
    Registration, SecretKind, SecretWithoutDevice, SharedSecret, SpawnPolicy, WithoutApprover,
};
use openclaw_gateway::protocol::schedule::Zone;
use openclaw_gateway::protocol::scope::ScopeSet;

/// What the seed's defaults come to, without a shared secret.
pub(crate) fn policy() -> Policy {
    Policy {
        version: "0.0.0".to_owned(),
        auth: AuthPolicy {
            secrets: Vec::new(),
            secret_without_device: SecretWithoutDevice::Loopback,
            browser_needs_device: true,
            devices_enabled: true,
            require_signature: true,
            token_ttl: Duration::from_secs(86_400),
            devices_per_user_max: 10,
            registration: Registration::Auto,
            pairing_code: None,
            rate_limit: RateLimitPolicy {
                attempts_max: 10,
                window: Duration::from_secs(60),
                lockout: Duration::from_secs(60),
            },
        },
        heartbeat: HeartbeatPolicy { interval: Duration::from_secs(30), missed_max: 3 },
        cron: CronPolicy { enabled: true, jobs_max: 10, concurrent_max: 2, zone: Zone::utc() },
        limits: HubLimits {
            journal_entries_max: 1_000,
            journal_bytes_max: 1024 * 1024,
            sessions_max: 100,
            snapshot_sessions_max: 10,
            tick_coalesce: Duration::from_millis(250),
            message_bytes_max: 25 * 1024 * 1024,
            backlog_bytes_max: 4 * 1024 * 1024,
        },
        approvals: ApprovalPolicy {
            without_approver: WithoutApprover::Wait,
            timeout: Duration::from_secs(120),
        },
        spawn: SpawnPolicy::default(),
    }
}

/// A shared secret of a user.
pub(crate) fn secret(user: &str, kind: SecretKind, text: &str, scopes: ScopeSet) -> SharedSecret {
    SharedSecret { user: UserName::new(user), kind, hash: Secret::new(text).hash(), scopes }
}

/// The shared token of most tests.
pub(crate) fn shared(text: &str) -> Vec<SharedSecret> {
    vec![secret("default", SecretKind::Token, text, ScopeSet::ALL)]
}
