//! The sessions: one row per key, ordered by activity, bounded.
//!
//! Owns the rows, the order in which they are listed, and the sums over them; every change costs
//! a few steps in ordered sets, whatever the number of sessions. Does not write to disk
//! (`commits`, `touched`) and does not decide when they are shown (`tick`). Called by the verbs
//! `session.*` and `sessions.*`.
//!
//! A full table makes room for a new session by forgetting the one that has been silent for
//! longest: of the same agent, if that has its equal share already, else of all. So an agent that
//! opens sessions without end displaces its own.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use crate::base::ids::SessionKey;
use crate::protocol::reply::SessionsPage;
use crate::protocol::request::{SessionPlace, SessionsCursor, SessionsList};
use crate::protocol::session::{Session, SessionTotals, owner};

/// What is kept per agent; those whose keys name none share one with an empty name.
#[derive(Default)]
struct Group {
    /// Each with its session, so that a page need not look them up one by one.
    places: BTreeMap<SessionPlace, Arc<Session>>,
    totals: SessionTotals,
}

/// See the module.
pub(super) struct Sessions {
    max: usize,
    by_key: BTreeMap<SessionKey, Arc<Session>>,
    /// All of them, and those of each agent, silent for longest first.
    all: Group,
    by_agent: BTreeMap<String, Group>,
}

fn place(session: &Session) -> SessionPlace {
    SessionPlace { updated_at_ms: session.updated_at_ms, key: session.key.clone() }
}

fn agent(key: &SessionKey) -> &str {
    owner(key.as_str()).unwrap_or_default()
}

impl Group {
    fn insert(&mut self, session: &Arc<Session>) {
        self.places.insert(place(session), Arc::clone(session));
        let totals = &mut self.totals;
        totals.sessions += 1;
        totals.total_tokens += u128::from(session.total_tokens);
        totals.input_tokens += u128::from(session.input_tokens);
        totals.output_tokens += u128::from(session.output_tokens);
        totals.message_count += u128::from(session.message_count);
        totals.cost_nanos += u128::from(session.cost.0);
    }

    fn remove(&mut self, session: &Session) {
        self.places.remove(&place(session));
        let totals = &mut self.totals;
        totals.sessions -= 1;
        totals.total_tokens -= u128::from(session.total_tokens);
        totals.input_tokens -= u128::from(session.input_tokens);
        totals.output_tokens -= u128::from(session.output_tokens);
        totals.message_count -= u128::from(session.message_count);
        totals.cost_nanos -= u128::from(session.cost.0);
    }
}

impl Sessions {
    pub(super) fn new(max: usize) -> Self {
        let (all, by_agent) = (Group::default(), BTreeMap::new());
        Self { max: max.max(1), by_key: BTreeMap::new(), all, by_agent }
    }

