//! The table of the spawns: open, of an earlier gateway, ended; the places and the queue for them.
//!
//! Keeps the counts and orders true, and decides nothing else. Called by the other files here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::{Phase, Spawn};
use crate::base::ids::{AgentName, DeviceId, SessionKey, SpawnId, UserName};
use crate::base::limits::SPAWNS_ENDED_MAX;
use crate::hub::gauges::Tally;
use crate::hub::records::{AnswerKey, AnswerRecord, SpawnOrigin, SpawnRecord};
use crate::protocol::spawn::SpawnStatus;

/// See the module.
#[derive(Default)]
pub(in crate::hub) struct Spawns {
    open: BTreeMap<SpawnId, Spawn>,
    /// Open at the start, until it is known that nothing of them runs.
    earlier: BTreeMap<SpawnId, SpawnRecord>,
    /// Whether that was asked.
    earlier_asked: bool,
    ended: BTreeMap<SpawnId, SpawnRecord>,
    /// The ended ones, oldest first.
    ended_order: VecDeque<SpawnId>,
    /// Those without a place, in order of arrival.
    queue: VecDeque<SpawnId>,
    placed: usize,
    /// Places, and places in the queue, that were taken when the limits changed last, as far as
    /// they still are: so many there may be beside the limits.
    carried: (usize, usize),
    placed_by_template: BTreeMap<AgentName, usize>,
    /// Bytes of the programs that are not launched yet.
    asked_bytes: usize,
    deadlines: BTreeSet<(Instant, SpawnId)>,
    /// The credentials that are good, by their hash.
    tokens: BTreeMap<[u8; 32], SpawnId>,
    /// How those ended that have ended since the start.
    pub(in crate::hub) outcomes: Tally<SpawnStatus>,
}

impl Spawns {
    /// Takes what was on disk; returns the ended ones for which there is no room any more.
    pub(in crate::hub) fn load(&mut self, mut records: Vec<SpawnRecord>) -> Vec<SpawnId> {
        records.sort_by_key(|record| (record.ended_at_ms, record.created_at_ms, record.id.clone()));
        let mut displaced = Vec::new();
        for record in records {
            if record.status.is_terminal() {
                displaced.extend(self.keep_ended(record));
            } else {
                self.earlier.insert(record.id.clone(), record);
            }
        }
        displaced
    }

    /// The limits change; who has a place, or waits for one, stays.
    pub(in crate::hub) fn carry_over(&mut self) {
        self.carried = (self.placed, self.queue.len());
    }

    fn count_carried(&mut self) {
        let (places, queued) = self.carried;
        self.carried = (places.min(self.placed), queued.min(self.queue.len()));
    }

    /// Adds an open spawn, with a place or at the end of the queue.
    pub(super) fn open(&mut self, mut spawn: Spawn, has_place: bool) {
        let id = spawn.record.id.clone();
        spawn.placed = has_place;
        if has_place {
            self.count_place(spawn.template.as_ref());
        } else {
            self.queue.push_back(id.clone());
        }
        self.asked_bytes += spawn.program.as_ref().map_or(0, |program| program.bytes());
        self.open.insert(id, spawn);
    }

    fn count_place(&mut self, template: Option<&AgentName>) {
        self.placed += 1;
        if let Some(template) = template {
            *self.placed_by_template.entry(template.clone()).or_default() += 1;
        }
    }

    /// Whether there is a place now, where so many may run at a time in all, and of this template.
    pub(super) fn has_place(&self, all: usize, template: Option<(&AgentName, usize)>) -> bool {
        let of_template =
            |name: &AgentName| self.placed_by_template.get(name).copied().unwrap_or(0);
        self.placed < all && template.is_none_or(|(name, max)| of_template(name) < max)
    }

    /// Gives this spawn a place; it leaves the queue.
    pub(super) fn give_place(&mut self, id: &SpawnId) {
        self.queue.retain(|queued| queued != id);
        let Some(spawn) = self.open.get_mut(id).filter(|spawn| !spawn.placed) else { return };
        spawn.placed = true;
        let template = spawn.template.clone();
        self.count_place(template.as_ref());
        self.count_carried();
    }

    /// Takes the program out, to launch it.
    pub(super) fn take_program(&mut self, id: &SpawnId) -> Option<Box<super::Program>> {
        let program = self.open.get_mut(id)?.program.take()?;
        self.asked_bytes -= program.bytes();
        Some(program)
    }

