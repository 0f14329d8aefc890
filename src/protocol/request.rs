//! The methods after the handshake, with typed parameters (`docs/protocol.md`, "Methods").

use crate::base::ids::{Cursor, SessionKey};
use crate::protocol::log_entry::{Level, LogDraft};

/// A request whose frame, method, parameters and scope have been checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// `status`
    Status,
    /// `system-presence`
    SystemPresence,
    /// `logs.tail`
    LogsTail(LogsTail),
    /// `logs.append`
    LogsAppend(LogsAppend),
}

/// Parameters of `logs.tail`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogsTail {
    /// Entries after this cursor; 0 is from the oldest kept; `None` is the newest `limit`.
    pub cursor: Option<Cursor>,
    /// Entries at most, 1 to `LOGS_TAIL_LIMIT_MAX`.
    pub limit: usize,
    /// Bytes of entries at most; at least one entry is always returned.
    pub bytes_max: usize,
    /// Which entries.
    pub filter: LogFilter,
}

/// Which log entries someone wants: all of these that are set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// This level or a more severe one.
    pub level_min: Option<Level>,
    /// Exactly this source.
    pub source: Option<String>,
    /// Exactly this session.
    pub session: Option<SessionKey>,
}

/// Parameters of `logs.append`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogsAppend {
    /// 1 to `LOG_ENTRIES_PER_APPEND_MAX` entries, in order.
    pub entries: Vec<LogDraft>,
    /// See [`Idempotency`].
    pub idempotency: Option<Idempotency>,
}

/// An `idempotencyKey` with what the same parameters look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, 1 to `IDEMPOTENCY_KEY_BYTES_MAX` bytes.
    pub key: String,
    /// SHA-256 of the parameters as sent: another hash under the same key is `CONFLICT`.
    pub params_hash: [u8; 32],
}
