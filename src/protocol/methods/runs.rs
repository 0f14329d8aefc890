//! The parameters of `chat.*`, `agent`, `agent.wait`, `sessions.send` and `run.update`
//! (`docs/protocol.md`, "Runs").
//!
//! Reads only; which agent and session are meant where none is named is the hub's to say. Called
//! by `request`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::base::ids::{AgentName, RunId, SessionKey};
use crate::base::limits::{
    AGENT_NAME_BYTES_MAX, AGENT_WAIT_DEFAULT, AGENT_WAIT_MAX, HISTORY_LIMIT_DEFAULT,
    HISTORY_LIMIT_MAX, IDEMPOTENCY_KEY_BYTES_MAX, RUN_ATTACHMENTS_BYTES_MAX, RUN_ERROR_BYTES_MAX,
    RUN_JSON_DEPTH_MAX, RUN_MESSAGE_BYTES_MAX, RUN_TEXT_BYTES_MAX, RUN_TIMEOUT_MAX,
    RUN_USAGE_BYTES_MAX, SESSION_TEXT_BYTES_MAX,
};
use crate::protocol::fields::{Invalid, Object, Place};
use crate::protocol::methods::agent_status::is_name;
use crate::protocol::methods::session_key::{self, printable};
use crate::protocol::methods::session_reports::text;
use crate::protocol::methods::{Access, Method, Row};
use crate::protocol::readable;
use crate::protocol::run::RunState;
use crate::protocol::run_calls::{HistoryAsk, RunAsk, RunCall, RunMethod, RunReport, RunRequest};
use crate::protocol::scope::ScopeSet;

/// Their rows in the table of methods.
pub(super) const ROWS: [Row; 7] = [
    Row {
        method: Method::Runs(RunCall::ChatSend),
        name: "chat.send",
        aliases: &[],
        access: Access::Scope(ScopeSet::WRITE),
    },
    Row {
        method: Method::Runs(RunCall::ChatHistory),
        name: "chat.history",
        aliases: &[],
        access: Access::Scope(ScopeSet::WRITE),
    },
    Row {
        method: Method::Runs(RunCall::ChatAbort),
        name: "chat.abort",
        aliases: &[],
        access: Access::Scope(ScopeSet::WRITE),
    },
    Row {
        method: Method::Runs(RunCall::Agent),
        name: "agent",
        aliases: &[],
        access: Access::Scope(ScopeSet::WRITE),
    },
    Row {
        method: Method::Runs(RunCall::AgentWait),
        name: "agent.wait",
        aliases: &[],
        access: Access::Scope(ScopeSet::WRITE),
    },
    Row {
        method: Method::Runs(RunCall::SessionsSend),
        name: "sessions.send",
        aliases: &["sessions_send"],
        access: Access::Scope(ScopeSet::WRITE),
    },
    Row {
        method: Method::Runs(RunCall::RunUpdate),
        name: "run.update",
        aliases: &["run_update"],
        access: Access::Agent,
    },
];

/// The known parameters of all of them; each ignores those of the others.
pub(in crate::protocol) const PARAMS: [&str; 18] = [
    "sessionKey",
    "key",
    "message",
    "agentId",
    "label",
    "model",
    "attachments",
    "idempotencyKey",
    "timeout",
    "timeoutMs",
    "timeoutSeconds",
    "runId",
    "limit",
    "before",
    "state",
    "text",
    "usage",
    "errorMessage",
];

type Params<'a> = Object<'a, 18>;

/// Reads the parameters of `call`; `json` is all of them.
pub(in crate::protocol) fn read(
    call: RunCall,
    params: &Params<'_>,
    json: &str,
) -> Result<RunRequest, Invalid> {
    Ok(match call {
        RunCall::ChatSend => RunRequest::Start(RunAsk {
            session: Some(required_session(params)?),
            ..ask(RunMethod::ChatSend, params, json)?
        }),
        RunCall::Agent => RunRequest::Start(RunAsk {
            agent: agent_id(params)?,
            ..ask(RunMethod::Agent, params, json)?
        }),
        RunCall::SessionsSend => sessions_send(params, json)?,
        RunCall::AgentWait => RunRequest::Wait {
            run: required_run(params)?,
            timeout: params
                .u64("timeoutMs")?
                .map_or(AGENT_WAIT_DEFAULT, Duration::from_millis)
                .min(AGENT_WAIT_MAX),
        },
        RunCall::ChatHistory => RunRequest::History(HistoryAsk {
            session: required_session(params)?,
            limit: limit(params)?,
            before: params.u64("before")?,
        }),
        RunCall::ChatAbort => abort(params)?,
        RunCall::RunUpdate => RunRequest::Update(update(params)?),
    })
}

