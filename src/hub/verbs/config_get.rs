//! `config.get`: what is configured, as far as a client may rely on it. No secrets, no paths.

use crate::hub::Hub;
use crate::hub::policy::SecretKind;
use crate::protocol::reply::{ConfigShown, Reply};

impl Hub {
    pub(in crate::hub) fn config_get(&self) -> Reply {
        let (auth, limits) = (&self.policy.auth, &self.policy.limits);
        let heartbeat = self.policy.heartbeat;
        let has = |kind| auth.secrets.iter().any(|secret| secret.kind == kind);
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Reply::Config(Box::new(ConfigShown {
            version: self.policy.version.clone(),
            devices_enabled: auth.devices_enabled,
            require_signature: auth.require_signature,
            token_ttl_seconds: auth.token_ttl.as_secs(),
            devices_per_user_max: auth.devices_per_user_max,
            has_token: has(SecretKind::Token),
            has_password: has(SecretKind::Password),
            heartbeat_interval_seconds: heartbeat.interval.as_secs(),
            heartbeat_missed_max: heartbeat.missed_max,
            limits: vec![
                ("messageBytes", count(limits.message_bytes_max)),
                ("backlogBytes", count(limits.backlog_bytes_max)),
                ("journalEntries", count(limits.journal_entries_max)),
                ("journalBytes", count(limits.journal_bytes_max)),
                ("sessions", count(limits.sessions_max)),
                ("snapshotSessions", count(limits.snapshot_sessions_max)),
                ("tickMilliseconds", crate::base::time::millis(limits.tick_coalesce)),
            ],
        }))
    }
}
