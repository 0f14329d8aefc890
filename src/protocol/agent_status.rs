//! What agents say about themselves, and how it is shown.
//!
//! Owns the payload of `agent.status` and the lines of `agents.list`. The table is the hub's; the
//! store keeps an [`AgentStatus`] as it is.

use serde::{Deserialize, Serialize};

use crate::base::ids::AgentName;
use crate::protocol::json::ObjectWriter;

/// An agent's last word about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Its name.
    pub name: AgentName,
    /// Its number, not zero: the one that it reported, else one derived from its name.
    pub id: u64,
    /// Such as `idle` or `busy`; its own word.
    pub status: String,
    /// What it did last, in its own words.
    pub last_activity: Option<String>,
    /// When it said so, Unix milliseconds.
    pub last_seen_ms: u64,
}

/// A line of `agents.list`.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentLine {
    /// What it said last; for one that said nothing, with an empty status.
    pub status: AgentStatus,
    /// Whether a connection of it is open.
    pub connected: bool,
}

impl AgentStatus {
    fn write_members(&self, object: &mut ObjectWriter<'_>) {
        object.u64("id", self.id).str("name", self.name.as_str());
        object.str("status", &self.status).u64("last_seen", self.last_seen_ms / 1_000);
        match &self.last_activity {
            Some(activity) => object.str("last_activity", activity),
            None => object.raw("last_activity", "null"),
        };
    }

    /// Appends the payload of `agent.status`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::open(out);
        self.write_members(&mut object);
        object.close();
    }
}

impl AgentLine {
    /// Appends its line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::open(out);
        self.status.write_members(&mut object);
        object.bool("connected", self.connected);
        object.close();
    }
}
