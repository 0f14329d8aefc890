//! Approvals: what an agent wants to run, and what people say to it (`docs/protocol.md`,
//! "Approvals").
//!
//! Owns the typed requests and replies of `exec.approval.*` and `exec.approvals.*`, and the
//! payloads of their events. Reads no parameters (`methods::approvals` does) and decides nothing
//! (the hub does). The store keeps an [`Approval`] and an [`AllowedCommand`] as they are.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::ids::{AgentName, AllowedId, ApprovalId, SessionKey, UserName};
use crate::protocol::frame::write_success;
use crate::protocol::json::{ObjectWriter, push_array};

/// A method of this family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApprovalCall {
    /// `exec.approval.request`
    Request,
    /// `exec.approval.waitDecision`
    WaitDecision,
    /// `exec.approval.resolve`
    Resolve,
    /// `exec.approvals.list`
    List,
    /// `exec.approvals.remove`
    Remove,
}

impl ApprovalCall {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "exec.approval.request",
            Self::WaitDecision => "exec.approval.waitDecision",
            Self::Resolve => "exec.approval.resolve",
            Self::List => "exec.approvals.list",
            Self::Remove => "exec.approvals.remove",
        }
    }
}

/// A request about approvals.
#[derive(Clone, Debug, PartialEq)]
pub enum ApprovalRequest {
    /// `exec.approval.request`
    Request(ApprovalAsk),
    /// `exec.approval.waitDecision`
    WaitDecision(ApprovalId),
    /// `exec.approval.resolve`
    Resolve {
        /// Which.
        id: ApprovalId,
        /// How.
        decision: Decision,
    },
    /// `exec.approvals.list`
    List,
    /// `exec.approvals.remove`
    Remove(AllowedId),
}

/// Parameters of `exec.approval.request`.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovalAsk {
    /// The id that it is to have; a repetition waits for the same decision.
    pub id: Option<ApprovalId>,
    /// What is to be run.
    pub command: CommandAsked,
    /// How long to wait, at most `APPROVAL_TIMEOUT_MAX`.
    pub timeout: Option<Duration>,
    /// Whether an answer is wanted at once, before the one with the decision.
    pub two_phase: bool,
}

/// What is to be run, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandAsked {
    /// The command, exactly.
    pub command: Arc<str>,
    /// The directory.
    pub cwd: Option<Arc<str>>,
    /// The kind of place, in the agent's words.
    pub host: Option<Arc<str>>,
    /// The program that it comes to.
    pub resolved_path: Option<Arc<str>>,
    /// The agent that asks; `None`: an administrator who named none.
    pub agent: Option<AgentName>,
    /// Its session.
    pub session: Option<SessionKey>,
}

/// What people say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// This once.
    AllowOnce,
    /// This, and the same from now on.
    AllowAlways,
    /// No.
    Deny,
}

impl Decision {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowOnce => "allow-once",
            Self::AllowAlways => "allow-always",
            Self::Deny => "deny",
        }
    }

    /// Reads a decision; `approve` is this once.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "allow-once" | "approve" => Some(Self::AllowOnce),
            "allow-always" => Some(Self::AllowAlways),
            "deny" => Some(Self::Deny),
            _ => None,
        }
    }
}

/// A request for approval, and its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// What is to be run.
    pub command: CommandAsked,
    /// Unix milliseconds.
    pub created_at_ms: u64,
    /// Unix milliseconds.
    pub expires_at_ms: u64,
    /// `None`: it is open.
    pub resolution: Option<Resolution>,
}

/// How a request for approval ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolution {
    /// How.
    pub decision: Decision,
    /// Why, where nobody said so.
    pub reason: Option<Arc<str>>,
    /// Who said so.
    pub by: Option<UserName>,
    /// Unix milliseconds.
    pub at_ms: u64,
}

/// What an agent may always run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllowedCommand {
    /// Follows from what is allowed.
    pub id: AllowedId,
    /// Who may.
    pub agent: AgentName,
    /// The command, exactly.
    pub command: Arc<str>,
    /// The directory; `None`: where none is named.
    pub cwd: Option<Arc<str>>,
    /// The kind of place; `None`: where none is named.
    pub host: Option<Arc<str>>,
    /// Who said so.
    pub by: UserName,
    /// Unix milliseconds.
    pub created_at_ms: u64,
}