    /// Keeps so many from now on; the surplus stays until [`Self::trim`].
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max.max(1);
    }

    /// Forgets those that have been silent for longest, as far as there are too many; returns
    /// their keys.
    pub(super) fn trim(&mut self) -> Vec<SessionKey> {
        let surplus = self.by_key.len().saturating_sub(self.max);
        let oldest = self.all.places.keys().take(surplus);
        let oldest: Vec<_> = oldest.map(|place| place.key.clone()).collect();
        for key in &oldest {
            self.remove(key);
        }
        oldest
    }

    /// Takes what was on disk; returns the keys for which there is no room any more.
    pub(super) fn load(&mut self, mut sessions: Vec<Arc<Session>>) -> Vec<SessionKey> {
        sessions.sort_by_key(|session| place(session));
        let surplus = sessions.len().saturating_sub(self.max);
        let displaced = sessions.drain(..surplus).map(|session| session.key.clone()).collect();
        for session in sessions {
            self.insert(session);
        }
        displaced
    }

    pub(super) fn get(&self, key: &SessionKey) -> Option<&Arc<Session>> {
        self.by_key.get(key)
    }

    /// Inserts or replaces a session; returns the one that had to go for it, if one had to.
    pub(super) fn put(&mut self, session: Arc<Session>) -> Option<Arc<Session>> {
        if self.remove(&session.key).is_some() {
            self.insert(session);
            return None;
        }
        let displaced = self.displaceable(&session.key).and_then(|key| self.remove(&key));
        self.insert(session);
        displaced
    }

    /// Which session makes room for a new one of this key's agent, if the table is full.
    fn displaceable(&self, new: &SessionKey) -> Option<SessionKey> {
        if self.by_key.len() < self.max {
            return None;
        }
        let share = self.max / self.by_agent.len().max(1);
        let own = self.by_agent.get(agent(new)).filter(|own| own.places.len() >= share);
        own.unwrap_or(&self.all).places.keys().next().map(|place| place.key.clone())
    }

    fn insert(&mut self, session: Arc<Session>) {
        self.all.insert(&session);
        self.by_agent.entry(agent(&session.key).to_owned()).or_default().insert(&session);
        self.by_key.insert(session.key.clone(), session);
    }

    pub(super) fn remove(&mut self, key: &SessionKey) -> Option<Arc<Session>> {
        let session = self.by_key.remove(key)?;
        self.all.remove(&session);
        if let Some(group) = self.by_agent.get_mut(agent(key)) {
            group.remove(&session);
            if group.places.is_empty() {
                self.by_agent.remove(agent(key));
            }
        }
        Some(session)
    }

    /// Puts back what was before a change that did not become durable.
    pub(super) fn restore(&mut self, key: &SessionKey, before: Option<Arc<Session>>) {
        self.remove(key);
        if let Some(session) = before {
            self.insert(session);
        }
    }

    /// So many of them, the one reported last first.
    pub(super) fn newest(&self, count: usize) -> Vec<Arc<Session>> {
        self.all.places.values().rev().take(count).cloned().collect()
    }

    /// Answers `sessions.list`. Costs what it returns.
    ///
    /// The way goes down from the newest place to the oldest, then up from where it started, over
    /// the sessions that were reported meanwhile: those may come a second time, with their new
    /// numbers, but none that lives all the while is missed.
    pub(super) fn page(&self, ask: &SessionsList, now_ms: u64) -> SessionsPage {
        let empty = Group::default();
        let group = match &ask.agent {
            Some(agent) => self.by_agent.get(agent.as_str()).unwrap_or(&empty),
            None => &self.all,
        };
        let oldest_ms = ask.active_within_ms.map_or(0, |within| now_ms.saturating_sub(within));
        let mut way = Way { group, oldest_ms, limit: ask.limit, rows: Vec::new() };
        let next = match &ask.cursor {
            None => group.places.keys().next_back().and_then(|start| way.down(start, None)),
            Some(SessionsCursor::Down { start, after }) => way.down(start, Some(after)),
            Some(SessionsCursor::Up { after }) => way.up(after),
        };
        SessionsPage { rows: way.rows, next, total: group.places.len(), now_ms }
    }

    /// The sums over all sessions, or over this agent's.
    pub(super) fn totals(&self, agent: Option<&str>) -> SessionTotals {
        match agent {
            None => self.all.totals,
            Some(agent) => self.by_agent.get(agent).map_or_else(Default::default, |g| g.totals),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn is_consistent(&self) -> bool {
        let mut all = Group::default();
        let mut agents: BTreeMap<String, Group> = BTreeMap::new();
        for session in self.by_key.values() {
            all.insert(session);
            agents.entry(agent(&session.key).to_owned()).or_default().insert(session);
        }
        let same = |a: &Group, b: &Group| a.places == b.places && a.totals == b.totals;
        same(&all, &self.all)
            && agents.len() == self.by_agent.len()
            && agents.iter().all(|(name, g)| self.by_agent.get(name).is_some_and(|o| same(g, o)))
    }
}

/// What a page has gathered on its way.
struct Way<'g> {
    group: &'g Group,
    oldest_ms: u64,
    limit: usize,
    rows: Vec<Arc<Session>>,
}

impl Way<'_> {
    /// Down from `start`, or from below `after`; then up. Where to go on, if there is more.
    fn down(
        &mut self,
        start: &SessionPlace,
        after: Option<&SessionPlace>,
    ) -> Option<SessionsCursor> {
        let bound = after.map_or(Included(start), Excluded);
        let mut last: Option<&SessionPlace> = None;
        for (place, session) in self.group.places.range((Unbounded, bound)).rev() {
            if place.updated_at_ms < self.oldest_ms {
                break;
            }
            if self.rows.len() == self.limit {
                let after = last.cloned()?;
                return Some(SessionsCursor::Down { start: start.clone(), after });
            }
            self.rows.push(Arc::clone(session));
            last = Some(place);
        }
        self.up(start)
    }

    /// Up from above `after`.
    fn up(&mut self, after: &SessionPlace) -> Option<SessionsCursor> {
        let mut last = after;
        for (place, session) in self.group.places.range((Excluded(after), Unbounded)) {
            if place.updated_at_ms < self.oldest_ms {
                continue;
            }
            if self.rows.len() == self.limit {
                return Some(SessionsCursor::Up { after: last.clone() });
            }
            self.rows.push(Arc::clone(session));
            last = place;
        }
        None
    }
}
