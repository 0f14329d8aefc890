//! The parameters of `sessions.list`, `get`, `usage`, `patch`, `reset` and `delete`
//! (`docs/protocol.md`, "Sessions").
//!
//! Owns the text of a list's cursor. Reads only; the pages are the hub's. Called by `request`, and
//! by `reply` to write a cursor.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::base::ids::{AgentName, SessionKey};
use crate::base::limits::{
    AGENT_NAME_BYTES_MAX, SESSION_KEY_BYTES_MAX, SESSIONS_CURSOR_BYTES_MAX,
    SESSIONS_LIST_LIMIT_DEFAULT, SESSIONS_LIST_LIMIT_MAX,
};
use crate::protocol::fields::{Invalid, Object};
use crate::protocol::methods::session_key;
use crate::protocol::methods::session_reports::text;
use crate::protocol::request::{
    Idempotency, SessionPlace, SessionsCursor, SessionsList, SessionsPatch,
};

/// The known parameters of `sessions.list`.
pub(in crate::protocol) const LIST: [&str; 4] = ["limit", "cursor", "agent", "activeWithinMs"];
/// The known parameters of `sessions.get`.
pub(in crate::protocol) const KEY: [&str; 2] = ["key", "sessionKey"];
/// The known parameters of `sessions.reset` and `sessions.delete`.
pub(in crate::protocol) const NAMED: [&str; 3] = ["key", "sessionKey", "idempotencyKey"];
/// The known parameters of `sessions.usage`.
pub(in crate::protocol) const USAGE: [&str; 1] = ["agent"];
/// The known parameters of `sessions.patch` and of its aliases.
pub(in crate::protocol) const PATCH: [&str; 9] = [
    "key",
    "sessionKey",
    "label",
    "model",
    "thinking",
    "verbose",
    "reasoning",
    "level",
    "idempotencyKey",
];

/// Reads `sessions.list`. A `limit` over its maximum is taken as the maximum.
pub(in crate::protocol) fn read_list(params: &Object<'_, 4>) -> Result<SessionsList, Invalid> {
    let limit = params.positive("limit")?.map_or(SESSIONS_LIST_LIMIT_DEFAULT, |number| {
        usize::try_from(number).unwrap_or(usize::MAX).min(SESSIONS_LIST_LIMIT_MAX)
    });
    let cursor = params.string("cursor", SESSIONS_CURSOR_BYTES_MAX)?;
    let cursor = cursor
        .filter(|text| !text.is_empty())
        .map(|text| {
            decode_cursor(&text)
                .ok_or_else(|| params.invalid("cursor", "must be one that sessions.list gave"))
        })
        .transpose()?;
    Ok(SessionsList {
        limit,
        cursor,
        agent: read_agent(params)?,
        active_within_ms: params.u64("activeWithinMs")?,
    })
}

/// Reads `agent`, the name that session keys begin with; empty asks for any, as absent does.
pub(in crate::protocol) fn read_agent<const N: usize>(
    params: &Object<'_, N>,
) -> Result<Option<AgentName>, Invalid> {
    let agent = params.string("agent", AGENT_NAME_BYTES_MAX)?;
    Ok(agent.filter(|name| !name.is_empty()).map(AgentName::new))
}

/// Reads `sessions.patch`, or what one of its aliases says with `level`; `called` is the name that
/// was called.
pub(in crate::protocol) fn read_patch(
    params: &Object<'_, 9>,
    called: &str,
    idempotency: Option<Idempotency>,
) -> Result<SessionsPatch, Invalid> {
    let mut patch = SessionsPatch {
        key: session_key::required(params, None)?,
        label: text(params, "label")?,
        model: text(params, "model")?,
        thinking: text(params, "thinking")?,
        verbose: text(params, "verbose")?,
        reasoning: text(params, "reasoning")?,
        idempotency,
    };
    let (name, value) = match called {
        "session_setLabel" => ("label", &mut patch.label),
        "session_setThinking" => ("level", &mut patch.thinking),
        "session_setVerbose" => ("level", &mut patch.verbose),
        "session_setReasoning" => ("level", &mut patch.reasoning),
        _ => return Ok(patch),
    };
    if name == "level" {
        *value = text(params, "level")?;
    }
    if value.is_none() {
        return Err(params.invalid(name, "must be a string"));
    }
    Ok(patch)
}

/// The text of a cursor: opaque to clients, and good across restarts.
pub(in crate::protocol) fn encode_cursor(cursor: &SessionsCursor) -> String {
    let place = |place: &SessionPlace| format!("{}\n{}", place.updated_at_ms, place.key);
    let text = match cursor {
        SessionsCursor::Down { start, after } => {
            format!("d\n{}\n{}", place(start), place(after))
        }
        SessionsCursor::Up { after } => format!("u\n{}", place(after)),
    };
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn decode_cursor(text: &str) -> Option<SessionsCursor> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    // No key holds a line break, since none holds a control character.
    let mut lines = text.split('\n');
    let kind = lines.next()?;
    let mut place = || {
        let updated_at_ms = lines.next()?.parse().ok()?;
        let key = lines.next().filter(|key| key.len() <= SESSION_KEY_BYTES_MAX)?;
        Some(SessionPlace { updated_at_ms, key: SessionKey::new(key) })
    };
    let cursor = match kind {
        "d" => SessionsCursor::Down { start: place()?, after: place()? },
        "u" => SessionsCursor::Up { after: place()? },
        _ => return None,
    };
    lines.next().is_none().then_some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_is_one() {
        let place =
            |updated_at_ms, key: &str| SessionPlace { updated_at_ms, key: SessionKey::new(key) };
        for cursor in [
            SessionsCursor::Down { start: place(u64::MAX, "a:b"), after: place(0, "ü:ß") },
            SessionsCursor::Up { after: place(7, "a:b") },
        ] {
            assert_eq!(decode_cursor(&encode_cursor(&cursor)), Some(cursor));
        }
        let longest = place(u64::MAX, &"k".repeat(SESSION_KEY_BYTES_MAX));
        let longest = SessionsCursor::Down { start: longest.clone(), after: longest };
        assert!(encode_cursor(&longest).len() <= SESSIONS_CURSOR_BYTES_MAX);
        for text in ["d\n1\na:b\n2", "d\n1\na:b", "u\n1\na:b\n2\nc", "u\n-1\na", "x\n1\na", "", "u"]
        {
            assert_eq!(decode_cursor(&BASE64_URL_SAFE_NO_PAD.encode(text)), None, "{text}");
        }
        assert_eq!(decode_cursor("no base64!"), None);
    }
}
