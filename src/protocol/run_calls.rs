//! What is asked and answered about runs (`docs/protocol.md`, "Runs").
//!
//! Owns the typed requests and replies of `chat.*`, `agent`, `agent.wait`, `sessions.send` and
//! `run.update`, and the encoding of the replies. Reads no parameters (`methods::runs` does) and
//! decides nothing (the hub does).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::ids::{AgentName, RunId, SessionKey};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::frame::{write_failure_with_body, write_success};
use crate::protocol::json::{ObjectWriter, push_array, push_str};
use crate::protocol::run::{AgentRequest, ChatMessage, RunState};
use crate::protocol::safe_text::safe_message;

/// A method of this family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunCall {
    /// `chat.send`
    ChatSend,
    /// `chat.history`
    ChatHistory,
    /// `chat.abort`
    ChatAbort,
    /// `agent`
    Agent,
    /// `agent.wait`
    AgentWait,
    /// `sessions.send`
    SessionsSend,
    /// `run.update`
    RunUpdate,
}

impl RunCall {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatSend => "chat.send",
            Self::ChatHistory => "chat.history",
            Self::ChatAbort => "chat.abort",
            Self::Agent => "agent",
            Self::AgentWait => "agent.wait",
            Self::SessionsSend => "sessions.send",
            Self::RunUpdate => "run.update",
        }
    }
}

/// The methods that start runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunMethod {
    /// `chat.send`
    ChatSend,
    /// `agent`, which is answered twice.
    Agent,
    /// `sessions.send`
    SessionsSend,
}

/// A request about runs.
#[derive(Clone, Debug, PartialEq)]
pub enum RunRequest {
    /// `chat.send`, `agent`, `sessions.send`
    Start(RunAsk),
    /// `sessions.send` with a control message.
    Control {
        /// To the agent of this session.
        session: SessionKey,
        /// The word, not empty.
        action: Arc<str>,
    },
    /// `agent.wait`
    Wait {
        /// For this run.
        run: RunId,
        /// For so long, at most `AGENT_WAIT_MAX`.
        timeout: Duration,
    },
    /// `chat.history`
    History(HistoryAsk),
    /// `chat.abort`
    Abort {
        /// The runs of this session.
        session: Option<SessionKey>,
        /// This run. At least one of the two is there.
        run: Option<RunId>,
    },
    /// `run.update`
    Update(RunReport),
}

/// What an agent is to be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct RunAsk {
    /// How it was asked for.
    pub method: RunMethod,
    /// The `idempotencyKey`, which becomes the run's id.
    pub key: Option<RunId>,
    /// SHA-256 of the parameters.
    pub params_hash: [u8; 32],
    /// Which agent.
    pub agent: Option<AgentName>,
    /// In which session.
    pub session: Option<SessionKey>,
    /// At most `RUN_MESSAGE_BYTES_MAX`.
    pub message: Arc<str>,
    /// With which model.
    pub model: Option<Arc<str>>,
    /// A name for people.
    pub label: Option<Arc<str>>,
    /// A JSON array, at most `RUN_ATTACHMENTS_BYTES_MAX`.
    pub attachments: Option<Arc<str>>,
    /// How long it may take, at most `RUN_TIMEOUT_MAX`.
    pub timeout: Option<Duration>,
}

/// Which part of a session's history is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryAsk {
    /// Of which session.
    pub session: SessionKey,
    /// Messages at most, 1 to `HISTORY_LIMIT_MAX`.
    pub limit: usize,
    /// Those before the message with this id; without one, the newest.
    pub before: Option<u64>,
}

/// What an agent says about a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// Which; `None`: the one that the reporting program was started for.
    pub run: Option<RunId>,
    /// What happened.
    pub state: RunState,
    /// More of the answer, or with `final` the whole of it. At most `RUN_TEXT_BYTES_MAX`.
    pub text: Option<Arc<str>>,
    /// A JSON object, at most `RUN_USAGE_BYTES_MAX`.
    pub usage: Option<Arc<str>>,
    /// At most `RUN_ERROR_BYTES_MAX`.
    pub error: Option<Arc<str>>,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunProgressed {
    /// It was started by this request.
    Started,
    /// It was started by an earlier one.
    InFlight,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    /// Which.
    pub run: RunId,
    /// In which session.
    pub session: SessionKey,
    /// `final`, `error` or `aborted`.
    pub state: RunState,
    /// What was answered, as far as it is still kept.
    pub text: Option<Arc<str>>,
    /// Why it failed or was given up.
    pub error: Option<Arc<str>>,
    /// Whether it failed because its time was over.
    pub timed_out: bool,
    /// A JSON object, as the agent sent it.
    pub usage: Option<Arc<str>>,
    /// Unix milliseconds.
    pub started_at_ms: u64,
    /// Unix milliseconds.
    pub ended_at_ms: u64,
}

