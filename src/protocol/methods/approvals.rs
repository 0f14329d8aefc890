//! The parameters of `exec.approval.*` and `exec.approvals.*` (`docs/protocol.md`, "Approvals").
//!
//! Reads only. An agent asks as itself and for its own sessions, whatever it says. Called by
//! `request`.

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::{AgentName, AllowedId, ApprovalId};
use crate::base::limits::{
    AGENT_NAME_BYTES_MAX, APPROVAL_COMMAND_BYTES_MAX, APPROVAL_TEXT_BYTES_MAX,
    APPROVAL_TIMEOUT_MAX, CLIENT_TEXT_BYTES_MAX,
};
use crate::protocol::approvals::{
    ApprovalAsk, ApprovalCall, ApprovalRequest, CommandAsked, Decision,
};
use crate::protocol::fields::{Invalid, Object};
use crate::protocol::methods::agent_status::is_name;
use crate::protocol::methods::session_key::{self, printable};
use crate::protocol::methods::{Access, Method, Row};
use crate::protocol::scope::ScopeSet;
use crate::protocol::speaker::Speaker;

/// Their rows in the table of methods.
pub(super) const ROWS: [Row; 5] = [
    Row {
        method: Method::Approvals(ApprovalCall::Request),
        name: "exec.approval.request",
        aliases: &[],
        access: Access::AgentOr(ScopeSet::ADMIN),
    },
    Row {
        method: Method::Approvals(ApprovalCall::WaitDecision),
        name: "exec.approval.waitDecision",
        aliases: &[],
        access: Access::AgentOr(ScopeSet::ADMIN),
    },
    Row {
        method: Method::Approvals(ApprovalCall::Resolve),
        name: "exec.approval.resolve",
        aliases: &[],
        access: Access::Scope(ScopeSet::APPROVALS),
    },
    Row {
        method: Method::Approvals(ApprovalCall::List),
        name: "exec.approvals.list",
        aliases: &[],
        access: Access::Scope(ScopeSet::APPROVALS),
    },
    Row {
        method: Method::Approvals(ApprovalCall::Remove),
        name: "exec.approvals.remove",
        aliases: &[],
        access: Access::Scope(ScopeSet::APPROVALS),
    },
];

/// The known parameters of all of them; each ignores those of the others.
pub(in crate::protocol) const PARAMS: [&str; 10] = [
    "id",
    "command",
    "cwd",
    "host",
    "resolvedPath",
    "agentId",
    "sessionKey",
    "timeoutMs",
    "twoPhase",
    "decision",
];

type Params<'a> = Object<'a, 10>;

/// Reads the parameters of `call`. `speaker` is the agent that asks; `None` for an operator.
pub(in crate::protocol) fn read(
    call: ApprovalCall,
    params: &Params<'_>,
    speaker: Option<Speaker<'_>>,
) -> Result<ApprovalRequest, Invalid> {
    Ok(match call {
        ApprovalCall::Request => ApprovalRequest::Request(ask(params, speaker)?),
        ApprovalCall::WaitDecision => {
            ApprovalRequest::WaitDecision(ApprovalId::new(required_id(params)?))
        }
        ApprovalCall::Resolve => {
            let said = params.required("decision", CLIENT_TEXT_BYTES_MAX)?;
            let must = "must be allow-once, allow-always or deny";
            let decision =
                Decision::parse(&said).ok_or_else(|| params.invalid("decision", must))?;
            ApprovalRequest::Resolve { id: ApprovalId::new(required_id(params)?), decision }
        }
        ApprovalCall::List => ApprovalRequest::List,
        ApprovalCall::Remove => ApprovalRequest::Remove(AllowedId::new(required_id(params)?)),
    })
}

fn required_id(params: &Params<'_>) -> Result<String, Invalid> {
    let id = params.required("id", CLIENT_TEXT_BYTES_MAX)?;
    printable(params, "id", &id)?;
    Ok(id.into_owned())
}

fn ask(params: &Params<'_>, speaker: Option<Speaker<'_>>) -> Result<ApprovalAsk, Invalid> {
    let id = params.string("id", CLIENT_TEXT_BYTES_MAX)?.filter(|id| !id.is_empty());
    if let Some(id) = &id {
        printable(params, "id", id)?;
    }
    let asked_for = match (speaker, params.string("agentId", AGENT_NAME_BYTES_MAX)?) {
        (Some(speaker), _) => Some(speaker.agent.clone()),
        (None, Some(name)) if is_name(&name) => Some(AgentName::new(name)),
        (None, Some(name)) if !name.is_empty() => {
            return Err(
                params.invalid("agentId", "must be an agent's name: letters, digits, . _ -")
            );
        }
        (None, _) => None,
    };
    let named = asked_for.as_ref().map(|agent| Speaker { agent, session: None });
    let session = session_key::optional(params, "sessionKey", speaker.or(named))?;
    let own = speaker.and_then(|speaker| speaker.session);
    let timeout = params.u64("timeoutMs")?.filter(|millis| *millis > 0);
    let command = params.required("command", APPROVAL_COMMAND_BYTES_MAX)?;
    Ok(ApprovalAsk {
        id: id.map(ApprovalId::new),
        command: CommandAsked {
            command: Arc::from(&*command),
            cwd: text(params, "cwd")?,
            host: text(params, "host")?,
            resolved_path: text(params, "resolvedPath")?,
            session: session.or_else(|| own.cloned()),
            agent: asked_for,
        },
        timeout: timeout.map(|millis| Duration::from_millis(millis).min(APPROVAL_TIMEOUT_MAX)),
        two_phase: params.bool("twoPhase")?.unwrap_or(false),
    })
}

fn text(params: &Params<'_>, name: &str) -> Result<Option<Arc<str>>, Invalid> {
    let text = params.string(name, APPROVAL_TEXT_BYTES_MAX)?;
    Ok(text.filter(|text| !text.is_empty()).map(|text| Arc::from(&*text)))
}
