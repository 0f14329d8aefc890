//! Log entries: what an agent reports, and what the journal keeps and shows.

use std::sync::Arc;

use crate::base::ids::{Cursor, SessionKey};

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
