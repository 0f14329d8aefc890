//! Commits: which changes go to the store together, and who waits for them.
//!
//! At most one commit is with the store; what changes meanwhile is gathered into the next one.
//! Owns no record, only changes on their way, and does not undo anything itself: `durability`
//! does, with what is kept here about each commit.
//!
//! ```text
//!            change               dispatch                stored
//!   (idle) ─────────▶ gathering ───────────▶ in flight ───────────▶ waiters are answered
//!                        ▲                       │
//!                        └── changes meanwhile   └─ failed: both are refused, gathering stops
//!                                                   until the store has recovered
//! ```

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use crate::base::ids::{
    AgentName, AllowedId, ApprovalId, ConnId, Cursor, DeviceId, JobId, RequestId, RunId,
    SessionKey, SpawnId, Ticket,
};
use crate::hub::admission::Admission;
use crate::hub::agents::Agents;
use crate::hub::cron::CronWaiter;
use crate::hub::marks::Marks;
use crate::hub::records::{AnswerKey, AnswerRecord, Change, DeviceRecord, TokenRecord};
use crate::hub::sessions::Sessions;
use crate::hub::spawns::table::Spawns;
use crate::hub::touched::Touched;
use crate::protocol::agent_status::AgentStatus;
use crate::protocol::cron::{CronJob, CronRun};
use crate::protocol::log_entry::LogRecord;
use crate::protocol::reply::Reply;
use crate::protocol::session::Session;
use crate::protocol::spawn::SpawnShown;

/// What a change costs beside its text.
const CHANGE_OVERHEAD_BYTES: usize = 128;
/// What a record costs: its texts are bounded, and some hundred bytes each.
const RECORD_BYTES: usize = 512;
/// What a session or an agent's status costs, as it was and as it is.
const SESSION_BYTES: usize = 2 * 1024;

/// What a spawn's record costs: a command and an error of some 4 KiB at most, the rest is short.
const SPAWN_BYTES: usize = 2 * 1024;

/// Who is answered when a commit is on disk.
pub(super) enum Waiter {
    /// A report: its answer, or that it was taken back.
    Report { conn: ConnId, id: RequestId, reply: Box<Reply> },
    /// Everyone who waits for this answer.
    Answer(AnswerKey),
    /// A `connect`.
    Admission(Box<Admission>),
    /// A job that changed, or a run that begins.
    Cron(Box<CronWaiter>),
    /// A run that starts: its agent is asked, and who asked is answered.
    Run(RunId),
    /// A run that has ended: everyone who waits for it is answered.
    RunEnd(RunId),
    /// A request for approval that was decided: everyone who waits for it is answered.
    Decision(ApprovalId),
    /// A request whose answer is known, and stands once everything so far is on disk.
    Reply { conn: ConnId, id: RequestId, reply: Reply },
    /// A spawn that waits for a place.
    SpawnQueued(SpawnId),
    /// A launcher that waits for the word to go.
    SpawnHeld(SpawnId),
    /// A spawn that has ended: the operators are told.
    SpawnEnd(Arc<SpawnShown>),
}

/// Changes that become durable together.
#[derive(Default)]
pub(super) struct Batch {
    changes: Vec<Change>,
    bytes: usize,
    pub(super) waiters: Vec<Waiter>,
    /// The first journal entry among the changes.
    pub(super) first_entry: Option<Cursor>,
    pub(super) reservation: Option<Cursor>,
    pub(super) trims: bool,
    /// Sessions that were forgotten because there were too many.
    pub(super) forgotten: Vec<SessionKey>,
    pub(super) devices: BTreeSet<DeviceId>,
    pub(super) tokens: BTreeSet<[u8; 32]>,
    /// The jobs whose records are among the changes.
    pub(super) jobs: BTreeSet<JobId>,
    /// The sessions and agents that are written as they are when the commit starts.
    pub(super) touched: Touched,
    /// The runs and messages that are written as they are when the commit starts.
    pub(super) marks: Marks,
    /// Messages that are forgotten once their deletion is on disk.
    pub(super) cleared: BTreeSet<u64>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.touched.is_empty()
            && self.marks.is_empty()
            && self.waiters.is_empty()
    }
}

/// See the module.
pub(super) struct Commits {
    healthy: bool,
    last_ticket: Ticket,
    in_flight: Option<(Ticket, Batch)>,
    gathering: Batch,
    /// Changes that matter little and go along with the next commit.
    lazy: Vec<Change>,
    /// What a failing disk may have kept although it was refused: goes along with every commit
    /// until one of them is on disk, and is reason enough for one. Bounded by what two commits hold, for each failure in a row.
    unwanted: Vec<Change>,
    /// How many of these are with the store.
    unwanted_in_flight: usize,
    /// What is to be written once the store takes writes again. Bounded by the tables whose
    /// records it names, and what two commits hold.
    unwritten: Marks,
}

impl Commits {
    pub(super) fn new() -> Self {
        Self {
            healthy: true,
            last_ticket: Ticket(0),
            in_flight: None,
            gathering: Batch::default(),
            lazy: Vec::new(),
            unwanted: Vec::new(),
            unwanted_in_flight: 0,
            unwritten: Marks::default(),
        }
    }

