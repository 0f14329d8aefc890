//! The parameters of `spawn`, `sessions_spawn`, `spawn.logs`, `spawn.cancel` and `sessions_kill`
//! (`docs/protocol.md`, "Spawn").
//!
//! Reads, and checks what needs no configuration: what can be passed to a program at all, and
//! which variables are the gateway's to set. What may be started is the hub's to say. Called by
//! `request`.

use serde_json::value::RawValue;

use crate::base::ids::AgentName;
use crate::base::limits::{
    AGENT_NAME_BYTES_MAX, REQUEST_ID_BYTES_MAX, SESSION_KEY_BYTES_MAX, SPAWN_ARG_BYTES_MAX,
    SPAWN_ARGS_MAX, SPAWN_ASK_BYTES_MAX, SPAWN_GRACE_MAX, SPAWN_PATH_BYTES_MAX,
    SPAWN_TASK_BYTES_MAX,
};
use crate::base::time::millis;
use crate::protocol::fields::{Invalid, Object, decode};
use crate::protocol::members;
use crate::protocol::methods::logs_tail;
use crate::protocol::methods::session_key::{self, printable};
use crate::protocol::methods::session_reports::text;
use crate::protocol::request::Idempotency;
use crate::protocol::spawn::{SpawnAsk, SpawnRequest, TemplateAsk};

/// The methods of this family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpawnMethod {
    /// `spawn`
    Spawn,
    /// `sessions_spawn`
    Template,
    /// `spawn.list`
    List,
    /// `spawn.logs`
    Logs,
    /// `spawn.cancel`
    Cancel,
    /// `sessions_kill`
    KillSession,
}

impl SpawnMethod {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Template => "sessions_spawn",
            Self::List => "spawn.list",
            Self::Logs => "spawn.logs",
            Self::Cancel => "spawn.cancel",
            Self::KillSession => "sessions_kill",
        }
    }
}

/// The known parameters of `spawn`.
pub(in crate::protocol) const SPAWN: [&str; 9] =
    ["command", "args", "env", "cwd", "stdin", "timeoutMs", "session", "reports", "idempotencyKey"];
/// The known parameters of `sessions_spawn`; `tools` of other gateways has no meaning here.
pub(in crate::protocol) const TEMPLATE: [&str; 6] =
    ["task", "label", "model", "runTimeoutSeconds", "agentId", "idempotencyKey"];
/// The known parameters of `spawn.logs`, beside those of `logs.tail`.
pub(in crate::protocol) const ID: [&str; 1] = ["id"];
/// The known parameters of `spawn.cancel`.
pub(in crate::protocol) const CANCEL: [&str; 2] = ["id", "graceMs"];

/// Reads `spawn`.
pub(in crate::protocol) fn read_spawn(
    params: &Object<'_, 9>,
    idempotency: Option<Idempotency>,
) -> Result<SpawnAsk, Invalid> {
    let timeout_ms = params.positive("timeoutMs")?;
    Ok(SpawnAsk { timeout_ms, idempotency, ..read_program(params)? })
}

/// Reads what `spawn` and a job that runs a program have in common: all but how long it may take.
pub(in crate::protocol) fn read_program<const N: usize>(
    params: &Object<'_, N>,
) -> Result<SpawnAsk, Invalid> {
    let command = params.required("command", SPAWN_PATH_BYTES_MAX)?;
    if command.contains('/') && !command.starts_with('/') {
        return Err(params.invalid("command", "must be a name or an absolute path"));
    }
    let cwd = params.string("cwd", SPAWN_PATH_BYTES_MAX)?.filter(|cwd| !cwd.is_empty());
    if cwd.as_ref().is_some_and(|cwd| !cwd.starts_with('/')) {
        return Err(params.invalid("cwd", "must be an absolute path"));
    }
    for (name, text) in [("command", Some(&command)), ("cwd", cwd.as_ref())] {
        if let Some(text) = text {
            printable(params, name, text)?;
        }
    }
    Ok(SpawnAsk {
        command: command.into_owned(),
        args: args(params)?,
        env: env(params)?,
        cwd: cwd.map(Into::into),
        stdin: params.string("stdin", SPAWN_ASK_BYTES_MAX)?.map(Into::into),
        timeout_ms: None,
        session: session_key::optional(params, "session", None)?,
        reports: params.bool("reports")?.unwrap_or(false),
        idempotency: None,
    })
}

