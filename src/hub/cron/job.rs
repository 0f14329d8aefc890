//! One job: its record, its history, and where its current occurrence stands.
//!
//! Pure bookkeeping of one job; knows no other job and no disk. Called by `hub::cron`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::limits::{
    CRON_MISSED_COUNTED_MAX, CRON_RUN_TEXT_BYTES_MAX, CRON_RUNS_PER_JOB_MAX,
};
use crate::protocol::cron::{CronJob, CronRun, RunStatus, Trigger};
use crate::protocol::schedule::{Schedule, ScheduleText};

/// Where a job's current occurrence stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Phase {
    /// There is none.
    Idle,
    /// It waits for a free place. Not on disk: after a restart it has been missed.
    Waiting { occurrence_ms: u64, trigger: Trigger },
    /// "Started" is on its way to the disk, under this number.
    Starting(u64),
    /// It runs.
    Running(u64),
}

/// Occurrences that stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first_ms: u64,
    pub(super) last_ms: u64,
    pub(super) count: u64,
}

/// See the module.
pub(in crate::hub) struct Job {
    pub(in crate::hub) record: CronJob,
    /// `None`: what is on disk cannot be read any more; the job is switched off.
    pub(super) schedule: Option<Schedule>,
    /// Oldest first.
    pub(in crate::hub) runs: VecDeque<Arc<CronRun>>,
    pub(in crate::hub) phase: Phase,
    /// An occurrence that is run when the store takes writes again.
    pub(super) owed: Option<u64>,
    /// Whether its removal is on its way to the disk.
    pub(in crate::hub) leaving: bool,
}

impl Job {
    pub(super) fn new(record: CronJob, schedule: Schedule) -> Self {
        Self {
            record,
            schedule: Some(schedule),
            runs: VecDeque::new(),
            phase: Phase::Idle,
            owed: None,
            leaving: false,
        }
    }

    /// A job from the disk.
    pub(super) fn load(mut record: CronJob) -> Self {
        let schedule = match Schedule::read(&record.schedule) {
            Ok(schedule) => Some(schedule),
            Err(problem) => {
                record.enabled = false;
                record.state.last_error = Some(short(&problem));
                None
            }
        };
        record.state.next_run_at_ms = None;
        let (runs, phase) = (VecDeque::new(), Phase::Idle);
        Self { record, schedule, runs, phase, owed: None, leaving: false }
    }

    /// Replaces the schedule if there is another; returns the one that was.
    pub(in crate::hub) fn change_schedule(
        &mut self,
        schedule: Option<Schedule>,
    ) -> Option<Schedule> {
        let before = self.schedule.clone();
        if schedule.is_some() {
            self.schedule = schedule;
        }
        before
    }

    /// Becomes again what it was before a change that is not on disk. What happened since stays:
    /// the state, the numbers, and what is settled of the same schedule.
    pub(super) fn restore(&mut self, before: CronJob, schedule: Option<Schedule>) {
        let now = std::mem::replace(&mut self.record, before);
        if now.schedule == self.record.schedule {
            let settled = &mut self.record.settled_through_ms;
            *settled = now.settled_through_ms.max(*settled);
        }
        self.record.last_number = now.last_number;
        self.record.state = now.state;
        self.schedule = schedule;
    }

    /// Whether it has come, and never comes again.
    pub(in crate::hub) fn is_over(&self) -> bool {
        let is_once = matches!(self.record.schedule, ScheduleText::At { .. });
        let has_come = self.record.state.last_run_at_ms.is_some();
        is_once && has_come && !self.record.enabled && !self.leaving && self.phase == Phase::Idle
    }

    /// Whether it has come, went well, and is kept for nothing but that.
    pub(super) fn is_to_be_forgotten(&self) -> bool {
        let mut scheduled = self.runs.iter().rev().filter(|run| run.trigger != Trigger::Manual);
        let went_well = scheduled.next().is_some_and(|run| run.status == RunStatus::Ok);
        self.record.delete_after_run && self.is_over() && went_well
    }

