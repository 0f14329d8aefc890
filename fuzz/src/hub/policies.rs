//! The policies that a history may be played under.

use std::time::Duration;

use openclaw_gateway::base::ids::AgentName;
use openclaw_gateway::hub::policy::{
    AgentTemplate, Policy, Registration, SecretKind, SecretWithoutDevice, SharedSecret,
    SpawnPolicy, WithoutApprover,
};
use openclaw_gateway::protocol::scope::ScopeSet;

use super::super::bytes::Bytes;
use super::super::kit::policies::{policy, secret};

/// A shared secret that somebody may be configured with.
#[derive(Clone, Copy)]
pub(super) struct SharedKnown {
    pub(super) text: &'static str,
    user: &'static str,
    kind: SecretKind,
    pub(super) scopes: ScopeSet,
}

pub(super) const SECRETS: [SharedKnown; 3] = [
    SharedKnown { text: "s1", user: "default", kind: SecretKind::Token, scopes: ScopeSet::ALL },
    SharedKnown { text: "s2", user: "default", kind: SecretKind::Password, scopes: ScopeSet::ALL },
    SharedKnown { text: "s3", user: "reader", kind: SecretKind::Token, scopes: ScopeSet::READ },
];

impl SharedKnown {
    pub(super) fn shared(&self) -> SharedSecret {
        secret(self.user, self.kind, self.text, self.scopes)
    }
}

/// A policy whose limits are near.
pub(super) fn read(bytes: &mut Bytes<'_>) -> Policy {
    let (flags, more) = (bytes.byte(), bytes.byte());
    let mut policy = policy();
    let auth = &mut policy.auth;
    auth.registration = match flags % 4 {
        0 | 1 => Registration::Manual,
        2 => Registration::Auto,
        _ => Registration::Open,
    };
    if flags & 4 != 0 {
        auth.secrets = SECRETS.iter().map(SharedKnown::shared).collect();
    }
    auth.secret_without_device = match flags >> 3 & 3 {
        0 | 1 => SecretWithoutDevice::Loopback,
        2 => SecretWithoutDevice::Always,
        _ => SecretWithoutDevice::Never,
    };
    auth.devices_enabled = flags & 0xe0 != 0xe0;
    auth.require_signature = more & 1 == 0;
    auth.browser_needs_device = more & 2 == 0;
    auth.devices_per_user_max = if more & 4 == 0 { 10 } else { 1 };
    auth.rate_limit.attempts_max = if more & 8 == 0 { 10 } else { 2 };
    auth.token_ttl = Duration::from_secs(if more & 16 == 0 { 86_400 } else { 100 });
    policy.spawn = spawn(flags & 64 != 0);
    policy.cron.enabled = more & 0xc0 != 0xc0;
    policy.cron.jobs_max = if more & 32 == 0 { 10 } else { 2 };
    policy.cron.concurrent_max = if more & 4 == 0 { 2 } else { 1 };
    policy.approvals.timeout = Duration::from_secs(100);
    if flags & 32 != 0 {
        policy.approvals.without_approver = WithoutApprover::Deny;
    }
    let limits = &mut policy.limits;
    limits.sessions_max = if more & 32 == 0 { 100 } else { 3 };
    limits.journal_entries_max = if more & 64 == 0 { 1_000 } else { 4 };
    limits.journal_bytes_max = if more & 128 == 0 { 1024 * 1024 } else { 300 };
    policy
}

/// One command and one agent, of which few may run.
fn spawn(has_default: bool) -> SpawnPolicy {
    let agent = AgentName::new("a2");
    let template = AgentTemplate {
        command: "agent".to_owned(),
        args: ["{task}", "--model={model}", "{label}"].map(str::to_owned).into(),
        env: Vec::new(),
        cwd: None,
        timeout: Duration::from_secs(30),
        concurrent_max: 1,
        stdout_reports: true,
        run_as: None,
    };
    SpawnPolicy {
        allowed_commands: vec!["p".to_owned()],
        allowed_dirs: vec!["/".into()],
        concurrent_max: 2,
        queued_max: 2,
        timeout: Duration::from_secs(60),
        default_agent: has_default.then(|| agent.clone()),
        templates: [(agent, template)].into(),
        ..SpawnPolicy::default()
    }
}
