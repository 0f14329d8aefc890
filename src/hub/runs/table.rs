//! The table of runs: those that are open, and for a while those that have ended. Bounded.
//!
//! Owns the runs with all that is counted and ordered over them: how many each agent and each user
//! has open, what is due when, which have ended when, and how much text all of them hold. Decides
//! nothing about a run (`runs`, `runs::ending`) and does not write to disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::ids::{AgentName, ConnId, RequestId, RunId, SpawnId, UserName};
use crate::base::limits::{
    IDEMPOTENT_ANSWER_TTL, RUN_KEPT, RUN_TEXT_BYTES_MAX, RUN_TEXTS_BYTES_MAX, RUNS_ENDED_MAX,
    RUNS_OPEN_MAX, RUNS_OPEN_PER_AGENT_MAX, RUNS_OPEN_PER_USER_MAX,
};
use crate::base::time::Moment;
use crate::hub::gauges::Tally;
use crate::hub::runs::record::RunRecord;
use crate::protocol::run::{AgentRequest, RunState};

/// One run.
pub(in crate::hub) struct Run {
    pub(in crate::hub) record: Arc<RunRecord>,
    pub(in crate::hub) stage: Stage,
    pub(in crate::hub) place: Place,
    /// How many events were told of it.
    pub(in crate::hub) seq: u64,
    /// The deltas so far, as far as they are kept.
    pub(in crate::hub) said: String,
    pub(in crate::hub) waiters: Vec<Waiter>,
    /// When it is ended for its agent, and as what.
    pub(in crate::hub) ends_at: Option<(Instant, Overdue)>,
    /// Its place in the order of what is due.
    due: Option<Instant>,
    /// Bytes of what its agent has not been given yet.
    unsent: usize,
}

/// What is known of a run from its start.
#[derive(Clone, Copy)]
pub(in crate::hub) struct Place {
    /// Its message in the history.
    pub(in crate::hub) message: u64,
    /// How long it may take.
    pub(in crate::hub) timeout: Duration,
}

/// How far a run has come.
pub(in crate::hub) enum Stage {
    /// Its record is on its way to the disk; `given_up` when it is to end as soon as it is there.
    Storing { request: Box<AgentRequest>, given_up: bool },
    /// Its agent was not there, and is being started: the spawn's end is its end, unless the agent
    /// says how it ended. The request waits for the agent to connect, if it does.
    Starting { request: Option<Box<AgentRequest>>, spawn: SpawnId, conn: Option<ConnId> },
    /// Its agent's connection was given it.
    Given(ConnId),
    /// It is over; `told` when those who waited have been answered.
    Ended { told: bool },
}

/// What a run is ended as when its time comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Overdue {
    /// It took too long.
    TimedOut,
    /// Somebody gave it up, and its agent has not said so.
    Aborted,
}

/// Someone who waits for a run.
pub(in crate::hub) struct Waiter {
    pub(in crate::hub) conn: ConnId,
    pub(in crate::hub) id: RequestId,
    pub(in crate::hub) what: Awaited,
}

/// What someone waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Awaited {
    /// That it is on disk: the first who asked, or a repetition.
    Start { repeated: bool },
    /// Its end, for the second answer of `agent`.
    End,
    /// Its end, or this moment: `agent.wait`.
    EndUntil(Instant),
}

impl Run {
    pub(in crate::hub) fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Ended { .. })
    }

    /// When something has to be done about it.
    fn next_due(&self) -> Option<Instant> {
        let waits = self.waiters.iter().filter_map(|waiter| match waiter.what {
            Awaited::EndUntil(until) => Some(until),
            Awaited::Start { .. } | Awaited::End => None,
        });
        waits.chain(self.ends_at.map(|(at, _)| at)).min()
    }
}

/// See the module.
#[derive(Default)]
pub(in crate::hub) struct Runs {
    by_id: BTreeMap<RunId, Run>,
    open: BTreeSet<RunId>,
    open_of_agent: BTreeMap<AgentName, usize>,
    open_of_user: BTreeMap<UserName, usize>,
    due: BTreeSet<(Instant, RunId)>,
    /// Those that have ended, by when they are forgotten.
    ended: VecDeque<(Instant, RunId)>,
    /// Bytes of all that was said and answered.
    text_bytes: usize,
    /// Bytes of all that agents have not been given yet.
    unsent_bytes: usize,
    /// Of those that have ended, how many at the front of the order have lost their text.
    textless: usize,
    /// How those ended that have ended since the start.
    pub(in crate::hub) outcomes: Tally<RunState>,
}

