//! Occurrences: due, started, ended; and those that do not run.
//!
//! Called by the hub after every input, and by whatever ends a run.

use crate::base::ids::{ConnId, JobId, RequestId};
use crate::base::limits::CRON_LATE_MAX;
use crate::base::time::{Moment, millis};
use crate::hub::Hub;
use crate::hub::commits::Waiter;
use crate::hub::cron::job::{Job, Phase, Span};
use crate::hub::cron::storing::CronWaiter;
use crate::hub::effect::Effect;
use crate::protocol::cron::{CronNews, CronRun, Missed, RunStatus, Trigger};

const STORE_FAILED: &str = "the store took no writes";
const NOT_RUNNING: &str = "the gateway was not running";
const LATE: &str = "the clock was set forward, or the machine stood still";
const CHANGED: &str = "the job was changed before it could run";
const BUSY: &str = "the run before had not ended";
const NO_PLACE: &str = "no place was free until the next one came";

/// How a run came out: what it says, or why it failed.
pub(in crate::hub) type Outcome = Result<Option<String>, String>;

impl Hub {
    /// Starts what is due.
    pub(in crate::hub) fn run_due_jobs(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.cron.look(now) {
            let ids: Vec<_> = self.cron.jobs.keys().cloned().collect();
            for id in ids {
                self.cron.mend_clock(&id, now.unix_ms);
                self.cron.reschedule(&id);
            }
        }
        if self.stopping.is_some() {
            return;
        }
        if self.commits.is_healthy() {
            while let Some(id) = self.cron.owed.pop_first() {
                self.run_owed(now, &id, effects);
            }
        }
        // Places are free for them, too, when a run has not begun because of the store.
        self.start_waiting(now, effects);
        while let Some((at_ms, id)) = self.cron.due.first()
            && *at_ms <= now.unix_ms
        {
            let id = id.clone();
            self.occurrence_due(now, &id, effects);
        }
    }

    fn occurrence_due(&mut self, now: Moment, id: &JobId, effects: &mut Vec<Effect>) {
        let can_start = self.writable(0).is_ok();
        let Some(job) = self.cron.jobs.get_mut(id) else { return };
        let Some(span) = job.open(now.unix_ms) else { return };
        job.record.settled_through_ms = span.last_ms;
        let late = if span.last_ms < self.started.unix_ms {
            Some(NOT_RUNNING)
        } else if now.unix_ms - span.last_ms > millis(CRON_LATE_MAX) {
            Some(LATE)
        } else {
            None
        };
        let (missed, earlier) = (job.record.missed, job.but_last(span));
        if job.has_run(span.last_ms) {
            // The clock was set back; this one has been.
        } else if let Phase::Waiting { occurrence_ms, .. } = &mut job.phase {
            // On disk the one that waits is not settled, so none after it may be on record.
            let waited_ms = std::mem::replace(occurrence_ms, span.last_ms);
            let last_ms = earlier.map_or(waited_ms, |earlier| earlier.last_ms);
            let before = Span { first_ms: waited_ms, last_ms, count: span.count };
            self.note(id, RunStatus::Skipped, before, NO_PLACE, effects);
        } else if job.phase != Phase::Idle {
            self.note(id, RunStatus::Skipped, span, BUSY, effects);
        } else if missed == Missed::Skip && (late.is_some() || !can_start) {
            let why = late.unwrap_or(STORE_FAILED);
            self.note(id, RunStatus::Missed, span, why, effects);
        } else {
            if let Some(earlier) = earlier {
                self.note(id, RunStatus::Missed, earlier, late.unwrap_or(LATE), effects);
            }
            if can_start {
                let trigger = if late.is_some() { Trigger::CatchUp } else { Trigger::Schedule };
                self.place(now, id, span.last_ms, trigger);
            } else {
                self.owe(id, span.last_ms, effects);
            }
        }
        self.cron.reschedule(id);
        self.save_job(id);
    }