/// Reads `sessions_spawn`. A `runTimeoutSeconds` of 0 asks for no limit of its own, as absent does.
pub(in crate::protocol) fn read_template(
    params: &Object<'_, 6>,
    idempotency: Option<Idempotency>,
) -> Result<TemplateAsk, Invalid> {
    let task = params.required("task", SPAWN_TASK_BYTES_MAX)?;
    if task.contains('\0') {
        return Err(params.invalid("task", NO_NUL));
    }
    let agent = params.string("agentId", AGENT_NAME_BYTES_MAX)?.filter(|agent| !agent.is_empty());
    let seconds = params.u64("runTimeoutSeconds")?.filter(|seconds| *seconds > 0);
    Ok(TemplateAsk {
        agent: agent.map(AgentName::new),
        task: task.into_owned(),
        label: text(params, "label")?.filter(|label| !label.is_empty()),
        model: text(params, "model")?.filter(|model| !model.is_empty()),
        timeout_ms: seconds.map(|seconds| seconds.saturating_mul(1_000)),
        idempotency,
    })
}

/// Reads `spawn.logs`; `tail` are the parameters that it has in common with `logs.tail`.
pub(in crate::protocol) fn read_logs(
    params: &Object<'_, 1>,
    tail: &Object<'_, 6>,
) -> Result<SpawnRequest, Invalid> {
    let id = params.required("id", REQUEST_ID_BYTES_MAX)?.into_owned();
    Ok(SpawnRequest::Logs { id, tail: logs_tail::read(tail)? })
}

/// Reads `spawn.cancel`.
pub(in crate::protocol) fn read_cancel(params: &Object<'_, 2>) -> Result<SpawnRequest, Invalid> {
    let id = params.required("id", REQUEST_ID_BYTES_MAX)?.into_owned();
    let grace_ms = params.u64("graceMs")?;
    let max = millis(SPAWN_GRACE_MAX);
    if grace_ms.is_some_and(|grace| grace > max) {
        return Err(params.invalid("graceMs", format!("must be at most {max}")));
    }
    Ok(SpawnRequest::Cancel { id, grace_ms })
}

const NO_NUL: &str = "may not contain a NUL character";

fn args<const N: usize>(params: &Object<'_, N>) -> Result<Vec<String>, Invalid> {
    let read = |index, raw| {
        let arg = decode(raw).map_err(str::to_owned).and_then(|arg| passable(&arg));
        arg.map_err(|must| params.invalid(&format!("args[{index}]"), must))
    };
    Ok(params.array("args", SPAWN_ARGS_MAX, read)?.unwrap_or_default())
}

/// A text that a program can be given as an argument, or as a variable.
fn passable(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err(NO_NUL.to_owned());
    }
    if text.len() > SPAWN_ARG_BYTES_MAX {
        return Err(format!("must be at most {SPAWN_ARG_BYTES_MAX} bytes long"));
    }
    Ok(text.to_owned())
}

fn env<const N: usize>(params: &Object<'_, N>) -> Result<Vec<(String, String)>, Invalid> {
    let Some(json) = params.raw("env").map(RawValue::get) else { return Ok(Vec::new()) };
    if !json.starts_with('{') {
        return Err(params.invalid("env", "must be an object"));
    }
    let members = members::read(json)
        .map_err(|error| params.invalid("env", format!("is not readable: {error}")))?;
    if members.len() > SPAWN_ARGS_MAX {
        let must = format!("must have at most {SPAWN_ARGS_MAX} members");
        return Err(params.invalid("env", must));
    }
    let mut env = Vec::with_capacity(members.len());
    for (name, raw) in members {
        let invalid = |must: String| params.invalid("env", format!("{name:?} {must}"));
        check_variable(&name).map_err(|must| invalid(must.to_owned()))?;
        let value = decode(raw).map_err(|must| invalid(must.to_owned()))?;
        let value = passable(&value).map_err(invalid)?;
        env.push((name, value));
    }
    Ok(env)
}

/// Whether a variable may be set for a program; if not, why. What it finds and loads is not a
/// requester's to say, and what tells it who it is is the gateway's.
pub fn check_variable(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err("is no name of a variable");
    }
    if name.len() > SESSION_KEY_BYTES_MAX {
        return Err("is too long a name");
    }
    if name == "PATH" || name.starts_with("LD_") || name.starts_with("OPENCLAW_") {
        return Err("may not be set");
    }
    Ok(())
}
