//! The schedule: jobs, their occurrences and their history (`docs/protocol.md`, "Cron").
//!
//! Owns when a job runs and that it runs once for each occurrence; what a run does is in
//! `payloads`, which jobs there are in `verbs::cron`, when they come in `protocol::schedule`.
//!
//! ```text
//!            due               a place is free           on disk
//!  (idle) ─────────▶ (waiting) ───────────────▶ starting ─────────▶ running ─────▶ (idle)
//!    │  due while it is not idle: skipped          │ not on disk          ended, once
//!    │  down, or the store fails: missed           ▼
//!    └───────────────────────────────────────── missed, or owed until the store takes writes
//! ```
//!
//! Every occurrence up to `settled_through_ms` is settled: it ran, or stands in the history as
//! skipped or missed. That mark is on disk together with "running", before anything runs.

mod job;
mod occurrences;
mod payloads;
mod storing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::ids::JobId;
use crate::base::limits::{
    CRON_CLOCK_BACK_MAX, CRON_JOBS_MAX, CRON_RECHECK, CRON_RUNS_PER_JOB_MAX,
};
use crate::base::time::{Moment, millis};
use crate::hub::commits::Commits;
use crate::hub::cron::job::Job;
pub(super) use crate::hub::cron::job::Phase;
pub(super) use crate::hub::cron::storing::{CronAsker, CronWaiter};
use crate::hub::gauges::Tally;
use crate::hub::policy::CronPolicy;
use crate::hub::records::Change;
use crate::protocol::cron::{CronJob, CronRun, RunStatus};
use crate::protocol::schedule::Schedule;

/// See the module.
pub(super) struct Cron {
    pub(super) policy: CronPolicy,
    pub(super) jobs: BTreeMap<JobId, Job>,
    /// When each job that is switched on comes next.
    due: BTreeSet<(u64, JobId)>,
    /// Jobs that are due and wait for a free place, in this order.
    waiting: VecDeque<JobId>,
    /// Runs that are starting or go on, also of jobs that were removed meanwhile.
    active: BTreeSet<(JobId, u64)>,
    /// Jobs that differ from the disk, which does not take them.
    unsaved: BTreeSet<JobId>,
    /// Jobs with an occurrence that is run when the store takes writes again.
    owed: BTreeSet<JobId>,
    /// When the hub looked at both clocks last.
    seen: Moment,
    /// What became of the occurrences since the start.
    pub(super) outcomes: Tally<RunStatus>,
}

impl Cron {
    /// Takes what was on disk. What ran when the gateway ended has failed: its end is not known.
    pub(super) fn new(
        policy: CronPolicy,
        jobs: Vec<CronJob>,
        runs: Vec<CronRun>,
        now: Moment,
        commits: &mut Commits,
    ) -> Self {
        let mut cron = Self {
            policy,
            jobs: BTreeMap::new(),
            due: BTreeSet::new(),
            waiting: VecDeque::new(),
            active: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            owed: BTreeSet::new(),
            seen: now,
            outcomes: Tally::default(),
        };
        for record in jobs {
            cron.jobs.insert(record.id.clone(), Job::load(record));
        }
        let mut runs = runs;
        runs.sort_by_key(|run| run.number);
        for run in runs {
            match cron.jobs.get_mut(&run.job) {
                Some(job) => job.runs.push_back(Arc::new(run)),
                None => commits.lazily(Change::DeleteCronRun(run.job, run.number)),
            }
        }
        let ids: Vec<_> = cron.jobs.keys().cloned().collect();
        for id in ids {
            if let Some(job) = cron.jobs.get_mut(&id) {
                while let Some(run) = job.trim() {
                    commits.lazily(Change::DeleteCronRun(id.clone(), run));
                }
                job.record.last_number =
                    job.record.last_number.max(job.runs.back().map_or(0, |run| run.number));
                for run in job.interrupted(now.unix_ms) {
                    cron.outcomes.add(run.status, 1);
                    commits.put_cron_run(&run);
                    commits.put_cron_job(job.durable());
                }
            }
            cron.mend_clock(&id, now.unix_ms);
            cron.reschedule(&id);
        }
        cron
    }

    /// Whether jobs run at all.
    pub(super) fn is_enabled(&self) -> bool {
        self.policy.enabled
    }

    /// A job that is there and not on its way out.
    pub(super) fn get(&self, id: &JobId) -> Option<&Job> {
        self.jobs.get(id).filter(|job| !job.leaving)
    }

    pub(super) fn insert(&mut self, id: &JobId, record: CronJob, schedule: Schedule) {
        self.jobs.insert(id.clone(), Job::new(record, schedule));
        self.reschedule(id);
    }

    /// Runs that are starting or go on.
    pub(super) fn running(&self) -> usize {
        self.active.len()
    }

    /// When the next job comes, in Unix milliseconds.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    /// When the hub has to look again: the next job comes, or the wall clock may have been set.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let wait = self.next_wake()?.saturating_sub(self.seen.unix_ms);
        Some(self.seen.at + Duration::from_millis(wait).min(CRON_RECHECK))
    }

    /// Notes the two clocks; whether the wall clock has gone back since the last time.
    fn look(&mut self, now: Moment) -> bool {
        let expected = self.seen.after(now.at.saturating_duration_since(self.seen.at));
        self.seen = now;
        now.unix_ms.saturating_add(millis(CRON_RECHECK)) < expected.unix_ms
    }

    /// A job that was settled far ahead of the clock, by a clock that was wrong, starts anew.
    fn mend_clock(&mut self, id: &JobId, now_ms: u64) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let latest = now_ms.saturating_add(millis(CRON_CLOCK_BACK_MAX));
        if job.record.settled_through_ms > latest {
            job.record.settled_through_ms = now_ms;
        }
    }

    /// Computes anew when a job comes next.
    pub(super) fn reschedule(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if let Some(at_ms) = job.record.state.next_run_at_ms {
            self.due.remove(&(at_ms, id.clone()));
        }
        let next = if self.policy.enabled { job.next() } else { None };
        job.record.state.next_run_at_ms = next;
        if let Some(at_ms) = next {
            self.due.insert((at_ms, id.clone()));
        }
    }

    /// Forgets a job; a run of it that goes on keeps its place until it ends.
    fn forget(&mut self, id: &JobId) {
        if let Some(job) = self.jobs.remove(id)
            && let Some(at_ms) = job.record.state.next_run_at_ms
        {
            self.due.remove(&(at_ms, id.clone()));
        }
        self.waiting.retain(|other| other != id);
        self.owed.remove(id);
    }

    /// Whether the parts agree with each other and keep to their limits.
    pub(super) fn is_consistent(&self) -> bool {
        let jobs = self.jobs.iter().all(|(id, job)| {
            let next = job.record.state.next_run_at_ms;
            let is_due = next.is_none_or(|at_ms| self.due.contains(&(at_ms, id.clone())));
            let is_active = match &job.phase {
                Phase::Starting(number) | Phase::Running(number) => {
                    self.active.contains(&(id.clone(), *number))
                }
                Phase::Waiting { .. } => self.waiting.contains(id),
                Phase::Idle => true,
            };
            is_due
                && is_active
                && job.runs.len() <= CRON_RUNS_PER_JOB_MAX
                && job.owed.is_some() == self.owed.contains(id)
        });
        jobs && self.jobs.len() <= CRON_JOBS_MAX
            && self.due.len() <= self.jobs.len()
            && self.waiting.len() <= self.jobs.len()
            && self.active.len() <= self.policy.concurrent_max
    }
}
