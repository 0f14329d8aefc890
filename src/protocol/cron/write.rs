//! Jobs, runs and news as JSON on the wire. Owns no words (`cron` does) and reads nothing.
//!
//! Called by `reply` and `event`, and by the hub for the one notification that it makes itself.

use std::sync::Arc;

use super::{CronJob, CronNews, CronPayload, CronReply, CronRun, JobState, RunStatus};
use crate::base::ids::{AgentName, JobId, SessionKey};
use crate::base::time::utc;
use crate::protocol::json::{ObjectWriter, push_array};
use crate::protocol::schedule::ScheduleText;

/// The id under which a run is known: its job's and its number.
pub fn run_name(job: &JobId, number: u64) -> String {
    format!("{job}-{number}")
}

/// The payload of the `notification` that a job's line of text comes with, as operators' clients
/// read it.
pub fn notification(job: &JobId, name: &str, text: &str, now_ms: u64) -> Arc<str> {
    let mut out = Vec::with_capacity(text.len().saturating_add(256));
    let mut payload = ObjectWriter::open(&mut out);
    payload.u64("id", now_ms).str("recipient", "operator").str("type", "cron");
    payload.str("title", name).str("message", text);
    payload.str("source_type", "cron").str("source_id", job.as_str());
    payload.u64("created_at", now_ms / 1_000);
    payload.close();
    // Lossless: all of it was written from `str`.
    Arc::from(&*String::from_utf8_lossy(&out))
}

impl CronNews {
    pub(in crate::protocol) fn write(&self, out: &mut Vec<u8>) {
        let mut news = ObjectWriter::open(out);
        news.str("action", self.action).str("jobId", self.job.as_str());
        news.opt_str("status", self.status.map(RunStatus::as_str));
        opt_u64(&mut news, "runAtMs", self.run_at_ms);
        opt_u64(&mut news, "nextRunAtMs", self.next_run_at_ms);
        if let Some(number) = self.number {
            news.str("runId", &run_name(&self.job, number));
        }
        news.opt_str("error", self.error.as_deref());
        news.close();
    }
}

impl CronReply {
    pub(in crate::protocol) fn write(&self, body: &mut ObjectWriter<'_>) {
        match self {
            Self::List { jobs, total, offset } => {
                push_array(body.key("jobs"), jobs, |out, job| job.write(out));
                body.usize("total", *total).usize("offset", *offset);
                let next = offset.saturating_add(jobs.len());
                body.bool("hasMore", next < *total);
                if next < *total {
                    body.usize("nextOffset", next);
                } else {
                    body.raw("nextOffset", "null");
                }
            }
            Self::Status(status) => {
                body.bool("enabled", status.enabled).usize("jobs", status.jobs);
                body.usize("maxJobs", status.jobs_max).usize("running", status.running);
                body.usize("maxConcurrentRuns", status.concurrent_max);
                body.str("timezone", &status.zone);
                match status.next_wake_at_ms {
                    Some(at_ms) => body.u64("nextWakeAtMs", at_ms),
                    None => body.raw("nextWakeAtMs", "null"),
                };
            }
            Self::Runs(runs) => {
                push_array(body.key("runs"), runs, |out, run| run.write(out));
            }
            Self::Job(job) => job.write_members(body),
            Self::Removed(job, removed) => {
                body.bool("ok", true).str("id", job.as_str()).bool("removed", *removed);
            }
            Self::Started(job, number) => {
                body.bool("ok", true).bool("ran", true).str("id", job.as_str());
                body.str("runId", &run_name(job, *number));
            }
            Self::NotStarted(job, reason) => {
                body.bool("ok", true).bool("ran", false).str("id", job.as_str());
                body.str("reason", reason);
            }
        }
    }
}

impl CronJob {
    fn write(&self, out: &mut Vec<u8>) {
        let mut job = ObjectWriter::open(out);
        self.write_members(&mut job);
        job.close();
    }

