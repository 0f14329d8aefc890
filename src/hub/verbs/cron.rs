//! `cron.list`, `status`, `runs`, `add`, `update`, `remove` and `run`: operators and the jobs.
//!
//! Reads are from memory and show what is accepted; changes are in force at once, answered and
//! told when on disk, and taken back when they are not (`docs/protocol.md`, "Cron").

use std::sync::Arc;

use crate::base::ids::{ConnId, JobId, RequestId};
use crate::base::limits::{
    CRON_AT_PAST_MAX, CRON_LIST_BYTES_MAX, CRON_PAYLOAD_BYTES_MAX, CRON_RUN_RETRY_AFTER,
};
use crate::base::time::{Moment, millis, utc};
use crate::hub::answers::Answer;
use crate::hub::commits::Waiter;
use crate::hub::cron::{CronAsker, CronWaiter};
use crate::hub::effect::Effect;
use crate::hub::records::AnswerKey;
use crate::hub::reports::Repetition;
use crate::hub::{Hub, refusals};
use crate::protocol::cron::{
    CronJob, CronList, CronReply, CronRequest, CronStatus, JobPatch, JobState, Missed, NewJob,
    Trigger,
};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::reply::Reply;
use crate::protocol::request::Idempotency;
use crate::protocol::schedule::Schedule;

/// A request's idempotency key, and the hash of its params.
type Once = (AnswerKey, [u8; 32]);

impl Hub {
    pub(in crate::hub) fn cron_request(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        ask: CronRequest,
        effects: &mut Vec<Effect>,
    ) {
        let asker = (conn, id.clone());
        let once = match self.first_time(now, &asker, &ask) {
            Ok(once) => once,
            Err(None) => return,
            Err(Some(result)) => return self.respond(conn, id, result, effects),
        };
        let answer = match ask {
            CronRequest::List(list) => Some(Ok(self.cron_list(list))),
            CronRequest::Status => Some(Ok(self.cron_status())),
            CronRequest::Runs { job, limit } => Some(self.cron_runs(&job, limit)),
            // What follows changes something: answered now only if it cannot be.
            CronRequest::Add(job) => self.cron_add(now, *job, asker, once).err().map(Err),
            CronRequest::Update(job, patch) => {
                self.cron_update(now, &job, *patch, asker, effects).err().map(Err)
            }
            CronRequest::Remove(job) => self
                .cron_remove(job, asker)
                .map_or_else(|error| Some(Err(error)), |reply| reply.map(Ok)),
            CronRequest::Run { job, only_if_due, .. } => self
                .cron_run(now, &job, only_if_due, asker, once)
                .map_or_else(|error| Some(Err(error)), |reply| reply.map(Ok)),
        };
        if let Some(answer) = answer {
            let result = answer.map(|reply| Reply::Cron(Box::new(reply)));
            self.respond(conn, id, result, effects);
        }
    }

    /// The key of a request that has one and was not there before. `Err`: it was, and this is its
    /// answer, or it waits with the first.
    fn first_time(
        &mut self,
        now: Moment,
        asker: &CronAsker,
        ask: &CronRequest,
    ) -> Result<Option<Once>, Option<Result<Reply, Box<ProtocolError>>>> {
        let (method, idempotency) = match ask {
            CronRequest::Add(job) => ("cron.add", &job.idempotency),
            CronRequest::Run { idempotency, .. } => ("cron.run", idempotency),
            // To do these once more does no more.
            CronRequest::List(_)
            | CronRequest::Status
            | CronRequest::Runs { .. }
            | CronRequest::Update(..)
            | CronRequest::Remove(_) => return Ok(None),
        };
        let Some(Idempotency { key, params_hash }) = idempotency.clone() else { return Ok(None) };
        let user = self.clients.get(asker.0).ok_or(None)?.grant.user.clone();
        let key = AnswerKey { user, method: method.to_owned(), key };
        match self.repetition(now, &key, &params_hash, Some(asker)) {
            Repetition::None => Ok(Some((key, params_hash))),
            Repetition::Waits => Err(None),
            Repetition::Answered(result) => Err(Some(result)),
        }
    }

    /// Keeps what a request with a key is answered with, once that is on disk; who asked, if it has
    /// none.
    fn keep_answer(
        &mut self,
        now: Moment,
        once: Option<Once>,
        asker: CronAsker,
        answer: Answer,
    ) -> Option<CronAsker> {
        let Some((key, params_hash)) = once else { return Some(asker) };
        let record = self.answers.begin(now, key.clone(), params_hash, Some(asker), answer);
        self.commits.put_answer(record);
        self.commits.wait(Waiter::Answer(key));
        None
    }