    /// A job was changed or switched off while an occurrence waited: that one does not run.
    pub(in crate::hub) fn drop_waiting(&mut self, id: &JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.cron.jobs.get_mut(id) else { return };
        let mut open: Vec<_> = job.owed.take().into_iter().collect();
        if let Phase::Waiting { occurrence_ms, .. } = job.phase {
            job.phase = Phase::Idle;
            open.push(occurrence_ms);
        }
        self.cron.waiting.retain(|other| other != id);
        self.cron.owed.remove(id);
        for occurrence_ms in open {
            self.note(id, RunStatus::Skipped, single(occurrence_ms), CHANGED, effects);
        }
    }

    /// Starts an occurrence, or lets it wait for a free place.
    fn place(&mut self, now: Moment, id: &JobId, occurrence_ms: u64, trigger: Trigger) {
        if self.cron.active.len() < self.cron.policy.concurrent_max {
            self.start(now, id, occurrence_ms, trigger, None);
        } else if let Some(job) = self.cron.jobs.get_mut(id) {
            job.phase = Phase::Waiting { occurrence_ms, trigger };
            self.cron.waiting.push_back(id.clone());
        }
    }

    /// Makes "started" durable; the run begins when it is.
    pub(in crate::hub) fn start(
        &mut self,
        now: Moment,
        id: &JobId,
        occurrence_ms: u64,
        trigger: Trigger,
        asker: Option<(ConnId, RequestId)>,
    ) {
        let Some(job) = self.cron.jobs.get_mut(id) else { return };
        let run = job.begin(occurrence_ms, trigger, now.unix_ms);
        let number = run.number;
        self.cron.active.insert((id.clone(), number));
        self.commits.put_cron_run(&run);
        self.save_job(id);
        self.trim_runs(id);
        let job = id.clone();
        self.commits.wait(Waiter::Cron(Box::new(CronWaiter::Start { job, number, asker })));
    }

    /// "Started" is on disk: the run begins, unless its job is gone.
    pub(super) fn started_is_stored(
        &mut self,
        now: Moment,
        id: &JobId,
        number: u64,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let job = self.cron.jobs.get_mut(id).filter(|job| job.phase == Phase::Starting(number));
        let Some(job) = job else {
            self.cron.active.remove(&(id.clone(), number));
            self.start_waiting(now, effects);
            return false;
        };
        job.phase = Phase::Running(number);
        let run = job.runs.iter().rfind(|run| run.number == number).cloned();
        if let Some(run) = run {
            let news = self.news("started", &run);
            Self::tell(news, effects);
        }
        if self.stopping.is_some() {
            let outcome = Err("the gateway was stopping".to_owned());
            self.occurrence_ended(now, id, number, outcome, effects);
        } else if let Some(outcome) = self.start_occurrence(now, id, number, effects) {
            self.occurrence_ended(now, id, number, outcome, effects);
        }
        true
    }

    /// A run has ended. Called once for each; what is not known as running is left alone.
    pub(in crate::hub) fn occurrence_ended(
        &mut self,
        now: Moment,
        id: &JobId,
        number: u64,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        if !self.cron.active.remove(&(id.clone(), number)) {
            return;
        }
        let status = if outcome.is_ok() { RunStatus::Ok } else { RunStatus::Error };
        self.cron.outcomes.add(status, 1);
        let Some(job) = self.cron.jobs.get_mut(id) else {
            // It was removed while it ran: nothing is left to write on.
            return self.start_waiting(now, effects);
        };
        let Some(run) = job.end(number, &outcome, now.unix_ms) else { return };
        let is_over = !job.record.enabled && job.record.delete_after_run && !job.leaving;
        let forget = is_over && run.status == RunStatus::Ok && run.trigger != Trigger::Manual;
        self.save_run(id, &run);
        self.save_job(id);
        self.cron.reschedule(id);
        self.tell_happened(self.news("finished", &run), effects);
        if forget && self.commits.is_healthy() {
            self.remove_job(id, None);
        }
        self.start_waiting(now, effects);
    }

