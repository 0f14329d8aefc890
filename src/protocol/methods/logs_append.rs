//! The parameters of `logs.append` (`docs/protocol.md`, "logs.append").
//!
//! Owns what a well-formed entry is and whose it may be: an agent speaks only as itself.
//! Each entry is encoded here, once, on the connection's thread; nobody after encodes it again.
//! Cursors are the hub's. Called by `request`.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::ids::{AgentName, SessionKey};
use crate::base::limits::{
    LOG_ENTRIES_PER_APPEND_MAX, LOG_EXTRA_BYTES_MAX, LOG_EXTRA_DEPTH_MAX, LOG_MESSAGE_BYTES_MAX,
    LOG_SOURCE_BYTES_MAX, SESSION_KEY_BYTES_MAX,
};
use crate::protocol::fields::{Invalid, Object, Place};
use crate::protocol::log_entry::{Level, LogDraft, TIMESTAMP_MS_MAX, write_body};

/// The known parameters, besides `idempotencyKey`.
pub(in crate::protocol) const PARAMS: [&str; 2] = ["entries", "idempotencyKey"];

const ENTRY: [&str; 6] = ["level", "message", "source", "session", "timestamp", "extra"];

/// Who an operator's entry comes from, if it does not say.
const OPERATOR_SOURCE: &str = "operator";

/// Reads `entries`. `agent` is the name of the agent that reports; `None` for an operator.
pub(in crate::protocol) fn read(
    params: &Object<'_, 2>,
    agent: Option<&AgentName>,
    now_unix_ms: u64,
) -> Result<Vec<LogDraft>, Invalid> {
    let mut reader = Reader {
        agent,
        default_source: agent
            .map_or_else(|| Arc::from(OPERATOR_SOURCE), |name| Arc::clone(&name.0)),
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
    agent: Option<&'a AgentName>,
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
        let session = self.session(entry)?;
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

    fn session(&self, entry: &Object<'_, 6>) -> Result<Option<SessionKey>, Invalid> {
        let Some(key) = entry.string("session", SESSION_KEY_BYTES_MAX)? else { return Ok(None) };
        if key.is_empty() {
            return Ok(None);
        }
        printable(entry, "session", &key)?;
        match self.agent {
            Some(agent) if !owns_session(agent, &key) => {
                let must = format_args!("must begin with {agent}: or agent:{agent}:").to_string();
                Err(entry.invalid("session", must))
            }
            Some(_) | None => Ok(Some(SessionKey::new(key))),
        }
    }
}

/// Whether a session key is this agent's: `NAME:…` or `agent:NAME:…`.
pub(in crate::protocol) fn owns_session(agent: &AgentName, key: &str) -> bool {
    let own = |key: &str| {
        key.strip_prefix(agent.as_str())
            .and_then(|rest| rest.strip_prefix(':'))
            .is_some_and(|rest| !rest.is_empty())
    };
    // An agent called `agent` must not own what `agent:NAME:` says is another's.
    match key.strip_prefix("agent:") {
        Some(rest) if rest.contains(':') => own(rest),
        Some(_) | None => own(key),
    }
}

fn printable(entry: &Object<'_, 6>, name: &str, text: &str) -> Result<(), Invalid> {
    if text.chars().any(char::is_control) {
        return Err(entry.invalid(name, "may not contain control characters"));
    }
    Ok(())
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
    Readable { depth_left: LOG_EXTRA_DEPTH_MAX }
        .deserialize(&mut serde_json::Deserializer::from_str(json))
        .map_err(|error| entry.invalid("extra", format_args!("is not readable JSON: {error}")))?;
    Ok(compact(json))
}

/// Valid JSON without the whitespace between its tokens.
fn compact(json: &str) -> String {
    let mut in_string = false;
    let mut escaped = false;
    json.chars()
        .filter(|&character| {
            if in_string {
                in_string = escaped || character != '"';
                escaped = !escaped && character == '\\';
                return true;
            }
            in_string = character == '"';
            !character.is_ascii_whitespace()
        })
        .collect()
}

/// Reads JSON through to its leaves and keeps nothing: what the scanner let pass (unpaired
/// surrogates, numbers beyond any range, any depth) is found here.
#[derive(Clone, Copy)]
struct Readable {
    depth_left: u8,
}

impl Readable {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom(format_args!("deeper than {LOG_EXTRA_DEPTH_MAX} levels"))),
        }
    }
}

impl<'a> DeserializeSeed<'a> for Readable {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Readable {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let inside = self.inside::<A::Error>()?;
        while seq.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.inside::<A::Error>()?;
        while map.next_key_seed(inside)?.is_some() {
            map.next_value_seed(inside)?;
        }
        Ok(())
    }
}
