//! The parameters of `logs.append` (`docs/protocol.md`, "logs.append").
//!
//! Owns what a well-formed entry is and whose it may be: an agent speaks only as itself.
//! Each entry is encoded here, once, on the connection's thread; nobody after encodes it again.
//! Cursors are the hub's. Called by `request`.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::base::ids::SessionKey;
use crate::base::limits::{
    LOG_ENTRIES_PER_APPEND_MAX, LOG_EXTRA_BYTES_MAX, LOG_EXTRA_DEPTH_MAX, LOG_MESSAGE_BYTES_MAX,
    LOG_SOURCE_BYTES_MAX,
};
use crate::protocol::fields::{Invalid, Object, Place};
use crate::protocol::log_entry::{Level, LogDraft, TIMESTAMP_MS_MAX, write_body};
use crate::protocol::methods::session_key::{self, printable};
use crate::protocol::readable;
use crate::protocol::speaker::Speaker;

/// The known parameters, besides `idempotencyKey`.
pub(in crate::protocol) const PARAMS: [&str; 2] = ["entries", "idempotencyKey"];

const ENTRY: [&str; 6] = ["level", "message", "source", "session", "timestamp", "extra"];

/// Who an operator's entry comes from, if it does not say.
const OPERATOR_SOURCE: &str = "operator";

/// Reads `entries`. `agent` is the agent that reports; `None` for an operator.
pub(in crate::protocol) fn read(
    params: &Object<'_, 2>,
    agent: Option<Speaker<'_>>,
    now_unix_ms: u64,
) -> Result<Vec<LogDraft>, Invalid> {
    let mut reader = Reader {
        agent,
        default_source: agent
            .map_or_else(|| Arc::from(OPERATOR_SOURCE), |agent| Arc::clone(&agent.agent.0)),
        now_unix_ms,
        scratch: Vec::new(),
    };
    let entries = params.array("entries", LOG_ENTRIES_PER_APPEND_MAX, |index, raw| {
        reader.entry(&Object::read(Place::Element("entries", index), &ENTRY, raw)?)
    })?;
    match entries {
        Some(entries) if !entries.is_empty() => Ok(entries),
        Some(_) | None => Err(params.invalid("entries", "must be an array of at least one entry")),
    }
}

struct Reader<'a> {
    agent: Option<Speaker<'a>>,
    default_source: Arc<str>,
    now_unix_ms: u64,
    scratch: Vec<u8>,
}

impl Reader<'_> {
    fn entry(&mut self, entry: &Object<'_, 6>) -> Result<LogDraft, Invalid> {
        let level = entry
            .string("level", usize::MAX)?
            .and_then(|text| Level::parse(&text))
            .ok_or_else(|| entry.invalid("level", Level::MUST_BE))?;
        let message = entry
            .string("message", LOG_MESSAGE_BYTES_MAX)?
            .ok_or_else(|| entry.invalid("message", "must be a string"))?;
        let source = self.source(entry)?;
        let session = session_key::optional(entry, "session", self.agent)?;
        let timestamp = entry.u64("timestamp")?.unwrap_or(self.now_unix_ms);
        if TIMESTAMP_MS_MAX < timestamp {
            return Err(entry.invalid("timestamp", "must be milliseconds since 1970"));
        }
        let extra = entry.raw("extra").map(|raw| checked_extra(entry, raw)).transpose()?;
        self.scratch.clear();
        let session_text = session.as_ref().map(SessionKey::as_str);
        write_body(
            &mut self.scratch,
            timestamp,
            level,
            &source,
            session_text,
            &message,
            extra.as_deref(),
        );
        // Lossless: all of it was written from `str`.
        let body = Arc::from(&*String::from_utf8_lossy(&self.scratch));
        Ok(LogDraft { level, source, session, body })
    }

    /// An agent's own name, whatever it says; an operator's word, if it says one.
    fn source(&self, entry: &Object<'_, 6>) -> Result<Arc<str>, Invalid> {
        let said = entry.string("source", LOG_SOURCE_BYTES_MAX)?;
        match said {
            Some(text) if self.agent.is_none() && !text.is_empty() => {
                printable(entry, "source", &text)?;
                Ok(Arc::from(&*text))
            }
            Some(_) | None => Ok(Arc::clone(&self.default_source)),
        }
    }
}

/// `extra` as compact JSON text that every JSON parser can read.
fn checked_extra(entry: &Object<'_, 6>, raw: &RawValue) -> Result<String, Invalid> {
    let json = raw.get();
    if !json.starts_with('{') {
        return Err(entry.invalid("extra", "must be an object"));
    }
    if LOG_EXTRA_BYTES_MAX < json.len() {
        let must = format_args!("must be at most {LOG_EXTRA_BYTES_MAX} bytes of JSON").to_string();
        return Err(entry.invalid("extra", must));
    }
    readable::check(json, LOG_EXTRA_DEPTH_MAX)
        .map_err(|error| entry.invalid("extra", format_args!("is not readable JSON: {error}")))?;
    Ok(readable::compact(json))
}
