//! What successful requests are answered with.

use std::sync::Arc;

use crate::base::ids::Cursor;
use crate::protocol::event::PresenceEntry;
use crate::protocol::log_entry::LogRecord;

/// The body of a successful response; encoded by the fan-out thread, not by the hub.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A bare `ok`.
    Empty,
    /// `logs.append`: the cursors given, first and last.
    LogsAppended {
        /// Cursor of the first entry.
        first: Cursor,
        /// Cursor of the last entry.
        last: Cursor,
    },
    /// `logs.tail`
    LogsTail(LogsPage),
    /// `status`
    Status(Status),
    /// `system-presence`
    Presence(Arc<[PresenceEntry]>),
}

/// A page of the journal, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct LogsPage {
    /// The entries.
    pub entries: Vec<Arc<LogRecord>>,
    /// Where to go on.
    pub cursor: Cursor,
    /// Whether more entries match after these.
    pub truncated: bool,
    /// Whether entries after the cursor that was asked for are no longer kept, or that cursor is
    /// not one of this journal's.
    pub reset: bool,
}

/// `status` and `/api/status`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Gateway version.
    pub version: String,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Admitted connections by role.
    pub operators: usize,
    /// See `operators`.
    pub agents: usize,
    /// Sessions known.
    pub sessions: usize,
    /// Journal entries kept.
    pub journal_entries: usize,
    /// Journal bytes kept.
    pub journal_bytes: usize,
    /// Whether the store takes writes.
    pub store_healthy: bool,
}