fn ask(method: RunMethod, params: &Params<'_>, json: &str) -> Result<RunAsk, Invalid> {
    let attachments = attachments(params)?;
    let message = params.string("message", RUN_MESSAGE_BYTES_MAX)?.unwrap_or_default();
    if message.is_empty() && attachments.is_none() {
        return Err(params.invalid("message", "must be a non-empty string"));
    }
    Ok(RunAsk {
        method,
        key: run_id(params, "idempotencyKey")?,
        params_hash: Sha256::digest(json.as_bytes()).into(),
        agent: None,
        session: optional_session(params)?,
        message: Arc::from(&*message),
        model: non_empty(params, "model")?,
        label: non_empty(params, "label")?,
        attachments,
        timeout: timeout(params)?,
    })
}

fn optional_session(params: &Params<'_>) -> Result<Option<SessionKey>, Invalid> {
    session_key::optional(params, "sessionKey", None)
}

/// `sessionKey`, or `key`, which means the same.
fn required_session(params: &Params<'_>) -> Result<SessionKey, Invalid> {
    if params.raw("key").is_none() && optional_session(params)?.is_none() {
        return Err(params.invalid("sessionKey", "must be a non-empty string"));
    }
    session_key::required(params, None)
}

fn non_empty(params: &Params<'_>, name: &str) -> Result<Option<Arc<str>>, Invalid> {
    const { assert!(SESSION_TEXT_BYTES_MAX < RUN_MESSAGE_BYTES_MAX) };
    Ok(text(params, name)?.filter(|text| !text.is_empty()))
}

fn agent_id(params: &Params<'_>) -> Result<Option<AgentName>, Invalid> {
    match params.string("agentId", AGENT_NAME_BYTES_MAX)?.filter(|name| !name.is_empty()) {
        Some(name) if !is_name(&name) => {
            Err(params.invalid("agentId", "must be an agent's name: letters, digits, . _ -"))
        }
        name => Ok(name.map(AgentName::new)),
    }
}

/// A run's id; empty counts as absent.
fn run_id(params: &Params<'_>, name: &str) -> Result<Option<RunId>, Invalid> {
    let id = params.string(name, IDEMPOTENCY_KEY_BYTES_MAX)?.filter(|id| !id.is_empty());
    if let Some(id) = &id {
        printable(params, name, id)?;
    }
    Ok(id.map(RunId::new))
}

fn required_run(params: &Params<'_>) -> Result<RunId, Invalid> {
    run_id(params, "runId")?.ok_or_else(|| params.invalid("runId", "must be a non-empty string"))
}

/// `timeoutMs`, `timeoutSeconds` or `timeout`, which counts seconds, too. 0 is no wish.
fn timeout(params: &Params<'_>) -> Result<Option<Duration>, Invalid> {
    let seconds = match params.u64("timeoutSeconds")? {
        None => params.u64("timeout")?,
        seconds => seconds,
    };
    let wanted = match params.u64("timeoutMs")? {
        None => seconds.map(Duration::from_secs),
        Some(millis) => Some(Duration::from_millis(millis)),
    };
    Ok(wanted.filter(|wanted| !wanted.is_zero()).map(|wanted| wanted.min(RUN_TIMEOUT_MAX)))
}

fn attachments(params: &Params<'_>) -> Result<Option<Arc<str>>, Invalid> {
    let Some(raw) = params.raw("attachments") else { return Ok(None) };
    let json = bounded(params, "attachments", raw, '[', RUN_ATTACHMENTS_BYTES_MAX)?;
    Ok(json.filter(|json| &**json != "[]"))
}

