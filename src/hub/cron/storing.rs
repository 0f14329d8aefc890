//! What the end of a commit means for jobs, and what goes into one.
//!
//! Jobs that an operator changed are taken back when they are not on disk; what has happened is
//! kept, and written when the store takes writes again. Called by `durability`.

use std::sync::Arc;

use crate::base::ids::{ConnId, JobId, RequestId};
use crate::base::time::Moment;
use crate::hub::answers::Answer;
use crate::hub::commits::Waiter;
use crate::hub::cron::job::{Job, Phase};
use crate::hub::effect::Effect;
use crate::hub::records::Change;
use crate::hub::{Hub, refusals};
use crate::protocol::cron::{CronJob, CronNews, CronReply, CronRun, Trigger};
use crate::protocol::event::Event;
use crate::protocol::reply::Reply;
use crate::protocol::schedule::Schedule;

/// Who asked.
pub(in crate::hub) type CronAsker = (ConnId, RequestId);

/// What waits for a commit.
pub(in crate::hub) enum CronWaiter {
    /// A job that was added.
    Added { asker: Option<CronAsker>, job: JobId },
    /// A job that was changed, from what it was.
    Updated { asker: CronAsker, before: Box<CronJob>, schedule: Option<Schedule> },
    /// A job that is to be forgotten.
    Removed { asker: Option<CronAsker>, job: JobId },
    /// A run that begins when this is on disk. Whoever asked with an idempotency key, as for the
    /// others, is answered by `answers`.
    Start { job: JobId, number: u64, asker: Option<CronAsker> },
    /// What has happened, and is told.
    Happened(CronNews),
}

impl Hub {
    /// Puts a job into the next commit, as it is now. Not one on its way out: that would put it
    /// back on disk behind its removal, which, if it fails, leaves the job to be saved as a whole.
    pub(in crate::hub) fn save_job(&mut self, id: &JobId) {
        let Some(job) = self.cron.get(id) else { return };
        if self.commits.is_healthy() {
            self.commits.put_cron_job(job.durable());
        } else {
            self.cron.unsaved.insert(id.clone());
        }
    }

    pub(super) fn save_run(&mut self, id: &JobId, run: &Arc<CronRun>) {
        if self.cron.get(id).is_none() {
            return;
        }
        if self.commits.is_healthy() {
            self.commits.put_cron_run(run);
        } else {
            self.cron.unsaved.insert(id.clone());
        }
    }

    /// Forgets what the history has too much of.
    pub(super) fn trim_runs(&mut self, id: &JobId) {
        let Some(job) = self.cron.jobs.get_mut(id) else { return };
        while let Some(number) = job.trim() {
            self.commits.delete_cron_run(id, number);
        }
    }

    /// Begins to forget a job.
    pub(in crate::hub) fn remove_job(&mut self, id: &JobId, asker: Option<CronAsker>) {
        let Some(job) = self.cron.jobs.get_mut(id) else { return };
        job.leaving = true;
        self.cron.reschedule(id);
        self.commits.delete_cron_job(id);
        let job = id.clone();
        self.commits.wait(Waiter::Cron(Box::new(CronWaiter::Removed { asker, job })));
    }

    /// What waited is on disk.
    pub(in crate::hub) fn cron_stored(
        &mut self,
        now: Moment,
        waiter: CronWaiter,
        effects: &mut Vec<Effect>,
    ) {
        match waiter {
            CronWaiter::Added { asker, job } => self.changed(now, "added", asker, &job, effects),
            CronWaiter::Updated { asker, before, .. } => {
                self.changed(now, "updated", Some(asker), &before.id, effects);
            }
            CronWaiter::Removed { asker, job } => {
                if self.cron.jobs.get(&job).is_some_and(|job| job.leaving) {
                    self.cron.forget(&job);
                }
                if let Some((conn, id)) = asker {
                    let reply = CronReply::Removed(job.clone(), true);
                    self.respond(conn, id, Ok(Reply::Cron(Box::new(reply))), effects);
                }
                self.tell_change("removed", job, None, effects);
            }
            CronWaiter::Start { job, number, asker } => {
                if let Some((conn, id)) = asker {
                    let reply = CronReply::Started(job.clone(), number);
                    self.respond(conn, id, Ok(Reply::Cron(Box::new(reply))), effects);
                }
                self.started_is_stored(now, &job, number, effects);
            }
            // Nothing is said of a job that was removed meanwhile, as nothing of it is kept.
            CronWaiter::Happened(news) if self.cron.jobs.contains_key(&news.job) => {
                Self::tell(news, effects);
            }
            CronWaiter::Happened(_) => {}
        }
    }

    /// Tells what has happened once no restart can make it untrue. While the store fails, nothing
    /// is to be waited for.
    pub(super) fn tell_happened(&mut self, news: CronNews, effects: &mut Vec<Effect>) {
        if self.commits.is_healthy() {
            self.commits.wait(Waiter::Cron(Box::new(CronWaiter::Happened(news))));
        } else {
            Self::tell(news, effects);
        }
    }