    /// Removes an open spawn with everything that hangs on it; its record is the caller's now.
    pub(super) fn close(&mut self, id: &SpawnId) -> Option<Spawn> {
        drop(self.take_program(id));
        self.end_token(id);
        self.set_deadline(id, None);
        let spawn = self.open.remove(id)?;
        if spawn.placed {
            self.placed -= 1;
            if let Some(template) = &spawn.template
                && let Some(count) = self.placed_by_template.get_mut(template)
            {
                *count -= 1;
                if *count == 0 {
                    self.placed_by_template.remove(template);
                }
            }
        } else {
            self.queue.retain(|queued| queued != id);
        }
        self.count_carried();
        Some(spawn)
    }

    /// Keeps an ended spawn; returns the oldest, where that had to go for it.
    pub(super) fn keep_ended(&mut self, record: SpawnRecord) -> Option<SpawnId> {
        self.ended_order.push_back(record.id.clone());
        self.ended.insert(record.id.clone(), record);
        if self.ended_order.len() <= SPAWNS_ENDED_MAX {
            return None;
        }
        let oldest = self.ended_order.pop_front()?;
        self.ended.remove(&oldest);
        Some(oldest)
    }

    pub(super) fn get(&self, id: &SpawnId) -> Option<&Spawn> {
        self.open.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &SpawnId) -> Option<&mut Spawn> {
        self.open.get_mut(id)
    }

    /// The record of a spawn, however it stands.
    pub(in crate::hub) fn record(&self, id: &SpawnId) -> Option<&SpawnRecord> {
        self.open
            .get(id)
            .map(|spawn| &spawn.record)
            .or_else(|| self.earlier.get(id))
            .or_else(|| self.ended.get(id))
    }

    /// All records, no order.
    pub(in crate::hub) fn records(&self) -> impl Iterator<Item = &SpawnRecord> {
        let open = self.open.values().map(|spawn| &spawn.record);
        open.chain(self.earlier.values()).chain(self.ended.values())
    }

    /// The open spawns.
    pub(super) fn open_ids(&self) -> Vec<SpawnId> {
        self.open.keys().cloned().collect()
    }

    /// The open spawns of a session.
    pub(in crate::hub) fn of_session(&self, session: &SessionKey) -> Vec<SpawnId> {
        let of_it = self.open.values().filter(|spawn| spawn.record.session == *session);
        of_it.map(|spawn| spawn.record.id.clone()).collect()
    }

    /// Whether a program of this agent runs, or is about to.
    pub(in crate::hub) fn has_agent(&self, agent: &AgentName) -> bool {
        self.open.values().any(|spawn| spawn.record.agent == *agent)
    }

    /// Whether nothing is open.
    pub(in crate::hub) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    pub(in crate::hub) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(in crate::hub) fn placed(&self) -> usize {
        self.placed
    }

    pub(super) fn queue(&self) -> impl Iterator<Item = &Spawn> {
        self.queue.iter().filter_map(|id| self.open.get(id))
    }

    pub(super) fn asked_bytes(&self) -> usize {
        self.asked_bytes
    }

    /// The spawn that a peer means: by its id, or by the id of a request of the peer's own device
    /// and user, of which the newest open one counts, else the newest.
    pub(in crate::hub) fn find(
        &self,
        id: &str,
        user: &UserName,
        device: Option<&DeviceId>,
    ) -> Option<SpawnId> {
        let whole = SpawnId::new(id);
        if self.record(&whole).is_some() {
            return Some(whole);
        }
        let is_meant = |record: &&SpawnRecord| match &record.origin {
            SpawnOrigin::Request { id: request, device: asked } => {
                request.as_str() == id && asked.as_ref() == device && record.user == *user
            }
            SpawnOrigin::Run(_) | SpawnOrigin::Cron { .. } => false,
        };
        self.records()
            .filter(is_meant)
            .max_by_key(|record| {
                (!record.status.is_terminal(), record.created_at_ms, record.id.clone())
            })
            .map(|record| record.id.clone())
    }

    pub(super) fn set_deadline(&mut self, id: &SpawnId, deadline: Option<Instant>) {
        let Some(spawn) = self.open.get_mut(id) else { return };
        if let Some(before) = spawn.deadline.take() {
            self.deadlines.remove(&(before, id.clone()));
        }
        spawn.deadline = deadline;
        if let Some(at) = deadline {
            self.deadlines.insert((at, id.clone()));
        }
    }

