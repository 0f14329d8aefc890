//! What was promised of jobs: an occurrence runs once, a job never beside itself, and what runs is
//! on disk as started.
//!
//! Kept from the events and from what is on disk. Called by `world`.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_gateway::base::ids::JobId;
use openclaw_gateway::base::limits::CRON_CLOCK_BACK_MAX;
use openclaw_gateway::base::time::millis;
use openclaw_gateway::hub::records::DurableState;
use openclaw_gateway::protocol::cron::{CronNews, RunStatus, Trigger};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Runs that go on, of jobs that are there.
    running: BTreeMap<JobId, u64>,
    /// Every occurrence that has run, in this life of the gateway or one before.
    have_run: BTreeSet<(JobId, u64)>,
    /// The numbers that are taken, with what stands there if it is no run.
    numbers: BTreeMap<(JobId, u64), Option<RunStatus>>,
    /// The latest moment that the wall clock has shown.
    latest_ms: u64,
}

impl Jobs {
    pub(super) fn heard(&mut self, news: &CronNews, disk: &DurableState, is_failing: bool) {
        let job = &news.job;
        let number = news.number.unwrap_or(0);
        match news.action {
            "started" => {
                let before = self.running.insert(job.clone(), number);
                assert_eq!(before, None, "{job} runs beside itself: {news:?}");
                self.take(news);
                // Unless the job was removed in the same moment, and its history with it.
                if disk.cron_jobs.iter().any(|record| record.id == *job) {
                    let mut runs = disk.cron_runs.iter();
                    let run = runs.find(|run| run.job == *job && run.number == number);
                    let run = run.unwrap_or_else(|| panic!("runs, and is not on disk: {news:?}"));
                    assert_eq!(run.status, RunStatus::Running, "{run:?}");
                    let is_new = run.trigger == Trigger::Manual
                        || self.have_run.insert((job.clone(), run.occurrence_ms));
                    assert!(is_new, "an occurrence runs twice: {run:?}");
                }
            }
            "finished" => {
                let before = self.running.remove(job);
                assert_eq!(before, Some(number), "finished, and did not run: {news:?}");
                on_disk(news, disk, is_failing);
            }
            "skipped" | "missed" => {
                self.take(news);
                on_disk(news, disk, is_failing);
            }
            "removed" => {
                self.running.remove(job);
            }
            "added" | "updated" => {}
            other => panic!("what is {other}?"),
        }
    }

    fn take(&mut self, news: &CronNews) {
        let number = news.number.expect("an entry of the history has a number");
        let not_run = news.status.filter(|status| *status != RunStatus::Running);
        let before = self.numbers.insert((news.job.clone(), number), not_run);
        // What did not run for the same reason stands together.
        let is_one = before.is_none_or(|before| before.is_some() && before == not_run);
        assert!(is_one, "a number is given twice, first for {before:?}: {news:?}");
    }

    /// What ran has ended, and what was told of and is not on disk is forgotten.
    pub(super) fn restarted(&mut self, now_ms: u64, disk: &DurableState) {
        self.clock_set(now_ms, now_ms);
        self.running.clear();
        let not_run = |status: RunStatus| {
            Some(status).filter(|is| matches!(is, RunStatus::Skipped | RunStatus::Missed))
        };
        let runs = disk.cron_runs.iter();
        self.numbers =
            runs.map(|run| ((run.job.clone(), run.number), not_run(run.status))).collect();
    }

    /// A clock that goes back by more than a day was wrong, and jobs start anew.
    pub(super) fn clock_set(&mut self, before_ms: u64, now_ms: u64) {
        self.latest_ms = self.latest_ms.max(before_ms);
        if now_ms + millis(CRON_CLOCK_BACK_MAX) < self.latest_ms {
            self.have_run.clear();
        }
    }
}

/// What is told of a run is on disk, if the disk takes it.
fn on_disk(news: &CronNews, disk: &DurableState, is_failing: bool) {
    let is_kept = disk.cron_jobs.iter().any(|record| record.id == news.job);
    let mut runs = disk.cron_runs.iter();
    let run = runs.find(|run| run.job == news.job && Some(run.number) == news.number);
    let status = run.map(|run| run.status);
    assert!(is_failing || !is_kept || status == news.status, "{status:?} is on disk: {news:?}");
}
