//! What is kept of a run on disk.
//!
//! Written when the run starts, before anybody hears of it, and once more at its end. Encoded by
//! `shell::store`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{AgentName, RunId, SessionKey, UserName};
use crate::protocol::run::RunState;

/// A run: one message to an agent until its final answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id, unique for the gateway: the asker's idempotency key.
    pub id: RunId,
    /// For whom it was started.
    pub user: UserName,
    /// What started it.
    pub origin: RunOrigin,
    /// Who is asked.
    pub agent: AgentName,
    /// In which session.
    pub session: SessionKey,
    /// Unix milliseconds.
    pub started_at_ms: u64,
    /// How it ended; `None`: it is open.
    pub end: Option<RunEnd>,
}

/// What started a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RunOrigin {
    /// A request of a peer.
    Request {
        /// Which method.
        method: RunMethod,
        /// SHA-256 of its parameters: the same id with another hash is a conflict.
        params_hash: [u8; 32],
    },
    /// An occurrence of a job.
    Cron {
        /// The job.
        job: Arc<str>,
    },
}

/// The methods that start runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunMethod {
    /// `chat.send`
    ChatSend,
    /// `agent`
    Agent,
    /// `sessions.send`
    SessionsSend,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    /// `final`, `error` or `aborted`.
    pub state: RunState,
    /// What was answered, as far as it is still kept; of an unfinished run, what there was of it.
    pub text: Option<Arc<str>>,
    /// Why it failed or was given up.
    pub error: Option<Arc<str>>,
    /// A JSON object, as the agent sent it.
    pub usage: Option<Arc<str>>,
    /// Unix milliseconds.
    pub at_ms: u64,
}
