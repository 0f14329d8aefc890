//! What the hub keeps on disk: the records, and the changes to them. Encoded by `shell::store`.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{AgentName, Cursor, DeviceId, JobId, SessionKey, UserName};
use crate::protocol::agent_status::AgentStatus;
use crate::protocol::cron::{CronJob, CronRun};
use crate::protocol::device::PublicKey;
use crate::protocol::log_entry::LogRecord;
use crate::protocol::scope::{Role, ScopeSet};
use crate::protocol::session::Session;

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
}
