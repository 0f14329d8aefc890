//! The one place where the configuration becomes what the hub decides by.

use super::{Auth, Config};
use crate::base::ids::UserName;
use crate::base::secret::{Secret, SecretHash};
use crate::hub::DEFAULT_USER;
use crate::hub::policy::{AuthPolicy, HubLimits, Policy, SecretKind, SharedSecret};
use crate::protocol::scope::ScopeSet;

impl Config {
    /// What the hub is built with. Secrets are hashed here; the hub never sees one.
    pub fn policy(&self, version: &str, pairing_code: Option<SecretHash>) -> Policy {
        Policy {
            version: version.to_owned(),
            auth: self.auth.policy(self.control_ui.require_device_auth, pairing_code),
            heartbeat: self.heartbeat.policy(),
            cron: self.cron.clone(),
            limits: HubLimits {
                journal_entries_max: self.limits.journal_entries_max,
                journal_bytes_max: self.limits.journal_bytes_max,
                sessions_max: self.limits.sessions_max,
                snapshot_sessions_max: self.limits.snapshot_sessions_max,
                tick_coalesce: self.limits.tick_coalesce,
                message_bytes_max: self.limits.message_bytes_max,
                backlog_bytes_max: self.limits.backlog_bytes_max,
            },
            approvals: self.approvals.policy(),
            spawn: self.spawn.clone(),
        }
    }
}

impl Auth {
    fn policy(&self, browser_needs_device: bool, pairing_code: Option<SecretHash>) -> AuthPolicy {
        let shared = |user: &str, kind, secret: &Secret, scopes| SharedSecret {
            user: UserName::new(user),
            kind,
            hash: secret.hash(),
            scopes,
        };
        let own = [(SecretKind::Token, &self.token), (SecretKind::Password, &self.password)];
        let mut secrets: Vec<_> = own
            .into_iter()
            .filter_map(|(kind, secret)| Some((kind, secret.as_ref()?)))
            .map(|(kind, secret)| shared(DEFAULT_USER, kind, secret, ScopeSet::ALL))
            .collect();
        secrets.extend(
            self.users
                .iter()
                .map(|user| shared(&user.name, SecretKind::Token, &user.token, user.scopes)),
        );
        AuthPolicy {
            secrets,
            secret_without_device: self.secret_without_device,
            browser_needs_device,
            devices_enabled: self.device.enabled,
            require_signature: self.device.require_signature,
            token_ttl: self.device.token_ttl,
            devices_per_user_max: self.device.devices_per_user_max,
            registration: self.device.registration,
            pairing_code,
            rate_limit: self.rate_limit.policy(),
        }
    }
}
