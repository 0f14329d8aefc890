//! The parameters of `session.update` and `session.usage` (`docs/protocol.md`, "Sessions").
//!
//! Reads only: `session.update` says what is, `session.usage` what comes on top. Called by
//! `request`.

use std::sync::Arc;

use crate::base::limits::{COUNT_MAX, SESSION_TEXT_BYTES_MAX};
use crate::protocol::cost::Cost;
use crate::protocol::fields::{Invalid, Object};
use crate::protocol::methods::session_key::{self, printable};
use crate::protocol::request::{Idempotency, SessionUpdate, SessionUsage};
use crate::protocol::speaker::Speaker;

/// The known parameters of `session.update`.
pub(in crate::protocol) const UPDATE: [&str; 13] = [
    "key",
    "sessionKey",
    "kind",
    "model",
    "totalTokens",
    "inputTokens",
    "outputTokens",
    "contextTokens",
    "messageCount",
    "cost",
    "active",
    "label",
    "idempotencyKey",
];

/// The known parameters of `session.usage`.
pub(in crate::protocol) const USAGE: [&str; 8] = [
    "key",
    "sessionKey",
    "inputTokens",
    "outputTokens",
    "cost",
    "messages",
    "model",
    "idempotencyKey",
];

/// Reads `session.update`. `agent` is the agent that reports; `None` for an operator.
pub(in crate::protocol) fn read_update(
    params: &Object<'_, 13>,
    agent: Option<Speaker<'_>>,
    idempotency: Option<Idempotency>,
) -> Result<SessionUpdate, Invalid> {
    Ok(SessionUpdate {
        key: session_key::required(params, agent)?,
        kind: text(params, "kind")?.filter(|kind| !kind.is_empty()),
        model: text(params, "model")?,
        label: text(params, "label")?,
        total_tokens: count(params, "totalTokens")?,
        input_tokens: count(params, "inputTokens")?,
        output_tokens: count(params, "outputTokens")?,
        context_tokens: count(params, "contextTokens")?,
        message_count: count(params, "messageCount")?,
        cost: cost(params)?,
        active: params.bool("active")?,
        idempotency,
    })
}

/// Reads `session.usage`. Both token counts must be there: one that is forgotten is not zero.
pub(in crate::protocol) fn read_usage(
    params: &Object<'_, 8>,
    agent: Option<Speaker<'_>>,
    idempotency: Option<Idempotency>,
) -> Result<SessionUsage, Invalid> {
    let needed =
        |name: &str| count(params, name)?.ok_or_else(|| params.invalid(name, count_must_be()));
    Ok(SessionUsage {
        key: session_key::required(params, agent)?,
        input_tokens: needed("inputTokens")?,
        output_tokens: needed("outputTokens")?,
        messages: count(params, "messages")?.unwrap_or(0),
        cost: cost(params)?.unwrap_or_default(),
        model: text(params, "model")?.filter(|model| !model.is_empty()),
        idempotency,
    })
}

/// A short text of a session; empty takes back what was said before.
pub(super) fn text<const N: usize>(
    params: &Object<'_, N>,
    name: &str,
) -> Result<Option<Arc<str>>, Invalid> {
    let Some(text) = params.string(name, SESSION_TEXT_BYTES_MAX)? else { return Ok(None) };
    printable(params, name, &text)?;
    Ok(Some(Arc::from(&*text)))
}

fn count_must_be() -> String {
    format!("must be a whole number from 0 to {COUNT_MAX}")
}

fn count<const N: usize>(params: &Object<'_, N>, name: &str) -> Result<Option<u64>, Invalid> {
    let Some(raw) = params.raw(name) else { return Ok(None) };
    match raw.get().parse() {
        Ok(number) if number <= COUNT_MAX => Ok(Some(number)),
        Ok(_) | Err(_) => Err(params.invalid(name, count_must_be())),
    }
}

fn cost<const N: usize>(params: &Object<'_, N>) -> Result<Option<Cost>, Invalid> {
    let Some(raw) = params.raw("cost") else { return Ok(None) };
    Cost::parse(raw.get()).map(Some).ok_or_else(|| params.invalid("cost", Cost::MUST_BE))
}
