//! What must hold of the hub between any two inputs, checked by its tests.
//!
//! Changes nothing. Costs a walk over the tables, so the product does not call it.

use crate::base::limits::{
    DEVICES_MAX, IDEMPOTENT_ANSWERS_MAX, PAIRINGS_MAX, RATE_LIMIT_ADDRESSES_MAX,
    TOKENS_PER_DEVICE_MAX,
};
use crate::hub::Hub;
use crate::hub::runs::table::Stage;

impl Hub {
    /// The first invariant that does not hold, if one does not.
    pub fn broken_invariant(&self) -> Option<&'static str> {
        let limits = &self.policy.limits;
        let open = self.clients.iter().filter(|(_, client)| !client.closing).count();
        let spawn = &self.policy.spawn;
        if let Err(name) = self.spawns.check(spawn.concurrent_max, spawn.queued_max) {
            return Some(name);
        }
        let checks = [
            (self.devices.len() <= DEVICES_MAX, "the devices are bounded"),
            (
                self.tokens.len() <= self.devices.len() * TOKENS_PER_DEVICE_MAX,
                "the tokens are bounded per device",
            ),
            (self.pairings.len() <= PAIRINGS_MAX, "the pairings are bounded"),
            (self.limiter.len() <= RATE_LIMIT_ADDRESSES_MAX, "the rate limits are bounded"),
            (self.answers.len() <= IDEMPOTENT_ANSWERS_MAX, "the answers are bounded"),
            (
                self.journal.len() <= limits.journal_entries_max.max(1),
                "the journal is bounded in entries",
            ),
            (
                self.journal.bytes() <= limits.journal_bytes_max || self.journal.len() == 1,
                "the journal is bounded in bytes",
            ),
            (
                self.clients.len() == self.clients.operators() + self.clients.agents(),
                "every client has a role",
            ),
            (self.heartbeats.len() == open, "every open client has a heartbeat, and no other"),
            (self.sessions.len() <= limits.sessions_max.max(1), "the sessions are bounded"),
            (self.sessions.is_consistent(), "the order and the sums are those of the sessions"),
            (self.agents.is_consistent(), "the agents are bounded, each with its own number"),
            (self.cron.is_consistent(), "the jobs are bounded, and each has its place"),
            (self.runs.is_consistent(), "the runs are bounded and counted, open ones have no end"),
            (self.approvals.is_consistent(), "the approvals are bounded, open ones have who asked"),
            (self.history.is_consistent(), "the history is bounded, per session and in all"),
            (
                self.runs.open().all(|run| match run.stage {
                    Stage::Given(conn) => self.clients.get(conn).is_some(),
                    Stage::Starting { ref spawn, .. } => self.spawns.record(spawn).is_some(),
                    Stage::Storing { .. } | Stage::Ended { .. } => true,
                }),
                "every run that was given has an agent's connection, or a spawn",
            ),
            (self.presence.is_consistent(), "presence has one line per key"),
            (
                self.clients.iter().all(|(conn, _)| !self.connecting.contains(&conn)),
                "nobody is both admitted and waiting",
            ),
            (
                self.commits.is_healthy() || self.commits.is_idle(),
                "nothing waits for a store that takes no writes",
            ),
            (
                self.commits.is_healthy() || self.commits.lazy_len() == 0,
                "nothing is kept for a store that takes no writes",
            ),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, name)| name)
    }
}
