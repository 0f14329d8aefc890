//! Log entries: what an agent reports, and what the journal keeps and shows.
//!
//! Owns their wire form and their form as a line of text. Called by `methods` (encoding an entry
//! once), by `event` and `reply` (which only add what the journal gave it), and by the store.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use crate::base::ids::{Cursor, SessionKey};
use crate::base::time::{UTC_MS_MAX, utc};
use crate::protocol::json::ObjectWriter;

/// Severity, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// `debug` (and `trace`)
    Debug = 0,
    /// `info`
    Info = 1,
    /// `warn` (and `warning`)
    Warn = 2,
    /// `error` (and `fatal`)
    Error = 3,
}

/// An entry that has been parsed and checked but has no cursor yet.
#[derive(Clone, Debug, PartialEq)]
pub struct LogDraft {
    /// Severity.
    pub level: Level,
    /// Who said it; for an agent always its own name.
    pub source: Arc<str>,
    /// The session it belongs to.
    pub session: Option<SessionKey>,
    /// `"timestamp":…,"level":…,"source":…[,"session":…],"message":…[,"extra":…]`:
    /// the wire form of everything but `id` and `cursor`, without the braces, encoded once on the
    /// connection's thread so that neither hub nor fan-out has to.
    pub body: Arc<str>,
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRecord {
    /// Its place.
    pub cursor: Cursor,
    /// The rest.
    pub draft: LogDraft,
}

/// The latest moment that JavaScript's `Date` can hold, in the year 275,760.
pub const TIMESTAMP_MS_MAX: u64 = UTC_MS_MAX;

impl Level {
    /// What a level must be, for errors.
    pub(super) const MUST_BE: &'static str =
        "must be one of debug, info, warn, error (or trace, warning, fatal, critical)";

    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// Reads a level or an alias, whatever the case: logging libraries differ.
    pub fn parse(text: &str) -> Option<Self> {
        const NAMES: [(&str, Level); 8] = [
            ("info", Level::Info),
            ("debug", Level::Debug),
            ("warn", Level::Warn),
            ("error", Level::Error),
            ("warning", Level::Warn),
            ("trace", Level::Debug),
            ("fatal", Level::Error),
            ("critical", Level::Error),
        ];
        NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, level)| *level)
    }
}

/// Appends what `LogDraft::body` holds. `extra` is compact JSON text.
pub(super) fn write_body(
    out: &mut Vec<u8>,
    timestamp: u64,
    level: Level,
    source: &str,
    session: Option<&str>,
    message: &str,
    extra: Option<&str>,
) {
    let open = out.len();
    let mut body = ObjectWriter::open(out);
    body.u64("timestamp", timestamp).str("level", level.as_str()).str("source", source);
    body.opt_str("session", session).str("message", message);
    if let Some(extra) = extra {
        body.raw("extra", extra);
    }
    // The braces belong to whoever adds `id` and `cursor`.
    out.remove(open);
}

impl LogDraft {
    /// Makes a draft outside of `logs.append`, from parts that are already checked.
    pub fn new(
        timestamp: u64,
        level: Level,
        source: impl Into<Arc<str>>,
        session: Option<SessionKey>,
        message: &str,
    ) -> Self {
        Self::with_extra(timestamp, level, source, session, message, None)
    }

    /// The same with `extra`: compact JSON text of an object.
    pub(super) fn with_extra(
        timestamp: u64,
        level: Level,
        source: impl Into<Arc<str>>,
        session: Option<SessionKey>,
        message: &str,
        extra: Option<&str>,
    ) -> Self {
        let source = source.into();
        let mut out = Vec::new();
        let key = session.as_ref().map(SessionKey::as_str);
        write_body(&mut out, timestamp, level, &source, key, message, extra);
        // Lossless: all of it was written from `str`.
        Self { level, source, session, body: Arc::from(&*String::from_utf8_lossy(&out)) }
    }
}

/// What a line of text needs of an entry's body.
#[derive(Deserialize)]
struct LineParts<'a> {
    timestamp: u64,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl LogRecord {
    /// Appends the entry's object, as the `log` event and `logs.tail` show it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut record = ObjectWriter::open(out);
        record.str("id", &format!("log-{}", self.cursor.0));
        record.members(&self.draft.body).u64("cursor", self.cursor.0);
        record.close();
    }

    /// The entry as one line for people:
    /// `2026-11-22T18:43:42.123Z INFO agent1 [agent1:chat] message`.
    /// Line breaks and other control characters become spaces.
    pub fn line(&self) -> String {
        let object = format!("{{{}}}", self.draft.body);
        let parts = serde_json::from_str::<LineParts<'_>>(&object);
        let (timestamp, message) = match &parts {
            Ok(parts) => (parts.timestamp, &*parts.message),
            // Only a body that was not made here could be unreadable.
            Err(_) => (0, ""),
        };
        let mut line = utc(timestamp);
        line.push(' ');
        line.push_str(&self.draft.level.as_str().to_ascii_uppercase());
        line.push(' ');
        line.push_str(&self.draft.source);
        if let Some(session) = &self.draft.session {
            line.push_str(" [");
            line.push_str(session.as_str());
            line.push(']');
        }
        line.push(' ');
        line.extend(message.chars().map(|c| if c.is_control() { ' ' } else { c }));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_aliases_in_any_case() {
        for (text, level) in [
            ("trace", Some(Level::Debug)),
            ("DEBUG", Some(Level::Debug)),
            ("Info", Some(Level::Info)),
            ("WARNING", Some(Level::Warn)),
            ("warn", Some(Level::Warn)),
            ("critical", Some(Level::Error)),
            ("fatal", Some(Level::Error)),
            ("notice", None),
            ("", None),
        ] {
            assert_eq!(Level::parse(text), level);
        }
    }

    #[test]
    fn an_entry_is_one_line_whatever_its_message() {
        let session = Some(SessionKey::new("agent1:chat"));
        let draft = LogDraft::new(1_795_373_022_123, Level::Warn, "agent1", session, "a\nb \"c\"");
        let record = LogRecord { cursor: Cursor(7), draft };
        assert_eq!(record.line(), "2026-11-22T18:43:42.123Z WARN agent1 [agent1:chat] a b \"c\"");
        let mut out = Vec::new();
        record.write(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"id":"log-7","timestamp":1795373022123,"level":"warn","source":"agent1","session":"agent1:chat","message":"a\nb \"c\"","cursor":7}"#
        );
    }
}