    /// When it comes next.
    pub(super) fn next(&self) -> Option<u64> {
        if !self.record.enabled || self.leaving {
            return None;
        }
        self.schedule.as_ref()?.next_after(self.record.settled_through_ms)
    }

    /// The occurrences that are not settled, up to this moment. There is at least one, which is
    /// the job's next.
    pub(super) fn open(&self, now_ms: u64) -> Option<Span> {
        let first_ms = self.record.state.next_run_at_ms?;
        let schedule = self.schedule.as_ref()?;
        let last_ms = schedule.latest_until(now_ms).map_or(first_ms, |last| last.max(first_ms));
        let after_ms = self.record.settled_through_ms;
        let count = schedule.count_between(after_ms, last_ms, CRON_MISSED_COUNTED_MAX).max(1);
        Some(Span { first_ms, last_ms, count })
    }

    /// The span without its last occurrence.
    pub(super) fn but_last(&self, span: Span) -> Option<Span> {
        let last_ms = self.schedule.as_ref()?.latest_until(span.last_ms.checked_sub(1)?)?;
        let count = span.count.checked_sub(1).filter(|count| *count > 0)?;
        Some(Span { last_ms: last_ms.max(span.first_ms), count, ..span })
    }

    /// Whether this occurrence has run: a clock that was set back may come to it again.
    pub(super) fn has_run(&self, occurrence_ms: u64) -> bool {
        self.runs.iter().any(|run| {
            run.started_at_ms.is_some()
                && run.trigger != Trigger::Manual
                && run.occurrence_ms == occurrence_ms
        })
    }

    /// As it goes to the disk: an occurrence that has not started yet is not settled there.
    pub(super) fn durable(&self) -> CronJob {
        let mut record = self.record.clone();
        let waiting = match &self.phase {
            Phase::Waiting { occurrence_ms, .. } => Some(*occurrence_ms),
            Phase::Idle | Phase::Starting(_) | Phase::Running(_) => None,
        };
        if let Some(open) = [waiting, self.owed].into_iter().flatten().min() {
            record.settled_through_ms = record.settled_through_ms.min(open.saturating_sub(1));
        }
        record
    }

    /// The number that the next run has.
    pub(in crate::hub) fn next_number(&self) -> u64 {
        self.record.last_number + 1
    }

    fn take_number(&mut self) -> u64 {
        self.record.last_number = self.next_number();
        self.record.last_number
    }

    /// Notes occurrences that did not run; those of one kind that follow each other stand
    /// together. Returns the entry.
    pub(super) fn note(&mut self, status: RunStatus, span: Span, why: &str) -> Arc<CronRun> {
        let follows = |last: &CronRun| {
            let next = self.schedule.as_ref()?.next_after(last.last_occurrence_ms)?;
            (next == span.first_ms).then_some(())
        };
        let together = self.runs.back().filter(|last| {
            last.status == status && last.error.as_deref() == Some(why) && follows(last).is_some()
        });
        let run = match together {
            Some(last) => {
                let mut run = CronRun::clone(last);
                run.last_occurrence_ms = span.last_ms;
                run.count = run.count.saturating_add(span.count);
                self.runs.pop_back();
                run
            }
            None => CronRun {
                job: self.record.id.clone(),
                number: self.take_number(),
                trigger: Trigger::Schedule,
                status,
                occurrence_ms: span.first_ms,
                last_occurrence_ms: span.last_ms,
                count: span.count,
                started_at_ms: None,
                ended_at_ms: None,
                error: Some(Arc::from(why)),
                summary: None,
            },
        };
        let run = Arc::new(run);
        self.runs.push_back(Arc::clone(&run));
        run
    }

