//! What agents said about themselves last, and which number is whose. Bounded.
//!
//! A number that an agent reports belongs to the name that used it first, for as long as that
//! name keeps it. An agent that reports none gets one that is derived from its name, above 2^32,
//! where no database counts: it is the same after a restart. Does not know who is connected
//! (`clients`) and does not write to disk (`touched`). Called by the verbs `agent.status` and
//! `agents.list`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::ids::AgentName;
use crate::base::limits::AGENTS_MAX;
use crate::protocol::agent_status::AgentStatus;
use crate::protocol::request::AgentReport;

/// The numbers that we give begin here.
const DERIVED_FROM: u64 = 1 << 32;

/// See the module.
#[derive(Default)]
pub(super) struct Agents {
    by_name: BTreeMap<AgentName, Arc<AgentStatus>>,
    by_id: BTreeMap<u64, AgentName>,
}

impl Agents {
    /// Takes what was on disk. Of two with one number, as only damage could have left them, it
    /// stays with the one that spoke last.
    pub(super) fn load(&mut self, mut agents: Vec<Arc<AgentStatus>>) {
        agents.sort_by_key(|agent| std::cmp::Reverse(agent.last_seen_ms));
        agents.truncate(AGENTS_MAX);
        for mut agent in agents {
            if self.by_id.get(&agent.id).is_some_and(|holder| *holder != agent.name) {
                let id = self.id_of(&agent.name);
                Arc::make_mut(&mut agent).id = id;
            }
            self.insert(agent);
        }
    }

    pub(super) fn get(&self, name: &AgentName) -> Option<&Arc<AgentStatus>> {
        self.by_name.get(name)
    }

    /// What the report makes of its agent's status; the error is the name whose number it is.
    pub(super) fn reported(
        &self,
        report: AgentReport,
        now_ms: u64,
    ) -> Result<AgentStatus, AgentName> {
        let AgentReport { name, status, id, last_activity, idempotency: _ } = report;
        let id = match id {
            None => self.id_of(&name),
            Some(id) => match self.by_id.get(&id) {
                Some(holder) if *holder != name => return Err(holder.clone()),
                Some(_) | None => id,
            },
        };
        Ok(AgentStatus { name, id, status, last_activity, last_seen_ms: now_ms })
    }

    /// Inserts or replaces a status; returns the one that had to go for it, if one had to.
    pub(super) fn put(&mut self, status: Arc<AgentStatus>) -> Option<Arc<AgentStatus>> {
        let known = self.remove(&status.name).is_some();
        let displaced = if known || self.by_name.len() < AGENTS_MAX {
            None
        } else {
            let silent = self.by_name.values().min_by_key(|other| other.last_seen_ms);
            silent.map(|other| other.name.clone()).and_then(|name| self.remove(&name))
        };
        self.insert(status);
        displaced
    }

    /// Puts back what was before a change that did not become durable.
    pub(super) fn restore(&mut self, name: &AgentName, before: Option<Arc<AgentStatus>>) {
        self.remove(name);
        if let Some(status) = before {
            self.insert(status);
        }
    }

    fn insert(&mut self, status: Arc<AgentStatus>) {
        self.by_id.insert(status.id, status.name.clone());
        self.by_name.insert(status.name.clone(), status);
    }

    fn remove(&mut self, name: &AgentName) -> Option<Arc<AgentStatus>> {
        let status = self.by_name.remove(name)?;
        if self.by_id.get(&status.id) == Some(name) {
            self.by_id.remove(&status.id);
        }
        Some(status)
    }

    /// The number of an agent: the one that it has, else the one that follows from its name.
    pub(super) fn id_of(&self, name: &AgentName) -> u64 {
        if let Some(status) = self.by_name.get(name) {
            return status.id;
        }
        let mut hash = fnv(name.as_str());
        loop {
            let id = DERIVED_FROM + u64::from(hash);
            // There are far fewer agents than numbers, so one is free.
            if self.by_id.get(&id).is_none_or(|holder| holder == name) {
                return id;
            }
            hash = hash.wrapping_add(1);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<AgentStatus>> {
        self.by_name.values()
    }

    pub(super) fn is_consistent(&self) -> bool {
        self.by_name.len() <= AGENTS_MAX
            && self.by_id.len() == self.by_name.len()
            && self.by_name.values().all(|status| self.by_id.get(&status.id) == Some(&status.name))
    }
}

/// FNV-1a with 32 bits: stable over versions, which the standard library's hashers are not.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &str, id: u64, last_seen_ms: u64) -> Arc<AgentStatus> {
        let (name, status) = (AgentName::new(name), "idle".to_owned());
        Arc::new(AgentStatus { name, id, status, last_activity: None, last_seen_ms })
    }

    #[test]
    fn names_with_the_same_hash_get_different_numbers() {
        let mut agents = Agents::default();
        let name = AgentName::new("agent1");
        let id = agents.id_of(&name);
        assert!(id >= DERIVED_FROM);
        agents.put(status("other", id, 1));
        assert_eq!(agents.id_of(&name), id + 1);
        agents.put(status("agent1", id + 1, 2));
        assert_eq!(agents.id_of(&name), id + 1);
        assert!(agents.is_consistent());
    }

    #[test]
    fn a_number_that_two_stored_agents_claim_stays_with_the_one_that_spoke_last() {
        let mut agents = Agents::default();
        agents.load(vec![status("a0", 7, 1), status("a1", 7, 2), status("a2", 8, 3)]);
        assert!(agents.is_consistent());
        let id = |name: &str| agents.id_of(&AgentName::new(name));
        assert_eq!((id("a1"), id("a2")), (7, 8));
        assert!(id("a0") >= DERIVED_FROM);
    }

    #[test]
    fn a_full_table_forgets_the_agent_that_was_silent_for_longest() {
        let mut agents = Agents::default();
        for number in 1..=AGENTS_MAX as u64 {
            assert_eq!(agents.put(status(&format!("a{number}"), number, number + 10)), None);
        }
        agents.put(status("a1", 1, 5_000));
        let displaced = agents.put(status("new", 5_000, 6_000)).unwrap();
        assert_eq!(displaced.name.as_str(), "a2");
        assert!(agents.is_consistent());
    }
}
