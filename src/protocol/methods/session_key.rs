//! The session key among a method's parameters: what one looks like, and whose it may be.
//!
//! Called by every method that names a session. An agent speaks only of its own sessions.

use crate::base::ids::{AgentName, SessionKey};
use crate::base::limits::SESSION_KEY_BYTES_MAX;
use crate::protocol::fields::{Invalid, Object};
use crate::protocol::session::owner;

/// Reads a session key that need not be there; empty counts as absent. `agent` is the name of the
/// agent that asks; `None` for an operator.
pub(super) fn optional<const N: usize>(
    params: &Object<'_, N>,
    name: &str,
    agent: Option<&AgentName>,
) -> Result<Option<SessionKey>, Invalid> {
    let Some(key) = params.string(name, SESSION_KEY_BYTES_MAX)? else { return Ok(None) };
    if key.is_empty() {
        return Ok(None);
    }
    printable(params, name, &key)?;
    match agent {
        Some(agent) if !owns(agent, &key) => Err(params.invalid(name, must_be_own(agent))),
        Some(_) | None => Ok(Some(SessionKey::new(key))),
    }
}

/// Reads `key`, or `sessionKey`, which means the same.
pub(in crate::protocol) fn required<const N: usize>(
    params: &Object<'_, N>,
    agent: Option<&AgentName>,
) -> Result<SessionKey, Invalid> {
    match (optional(params, "key", agent)?, optional(params, "sessionKey", agent)?) {
        (Some(key), Some(other)) if key != other => {
            Err(params.invalid("sessionKey", "must be the same as key, or absent"))
        }
        (Some(key), _) | (None, Some(key)) => Ok(key),
        (None, None) => Err(params.invalid("key", "must be a non-empty string")),
    }
}

/// Whether a session key is this agent's: `NAME:…` or `agent:NAME:…`.
pub(super) fn owns(agent: &AgentName, key: &str) -> bool {
    owner(key) == Some(agent.as_str())
}

/// What an agent's session key must be, for errors.
pub(super) fn must_be_own(agent: &AgentName) -> String {
    format!("must begin with {agent}: or agent:{agent}:")
}

/// Refuses control characters: keys and names end up in terminals and in lines of text.
pub(super) fn printable<const N: usize>(
    params: &Object<'_, N>,
    name: &str,
    text: &str,
) -> Result<(), Invalid> {
    if text.chars().any(char::is_control) {
        return Err(params.invalid(name, "may not contain control characters"));
    }
    Ok(())
}
