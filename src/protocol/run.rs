//! Runs on the wire: what an agent is asked, what it says, and what operators see of it
//! (`docs/protocol.md`, "Runs").
//!
//! Owns the payloads of `agent.request`, `chat`, `chat.message` and `agent`. Which run is whose,
//! and what follows from what, is the hub's. The store keeps a [`ChatMessage`] as it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{AgentName, RunId, SessionKey, UserName};
use crate::protocol::json::ObjectWriter;

/// The payload of `agent.request`: what an agent is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRequest {
    /// The run.
    pub run: RunId,
    /// The session that it belongs to.
    pub session: SessionKey,
    /// What it is.
    pub kind: RequestKind,
    /// The message, or the word of a control request, such as `abort`.
    pub message: Arc<str>,
    /// The model that was asked for.
    pub model: Option<Arc<str>>,
    /// A name for people.
    pub label: Option<Arc<str>>,
    /// A JSON array, as it was sent.
    pub attachments: Option<Arc<str>>,
}

/// What an agent is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// To answer a message.
    Message,
    /// To change what it does: `abort`, and whatever else the agent knows.
    Control,
}

impl RequestKind {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Control => "control",
        }
    }
}

impl AgentRequest {
    /// Bytes of its texts.
    pub fn bytes(&self) -> usize {
        let texts = [&self.model, &self.label, &self.attachments];
        let more = texts.into_iter().flatten().map(|text| text.len());
        more.fold(self.message.len(), usize::saturating_add)
    }

    /// Appends the payload.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::open(out);
        object.str("runId", self.run.as_str()).str("sessionKey", self.session.as_str());
        object.str("kind", self.kind.as_str()).str("message", &self.message);
        object.opt_str("model", self.model.as_deref()).opt_str("label", self.label.as_deref());
        if let Some(attachments) = &self.attachments {
            object.raw("attachments", attachments);
        }
        object.close();
    }
}

/// What an agent says about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// More of the answer.
    Delta,
    /// The answer is complete.
    Final,
    /// It failed.
    Error,
    /// It was given up.
    Aborted,
}

impl RunState {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Final => "final",
            Self::Error => "error",
            Self::Aborted => "aborted",
        }
    }

    /// Reads a state.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Delta, Self::Final, Self::Error, Self::Aborted]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// The payload of `chat`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatUpdate {
    /// The run.
    pub run: RunId,
    /// Its session.
    pub session: SessionKey,
    /// Its place among what was told of this run, from 1.
    pub seq: u64,
    /// What happened.
    pub state: RunState,
    /// `delta`: what was added; `final`: the whole answer.
    pub text: Option<Arc<str>>,
    /// A JSON object, as the agent sent it.
    pub usage: Option<Arc<str>>,
    /// Why it failed or was given up.
    pub error: Option<Arc<str>>,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

impl ChatUpdate {
    /// Appends the payload.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::open(out);
        object.str("runId", self.run.as_str()).str("sessionKey", self.session.as_str());
        object.u64("seq", self.seq).str("state", self.state.as_str());
        if let Some(text) = &self.text {
            object.object("message", |message| {
                message.str("role", ChatRole::Assistant.as_str()).str("content", text);
                message.u64("timestamp", self.at_ms);
            });
        }
        object.opt_str("errorMessage", self.error.as_deref());
        if let Some(usage) = &self.usage {
            object.raw("usage", usage);
        }
        object.close();
    }
}

/// The payload of `agent`: the same as [`ChatUpdate`], in the words of those clients that follow
/// a run by its streams.
#[derive(Clone, Debug, PartialEq)]
pub struct RunProgress {
    /// The run.
    pub run: RunId,
    /// Its session.
    pub session: SessionKey,
    /// Its place among what was told of this run, from 1.
    pub seq: u64,
    /// What happened.
    pub step: RunStep,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

/// What happened in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunStep {
    /// The agent was given it: stream `lifecycle`, phase `start`.
    Started,
    /// More of the answer: stream `assistant`.
    Said(Arc<str>),
    /// It is over: stream `lifecycle`, phase `end`.
    Ended {
        /// Whether it was given up before its end.
        aborted: bool,
    },
    /// It failed: stream `lifecycle`, phase `error`.
    Failed(Arc<str>),
}

impl RunProgress {
    /// Appends the payload.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::open(out);
        object.str("runId", self.run.as_str()).u64("seq", self.seq);
        let stream = match &self.step {
            RunStep::Said(_) => "assistant",
            RunStep::Started | RunStep::Ended { .. } | RunStep::Failed(_) => "lifecycle",
        };
        object.str("stream", stream).u64("ts", self.at_ms);
        object.object("data", |data| {
            match &self.step {
                RunStep::Started => data.str("phase", "start").u64("startedAt", self.at_ms),
                RunStep::Said(text) => data.str("delta", text),
                RunStep::Ended { aborted } => {
                    data.str("phase", "end").u64("endedAt", self.at_ms);
                    if *aborted { data.bool("aborted", true) } else { data }
                }
                RunStep::Failed(error) => {
                    data.str("phase", "error").u64("endedAt", self.at_ms).str("error", error)
                }
            };
        });
        object.str("sessionKey", self.session.as_str());
        object.close();
    }
}

/// Who speaks in a session's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    /// Whoever asked.
    User,
    /// The agent.
    Assistant,
}

impl ChatRole {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a session's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Grows from message to message; never used twice.
    pub id: u64,
    /// The session.
    pub session: SessionKey,
    /// The run that it belongs to.
    pub run: RunId,
    /// Who speaks.
    pub role: ChatRole,
    /// The agent that was asked or that answers.
    pub agent: AgentName,
    /// The user who asked.
    pub user: UserName,
    /// What was said.
    pub content: Arc<str>,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

impl ChatMessage {
    /// Appends the payload of `chat.message`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let (agent, user) = (self.agent.as_str(), self.user.as_str());
        let (from, to) = match self.role {
            ChatRole::User => (user, agent),
            ChatRole::Assistant => (agent, user),
        };
        let mut object = ObjectWriter::open(out);
        object.u64("id", self.id).str("conversation_id", self.session.as_str());
        object.str("from_agent", from).str("to_agent", to).str("content", &self.content);
        object.str("message_type", "text").u64("created_at", self.at_ms / 1_000);
        object.str("runId", self.run.as_str());
        object.close();
    }

    /// Appends a line of `chat.history`.
    pub(super) fn write_line(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::open(out);
        object.str("role", self.role.as_str()).str("content", &self.content);
        object.u64("timestamp", self.at_ms).str("runId", self.run.as_str()).u64("id", self.id);
        object.close();
    }
}