    /// Gives free places to those that wait, but for jobs on their way out.
    pub(super) fn start_waiting(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        while self.stopping.is_none()
            && self.cron.active.len() < self.cron.policy.concurrent_max
            && let Some(place) = self.cron.waiting.iter().position(|id| self.cron.get(id).is_some())
            && let Some(id) = self.cron.waiting.remove(place)
        {
            let can_start = self.writable(0).is_ok();
            let Some(job) = self.cron.jobs.get_mut(&id) else { continue };
            let Phase::Waiting { occurrence_ms, trigger } = job.phase else { continue };
            job.phase = Phase::Idle;
            if can_start {
                self.start(now, &id, occurrence_ms, trigger, None);
            } else {
                self.not_started(&id, occurrence_ms, effects);
            }
        }
    }

    /// An occurrence that could not start because of the store.
    pub(super) fn not_started(
        &mut self,
        id: &JobId,
        occurrence_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let missed = self.cron.jobs.get(id).map(|job| job.record.missed);
        match missed {
            Some(Missed::RunOnce) => self.owe(id, occurrence_ms, effects),
            Some(Missed::Skip) => {
                let span = single(occurrence_ms);
                self.note(id, RunStatus::Missed, span, STORE_FAILED, effects);
            }
            None => {}
        }
        self.save_job(id);
    }

    /// Keeps an occurrence until the store takes writes again; one that was kept before is missed.
    fn owe(&mut self, id: &JobId, occurrence_ms: u64, effects: &mut Vec<Effect>) {
        let Some(job) = self.cron.jobs.get_mut(id) else { return };
        let (older, newer) = match job.owed {
            Some(owed) => (Some(owed.min(occurrence_ms)), owed.max(occurrence_ms)),
            None => (None, occurrence_ms),
        };
        job.owed = Some(newer);
        self.cron.owed.insert(id.clone());
        if let Some(older) = older.filter(|older| *older != newer) {
            self.note(id, RunStatus::Missed, single(older), STORE_FAILED, effects);
        }
    }

    fn run_owed(&mut self, now: Moment, id: &JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.cron.jobs.get_mut(id) else { return };
        let Some(occurrence_ms) = job.owed.take() else { return };
        if job.phase != Phase::Idle {
            self.note(id, RunStatus::Skipped, single(occurrence_ms), BUSY, effects);
        } else if job.record.enabled && !job.leaving {
            self.place(now, id, occurrence_ms, Trigger::CatchUp);
        }
        self.save_job(id);
    }

    /// Writes occurrences that did not run into the history.
    pub(super) fn note(
        &mut self,
        id: &JobId,
        status: RunStatus,
        span: Span,
        why: &str,
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = self.cron.jobs.get_mut(id) else { return };
        let run = job.note(status, span, why);
        self.cron.outcomes.add(status, span.count);
        if job.phase == Phase::Idle && job.owed.is_none() {
            job.switch_off_when_over();
        }
        self.save_run(id, &run);
        self.trim_runs(id);
        let news = self.news(status.as_str(), &run);
        self.tell_happened(CronNews { run_at_ms: Some(span.last_ms), ..news }, effects);
    }

    fn news(&self, action: &'static str, run: &CronRun) -> CronNews {
        let next = self.cron.jobs.get(&run.job).and_then(Job::next);
        CronNews {
            action,
            job: run.job.clone(),
            status: Some(run.status),
            run_at_ms: run.started_at_ms,
            next_run_at_ms: next,
            number: Some(run.number),
            error: run.error.clone(),
        }
    }
}

fn single(occurrence_ms: u64) -> Span {
    Span { first_ms: occurrence_ms, last_ms: occurrence_ms, count: 1 }
}
