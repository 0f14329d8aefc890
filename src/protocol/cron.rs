//! The schedule's words: jobs, their runs, requests and replies (`docs/protocol.md`, "Cron").
//!
//! Owns their JSON, on the wire and, through `serde`, on disk. When a job comes is `schedule`'s to
//! say; what becomes of it is the hub's.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{AgentName, JobId, SessionKey};
use crate::base::time::utc;
use crate::protocol::json::{ObjectWriter, push_array};
use crate::protocol::schedule::{Schedule, ScheduleText};

/// The methods about jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CronMethod {
    /// `cron.list`
    List,
    /// `cron.status`
    Status,
    /// `cron.runs`
    Runs,
    /// `cron.add`
    Add,
    /// `cron.update`
    Update,
    /// `cron.remove`
    Remove,
    /// `cron.run`
    Run,
}

impl CronMethod {
    /// As on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "cron.list",
            Self::Status => "cron.status",
            Self::Runs => "cron.runs",
            Self::Add => "cron.add",
            Self::Update => "cron.update",
            Self::Remove => "cron.remove",
            Self::Run => "cron.run",
        }
    }
}

/// A request about jobs.
#[derive(Clone, Debug, PartialEq)]
pub enum CronRequest {
    /// `cron.list`
    List(CronList),
    /// `cron.status`
    Status,
    /// `cron.runs`
    Runs {
        /// Of which job.
        job: JobId,
        /// So many at most, the newest first.
        limit: usize,
    },
    /// `cron.add`
    Add(Box<NewJob>),
    /// `cron.update`
    Update(JobId, Box<JobPatch>),
    /// `cron.remove`
    Remove(JobId),
    /// `cron.run`
    Run {
        /// Which job.
        job: JobId,
        /// Only if it is due.
        only_if_due: bool,
    },
}

/// Parameters of `cron.list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CronList {
    /// Also those that are switched off.
    pub include_disabled: bool,
    /// Jobs at most, 1 to `CRON_LIST_LIMIT_MAX`.
    pub limit: usize,
    /// How many to leave out.
    pub offset: usize,
}

/// Parameters of `cron.add`.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// For people; not empty.
    pub name: Arc<str>,
    /// For people.
    pub description: Option<Arc<str>>,
    /// Whether it comes at all.
    pub enabled: bool,
    /// Whether a job that comes once is forgotten when it went well.
    pub delete_after_run: bool,
    /// When.
    pub schedule: Schedule,
    /// What.
    pub payload: CronPayload,
    /// What happens to occurrences that were missed; `None`: as its schedule suggests.
    pub missed: Option<Missed>,
}

/// Parameters of `cron.update`: what changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobPatch {
    /// See [`NewJob`], as for all of these.
    pub name: Option<Arc<str>>,
    /// An empty text takes back.
    pub description: Option<Arc<str>>,
    /// See [`NewJob::enabled`].
    pub enabled: Option<bool>,
    /// See [`NewJob::delete_after_run`].
    pub delete_after_run: Option<bool>,
    /// See [`NewJob::schedule`].
    pub schedule: Option<Schedule>,
    /// See [`NewJob::payload`].
    pub payload: Option<CronPayload>,
    /// See [`NewJob::missed`].
    pub missed: Option<Missed>,
}

/// What a job does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CronPayload {
    /// Starts a program.
    Spawn(Box<CronSpawn>),
    /// Sends an agent a message and waits for its final answer.
    AgentTurn {
        /// The agent; `None`: the session's, else the gateway's default.
        agent: Option<AgentName>,
        /// The session; `None`: one of the job's own.
        session: Option<SessionKey>,
        /// What it is told.
        message: Arc<str>,
        /// With which model.
        model: Option<Arc<str>>,
        /// How long it may take.
        timeout_ms: Option<u64>,
    },
    /// Writes a line into the journal and notifies the operators.
    SystemEvent {
        /// The line.
        text: Arc<str>,
    },
}

/// A program, as `spawn` takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CronSpawn {
    /// A name or an absolute path.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables, in order.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: Option<String>,
    /// Written to its standard input.
    pub stdin: Option<String>,
    /// How long it may run.
    pub timeout_ms: Option<u64>,
    /// The session that it belongs to.
    pub session: Option<SessionKey>,
    /// Whether report lines on its stdout are reports.
    pub reports: bool,
}

/// What happens to occurrences at which the gateway could not run the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// They are recorded.
    Skip,
    /// The last of them runs as soon as possible, the others are recorded.
    RunOnce,
}

