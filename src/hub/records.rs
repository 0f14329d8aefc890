//! What the hub keeps on disk: the records, and the changes to them. Encoded by `shell::store`.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{
    AgentName, AllowedId, ApprovalId, Cursor, DeviceId, JobId, RequestId, RunId, SessionKey,
    SpawnId, UserName,
};
use crate::hub::child::ChildMarks;
use crate::hub::runs::record::RunRecord;
use crate::protocol::agent_status::AgentStatus;
use crate::protocol::approvals::{AllowedCommand, Approval};
use crate::protocol::cron::{CronJob, CronRun};
use crate::protocol::device::PublicKey;
use crate::protocol::log_entry::LogRecord;
use crate::protocol::run::ChatMessage;
use crate::protocol::scope::{Role, ScopeSet};
use crate::protocol::session::Session;
use crate::protocol::spawn::{Exit, SpawnShown, SpawnStatus};

/// One change of a commit.
#[derive(Clone, Debug)]
pub enum Change {
    /// No cursor below this one is used by later starts.
    ReserveCursors(Cursor),
    /// Append to the journal.
    AppendLog(Arc<LogRecord>),
    /// Forget every journal entry up to and with this cursor, and remember that there were some.
    TrimJournal(Cursor),
    /// Forget the journal entries from the first cursor to the second: their commit was refused,
    /// but a disk that fails may have kept them.
    DeleteLogs(Cursor, Cursor),
    /// Insert or replace a device, by its id.
    PutDevice(Box<DeviceRecord>),
    /// Forget a device.
    DeleteDevice(DeviceId),
    /// Insert or replace a token, by its hash.
    PutToken(Box<TokenRecord>),
    /// Forget a token.
    DeleteToken([u8; 32]),
    /// Insert or replace a remembered answer, by user, method and key.
    PutAnswer(Box<AnswerRecord>),
    /// Forget a remembered answer.
    DeleteAnswer(AnswerKey),
    /// Insert or replace a session, by its key.
    PutSession(Arc<Session>),
    /// Forget a session.
    DeleteSession(SessionKey),
    /// Insert or replace an agent's status, by its name.
    PutAgent(Arc<AgentStatus>),
    /// Forget an agent's status.
    DeleteAgent(AgentName),
    /// Insert or replace a job, by its id.
    PutCronJob(Box<CronJob>),
    /// Forget a job and its runs.
    DeleteCronJob(JobId),
    /// Insert or replace a run, by its job and number.
    PutCronRun(Arc<CronRun>),
    /// Forget a run.
    DeleteCronRun(JobId, u64),
    /// Insert or replace a run, by its id.
    PutRun(Arc<RunRecord>),
    /// Forget a run.
    DeleteRun(RunId),
    /// Insert a message of a session's history, by its id.
    PutMessage(Arc<ChatMessage>),
    /// Forget a message.
    DeleteMessage(u64),
    /// Insert or replace a request for approval, by its id.
    PutApproval(Arc<Approval>),
    /// Forget a request for approval.
    DeleteApproval(ApprovalId),
    /// Insert what an agent may always run, by its id.
    PutAllowed(Arc<AllowedCommand>),
    /// Withdraw what an agent may always run.
    DeleteAllowed(AllowedId),
    /// Insert or replace a spawn, by its id.
    PutSpawn(Box<SpawnRecord>),
    /// Forget a spawn.
    DeleteSpawn(SpawnId),
}

/// A device that was approved or revoked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its id.
    pub id: DeviceId,
    /// Its key.
    pub public_key: PublicKey,
    /// Approved or revoked.
    pub state: DeviceState,
    /// The owner of the credential that admitted it.
    pub user: UserName,
    /// The role it was approved for.
    pub role: Role,
    /// The scopes it was approved for.
    pub scopes: ScopeSet,
    /// An agent's name, bound to the device.
    pub agent: Option<AgentName>,
    /// What it called itself.
    pub display_name: Option<String>,
    /// `client.id` at registration.
    pub client_id: String,
    /// `client.platform` at registration.
    pub platform: String,
    /// The address it registered from.
    pub address: IpAddr,
    /// Unix milliseconds.
    pub created_at_ms: u64,
    /// Unix milliseconds; kept to the hour so that reconnects do not write.
    pub last_seen_ms: u64,
}

/// Whether a device may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// It may.
    Approved,
    /// Its key is remembered so that it cannot register again.
    Revoked,
}