    /// Whether the store takes writes.
    pub(super) fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// Whether nothing is with the store and nothing waits for it.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_none()
            && self.gathering.is_empty()
            && !(self.healthy && self.has_unwanted())
    }

    fn has_unwanted(&self) -> bool {
        !self.unwanted.is_empty()
    }

    /// What is not on disk yet.
    pub(super) fn uncommitted_bytes(&self) -> usize {
        self.gathering.bytes + self.in_flight.as_ref().map_or(0, |(_, batch)| batch.bytes)
    }

    fn push(&mut self, change: Change, text_bytes: usize) {
        self.gathering.changes.push(change);
        self.gathering.bytes += text_bytes + CHANGE_OVERHEAD_BYTES;
    }

    pub(super) fn reserve_cursors(&mut self, cursor: Cursor) {
        self.gathering.reservation = Some(cursor);
        self.push(Change::ReserveCursors(cursor), 0);
    }

    pub(super) fn append_entry(&mut self, record: Arc<LogRecord>) {
        self.gathering.first_entry.get_or_insert(record.cursor);
        let bytes = record.draft.body.len();
        self.push(Change::AppendLog(record), bytes);
    }

    pub(super) fn trim_journal(&mut self, through: Cursor) {
        self.gathering.trims = true;
        self.push(Change::TrimJournal(through), 0);
    }

    pub(super) fn forget_session(&mut self, key: SessionKey) {
        self.gathering.forgotten.push(key.clone());
        self.push(Change::DeleteSession(key), 0);
    }

    pub(super) fn put_device(&mut self, record: &DeviceRecord) {
        self.gathering.devices.insert(record.id.clone());
        self.push(Change::PutDevice(Box::new(record.clone())), RECORD_BYTES);
    }

    pub(super) fn delete_device(&mut self, id: DeviceId) {
        self.gathering.devices.insert(id.clone());
        self.push(Change::DeleteDevice(id), 0);
    }

    pub(super) fn put_token(&mut self, record: &TokenRecord) {
        self.gathering.tokens.insert(record.hash);
        self.push(Change::PutToken(Box::new(record.clone())), RECORD_BYTES);
    }

    pub(super) fn delete_token(&mut self, hash: [u8; 32]) {
        self.gathering.tokens.insert(hash);
        self.push(Change::DeleteToken(hash), 0);
    }

    pub(super) fn put_answer(&mut self, record: AnswerRecord) {
        self.push(Change::PutAnswer(Box::new(record)), RECORD_BYTES);
    }

    pub(super) fn put_cron_job(&mut self, job: CronJob) {
        self.gathering.jobs.insert(job.id.clone());
        self.push(Change::PutCronJob(Box::new(job)), RECORD_BYTES);
    }

    pub(super) fn put_cron_run(&mut self, run: &Arc<CronRun>) {
        self.gathering.jobs.insert(run.job.clone());
        self.push(Change::PutCronRun(Arc::clone(run)), RECORD_BYTES);
    }

    pub(super) fn delete_cron_job(&mut self, id: &JobId) {
        self.gathering.jobs.insert(id.clone());
        self.push(Change::DeleteCronJob(id.clone()), 0);
    }

    /// Also while the store takes no writes: then it goes along later.
    pub(super) fn delete_cron_run(&mut self, id: &JobId, number: u64) {
        let change = Change::DeleteCronRun(id.clone(), number);
        if self.healthy {
            self.gathering.jobs.insert(id.clone());
            self.push(change, 0);
        } else {
            self.unwanted.push(change);
        }
    }

    /// A session changes, from what it was.
    pub(super) fn touch_session(&mut self, key: &SessionKey, before: Option<&Arc<Session>>) {
        if self.gathering.touched.session(key, before) {
            self.gathering.bytes += SESSION_BYTES;
        }
    }

    /// An agent's status changes, from what it was.
    pub(super) fn touch_agent(&mut self, name: &AgentName, before: Option<&Arc<AgentStatus>>) {
        if self.gathering.touched.agent(name, before) {
            self.gathering.bytes += SESSION_BYTES;
        }
    }

    /// A run changes, which from now on holds so many bytes of text.
    pub(super) fn mark_run(&mut self, id: RunId, text_bytes: usize) {
        if !self.healthy {
            self.unwritten.runs.insert(id);
        } else if self.gathering.marks.runs.insert(id) {
            self.gathering.bytes += text_bytes + RECORD_BYTES;
        }
    }

    /// A message is new or forgotten, of so many bytes of text.
    pub(super) fn mark_message(&mut self, id: u64, text_bytes: usize) {
        if !self.healthy {
            self.unwritten.messages.insert(id);
        } else if self.gathering.marks.messages.insert(id) {
            self.gathering.bytes += text_bytes + CHANGE_OVERHEAD_BYTES;
        }
    }

    /// A request for approval changes.
    pub(super) fn mark_approval(&mut self, id: ApprovalId) {
        if !self.healthy {
            self.unwritten.approvals.insert(id);
        } else if self.gathering.marks.approvals.insert(id) {
            self.gathering.bytes += SESSION_BYTES;
        }
    }

    /// A command is always allowed from now on, or no longer.
    pub(super) fn mark_allowed(&mut self, id: AllowedId) {
        if !self.healthy {
            self.unwritten.allowed.insert(id);
        } else if self.gathering.marks.allowed.insert(id) {
            self.gathering.bytes += SESSION_BYTES;
        }
    }

    /// These messages are deleted; they are forgotten once that is on disk.
    pub(super) fn clear_messages(&mut self, ids: BTreeSet<u64>) {
        for id in &ids {
            self.push(Change::DeleteMessage(*id), 0);
            // Else the same commit would write it again.
            self.gathering.marks.messages.remove(id);
        }
        self.gathering.cleared.extend(ids);
    }

    /// What the next commit writes as it is then.
    pub(super) fn marks(&self) -> &Marks {
        &self.gathering.marks
    }

    /// A spawn changes.
    pub(super) fn touch_spawn(&mut self, id: &SpawnId) {
        if self.gathering.touched.spawn(id) {
            self.gathering.bytes += SPAWN_BYTES;
        }
    }

    /// A deletion that may wait, and that may be lost: what it deletes has no effect any more and
    /// is found again at the next start.
    pub(super) fn lazily(&mut self, change: Change) {
        if self.healthy {
            self.lazy.push(change);
        }
    }

    /// Takes back what a failed commit may have left on disk, once the store has recovered.
    pub(super) fn after_recovery(&mut self, change: Change) {
        self.unwanted.push(change);
    }

    /// Waits for everything that has changed so far.
    pub(super) fn wait(&mut self, waiter: Waiter) {
        match &mut self.in_flight {
            Some((_, batch)) if self.gathering.is_empty() => batch.waiters.push(waiter),
            _ => self.gathering.waiters.push(waiter),
        }
    }

    /// Whether this device's record, or this token, is still on its way to the disk.
    pub(super) fn is_unstored(&self, device: &DeviceId, token: Option<&[u8; 32]>) -> bool {
        let holds = |batch: &Batch| {
            batch.devices.contains(device)
                || token.is_some_and(|token| batch.tokens.contains(token))
        };
        holds(&self.gathering) || self.in_flight.as_ref().is_some_and(|(_, batch)| holds(batch))
    }

    /// Whether a commit can be handed to the store now.
    pub(super) fn wants_dispatch(&self) -> bool {
        let has_work = !self.gathering.is_empty() || self.has_unwanted();
        self.healthy && self.in_flight.is_none() && has_work
    }

    /// The next commit; `marked` is what [`Self::marks`] stands for now.
    pub(super) fn dispatch(
        &mut self,
        sessions: &Sessions,
        agents: &Agents,
        spawns: &Spawns,
        marked: Vec<Change>,
    ) -> (Ticket, Vec<Change>) {
        assert!(self.wants_dispatch(), "one commit at a time, and none for nothing");
        self.last_ticket = Ticket(self.last_ticket.0 + 1);
        let mut batch = mem::take(&mut self.gathering);
        // First, because what was deleted may have come again under the same name.
        let mut changes = mem::take(&mut self.lazy);
        changes.append(&mut batch.changes);
        changes.extend(batch.touched.changes(sessions, agents, spawns));
        changes.extend(marked);
        changes.extend(self.unwanted.iter().cloned());
        self.unwanted_in_flight = self.unwanted.len();
        self.in_flight = Some((self.last_ticket, batch));
        (self.last_ticket, changes)
    }

    /// The commit with this ticket is on disk. `None` for a ticket that is not in flight.
    pub(super) fn stored(&mut self, ticket: Ticket) -> Option<Batch> {
        let (_, batch) = self.in_flight.take_if(|(in_flight, _)| *in_flight <= ticket)?;
        self.unwanted.drain(..mem::take(&mut self.unwanted_in_flight));
        Some(batch)
    }

    /// Nothing that was on its way is on disk; the batches, oldest first.
    pub(super) fn failed(&mut self) -> Vec<Batch> {
        self.healthy = false;
        self.lazy.clear();
        self.unwanted_in_flight = 0;
        let in_flight = self.in_flight.take().map(|(_, batch)| batch);
        let mut batches: Vec<Batch> =
            in_flight.into_iter().chain([mem::take(&mut self.gathering)]).collect();
        for batch in &mut batches {
            self.unwritten.merge(mem::take(&mut batch.marks));
            // They are still there, but a failing disk may have let them go.
            self.unwritten.messages.append(&mut batch.cleared);
        }
        batches
    }

    /// The store takes writes again.
    pub(super) fn recovered(&mut self) {
        self.healthy = true;
        let unwritten = mem::take(&mut self.unwritten);
        self.gathering.bytes += unwritten.len() * RECORD_BYTES;
        self.gathering.marks.merge(unwritten);
    }

    pub(super) fn lazy_len(&self) -> usize {
        self.lazy.len()
    }
}
