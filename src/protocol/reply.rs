//! What successful requests are answered with, and the encoding of it.
//!
//! The hub makes a [`Reply`]; the fan-out thread encodes it, once, into the frame that is sent.

use std::sync::Arc;

use crate::base::ids::Cursor;
use crate::protocol::devices::DeviceReply;
use crate::protocol::event::{PresenceEntry, push_presence};
use crate::protocol::frame::{write_ok, write_success};
use crate::protocol::json::{ObjectWriter, push_array, push_str};
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
    /// `device.pair.*`, `device.token.*`, `auth.rateLimit.clear`
    Devices(Box<DeviceReply>),
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

/// Appends the response to request `id`.
pub fn write_reply(out: &mut Vec<u8>, id: &str, reply: &Reply) {
    match reply {
        Reply::Empty => write_ok(out, id),
        Reply::LogsAppended { first, last } => write_success(out, id, |out| {
            let mut body = ObjectWriter::open(out);
            body.u64("firstCursor", first.0).u64("lastCursor", last.0);
            body.close();
        }),
        Reply::LogsTail(page) => write_success(out, id, |out| write_page(out, page)),
        Reply::Status(status) => write_success(out, id, |out| write_status(out, status)),
        Reply::Presence(entries) => {
            write_success(out, id, |out| push_array(out, entries.iter(), push_presence));
        }
        Reply::Devices(reply) => write_success(out, id, |out| reply.write(out)),
    }
}

/// Appends the response to `health`. `ready` is what `/readyz` says.
pub fn write_health(out: &mut Vec<u8>, id: &str, ready: bool) {
    write_success(out, id, |out| {
        let mut body = ObjectWriter::open(out);
        body.bool("ok", true).str("status", "live").bool("ready", ready);
        body.close();
    });
}

/// Appends the object of `status`.
pub fn write_status(out: &mut Vec<u8>, status: &Status) {
    let mut body = ObjectWriter::open(out);
    push_status(&mut body, status);
    body.close();
}

/// Appends the body of `/api/status`: the object of `status`, and how many connections ended for
/// each close reason.
pub fn write_status_page(out: &mut Vec<u8>, status: &Status, closed: &[(&'static str, u64)]) {
    let mut body = ObjectWriter::open(out);
    push_status(&mut body, status);
    body.object("closed", |reasons| {
        for (reason, count) in closed {
            reasons.u64(reason, *count);
        }
    });
    body.close();
}

fn push_status(body: &mut ObjectWriter<'_>, status: &Status) {
    body.str("version", &status.version).u64("uptimeMs", status.uptime_ms);
    body.object("connections", |connections| {
        connections.usize("operators", status.operators).usize("agents", status.agents);
    });
    body.usize("sessions", status.sessions);
    body.object("journal", |journal| {
        journal.usize("entries", status.journal_entries).usize("bytes", status.journal_bytes);
    });
    body.object("store", |store| {
        store.bool("healthy", status.store_healthy);
    });
}

fn write_page(out: &mut Vec<u8>, page: &LogsPage) {
    let mut body = ObjectWriter::open(out);
    push_array(body.key("entries"), &page.entries, |out, record| record.write(out));
    push_array(body.key("lines"), &page.entries, |out, record| push_str(out, &record.line()));
    body.u64("cursor", page.cursor.0);
    body.bool("truncated", page.truncated).bool("reset", page.reset);
    body.close();
}
