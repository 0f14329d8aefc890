//! The records that a commit writes as they are when it starts, and what they were before.
//!
//! However often a session changes while a commit runs, the next one writes it once. When a commit
//! fails, what it touched becomes again what it was. Owns no record itself. Called by `commits`,
//! which keeps one of these per batch, and by `durability`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::ids::{AgentName, SessionKey, SpawnId};
use crate::hub::agents::Agents;
use crate::hub::records::Change;
use crate::hub::sessions::Sessions;
use crate::hub::spawns::table::Spawns;
use crate::protocol::agent_status::AgentStatus;
use crate::protocol::session::Session;

/// See the module. The values are what was before the first change; `None`: there was none.
#[derive(Default)]
pub(super) struct Touched {
    sessions: BTreeMap<SessionKey, Option<Arc<Session>>>,
    agents: BTreeMap<AgentName, Option<Arc<AgentStatus>>>,
    /// What has happened to a spawn stays so, whatever becomes of its record.
    spawns: BTreeSet<SpawnId>,
}

/// The records that a failing disk may have kept as they were refused: written once more as soon
/// as it takes writes again. Bounded by what two commits hold, for each failure in a row.
#[derive(Default)]
pub(super) struct Doubtful {
    pub(super) sessions: BTreeSet<SessionKey>,
    pub(super) agents: BTreeSet<AgentName>,
    pub(super) spawns: BTreeSet<SpawnId>,
}

impl Touched {
    /// A session changes; `true` if it had not yet.
    pub(super) fn session(&mut self, key: &SessionKey, before: Option<&Arc<Session>>) -> bool {
        let new = !self.sessions.contains_key(key);
        if new {
            self.sessions.insert(key.clone(), before.cloned());
        }
        new
    }

    /// An agent's status changes; `true` if it had not yet.
    pub(super) fn agent(&mut self, name: &AgentName, before: Option<&Arc<AgentStatus>>) -> bool {
        let new = !self.agents.contains_key(name);
        if new {
            self.agents.insert(name.clone(), before.cloned());
        }
        new
    }

    /// A spawn changes; `true` if it had not yet.
    pub(super) fn spawn(&mut self, id: &SpawnId) -> bool {
        self.spawns.insert(id.clone())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.agents.is_empty() && self.spawns.is_empty()
    }

    /// Whether a session is among them.
    pub(super) fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// What goes to the disk: the records as they are now.
    pub(super) fn changes(
        &self,
        sessions: &Sessions,
        agents: &Agents,
        spawns: &Spawns,
    ) -> Vec<Change> {
        let sessions = self.sessions.keys().map(|key| match sessions.get(key) {
            Some(session) => Change::PutSession(Arc::clone(session)),
            None => Change::DeleteSession(key.clone()),
        });
        let agents = self.agents.keys().map(|name| match agents.get(name) {
            Some(status) => Change::PutAgent(Arc::clone(status)),
            None => Change::DeleteAgent(name.clone()),
        });
        let spawns = self.spawns.iter().map(|id| match spawns.record(id) {
            Some(record) => Change::PutSpawn(Box::new(record.clone())),
            None => Change::DeleteSpawn(id.clone()),
        });
        sessions.chain(agents).chain(spawns).collect()
    }

    /// Makes the records again what they were.
    pub(super) fn take_back(
        self,
        sessions: &mut Sessions,
        agents: &mut Agents,
        doubtful: &mut Doubtful,
    ) {
        for (key, before) in self.sessions {
            sessions.restore(&key, before);
            doubtful.sessions.insert(key);
        }
        doubtful.spawns.extend(self.spawns);
        // In two steps, because a number may have passed from one agent to another.
        let names: Vec<_> = self.agents.keys().cloned().collect();
        for name in &names {
            agents.restore(name, None);
        }
        for (name, before) in self.agents {
            agents.restore(&name, before);
            doubtful.agents.insert(name);
        }
    }
}