/// A device token, known by its hash alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// Whose.
    pub device: DeviceId,
    /// For which role.
    pub role: Role,
    /// With which scopes.
    pub scopes: ScopeSet,
    /// Unix milliseconds.
    pub issued_at_ms: u64,
    /// Unix milliseconds.
    pub expires_at_ms: u64,
}

/// What an idempotency key belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AnswerKey {
    /// The user.
    pub user: UserName,
    /// The method.
    pub method: String,
    /// The key.
    pub key: String,
}

/// A remembered answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// What it belongs to.
    pub key: AnswerKey,
    /// The parameters' hash.
    pub params_hash: [u8; 32],
    /// The answer, as `Reply` can be rebuilt from it: for `logs.append` the two cursors.
    pub answer: serde_json::Value,
    /// Unix milliseconds.
    pub expires_at_ms: u64,
}

/// A spawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpawnRecord {
    /// Its id.
    pub id: SpawnId,
    /// Who asked for it.
    pub origin: SpawnOrigin,
    /// Whose authority it was started with.
    pub user: UserName,
    /// The agent that it speaks as.
    pub agent: AgentName,
    /// The session that it belongs to.
    pub session: SessionKey,
    /// The program, as it was asked for.
    pub command: String,
    /// A name for people.
    pub label: Option<Arc<str>>,
    /// How it stands.
    pub status: SpawnStatus,
    /// How its process can be found again, from before it ran.
    pub marks: Option<ChildMarks>,
    /// Unix milliseconds.
    pub created_at_ms: u64,
    /// When it began to run, Unix milliseconds.
    pub started_at_ms: Option<u64>,
    /// When it ended, Unix milliseconds.
    pub ended_at_ms: Option<u64>,
    /// How its process ended.
    pub exit: Option<Exit>,
    /// What went wrong.
    pub error: Option<String>,
    /// The newest journal entry when it was asked for.
    pub log_after: Cursor,
    /// The newest journal entry when it had ended.
    pub log_through: Option<Cursor>,
}

/// Who asked for a spawn, and so hears of its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpawnOrigin {
    /// A request of an operator.
    Request {
        /// The request's id.
        id: RequestId,
        /// The device that asked, if it was one.
        device: Option<DeviceId>,
    },
    /// A run whose agent was not there.
    Run(RunId),
    /// An occurrence of a job.
    Cron {
        /// The job's id.
        job: JobId,
        /// Which of its runs.
        number: u64,
    },
}

impl SpawnRecord {
    /// What every mention of it shows. Its process id is shown from its start on.
    pub fn shown(&self) -> SpawnShown {
        SpawnShown {
            spawn: self.id.clone(),
            request: match &self.origin {
                SpawnOrigin::Request { id, .. } => id.clone(),
                SpawnOrigin::Run(_) | SpawnOrigin::Cron { .. } => RequestId::new(self.id.0.clone()),
            },
            status: self.status,
            pid: self.started_at_ms.and(self.marks.as_ref()).map(|marks| marks.pid),
            completed_at_ms: self.ended_at_ms,
            exit: self.exit,
            error: self.error.clone(),
        }
    }
}

/// Everything that was on disk at the start.
#[derive(Clone, Debug, Default)]
pub struct DurableState {
    /// No cursor below this one may be used.
    pub cursors_reserved: Cursor,
    /// The newest journal entry that was trimmed; 0 when none was.
    pub trimmed_through: Cursor,
    /// The journal, oldest first.
    pub journal: Vec<Arc<LogRecord>>,
    /// The devices.
    pub devices: Vec<DeviceRecord>,
    /// The tokens.
    pub tokens: Vec<TokenRecord>,
    /// The remembered answers.
    pub answers: Vec<AnswerRecord>,
    /// The sessions.
    pub sessions: Vec<Arc<Session>>,
    /// What agents said about themselves last.
    pub agents: Vec<Arc<AgentStatus>>,
    /// The jobs.
    pub cron_jobs: Vec<CronJob>,
    /// The jobs' runs.
    pub cron_runs: Vec<CronRun>,
    /// The runs, open ones and ended ones.
    pub runs: Vec<Arc<RunRecord>>,
    /// The messages of all histories.
    pub messages: Vec<Arc<ChatMessage>>,
    /// The requests for approval.
    pub approvals: Vec<Arc<Approval>>,
    /// What agents may always run.
    pub allowed: Vec<Arc<AllowedCommand>>,
    /// The spawns, open and ended.
    pub spawns: Vec<SpawnRecord>,
}
