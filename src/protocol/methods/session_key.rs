//! The session key among a method's parameters: what one looks like, and whose it may be.
//!
//! Called by every method that names a session. An agent speaks only of its own sessions.

use crate::base::ids::SessionKey;
use crate::base::limits::SESSION_KEY_BYTES_MAX;
use crate::protocol::fields::{Invalid, Object};
use crate::protocol::speaker::Speaker;

/// Reads a session key that need not be there; empty counts as absent. `agent` is who asks, `None`
/// for an operator: what an agent with one session leaves out is that session.
pub(super) fn optional<const N: usize>(
    params: &Object<'_, N>,
    name: &str,
    agent: Option<Speaker<'_>>,
) -> Result<Option<SessionKey>, Invalid> {
    let said = params.string(name, SESSION_KEY_BYTES_MAX)?.filter(|key| !key.is_empty());
    let Some(key) = said else { return Ok(agent.and_then(|agent| agent.session.cloned())) };
    printable(params, name, &key)?;
    if let Some(agent) = agent {
        agent.check(&key).map_err(|must| params.invalid(name, must))?;
    }
    Ok(Some(SessionKey::new(key)))
}

/// Reads `key`, or `sessionKey`, which means the same.
pub(in crate::protocol) fn required<const N: usize>(
    params: &Object<'_, N>,
    agent: Option<Speaker<'_>>,
) -> Result<SessionKey, Invalid> {
    match (optional(params, "key", agent)?, optional(params, "sessionKey", agent)?) {
        (Some(key), Some(other)) if key != other => {
            Err(params.invalid("sessionKey", "must be the same as key, or absent"))
        }
        (Some(key), _) | (None, Some(key)) => Ok(key),
        (None, None) => Err(params.invalid("key", "must be a non-empty string")),
    }
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
