//! What is kept of a run on disk.
//!
//! Written when the run starts, before anybody hears of it, and once more at its end. Encoded by
//! `shell::store`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{AgentName, JobId, RunId, SessionKey, UserName};
use crate::protocol::run::RunState;
use crate::protocol::run_calls::{RunMethod, RunOutcome};

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
        job: JobId,
        /// Which of its runs.
        number: u64,
    },
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
    /// Whether it failed because its time was over.
    pub timed_out: bool,
    /// A JSON object, as the agent sent it.
    pub usage: Option<Arc<str>>,
    /// Unix milliseconds.
    pub at_ms: u64,
}

impl RunRecord {
    /// What is told of it once it has ended.
    pub fn outcome(&self) -> Option<RunOutcome> {
        let end = self.end.as_ref()?;
        Some(RunOutcome {
            run: self.id.clone(),
            session: self.session.clone(),
            state: end.state,
            text: end.text.clone(),
            error: end.error.clone(),
            timed_out: end.timed_out,
            usage: end.usage.clone(),
            started_at_ms: self.started_at_ms,
            ended_at_ms: end.at_ms,
        })
    }

    /// Bytes of what was answered.
    pub(in crate::hub) fn text_bytes(&self) -> usize {
        let text = self.end.as_ref().and_then(|end| end.text.as_ref());
        text.map_or(0, |text| text.len())
    }
}