impl Runs {
    pub(in crate::hub) fn get(&self, id: &RunId) -> Option<&Run> {
        self.by_id.get(id)
    }

    /// A run, to be changed in what is not counted or ordered; call [`Self::reschedule`] after
    /// changing its waiters or its time.
    pub(in crate::hub) fn get_mut(&mut self, id: &RunId) -> Option<&mut Run> {
        self.by_id.get_mut(id)
    }

    /// Why there is no place for another run; `None` if there is one.
    pub(in crate::hub) fn lack_of_room(
        &self,
        now: Instant,
        agent: &AgentName,
        user: &UserName,
    ) -> Option<&'static str> {
        let of = |count: Option<&usize>| count.copied().unwrap_or_default();
        if of(self.open_of_agent.get(agent)) >= RUNS_OPEN_PER_AGENT_MAX {
            return Some("this agent has too many open runs");
        }
        if of(self.open_of_user.get(user)) >= RUNS_OPEN_PER_USER_MAX {
            return Some("you have too many open runs");
        }
        if self.open.len() >= RUNS_OPEN_MAX {
            return Some("there are too many open runs");
        }
        // Each open run will need a place among the ended ones.
        let full = self.ended.len() + self.open.len() >= RUNS_ENDED_MAX;
        let may_go = self.oldest_told().is_some_and(|forget_at| forgettable(now, forget_at));
        (full && !self.ended.is_empty() && !may_go).then_some("too many runs have ended lately")
    }

    /// Inserts a run that is open, for which there is room; returns the ids of those that had to be
    /// forgotten for it.
    pub(in crate::hub) fn insert(
        &mut self,
        record: Arc<RunRecord>,
        request: AgentRequest,
        place: Place,
    ) -> Option<RunId> {
        let id = record.id.clone();
        *self.open_of_agent.entry(record.agent.clone()).or_default() += 1;
        *self.open_of_user.entry(record.user.clone()).or_default() += 1;
        self.open.insert(id.clone());
        let unsent = request.bytes();
        let run = Run {
            record,
            stage: Stage::Storing { request: Box::new(request), given_up: false },
            place,
            seq: 0,
            said: String::new(),
            waiters: Vec::new(),
            ends_at: None,
            due: None,
            unsent,
        };
        self.unsent_bytes += unsent;
        self.by_id.insert(id, run);
        (self.ended.len() + self.open.len() > RUNS_ENDED_MAX).then(|| self.forget_oldest())?
    }

    /// Puts a run that has ended where it can be asked for, as at the start.
    pub(in crate::hub) fn load(&mut self, record: Arc<RunRecord>, forget_at: Instant) {
        self.text_bytes += record.text_bytes();
        self.ended.push_back((forget_at, record.id.clone()));
        let run = Run {
            stage: Stage::Ended { told: true },
            place: Place { message: 0, timeout: Duration::ZERO },
            seq: 0,
            said: String::new(),
            waiters: Vec::new(),
            ends_at: None,
            due: None,
            unsent: 0,
            record,
        };
        self.by_id.insert(run.record.id.clone(), run);
    }

    /// A run is over; `record` says how.
    pub(in crate::hub) fn end(&mut self, now: Instant, record: Arc<RunRecord>) {
        let id = record.id.clone();
        self.no_longer_open(&record);
        let Some(run) = self.by_id.get_mut(&id) else { return };
        self.text_bytes -= std::mem::take(&mut run.said).len();
        self.text_bytes += record.text_bytes();
        self.unsent_bytes -= std::mem::take(&mut run.unsent);
        run.record = record;
        run.stage = Stage::Ended { told: false };
        run.ends_at = None;
        self.ended.push_back((now + RUN_KEPT, id.clone()));
        self.reschedule(&id);
    }

    /// A run that was never written down is no run.
    pub(in crate::hub) fn remove_open(&mut self, id: &RunId) -> Option<Run> {
        let run = self.by_id.remove(id)?;
        self.no_longer_open(&run.record);
        self.text_bytes -= run.said.len();
        self.unsent_bytes -= run.unsent;
        if let Some(due) = run.due {
            self.due.remove(&(due, id.clone()));
        }
        Some(run)
    }

    fn no_longer_open(&mut self, record: &RunRecord) {
        self.open.remove(&record.id);
        let RunRecord { agent, user, .. } = record;
        decrease(&mut self.open_of_agent, agent);
        decrease(&mut self.open_of_user, user);
    }

    /// A run's request is handed to this connection of its agent; `None` if it was before.
    pub(in crate::hub) fn give(
        &mut self,
        id: &RunId,
        conn: ConnId,
        ends_at: Instant,
    ) -> Option<Box<AgentRequest>> {
        let run = self.by_id.get_mut(id)?;
        if !matches!(run.stage, Stage::Storing { .. }) {
            return None;
        }
        let before = std::mem::replace(&mut run.stage, Stage::Given(conn));
        let Stage::Storing { request, .. } = before else { return None };
        run.ends_at = Some((ends_at, Overdue::TimedOut));
        self.unsent_bytes -= std::mem::take(&mut run.unsent);
        self.reschedule(id);
        Some(request)
    }

    /// A run's agent is being started.
    pub(in crate::hub) fn starting(&mut self, id: &RunId, spawn: SpawnId, ends_at: Instant) {
        let Some(run) = self.by_id.get_mut(id) else { return };
        if !matches!(run.stage, Stage::Storing { .. }) {
            return;
        }
        let to = Stage::Starting { request: None, spawn, conn: None };
        let before = std::mem::replace(&mut run.stage, to);
        if let (Stage::Starting { request, .. }, Stage::Storing { request: waiting, .. }) =
            (&mut run.stage, before)
        {
            *request = Some(waiting);
        }
        run.ends_at = Some((ends_at, Overdue::TimedOut));
        self.reschedule(id);
    }

    /// A started agent connects: the request of the run that it was started for, if that is open
    /// and was not handed over before.
    pub(in crate::hub) fn arrived(
        &mut self,
        spawn: &SpawnId,
        conn: ConnId,
    ) -> Option<Box<AgentRequest>> {
        let id = self.of_spawn(spawn)?;
        let run = self.by_id.get_mut(&id)?;
        let Stage::Starting { request, conn: at, .. } = &mut run.stage else { return None };
        *at = Some(conn);
        let request = request.take()?;
        self.unsent_bytes -= std::mem::take(&mut run.unsent);
        Some(request)
    }

    /// The open run that a spawn was started for.
    pub(in crate::hub) fn of_spawn(&self, spawn: &SpawnId) -> Option<RunId> {
        let of =
            |run: &&Run| matches!(&run.stage, Stage::Starting { spawn: of, .. } if of == spawn);
        self.open().find(of).map(|run| run.record.id.clone())
    }

    /// Bytes of what agents have not been given yet.
    pub(in crate::hub) fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// Keeps what an agent has said so far, within the bounds of one answer and of all.
    pub(in crate::hub) fn said(&mut self, id: &RunId, text: &str) {
        let Some(run) = self.by_id.get_mut(id) else { return };
        let room = RUN_TEXT_BYTES_MAX - run.said.len();
        let room = room.min(RUN_TEXTS_BYTES_MAX.saturating_sub(self.text_bytes));
        let taken = &text[..text.floor_char_boundary(room)];
        run.said.push_str(taken);
        self.text_bytes += taken.len();
    }

    /// Takes the text from the run that ended first and still has one, if all texts together and
    /// `more` bytes are too much; returns its id.
    pub(in crate::hub) fn shed_text(&mut self, more: usize) -> Option<RunId> {
        while self.text_bytes + more > RUN_TEXTS_BYTES_MAX {
            let (_, id) = self.ended.get(self.textless)?;
            self.textless += 1;
            let Some(run) = self.by_id.get_mut(id) else { continue };
            let bytes = run.record.text_bytes();
            if bytes > 0 {
                self.text_bytes -= bytes;
                if let Some(end) = &mut Arc::make_mut(&mut run.record).end {
                    end.text = None;
                }
                return Some(id.clone());
            }
        }
        None
    }

    /// The open runs, by id.
    pub(in crate::hub) fn open(&self) -> impl Iterator<Item = &Run> {
        self.open.iter().filter_map(|id| self.by_id.get(id))
    }

    /// Those who wait have changed, or its time has.
    pub(in crate::hub) fn reschedule(&mut self, id: &RunId) {
        let Some(run) = self.by_id.get_mut(id) else { return };
        let next = run.next_due();
        if run.due == next {
            return;
        }
        if let Some(before) = std::mem::replace(&mut run.due, next) {
            self.due.remove(&(before, id.clone()));
        }
        if let Some(next) = next {
            self.due.insert((next, id.clone()));
        }
    }

    /// A run about which something has to be done now.
    pub(in crate::hub) fn due(&self, now: Instant) -> Option<RunId> {
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, id)| id.clone())
    }

    /// Forgets the run that ended first, if it was kept for long enough; returns its id.
    pub(in crate::hub) fn forget_due(&mut self, now: Instant) -> Option<RunId> {
        self.oldest_told().filter(|forget_at| *forget_at <= now)?;
        self.forget_oldest()
    }

    /// When the run that ended first is to be forgotten. `None` while somebody still has to be told
    /// of its end, because the store takes that long: it is kept, and so are those that ended
    /// later.
    fn oldest_told(&self) -> Option<Instant> {
        let (forget_at, id) = self.ended.front()?;
        let stage = self.by_id.get(id).map(|run| &run.stage);
        (!matches!(stage, Some(Stage::Ended { told: false }))).then_some(*forget_at)
    }

    fn forget_oldest(&mut self) -> Option<RunId> {
        let (_, id) = self.ended.pop_front()?;
        self.textless = self.textless.saturating_sub(1);
        if let Some(run) = self.by_id.remove(&id) {
            self.text_bytes -= run.record.text_bytes();
            if let Some(due) = run.due {
                self.due.remove(&(due, id.clone()));
            }
        }
        Some(id)
    }

    pub(in crate::hub) fn deadline(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        [due, self.oldest_told()].into_iter().flatten().min()
    }

    pub(in crate::hub) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Whether the counts and orders are those of the runs, and all is within bounds.
    pub(in crate::hub) fn is_consistent(&self) -> bool {
        let open = self.by_id.values().filter(|run| run.is_open());
        let texts = self.by_id.values().map(|run| run.said.len() + run.record.text_bytes());
        open.clone().count() == self.open.len()
            && open.clone().all(|run| run.record.end.is_none())
            && self.open_of_agent.values().sum::<usize>() == self.open.len()
            && self.open_of_user.values().sum::<usize>() == self.open.len()
            && self.open.len() <= RUNS_OPEN_MAX
            && self.open_of_agent.values().all(|count| *count <= RUNS_OPEN_PER_AGENT_MAX)
            && self.open_of_user.values().all(|count| *count <= RUNS_OPEN_PER_USER_MAX)
            && self.ended.len() + self.open.len() == self.by_id.len()
            && self.by_id.len() <= RUNS_ENDED_MAX
            && self.by_id.values().map(|run| run.unsent).sum::<usize>() == self.unsent_bytes
            && texts.sum::<usize>() == self.text_bytes
            && self.text_bytes <= RUN_TEXTS_BYTES_MAX
            && self.by_id.values().filter(|run| run.due.is_some()).count() == self.due.len()
            && self.by_id.values().all(|run| run.due == run.next_due())
    }
}

/// Whether a run that is to be forgotten then may be forgotten now: its key cannot be repeated any
/// more.
fn forgettable(now: Instant, forget_at: Instant) -> bool {
    const LEFT: Duration = RUN_KEPT.saturating_sub(IDEMPOTENT_ANSWER_TTL);
    forget_at <= now + LEFT
}

fn decrease<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// When a run that ended then is forgotten, counted from `now` after a restart.
pub(in crate::hub) fn forget_at(now: Moment, ended_at_ms: u64) -> Instant {
    let age = Duration::from_millis(now.unix_ms.saturating_sub(ended_at_ms));
    now.at + RUN_KEPT.saturating_sub(age)
}