/// What a request about runs is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum RunReply {
    /// `chat.send` and `sessions.send`, while the run is open.
    Open {
        /// The run.
        run: RunId,
        /// Its session.
        session: SessionKey,
        /// How far it has come.
        progressed: RunProgressed,
    },
    /// `chat.send` and `sessions.send`, repeated after the end.
    Ended(RunOutcome),
    /// `agent`, the first answer.
    Accepted {
        /// The run.
        run: RunId,
        /// Its session.
        session: SessionKey,
        /// Since when, Unix milliseconds.
        at_ms: u64,
    },
    /// `agent`, the last answer; a failure that carries a body.
    AgentEnded(RunOutcome),
    /// `agent.wait`, the run has ended.
    Waited(RunOutcome),
    /// `agent.wait`, the time is over and the run is open.
    StillOpen {
        /// The run.
        run: RunId,
        /// Since when, Unix milliseconds.
        started_at_ms: u64,
    },
    /// `chat.history`, oldest first.
    History {
        /// The session.
        session: SessionKey,
        /// Its messages.
        messages: Vec<Arc<ChatMessage>>,
        /// Whether there are older ones.
        has_more: bool,
    },
    /// `chat.abort`: the runs that are now being given up.
    Aborting(Vec<RunId>),
    /// `sessions.send` with a control message: it was passed on under this id.
    Controlled(Box<AgentRequest>),
}

impl RunReply {
    /// Appends the response.
    pub(super) fn write(&self, out: &mut Vec<u8>, id: &str) {
        if let Self::AgentEnded(outcome) = self
            && outcome.state != RunState::Final
        {
            let error = outcome.failure();
            return write_failure_with_body(out, id, &error, |out| outcome.write_failed(out));
        }
        write_success(out, id, |out| {
            let mut body = ObjectWriter::open(out);
            self.write_body(&mut body);
            body.close();
        });
    }

    fn write_body(&self, body: &mut ObjectWriter<'_>) {
        match self {
            Self::Open { run, session, progressed } => {
                let status = match progressed {
                    RunProgressed::Started => "started",
                    RunProgressed::InFlight => "in_flight",
                };
                body.str("runId", run.as_str()).str("status", status);
                body.str("sessionKey", session.as_str());
            }
            Self::Ended(outcome) => {
                body.str("runId", outcome.run.as_str()).str("status", outcome.status());
                body.str("sessionKey", outcome.session.as_str());
                body.opt_str("error", outcome.error.as_deref());
            }
            Self::Accepted { run, session, at_ms } => {
                body.str("runId", run.as_str()).str("status", "accepted");
                body.u64("acceptedAt", *at_ms).str("sessionKey", session.as_str());
            }
            Self::AgentEnded(outcome) => outcome.write_completed(body),
            Self::Waited(outcome) => {
                body.str("runId", outcome.run.as_str()).str("status", outcome.status());
                body.u64("startedAt", outcome.started_at_ms).u64("endedAt", outcome.ended_at_ms);
                body.opt_str("error", outcome.error.as_deref());
                body.opt_str("text", outcome.text.as_deref());
            }
            Self::StillOpen { run, started_at_ms } => {
                body.str("runId", run.as_str()).str("status", "timeout");
                body.u64("startedAt", *started_at_ms);
            }
            Self::History { session, messages, has_more } => {
                body.str("sessionKey", session.as_str());
                push_array(body.key("messages"), messages, |out, message| message.write_line(out));
                body.bool("hasMore", *has_more);
            }
            Self::Aborting(runs) => {
                body.bool("ok", true).bool("aborted", !runs.is_empty());
                push_array(body.key("runIds"), runs, |out, run| push_str(out, run.as_str()));
            }
            Self::Controlled(request) => {
                body.bool("ok", true).str("runId", request.run.as_str()).str("status", "sent");
                body.str("sessionKey", request.session.as_str());
            }
        }
    }
}

impl RunOutcome {
    fn status(&self) -> &'static str {
        if self.state == RunState::Final { "ok" } else { "error" }
    }

    fn summary(&self) -> &str {
        match self.state {
            RunState::Final => "completed",
            RunState::Aborted => self.error.as_deref().unwrap_or("aborted"),
            RunState::Delta | RunState::Error => self.error.as_deref().unwrap_or("failed"),
        }
    }

    fn failure(&self) -> ProtocolError {
        let code = if self.timed_out { ErrorCode::AgentTimeout } else { ErrorCode::Unavailable };
        ProtocolError::new(code, self.summary())
    }

    fn write_completed(&self, body: &mut ObjectWriter<'_>) {
        body.str("runId", self.run.as_str()).str("status", "ok").str("summary", self.summary());
        body.object("result", |result| {
            let texts = self.text.iter().filter(|text| !text.is_empty());
            push_array(result.key("payloads"), texts, |out, text| {
                let mut payload = ObjectWriter::open(out);
                payload.str("text", text);
                payload.close();
            });
            if let Some(usage) = &self.usage {
                result.raw("usage", usage);
            }
        });
        body.str("sessionKey", self.session.as_str());
    }

    fn write_failed(&self, out: &mut Vec<u8>) {
        let mut body = ObjectWriter::open(out);
        body.str("runId", self.run.as_str()).str("status", "error");
        body.str("summary", &safe_message(self.summary()));
        body.close();
    }
}
