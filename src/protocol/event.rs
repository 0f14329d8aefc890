//! Events to peers: typed payloads and their encoding (`docs/protocol.md`, "Events").

use std::sync::Arc;

use crate::base::ids::Cursor;
use crate::protocol::log_entry::LogRecord;
use crate::protocol::scope::{Role, ScopeSet};

/// An event, as the hub emits it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `log`
    Log(Arc<LogRecord>),
    /// `tick`; a state event. Peers without read scope get `{ts}` alone.
    Tick(Arc<TickSnapshot>),
    /// `presence`; a state event.
    Presence {
        /// Everyone, after the change.
        entries: Arc<[PresenceEntry]>,
        /// `stateVersion.presence`
        version: u64,
        /// `stateVersion.health`
        health_version: u64,
    },
    /// `log.gap`, to one peer.
    LogGap(LogGap),
    /// `shutdown`, to every peer.
    Shutdown {
        /// Why.
        reason: String,
        /// When the gateway is expected back.
        restart_expected_ms: Option<u64>,
    },
    /// `device.pair.requested`, scope `operator.pairing`: the request, already public.
    PairRequested(serde_json::Value),
    /// `device.pair.resolved`, scope `operator.pairing`.
    PairResolved(serde_json::Value),
}

/// What a peer missed because it read too slowly.
/// `logs.tail {cursor: from_cursor}` returns the missed entries, up to and with `to_cursor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogGap {
    /// The cursor just before the first `log` event that was dropped; `None` if no `log` was.
    pub from_cursor: Option<Cursor>,
    /// The cursor of the last `log` event that was dropped.
    pub to_cursor: Option<Cursor>,
    /// Stream events dropped, of every kind.
    pub dropped: u64,
}

/// The sessions that a `tick` shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TickSnapshot {
    /// When, in Unix milliseconds.
    pub ts: u64,
    /// The JSON array of session rows, encoded once.
    pub sessions_json: Arc<str>,
    /// Sessions in all.
    pub total: usize,
    /// Whether some are not shown.
    pub truncated: bool,
}

/// One line of `presence`.
#[derive(Clone, Debug, PartialEq)]
pub struct PresenceEntry {
    /// `client.displayName`, else `client.id`.
    pub host: String,
    /// The client address.
    pub ip: String,
    /// `client.version`
    pub version: String,
    /// `client.platform`
    pub platform: String,
    /// `client.mode`
    pub mode: String,
    /// The device, if one was proven.
    pub device_id: Option<String>,
    /// The role.
    pub role: Role,
    /// The scopes granted.
    pub scopes: ScopeSet,
    /// `client.instanceId`
    pub instance_id: Option<String>,
    /// An agent's name.
    pub agent: Option<String>,
    /// RTT of the last heartbeat in microseconds, if one was measured.
    pub rtt_micros: Option<u64>,
    /// Whether this line tells of an arrival (`connect`) or a departure (`disconnect`).
    pub connected: bool,
    /// Since when, in Unix milliseconds.
    pub ts: u64,
}
