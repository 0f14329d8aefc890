//! The schedule's words: jobs, their runs, requests and replies (`docs/protocol.md`, "Cron").
//!
//! Owns their JSON, on the wire and, through `serde`, on disk. When a job comes is `schedule`'s to
//! say; what becomes of it is the hub's. `write` has the wire form, `serde` the one on disk.

mod write;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{AgentName, JobId, SessionKey, UserName};
use crate::protocol::request::Idempotency;
use crate::protocol::schedule::{Schedule, ScheduleText};

pub use write::{notification, run_name};

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
        /// See [`Idempotency`].
        idempotency: Option<Idempotency>,
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
    /// See [`Idempotency`].
    pub idempotency: Option<Idempotency>,
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
    /// Who made it: what it does is done for them. Not shown.
    pub user: UserName,
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