impl Missed {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::RunOnce => "run-once",
        }
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CronJob {
    /// Its id, which the gateway gave it.
    pub id: JobId,
    /// For people.
    pub name: Arc<str>,
    /// For people.
    pub description: Option<Arc<str>>,
    /// Whether it comes at all.
    pub enabled: bool,
    /// See [`NewJob::delete_after_run`].
    pub delete_after_run: bool,
    /// When.
    pub schedule: ScheduleText,
    /// What.
    pub payload: CronPayload,
    /// See [`Missed`].
    pub missed: Missed,
    /// Unix milliseconds.
    pub created_at_ms: u64,
    /// Unix milliseconds.
    pub updated_at_ms: u64,
    /// Occurrences up to and with this moment are settled. Not shown.
    pub settled_through_ms: u64,
    /// The number of its newest run. Not shown.
    pub last_number: u64,
    /// How it stands.
    pub state: JobState,
}

/// How a job stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobState {
    /// Unix milliseconds; `None`: never, or not while it is switched off.
    pub next_run_at_ms: Option<u64>,
    /// When the run that goes on was started.
    pub running_at_ms: Option<u64>,
    /// When the last one was started.
    pub last_run_at_ms: Option<u64>,
    /// How the last one that ended came out: `Ok` or `Error`.
    pub last_status: Option<RunStatus>,
    /// Why it failed, if it did.
    pub last_error: Option<Arc<str>>,
    /// How long it took.
    pub last_duration_ms: Option<u64>,
    /// How many failed since the last one that went well.
    pub consecutive_errors: u64,
}

/// One entry of a job's history: a run, or occurrences at which it did not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CronRun {
    /// Of which job.
    pub job: JobId,
    /// Its number, which the job gives only once.
    pub number: u64,
    /// What made it run.
    pub trigger: Trigger,
    /// How it stands.
    pub status: RunStatus,
    /// The (first) occurrence, Unix milliseconds; for `Manual` the moment of the request.
    pub occurrence_ms: u64,
    /// The last occurrence, where several stand together.
    pub last_occurrence_ms: u64,
    /// How many stand together; at least so many, if they were too many to count.
    pub count: u64,
    /// When it was started, Unix milliseconds.
    pub started_at_ms: Option<u64>,
    /// When it ended, Unix milliseconds.
    pub ended_at_ms: Option<u64>,
    /// Why it failed or did not run.
    pub error: Option<Arc<str>>,
    /// What came of it.
    pub summary: Option<Arc<str>>,
}

/// What makes a job run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// It was due.
    Schedule,
    /// It was due before, and missed.
    CatchUp,
    /// `cron.run`
    Manual,
}

impl Trigger {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::CatchUp => "catch-up",
            Self::Manual => "manual",
        }
    }
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// It goes on.
    Running,
    /// It went well.
    Ok,
    /// It failed.
    Error,
    /// It did not run, because the one before went on.
    Skipped,
    /// It did not run, because the gateway was down or its store failed.
    Missed,
}

impl RunStatus {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }
}

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

/// The event `cron`: a job changed or ran.
#[derive(Clone, Debug, PartialEq)]
pub struct CronNews {
    /// What happened: `added`, `updated`, `removed`, `started`, `finished`, `skipped`, `missed`.
    pub action: &'static str,
    /// To which job.
    pub job: JobId,
    /// How the run stands.
    pub status: Option<RunStatus>,
    /// When the run was started, or the occurrence that did not run.
    pub run_at_ms: Option<u64>,
    /// When the job comes next.
    pub next_run_at_ms: Option<u64>,
    /// Which run.
    pub number: Option<u64>,
    /// Why it failed or did not run.
    pub error: Option<Arc<str>>,
}

/// What a request about jobs is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum CronReply {
    /// `cron.list`
    List {
        /// Those that come first, first.
        jobs: Vec<Arc<CronJob>>,
        /// How many there are in all.
        total: usize,
        /// How many were left out before these.
        offset: usize,
    },
    /// `cron.status`
    Status(CronStatus),
    /// `cron.runs`, newest first.
    Runs(Vec<Arc<CronRun>>),
    /// `cron.add` and `cron.update`
    Job(Arc<CronJob>),
    /// `cron.remove`: whether there was one.
    Removed(JobId, bool),
    /// `cron.run`: started, with the run's number.
    Started(JobId, u64),
    /// `cron.run`: not started, with the reason.
    NotStarted(JobId, &'static str),
}

/// `cron.status`
#[derive(Clone, Debug, PartialEq)]
pub struct CronStatus {
    /// `gateway.cron.enabled`
    pub enabled: bool,
    /// Jobs in all.
    pub jobs: usize,
    /// `gateway.cron.maxJobs`
    pub jobs_max: usize,
    /// Runs that go on.
    pub running: usize,
    /// `gateway.cron.maxConcurrentRuns`
    pub concurrent_max: usize,
    /// `gateway.cron.timezone`
    pub zone: String,
    /// When the next job comes.
    pub next_wake_at_ms: Option<u64>,
}

impl CronNews {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
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
    pub(super) fn write(&self, body: &mut ObjectWriter<'_>) {
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