    fn cron_list(&self, list: CronList) -> CronReply {
        let jobs = self.cron.jobs.values().filter(|job| !job.leaving).map(|job| &job.record);
        let jobs = jobs.filter(|job| job.enabled || list.include_disabled);
        let mut jobs: Vec<_> = jobs.collect();
        jobs.sort_by_key(|job| (job.state.next_run_at_ms.unwrap_or(u64::MAX), &job.id));
        let (total, mut bytes) = (jobs.len(), 0);
        let page = jobs.into_iter().skip(list.offset).take(list.limit).take_while(|job| {
            let fits = bytes < CRON_LIST_BYTES_MAX;
            bytes += job_bytes(job);
            fits
        });
        let jobs = page.map(|job| Arc::new(job.clone())).collect();
        CronReply::List { jobs, total, offset: list.offset.min(total) }
    }

    fn cron_status(&self) -> CronReply {
        CronReply::Status(CronStatus {
            enabled: self.cron.is_enabled(),
            jobs: self.cron.jobs.len(),
            jobs_max: self.cron.policy.jobs_max,
            running: self.cron.running(),
            concurrent_max: self.cron.policy.concurrent_max,
            zone: self.cron.policy.zone.name().to_owned(),
            next_wake_at_ms: self.cron.next_wake(),
        })
    }

    fn cron_runs(&self, id: &JobId, limit: usize) -> Result<CronReply, Box<ProtocolError>> {
        let job = self.cron.get(id).ok_or_else(|| Box::new(refusals::no_such_job(id)))?;
        Ok(CronReply::Runs(job.runs.iter().rev().take(limit).cloned().collect()))
    }

    /// Whether jobs can be changed now.
    fn cron_writable(&self) -> Result<(), Box<ProtocolError>> {
        if !self.cron.is_enabled() {
            let message = "the schedule is switched off (gateway.cron.enabled)";
            return Err(Box::new(ProtocolError::new(ErrorCode::Unavailable, message)));
        }
        self.writable(CRON_PAYLOAD_BYTES_MAX).map_err(Box::new)
    }

    fn cron_add(
        &mut self,
        now: Moment,
        new: NewJob,
        asker: CronAsker,
        once: Option<Once>,
    ) -> Result<(), Box<ProtocolError>> {
        check_moment("cron.add", &new.schedule, now)?;
        self.cron_writable()?;
        self.make_room_for_job()?;
        // Whoever has gone meanwhile hears no answer.
        let Some(client) = self.clients.get(asker.0) else { return Ok(()) };
        let user = client.grant.user.clone();
        let id = JobId::new(format!("job-{}", &self.entropy.hex_128()[..16]));
        let schedule = new.schedule.settled(now.unix_ms, &self.cron.policy.zone);
        let (settled_through_ms, missed) = beginning(&schedule, now.unix_ms);
        let record = CronJob {
            id: id.clone(),
            user,
            name: new.name,
            description: new.description,
            enabled: new.enabled,
            delete_after_run: new.delete_after_run,
            schedule: schedule.text(),
            payload: new.payload,
            missed: new.missed.unwrap_or(missed),
            created_at_ms: now.unix_ms,
            updated_at_ms: now.unix_ms,
            settled_through_ms,
            last_number: 0,
            state: JobState::default(),
        };
        self.cron.insert(&id, record, schedule);
        self.save_job(&id);
        let asker = self.keep_answer(now, once, asker, Answer::Job(id.clone()));
        self.commits.wait(Waiter::Cron(Box::new(CronWaiter::Added { asker, job: id })));
        Ok(())
    }

    /// When there are as many jobs as there may be, the one that is over for longest goes.
    fn make_room_for_job(&mut self) -> Result<(), Box<ProtocolError>> {
        let jobs_max = self.cron.policy.jobs_max;
        if self.cron.jobs.len() < jobs_max {
            return Ok(());
        }
        let over = self.cron.jobs.values().filter(|job| job.is_over());
        let oldest = over.min_by_key(|job| job.record.state.last_run_at_ms);
        let Some(oldest) = oldest.map(|job| job.record.id.clone()) else {
            let message = format!("there are {jobs_max} jobs already (gateway.cron.maxJobs)");
            return Err(Box::new(ProtocolError::new(ErrorCode::ResourceExhausted, message)));
        };
        self.remove_job(&oldest, None);
        Ok(())
    }

