//! `status`: what the gateway is doing, in numbers. No secrets.

use crate::base::ids::{ConnId, RequestId};
use crate::base::time::{Moment, millis};
use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::protocol::reply::{Reply, Status};

impl Hub {
    pub(in crate::hub) fn status(
        &self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        effects: &mut Vec<Effect>,
    ) {
        self.respond(conn, id, Ok(Reply::Status(self.current_status(now))), effects);
    }

    /// The numbers behind `status` and `/api/status`.
    pub fn current_status(&self, now: Moment) -> Status {
        Status {
            version: self.policy.version.clone(),
            uptime_ms: millis(now.at.duration_since(self.started.at)),
            operators: self.clients.operators(),
            agents: self.clients.agents(),
            sessions: self.sessions.len(),
            journal_entries: self.journal.len(),
            journal_bytes: self.journal.bytes(),
            store_healthy: self.commits.is_healthy(),
        }
    }
}
