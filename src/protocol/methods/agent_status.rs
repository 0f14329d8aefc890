//! The parameters of `agent.status` (`docs/protocol.md`, "agent.status").
//!
//! Reads only. An agent's name is its connection's, whatever it says. Called by `request`.

use crate::base::ids::AgentName;
use crate::base::limits::{
    AGENT_ACTIVITY_BYTES_MAX, AGENT_NAME_BYTES_MAX, AGENT_STATUS_BYTES_MAX, COUNT_MAX,
};
use crate::protocol::fields::{Invalid, Object};
use crate::protocol::methods::session_key::printable;
use crate::protocol::request::{AgentReport, Idempotency};
use crate::protocol::speaker::Speaker;

/// The known parameters.
pub(in crate::protocol) const PARAMS: [&str; 5] =
    ["name", "status", "id", "last_activity", "idempotencyKey"];

/// Reads the parameters. `agent` is the agent that reports; `None` for an operator.
pub(in crate::protocol) fn read(
    params: &Object<'_, 5>,
    agent: Option<Speaker<'_>>,
    idempotency: Option<Idempotency>,
) -> Result<AgentReport, Invalid> {
    let said = params.string("name", AGENT_NAME_BYTES_MAX)?;
    let name = match (agent, said) {
        (Some(agent), _) => agent.agent.clone(),
        (None, Some(name)) if is_name(&name) => AgentName::new(name),
        (None, _) => {
            return Err(params.invalid("name", "must be an agent's name: letters, digits, . _ -"));
        }
    };
    let status = params.required("status", AGENT_STATUS_BYTES_MAX)?;
    printable(params, "status", &status)?;
    let last_activity = params.string("last_activity", AGENT_ACTIVITY_BYTES_MAX)?;
    let id = match params.u64("id")? {
        Some(id) if id == 0 || id >= COUNT_MAX => {
            let must = format!("must be a whole number from 1 to {}", COUNT_MAX.saturating_sub(1));
            return Err(params.invalid("id", must));
        }
        id => id,
    };
    Ok(AgentReport {
        name,
        status: status.into_owned(),
        id,
        last_activity: last_activity.map(Into::into),
        idempotency,
    })
}

/// Whether an agent may be called so.
pub(super) fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.bytes().all(letter)
}