    fn write_members(&self, job: &mut ObjectWriter<'_>) {
        job.str("id", self.id.as_str()).str("name", &self.name);
        job.opt_str("description", self.description.as_deref());
        job.bool("enabled", self.enabled).bool("deleteAfterRun", self.delete_after_run);
        job.u64("createdAtMs", self.created_at_ms).u64("updatedAtMs", self.updated_at_ms);
        job.object("schedule", |schedule| write_schedule(schedule, &self.schedule));
        job.object("payload", |payload| write_payload(payload, &self.payload));
        job.str("missed", self.missed.as_str());
        job.object("state", |state| self.state.write(state));
    }
}

fn write_schedule(schedule: &mut ObjectWriter<'_>, text: &ScheduleText) {
    match text {
        ScheduleText::At { at_ms } => {
            schedule.str("kind", "at").str("at", &utc(*at_ms)).u64("atMs", *at_ms);
        }
        ScheduleText::Every { every_ms, anchor_ms } => {
            schedule.str("kind", "every").u64("everyMs", *every_ms);
            opt_u64(schedule, "anchorMs", *anchor_ms);
        }
        ScheduleText::Cron { expr, tz } => {
            schedule.str("kind", "cron").str("expr", expr).opt_str("tz", tz.as_deref());
        }
    }
}

fn write_payload(out: &mut ObjectWriter<'_>, payload: &CronPayload) {
    match payload {
        CronPayload::Spawn(spawn) => {
            out.str("kind", "spawn").str("command", &spawn.command);
            out.strs("args", spawn.args.iter().map(String::as_str));
            out.object("env", |env| {
                for (name, value) in &spawn.env {
                    env.str(name, value);
                }
            });
            out.opt_str("cwd", spawn.cwd.as_deref()).opt_str("stdin", spawn.stdin.as_deref());
            opt_u64(out, "timeoutMs", spawn.timeout_ms);
            out.opt_str("session", spawn.session.as_ref().map(SessionKey::as_str));
            out.bool("reports", spawn.reports);
        }
        CronPayload::AgentTurn { agent, session, message, model, timeout_ms } => {
            out.str("kind", "agentTurn");
            out.opt_str("agentId", agent.as_ref().map(AgentName::as_str));
            out.opt_str("sessionKey", session.as_ref().map(SessionKey::as_str));
            out.str("message", message).opt_str("model", model.as_deref());
            opt_u64(out, "timeoutMs", *timeout_ms);
        }
        CronPayload::SystemEvent { text } => {
            out.str("kind", "systemEvent").str("text", text);
        }
    }
}

impl JobState {
    fn write(&self, state: &mut ObjectWriter<'_>) {
        opt_u64(state, "nextRunAtMs", self.next_run_at_ms);
        opt_u64(state, "runningAtMs", self.running_at_ms);
        opt_u64(state, "lastRunAtMs", self.last_run_at_ms);
        state.opt_str("lastStatus", self.last_status.map(RunStatus::as_str));
        state.opt_str("lastError", self.last_error.as_deref());
        opt_u64(state, "lastDurationMs", self.last_duration_ms);
        state.u64("consecutiveErrors", self.consecutive_errors);
    }
}

impl CronRun {
    fn write(&self, out: &mut Vec<u8>) {
        let mut run = ObjectWriter::open(out);
        run.str("runId", &run_name(&self.job, self.number)).str("jobId", self.job.as_str());
        run.str("trigger", self.trigger.as_str()).str("status", self.status.as_str());
        run.u64("occurrenceAtMs", self.occurrence_ms);
        if self.count > 1 {
            run.u64("lastOccurrenceAtMs", self.last_occurrence_ms);
        }
        run.u64("count", self.count);
        opt_u64(&mut run, "runAtMs", self.started_at_ms);
        opt_u64(&mut run, "endedAtMs", self.ended_at_ms);
        if let (Some(started), Some(ended)) = (self.started_at_ms, self.ended_at_ms) {
            run.u64("durationMs", ended.saturating_sub(started));
        }
        run.opt_str("error", self.error.as_deref()).opt_str("summary", self.summary.as_deref());
        run.close();
    }
}

fn opt_u64(out: &mut ObjectWriter<'_>, key: &str, number: Option<u64>) {
    if let Some(number) = number {
        out.u64(key, number);
    }
}