    fn changed(
        &self,
        now: Moment,
        action: &'static str,
        asker: Option<CronAsker>,
        job: &JobId,
        effects: &mut Vec<Effect>,
    ) {
        if let Some((conn, id)) = asker {
            self.respond(conn, id, self.reply_of(now, Answer::Job(job.clone())), effects);
        }
        let next = self.cron.jobs.get(job).and_then(|job| job.record.state.next_run_at_ms);
        self.tell_change(action, job.clone(), next, effects);
    }

    fn tell_change(
        &self,
        action: &'static str,
        job: JobId,
        next_run_at_ms: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        let news = CronNews {
            action,
            job,
            status: None,
            run_at_ms: None,
            next_run_at_ms,
            number: None,
            error: None,
        };
        Self::tell(news, effects);
    }

    /// What waited is not on disk. Called with the last change first, so that each gives back what
    /// it found.
    pub(in crate::hub) fn cron_failed(&mut self, waiter: CronWaiter, effects: &mut Vec<Effect>) {
        let mut refuse = |hub: &Self, asker: Option<CronAsker>| {
            if let Some((conn, id)) = asker {
                hub.respond(conn, id, Err(Box::new(refusals::not_stored())), effects);
            }
        };
        match waiter {
            CronWaiter::Added { asker, job } => {
                refuse(self, asker);
                self.cron.forget(&job);
            }
            CronWaiter::Updated { asker, before, schedule } => {
                refuse(self, Some(asker));
                let id = before.id.clone();
                if let Some(job) = self.cron.jobs.get_mut(&id) {
                    job.restore(*before, schedule);
                }
                self.cron.reschedule(&id);
            }
            CronWaiter::Removed { asker, job } => {
                refuse(self, asker);
                let entry = self.cron.jobs.get_mut(&job);
                // It was passed over meanwhile when a place became free.
                let waiting = entry.and_then(Job::stay);
                self.cron.waiting.retain(|other| *other != job);
                if let Some(occurrence_ms) = waiting {
                    self.not_started(&job, occurrence_ms, effects);
                }
                self.cron.reschedule(&job);
            }
            CronWaiter::Start { job, number, asker } => {
                refuse(self, asker);
                self.cron.active.remove(&(job.clone(), number));
                self.commits.after_recovery(Change::DeleteCronRun(job.clone(), number));
                let entry = self.cron.jobs.get_mut(&job);
                let taken_back = entry.and_then(|entry| entry.take_back(number));
                if let Some((occurrence_ms, trigger)) = taken_back
                    && trigger != Trigger::Manual
                {
                    self.not_started(&job, occurrence_ms, effects);
                }
            }
            CronWaiter::Happened(news) => Self::tell(news, effects),
        }
    }

    /// Tells of a failed commit what stays true and is written later; returns anything else.
    pub(in crate::hub) fn cron_happened(
        &self,
        waiter: CronWaiter,
        effects: &mut Vec<Effect>,
    ) -> Option<CronWaiter> {
        match waiter {
            CronWaiter::Happened(news) => {
                // As when it is stored.
                if self.cron.jobs.contains_key(&news.job) {
                    Self::tell(news, effects);
                }
                None
            }
            other @ (CronWaiter::Added { .. }
            | CronWaiter::Updated { .. }
            | CronWaiter::Removed { .. }
            | CronWaiter::Start { .. }) => Some(other),
        }
    }

    /// Tells the operators.
    pub(super) fn tell(news: CronNews, effects: &mut Vec<Effect>) {
        effects.push(Effect::Broadcast(Event::Cron(Box::new(news))));
    }

    /// The store takes writes again: jobs that differ from the disk are written as a whole.
    pub(in crate::hub) fn cron_recovered(&mut self) {
        for id in std::mem::take(&mut self.cron.unsaved) {
            match self.cron.jobs.get(&id) {
                Some(job) => {
                    self.commits.put_cron_job(job.durable());
                    for run in &job.runs {
                        self.commits.put_cron_run(run);
                    }
                    if job.is_to_be_forgotten() {
                        self.remove_job(&id, None);
                    }
                }
                None => self.commits.delete_cron_job(&id),
            }
        }
    }

    /// These jobs may differ from the disk.
    pub(in crate::hub) fn cron_unsaved(&mut self, jobs: impl IntoIterator<Item = JobId>) {
        self.cron.unsaved.extend(jobs);
    }

    /// Whether a job has an occurrence that waits, starts or runs.
    pub(in crate::hub) fn is_job_busy(&self, id: &JobId) -> bool {
        self.cron.jobs.get(id).is_some_and(|job| job.phase != Phase::Idle)
    }
}
