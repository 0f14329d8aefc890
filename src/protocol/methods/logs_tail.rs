//! The parameters of `logs.tail` (`docs/protocol.md`, "logs.tail").
//!
//! Reads only; the page itself is the hub's. Called by `request`.

use crate::base::ids::{Cursor, SessionKey};
use crate::base::limits::{
    LOG_SOURCE_BYTES_MAX, LOGS_TAIL_BYTES_DEFAULT, LOGS_TAIL_BYTES_MAX, LOGS_TAIL_LIMIT_DEFAULT,
    LOGS_TAIL_LIMIT_MAX, SESSION_KEY_BYTES_MAX,
};
use crate::protocol::fields::{Invalid, Object};
use crate::protocol::log_entry::Level;
use crate::protocol::request::{LogFilter, LogsTail};

/// The known parameters.
pub(in crate::protocol) const PARAMS: [&str; 6] =
    ["cursor", "limit", "maxBytes", "level", "source", "session"];

/// Reads the parameters. A number over its maximum is taken as the maximum: the answer says by
/// `truncated` and `cursor` that there is more.
pub(in crate::protocol) fn read(params: &Object<'_, 6>) -> Result<LogsTail, Invalid> {
    Ok(LogsTail {
        cursor: params.u64("cursor")?.map(Cursor),
        limit: clamped(params, "limit", LOGS_TAIL_LIMIT_DEFAULT, LOGS_TAIL_LIMIT_MAX)?,
        bytes_max: clamped(params, "maxBytes", LOGS_TAIL_BYTES_DEFAULT, LOGS_TAIL_BYTES_MAX)?,
        filter: read_filter(params)?,
    })
}

/// Reads `level`, `source` and `session`, which choose among entries.
pub(super) fn read_filter<const N: usize>(params: &Object<'_, N>) -> Result<LogFilter, Invalid> {
    let level_min = match params.string("level", usize::MAX)? {
        Some(text) => {
            Some(Level::parse(&text).ok_or_else(|| params.invalid("level", Level::MUST_BE))?)
        }
        None => None,
    };
    Ok(LogFilter {
        level_min,
        // No entry has an empty source or session: empty asks for any, as absent does.
        source: params
            .string("source", LOG_SOURCE_BYTES_MAX)?
            .filter(|source| !source.is_empty())
            .map(Into::into),
        session: params
            .string("session", SESSION_KEY_BYTES_MAX)?
            .filter(|session| !session.is_empty())
            .map(SessionKey::new),
    })
}

fn clamped(
    params: &Object<'_, 6>,
    name: &str,
    default: usize,
    max: usize,
) -> Result<usize, Invalid> {
    Ok(params
        .positive(name)?
        .map_or(default, |number| usize::try_from(number).map_or(max, |number| number.min(max))))
}