    /// The oldest entry, if there are too many; the run that goes on stays.
    pub(super) fn trim(&mut self) -> Option<u64> {
        if self.runs.len() <= CRON_RUNS_PER_JOB_MAX {
            return None;
        }
        let oldest = self.runs.iter().position(|run| run.status != RunStatus::Running)?;
        self.runs.remove(oldest).map(|run| run.number)
    }

    /// Begins the entry of a run.
    pub(super) fn begin(
        &mut self,
        occurrence_ms: u64,
        trigger: Trigger,
        now_ms: u64,
    ) -> Arc<CronRun> {
        let run = Arc::new(CronRun {
            job: self.record.id.clone(),
            number: self.take_number(),
            trigger,
            status: RunStatus::Running,
            occurrence_ms,
            last_occurrence_ms: occurrence_ms,
            count: 1,
            started_at_ms: Some(now_ms),
            ended_at_ms: None,
            error: None,
            summary: None,
        });
        self.runs.push_back(Arc::clone(&run));
        self.record.state.running_at_ms = Some(now_ms);
        self.phase = Phase::Starting(run.number);
        run
    }

    /// Takes an entry out again: the run never started. Returns its occurrence and trigger.
    pub(super) fn take_back(&mut self, number: u64) -> Option<(u64, Trigger)> {
        let place = self.runs.iter().rposition(|run| run.number == number)?;
        let run = self.runs.remove(place)?;
        self.phase = Phase::Idle;
        self.record.state.running_at_ms = None;
        Some((run.occurrence_ms, run.trigger))
    }

    /// It is not removed after all. Returns the occurrence that waited for a place.
    pub(super) fn stay(&mut self) -> Option<u64> {
        self.leaving = false;
        let Phase::Waiting { occurrence_ms, .. } = self.phase else { return None };
        self.phase = Phase::Idle;
        Some(occurrence_ms)
    }

    /// Ends a run; returns its entry.
    pub(super) fn end(
        &mut self,
        number: u64,
        outcome: &Result<Option<String>, String>,
        now_ms: u64,
    ) -> Option<Arc<CronRun>> {
        let place = self.runs.iter().rposition(|run| run.number == number)?;
        let run = self.runs.get_mut(place)?;
        let mut ended = CronRun::clone(run);
        ended.ended_at_ms = Some(now_ms);
        match outcome {
            Ok(summary) => {
                ended.status = RunStatus::Ok;
                ended.summary = summary.as_deref().map(short);
            }
            Err(error) => {
                ended.status = RunStatus::Error;
                ended.error = Some(short(error));
            }
        }
        let ended = Arc::new(ended);
        *run = Arc::clone(&ended);
        let state = &mut self.record.state;
        state.running_at_ms = None;
        state.last_run_at_ms = ended.started_at_ms;
        state.last_status = Some(ended.status);
        state.last_error = ended.error.clone();
        state.last_duration_ms = ended.started_at_ms.map(|at| now_ms.saturating_sub(at));
        state.consecutive_errors = match outcome {
            Ok(_) => 0,
            Err(_) => state.consecutive_errors.saturating_add(1),
        };
        self.phase = Phase::Idle;
        self.switch_off_when_over();
        Some(ended)
    }

    /// A job that comes once and has come is switched off.
    pub(super) fn switch_off_when_over(&mut self) {
        if matches!(self.record.schedule, ScheduleText::At { .. }) && self.next().is_none() {
            self.record.enabled = false;
        }
    }

    /// Ends what ran when the gateway ended; returns the entries.
    pub(super) fn interrupted(&mut self, now_ms: u64) -> Vec<Arc<CronRun>> {
        let open = self.runs.iter().filter(|run| run.status == RunStatus::Running);
        let open: Vec<_> = open.map(|run| run.number).collect();
        let outcome = Err("the gateway ended while it ran".to_owned());
        open.into_iter().filter_map(|number| self.end(number, &outcome, now_ms)).collect()
    }
}

/// What the history keeps of a text.
fn short(text: &str) -> Arc<str> {
    let mut end = CRON_RUN_TEXT_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Arc::from(&text[..end])
}
