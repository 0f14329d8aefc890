//! A line that a child process wrote, and what it means (`docs/protocol.md`, "Spawn").
//!
//! Pure; called by the thread that reads children's output, so that the hub parses nothing.

use crate::protocol::log_entry::LogDraft;
use crate::protocol::request::Request;

/// What a line says.
#[derive(Debug)]
pub enum OutputContent {
    /// A journal entry: plain text, a JSON object with its own level and message, or how much was
    /// suppressed.
    Entry {
        /// The entry, encoded.
        draft: LogDraft,
        /// A plain line of stdout as it was, which may become part of a run's result.
        text: Option<Box<str>>,
    },
    /// A report, as if the child's agent had sent it over a connection.
    Report(Box<Request>),
}