/// JSON that is passed on, as every parser can read it.
fn bounded(
    params: &Params<'_>,
    name: &'static str,
    raw: &RawValue,
    opening: char,
    bytes_max: usize,
) -> Result<Option<Arc<str>>, Invalid> {
    let json = raw.get();
    if !json.starts_with(opening) {
        let must = if opening == '[' { "must be an array" } else { "must be an object" };
        return Err(params.invalid(name, must));
    }
    if bytes_max < json.len() {
        return Err(params.invalid(name, format!("must be at most {bytes_max} bytes of JSON")));
    }
    readable::check(json, RUN_JSON_DEPTH_MAX)
        .map_err(|error| params.invalid(name, format!("is not readable JSON: {error}")))?;
    Ok(Some(Arc::from(readable::compact(json))))
}

/// A message is a text, or an object of this shape.
const MESSAGE: [&str; 4] = ["type", "action", "text", "content"];

fn sessions_send(params: &Params<'_>, json: &str) -> Result<RunRequest, Invalid> {
    let session = required_session(params)?;
    let Some(raw) = params.raw("message").filter(|raw| raw.get().starts_with('{')) else {
        let ask = ask(RunMethod::SessionsSend, params, json)?;
        return Ok(RunRequest::Start(RunAsk { session: Some(session), ..ask }));
    };
    let message = Object::read(Place::In("message"), &MESSAGE, raw)?;
    if message.string("type", SESSION_TEXT_BYTES_MAX)?.is_some_and(|kind| kind == "control") {
        let action = message.required("action", SESSION_TEXT_BYTES_MAX)?;
        printable(&message, "action", &action)?;
        return Ok(RunRequest::Control { session, action: Arc::from(&*action) });
    }
    let said = match message.string("text", RUN_MESSAGE_BYTES_MAX)? {
        None => message.required("content", RUN_MESSAGE_BYTES_MAX)?,
        Some(_) => message.required("text", RUN_MESSAGE_BYTES_MAX)?,
    };
    Ok(RunRequest::Start(RunAsk {
        method: RunMethod::SessionsSend,
        key: run_id(params, "idempotencyKey")?,
        params_hash: Sha256::digest(json.as_bytes()).into(),
        agent: None,
        session: Some(session),
        message: Arc::from(&*said),
        model: non_empty(params, "model")?,
        label: non_empty(params, "label")?,
        attachments: attachments(params)?,
        timeout: timeout(params)?,
    }))
}

/// A `limit` over its maximum is taken as the maximum.
fn limit(params: &Params<'_>) -> Result<usize, Invalid> {
    Ok(params.positive("limit")?.map_or(HISTORY_LIMIT_DEFAULT, |number| {
        usize::try_from(number).unwrap_or(usize::MAX).min(HISTORY_LIMIT_MAX)
    }))
}

fn abort(params: &Params<'_>) -> Result<RunRequest, Invalid> {
    let (session, run) = (optional_session(params)?, run_id(params, "runId")?);
    if session.is_none() && run.is_none() {
        return Err(params.invalid("sessionKey", "must be a non-empty string"));
    }
    Ok(RunRequest::Abort { session, run })
}

fn update(params: &Params<'_>) -> Result<RunReport, Invalid> {
    let state = params.required("state", SESSION_TEXT_BYTES_MAX)?;
    let Some(state) = RunState::parse(&state) else {
        return Err(params.invalid("state", "must be delta, final, error or aborted"));
    };
    let said = params.string("text", RUN_TEXT_BYTES_MAX)?;
    let usage = match params.raw("usage") {
        Some(raw) => bounded(params, "usage", raw, '{', RUN_USAGE_BYTES_MAX)?,
        None => None,
    };
    let error = params.string("errorMessage", RUN_ERROR_BYTES_MAX)?;
    Ok(RunReport {
        run: run_id(params, "runId")?,
        state,
        text: said.map(|text| Arc::from(&*text)),
        usage,
        error: error.filter(|error| !error.is_empty()).map(|error| Arc::from(&*error)),
    })
}