    pub(in crate::hub) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The next spawn whose deadline has come; it has none any more.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<SpawnId> {
        let (at, id) = self.deadlines.first().filter(|(at, _)| *at <= now)?.clone();
        self.deadlines.remove(&(at, id.clone()));
        if let Some(spawn) = self.open.get_mut(&id) {
            spawn.deadline = None;
        }
        Some(id)
    }

    pub(super) fn begin_token(&mut self, id: &SpawnId, hash: [u8; 32]) {
        if let Some(spawn) = self.open.get_mut(id) {
            spawn.token = Some(hash);
            self.tokens.insert(hash, id.clone());
        }
    }

    /// The credential of a spawn is good no longer.
    pub(super) fn end_token(&mut self, id: &SpawnId) {
        if let Some(hash) = self.open.get_mut(id).and_then(|spawn| spawn.token.take()) {
            self.tokens.remove(&hash);
        }
    }

    /// The spawn whose good credential this is. A hash of 256 random bits tells nothing by the
    /// time that it takes to look it up.
    pub(in crate::hub) fn by_token(&self, hash: &[u8; 32]) -> Option<&SpawnRecord> {
        self.tokens.get(hash).and_then(|id| self.open.get(id)).map(|spawn| &spawn.record)
    }

    /// The spawns of an earlier gateway, the first time this is asked.
    pub(super) fn take_earlier(&mut self) -> Option<impl Iterator<Item = &SpawnRecord>> {
        if std::mem::replace(&mut self.earlier_asked, true) || self.earlier.is_empty() {
            return None;
        }
        Some(self.earlier.values())
    }

    pub(super) fn remove_earlier(&mut self, id: &SpawnId) -> Option<SpawnRecord> {
        self.earlier.remove(id)
    }

    /// Who asked for a spawn asked under this key.
    pub(in crate::hub) fn set_once(&mut self, id: &SpawnId, key: AnswerKey, answer: AnswerRecord) {
        if let Some(asker) = self.open.get_mut(id).and_then(|spawn| spawn.asker.as_mut()) {
            asker.once = Some((key, Some(Box::new(answer))));
        }
    }

    /// What must hold between two inputs; the error says what does not.
    pub(in crate::hub) fn check(&self, all: usize, queued: usize) -> Result<(), &'static str> {
        let placed = self.open.values().filter(|spawn| spawn.placed).count();
        let (all, queued) = (all.max(self.carried.0), queued.max(self.carried.1));
        let deadlines = self.open.values().filter(|spawn| spawn.deadline.is_some()).count();
        let tokens = self.open.values().filter(|spawn| spawn.token.is_some()).count();
        let bytes = |spawn: &Spawn| spawn.program.as_ref().map_or(0, |program| program.bytes());
        let needs_place = |spawn: &Spawn| {
            !matches!(spawn.phase, Phase::Resolving | Phase::Queued(_)) && !spawn.placed
        };
        let terminal = |spawn: &Spawn| spawn.record.status.is_terminal();
        let checks = [
            (placed == self.placed && self.placed <= all, "no more spawns run than may"),
            (
                self.placed_by_template.values().sum::<usize>()
                    == self.open.values().filter(|s| s.placed && s.template.is_some()).count(),
                "the places of templates are counted",
            ),
            (self.queue.len() == self.open.len() - placed, "who has no place is in the queue"),
            (self.queue.len() <= queued, "the queue of spawns is bounded"),
            (deadlines == self.deadlines.len(), "every deadline of a spawn is known"),
            (tokens == self.tokens.len(), "every credential belongs to an open spawn"),
            (
                self.open.values().map(bytes).sum::<usize>() == self.asked_bytes,
                "the bytes of waiting spawns are counted",
            ),
            (!self.open.values().any(needs_place), "nothing runs without a place"),
            (!self.open.values().any(terminal), "an open spawn has not ended"),
            (
                self.ended.len() == self.ended_order.len() && self.ended.len() <= SPAWNS_ENDED_MAX,
                "the ended spawns are bounded",
            ),
            (
                self.ended.values().all(|record| record.status.is_terminal()),
                "an ended spawn has a terminal status",
            ),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, name)) => Err(name),
            None => Ok(()),
        }
    }
}