    fn cron_update(
        &mut self,
        now: Moment,
        id: &JobId,
        mut patch: JobPatch,
        asker: CronAsker,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Box<ProtocolError>> {
        let zone = self.cron.policy.zone.clone();
        let known = self.cron.get(id).ok_or_else(|| Box::new(refusals::no_such_job(id)));
        let before = Box::new(known?.record.clone());
        let schedule = patch.schedule.take().map(|schedule| schedule.settled(now.unix_ms, &zone));
        // To send the moment that it has once more is no change.
        if let Some(schedule) = schedule.as_ref().filter(|new| new.text() != before.schedule) {
            check_moment("cron.update", schedule, now)?;
        }
        self.cron_writable()?;
        let Some(job) = self.cron.jobs.get_mut(id) else { return Ok(()) };
        let schedule_before = job.change_schedule(None);
        let JobPatch { name, description, enabled, delete_after_run, payload, missed, .. } = patch;
        let record = &mut job.record;
        record.name = name.unwrap_or_else(|| record.name.clone());
        if let Some(description) = description {
            record.description = Some(description).filter(|text| !text.is_empty());
        }
        record.delete_after_run = delete_after_run.unwrap_or(record.delete_after_run);
        record.payload = payload.unwrap_or_else(|| record.payload.clone());
        record.missed = missed.unwrap_or(record.missed);
        record.updated_at_ms = now.unix_ms;
        let is_switched_on = enabled == Some(true) && !record.enabled;
        record.enabled = enabled.unwrap_or(record.enabled);
        let anew = match &schedule {
            Some(schedule) if schedule.text() != record.schedule => {
                record.schedule = schedule.text();
                record.settled_through_ms = beginning(schedule, now.unix_ms).0;
                true
            }
            Some(_) | None if is_switched_on => {
                // What came while it was switched off was not missed.
                record.settled_through_ms = record.settled_through_ms.max(now.unix_ms);
                false
            }
            Some(_) | None => false,
        };
        if let Some(schedule) = schedule {
            job.change_schedule(Some(schedule));
        }
        if anew || !job.record.enabled {
            self.drop_waiting(id, effects);
        }
        self.cron.reschedule(id);
        self.save_job(id);
        let waiter = CronWaiter::Updated { asker, before, schedule: schedule_before };
        self.commits.wait(Waiter::Cron(Box::new(waiter)));
        Ok(())
    }

    /// `Ok(None)`: answered when it is on disk.
    fn cron_remove(
        &mut self,
        id: JobId,
        asker: CronAsker,
    ) -> Result<Option<CronReply>, Box<ProtocolError>> {
        self.cron_writable()?;
        if self.cron.get(&id).is_none() {
            return Ok(Some(CronReply::Removed(id, false)));
        }
        self.remove_job(&id, Some(asker));
        Ok(None)
    }

    /// `Ok(None)`: answered when "started" is on disk.
    fn cron_run(
        &mut self,
        now: Moment,
        id: &JobId,
        only_if_due: bool,
        asker: CronAsker,
        once: Option<Once>,
    ) -> Result<Option<CronReply>, Box<ProtocolError>> {
        let job = self.cron.get(id).ok_or_else(|| Box::new(refusals::no_such_job(id)))?;
        let number = job.next_number();
        let is_due = job.record.state.next_run_at_ms.is_some_and(|at_ms| at_ms <= now.unix_ms);
        self.cron_writable()?;
        if self.is_job_busy(id) {
            return Ok(Some(CronReply::NotStarted(id.clone(), "already-running")));
        }
        if only_if_due && !is_due {
            return Ok(Some(CronReply::NotStarted(id.clone(), "not-due")));
        }
        if self.cron.running() >= self.cron.policy.concurrent_max {
            let message = "too many jobs run already (gateway.cron.maxConcurrentRuns)";
            return Err(Box::new(
                ProtocolError::new(ErrorCode::ResourceExhausted, message)
                    .retry_after(millis(CRON_RUN_RETRY_AFTER)),
            ));
        }
        let answer = Answer::JobStarted { job: id.clone(), number };
        let asker = self.keep_answer(now, once, asker, answer);
        self.start(now, id, now.unix_ms, Trigger::Manual, asker);
        Ok(None)
    }
}

/// A moment that is over does not come. Checked when the job is really made or changed: a repetition
/// is answered however late it comes.
fn check_moment(method: &str, schedule: &Schedule, now: Moment) -> Result<(), Box<ProtocolError>> {
    match schedule {
        Schedule::At(at_ms) if at_ms.saturating_add(millis(CRON_AT_PAST_MAX)) < now.unix_ms => {
            let now = utc(now.unix_ms);
            let what = format!("schedule.at is in the past: it is {now} now");
            Err(Box::new(ProtocolError::invalid_params(method, &what)))
        }
        Schedule::At(_) | Schedule::Every { .. } | Schedule::Cron { .. } => Ok(()),
    }
}

/// What of a new schedule is settled from the beginning, and what happens to its misses if nobody
/// says: a moment that comes once is not to be lost, one of many is.
fn beginning(schedule: &Schedule, now_ms: u64) -> (u64, Missed) {
    match schedule {
        Schedule::At(at_ms) => (at_ms.saturating_sub(1), Missed::RunOnce),
        Schedule::Every { .. } | Schedule::Cron { .. } => (now_ms, Missed::Skip),
    }
}

/// What a job takes in a list, roughly: what varies.
fn job_bytes(job: &CronJob) -> usize {
    use crate::protocol::cron::CronPayload;
    const OVERHEAD_BYTES: usize = 512;
    let payload = match &job.payload {
        CronPayload::SystemEvent { text } => text.len(),
        CronPayload::AgentTurn { message, .. } => message.len(),
        CronPayload::Spawn(_) => CRON_PAYLOAD_BYTES_MAX,
    };
    OVERHEAD_BYTES + payload + job.name.len() + job.description.as_deref().map_or(0, str::len)
}