/// What a request about approvals is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum ApprovalReply {
    /// `exec.approval.request` in two phases: it waits.
    Accepted(Arc<Approval>),
    /// `exec.approval.request` and `waitDecision`: it was decided.
    Decided(Arc<Approval>),
    /// `exec.approval.resolve`
    Resolved(Arc<Approval>),
    /// `exec.approvals.list`
    List {
        /// The open ones, oldest first.
        pending: Vec<Arc<Approval>>,
        /// What is always allowed, by agent and command.
        allowed: Vec<Arc<AllowedCommand>>,
        /// Whether there are more than one answer holds.
        truncated: bool,
    },
    /// `exec.approvals.remove`
    Removed {
        /// Which.
        id: AllowedId,
        /// Whether there was one.
        removed: bool,
    },
}

impl Approval {
    /// Appends the payload of `exec.approval.requested`.
    pub(super) fn write_requested(&self, out: &mut Vec<u8>) {
        let mut body = ObjectWriter::open(out);
        body.str("id", self.id.as_str());
        body.object("request", |request| self.command.write(request));
        body.u64("createdAtMs", self.created_at_ms).u64("expiresAtMs", self.expires_at_ms);
        body.close();
    }

    /// Appends the payload of `exec.approval.resolved`.
    pub(super) fn write_resolved(&self, out: &mut Vec<u8>) {
        let mut body = ObjectWriter::open(out);
        body.str("id", self.id.as_str());
        self.write_resolution(&mut body);
        if let Some(resolution) = &self.resolution {
            body.u64("ts", resolution.at_ms);
        }
        body.close();
    }

    fn write_resolution(&self, body: &mut ObjectWriter<'_>) {
        let Some(resolution) = &self.resolution else { return };
        body.str("decision", resolution.decision.as_str());
        body.opt_str("reason", resolution.reason.as_deref());
        body.opt_str("resolvedBy", resolution.by.as_ref().map(UserName::as_str));
    }
}

/// Bytes of some texts, and a flat rest.
fn bytes(texts: [Option<&Arc<str>>; 4]) -> usize {
    const FLAT: usize = 512;
    texts.into_iter().flatten().fold(FLAT, |sum, text| sum.saturating_add(text.len()))
}

impl CommandAsked {
    /// What it holds in memory, roughly.
    pub fn bytes(&self) -> usize {
        let Self { command, cwd, host, resolved_path, .. } = self;
        bytes([Some(command), cwd.as_ref(), host.as_ref(), resolved_path.as_ref()])
    }

    fn write(&self, request: &mut ObjectWriter<'_>) {
        request.str("command", &self.command).opt_str("cwd", self.cwd.as_deref());
        request.opt_str("host", self.host.as_deref());
        request.opt_str("resolvedPath", self.resolved_path.as_deref());
        request.opt_str("agentId", self.agent.as_ref().map(AgentName::as_str));
        request.opt_str("sessionKey", self.session.as_ref().map(SessionKey::as_str));
    }
}

impl AllowedCommand {
    /// What it holds in memory, roughly.
    pub fn bytes(&self) -> usize {
        bytes([Some(&self.command), self.cwd.as_ref(), self.host.as_ref(), None])
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut line = ObjectWriter::open(out);
        line.str("id", self.id.as_str()).str("agentId", self.agent.as_str());
        line.str("command", &self.command).opt_str("cwd", self.cwd.as_deref());
        line.opt_str("host", self.host.as_deref()).str("allowedBy", self.by.as_str());
        line.u64("createdAtMs", self.created_at_ms);
        line.close();
    }
}

impl ApprovalReply {
    /// Appends the response.
    pub(super) fn write(&self, out: &mut Vec<u8>, id: &str) {
        write_success(out, id, |out| {
            let mut body = ObjectWriter::open(out);
            self.write_body(&mut body);
            body.close();
        });
    }

    fn write_body(&self, body: &mut ObjectWriter<'_>) {
        match self {
            Self::Accepted(approval) => {
                body.str("status", "accepted").str("id", approval.id.as_str());
                body.u64("createdAtMs", approval.created_at_ms);
                body.u64("expiresAtMs", approval.expires_at_ms);
            }
            Self::Decided(approval) => {
                body.str("id", approval.id.as_str());
                approval.write_resolution(body);
                body.u64("createdAtMs", approval.created_at_ms);
                body.u64("expiresAtMs", approval.expires_at_ms);
            }
            Self::Resolved(approval) => {
                body.bool("ok", true).str("id", approval.id.as_str());
                approval.write_resolution(body);
            }
            Self::List { pending, allowed, truncated } => {
                push_array(body.key("pending"), pending, |out, one| one.write_requested(out));
                push_array(body.key("allowed"), allowed, |out, one| one.write(out));
                body.bool("truncated", *truncated);
            }
            Self::Removed { id, removed } => {
                body.bool("ok", true).str("id", id.as_str()).bool("removed", *removed);
            }
        }
    }
}
