//! Events to peers: typed payloads and their encoding (`docs/protocol.md`, "Events").
//!
//! Owns which event needs which scope and which events are numbered. Does not number them: the
//! fan-out thread knows the streams. An event is encoded up to its `seq` once, whoever gets it.

use std::sync::Arc;

use crate::base::ids::Cursor;
use crate::protocol::agent_status::AgentStatus;
use crate::protocol::approvals::Approval;
use crate::protocol::cron::CronNews;
use crate::protocol::json::{ObjectWriter, push_array, push_u64};
use crate::protocol::log_entry::LogRecord;
use crate::protocol::run::{AgentRequest, ChatMessage, ChatUpdate, RunProgress};
use crate::protocol::scope::{Role, ScopeSet};
use crate::protocol::session::SessionRows;
use crate::protocol::spawn::SpawnShown;

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
    /// `agent.status`
    AgentStatus(Arc<AgentStatus>),
    /// `cron`
    Cron(Box<CronNews>),
    /// `agent.request`, to the agent's connection.
    AgentRequest(Box<AgentRequest>),
    /// `chat`
    Chat(Arc<ChatUpdate>),
    /// `chat.message`
    ChatMessage(Arc<ChatMessage>),
    /// `agent`
    RunProgress(Arc<RunProgress>),
    /// `exec.approval.requested`, scope `operator.approvals`
    ApprovalRequested(Arc<Approval>),
    /// `exec.approval.resolved`, scope `operator.approvals`
    ApprovalResolved(Arc<Approval>),
    /// `spawn_result`
    SpawnResult(Arc<SpawnShown>),
    /// What a peer published, passed on.
    Published {
        /// Which event.
        kind: PublishedKind,
        /// Its payload, a JSON object.
        payload: Arc<str>,
    },
}

/// The events that peers publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishedKind {
    /// `notification`
    Notification,
    /// `tool.stream`
    ToolStream,
    /// `context.compaction`
    ContextCompaction,
    /// `model.fallback`
    ModelFallback,
    /// `token_usage`
    TokenUsage,
}

impl PublishedKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Notification,
        Self::ToolStream,
        Self::ContextCompaction,
        Self::ModelFallback,
        Self::TokenUsage,
    ];

    /// As on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::ToolStream => "tool.stream",
            Self::ContextCompaction => "context.compaction",
            Self::ModelFallback => "model.fallback",
            Self::TokenUsage => "token_usage",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether `name` in its payload is a tool's and not the speaker's.
    pub(super) fn names_a_tool(self) -> bool {
        self == Self::ToolStream
    }
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
    /// The sessions shown, encoded once.
    pub sessions: Arc<SessionRows>,
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

/// Who receives an event that is broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody: it is sent to one peer.
    Nobody,
    /// Every admitted peer.
    Everyone,
    /// Every peer with this scope.
    Scope(ScopeSet),
}

impl Audience {
    /// Whether a peer with these scopes belongs to it.
    pub fn includes(self, scopes: ScopeSet) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everyone => true,
            Self::Scope(needed) => scopes.contains(needed),
        }
    }
}

/// How much of an event a peer may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// All of it.
    Full,
    /// What needs no read scope: of a `tick`, its time alone.
    Bare,
}

impl View {
    /// The view of a peer with these scopes.
    pub fn of(scopes: ScopeSet) -> Self {
        if scopes.contains(ScopeSet::READ) { Self::Full } else { Self::Bare }
    }
}

/// The names of all events, for `features.events`.
pub const EVENT_NAMES: [&str; 22] = [
    "connect.challenge",
    "log",
    "tick",
    "presence",
    "log.gap",
    "shutdown",
    "device.pair.requested",
    "device.pair.resolved",
    "agent.status",
    "cron",
    "agent.request",
    "chat",
    "chat.message",
    "agent",
    "exec.approval.requested",
    "exec.approval.resolved",
    "spawn_result",
    "notification",
    "tool.stream",
    "context.compaction",
    "model.fallback",
    "token_usage",
];

impl Event {
    /// Its name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Log(_) => "log",
            Self::Tick(_) => "tick",
            Self::Presence { .. } => "presence",
            Self::LogGap(_) => "log.gap",
            Self::Shutdown { .. } => "shutdown",
            Self::PairRequested(_) => "device.pair.requested",
            Self::PairResolved(_) => "device.pair.resolved",
            Self::AgentStatus(_) => "agent.status",
            Self::Cron(_) => "cron",
            Self::AgentRequest(_) => "agent.request",
            Self::Chat(_) => "chat",
            Self::ChatMessage(_) => "chat.message",
            Self::RunProgress(_) => "agent",
            Self::ApprovalRequested(_) => "exec.approval.requested",
            Self::ApprovalResolved(_) => "exec.approval.resolved",
            Self::SpawnResult(_) => "spawn_result",
            Self::Published { kind, .. } => kind.name(),
        }
    }

    /// Who receives it when it is broadcast.
    pub fn audience(&self) -> Audience {
        match self {
            Self::Tick(_) | Self::Shutdown { .. } => Audience::Everyone,
            Self::Log(_)
            | Self::Presence { .. }
            | Self::LogGap(_)
            | Self::AgentStatus(_)
            | Self::Cron(_)
            | Self::Chat(_)
            | Self::ChatMessage(_)
            | Self::RunProgress(_)
            | Self::SpawnResult(_)
            | Self::Published { .. } => Audience::Scope(ScopeSet::READ),
            Self::AgentRequest(_) => Audience::Nobody,
            Self::PairRequested(_) | Self::PairResolved(_) => Audience::Scope(ScopeSet::PAIRING),
            Self::ApprovalRequested(_) | Self::ApprovalResolved(_) => {
                Audience::Scope(ScopeSet::APPROVALS)
            }
        }
    }

    /// Whether only the newest counts: a queued one is replaced, never stacked.
    pub fn is_state(&self) -> bool {
        match self {
            Self::Tick(_) | Self::Presence { .. } => true,
            Self::Log(_)
            | Self::LogGap(_)
            | Self::Shutdown { .. }
            | Self::PairRequested(_)
            | Self::PairResolved(_)
            | Self::AgentStatus(_)
            | Self::Cron(_)
            | Self::AgentRequest(_)
            | Self::Chat(_)
            | Self::ChatMessage(_)
            | Self::RunProgress(_)
            | Self::ApprovalRequested(_)
            | Self::ApprovalResolved(_)
            | Self::SpawnResult(_)
            | Self::Published { .. } => false,
        }
    }

    /// Whether it belongs to a numbered stream: it then carries `seq` when it is broadcast.
    /// State events and those addressed to one peer carry none.
    pub fn is_stream(&self) -> bool {
        match self {
            Self::Log(_)
            | Self::PairRequested(_)
            | Self::PairResolved(_)
            | Self::AgentStatus(_)
            | Self::Cron(_)
            | Self::Chat(_)
            | Self::ChatMessage(_)
            | Self::RunProgress(_)
            | Self::ApprovalRequested(_)
            | Self::ApprovalResolved(_)
            | Self::SpawnResult(_)
            | Self::Published { .. } => true,
            Self::Tick(_)
            | Self::Presence { .. }
            | Self::LogGap(_)
            | Self::Shutdown { .. }
            | Self::AgentRequest(_) => false,
        }
    }

    /// Whether the two views of it differ; if not, it is encoded once for all.
    pub fn depends_on_view(&self) -> bool {
        matches!(self, Self::Tick(_))
    }

    /// Appends the whole frame, for one peer.
    pub fn write(&self, out: &mut Vec<u8>, view: View, seq: Option<u64>) {
        self.write_prefix(out, view);
        write_suffix(out, seq);
    }

    /// Appends the frame up to where `seq` stands, to be finished by [`write_suffix`].
    pub fn write_prefix(&self, out: &mut Vec<u8>, view: View) {
        out.extend_from_slice(b"{\"type\":\"event\",\"event\":\"");
        out.extend_from_slice(self.name().as_bytes());
        out.extend_from_slice(b"\",\"payload\":");
        match self {
            Self::Log(record) => record.write(out),
            Self::Tick(snapshot) => snapshot.write(out, view),
            Self::Presence { entries, version, health_version } => {
                let mut payload = ObjectWriter::open(out);
                push_array(payload.key("presence"), entries.iter(), push_presence);
                payload.close();
                out.extend_from_slice(b",\"stateVersion\":");
                write_state_version(out, *version, *health_version);
            }
            Self::LogGap(gap) => gap.write(out),
            Self::Shutdown { reason, restart_expected_ms } => {
                let mut payload = ObjectWriter::open(out);
                payload.str("reason", reason);
                if let Some(millis) = restart_expected_ms {
                    payload.u64("restartExpectedMs", *millis);
                }
                payload.close();
            }
            Self::PairRequested(payload) | Self::PairResolved(payload) => {
                out.extend_from_slice(payload.to_string().as_bytes());
            }
            Self::AgentStatus(status) => status.write(out),
            Self::Cron(news) => news.write(out),
            Self::AgentRequest(request) => request.write(out),
            Self::Chat(update) => update.write(out),
            Self::ChatMessage(message) => message.write(out),
            Self::RunProgress(progress) => progress.write(out),
            Self::ApprovalRequested(approval) => approval.write_requested(out),
            Self::ApprovalResolved(approval) => approval.write_resolved(out),
            Self::SpawnResult(shown) => shown.write(out),
            Self::Published { payload, .. } => out.extend_from_slice(payload.as_bytes()),
        }
    }
}

/// Finishes a frame that [`Event::write_prefix`] began.
pub fn write_suffix(out: &mut Vec<u8>, seq: Option<u64>) {
    if let Some(seq) = seq {
        out.extend_from_slice(b",\"seq\":");
        push_u64(out, seq);
    }
    out.push(b'}');
}

/// An event encoded up to its `seq`, to be finished differently for different streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventText {
    prefix: Vec<u8>,
}

impl EventText {
    /// Encodes an event for peers with this view.
    pub fn encode(event: &Event, view: View) -> Self {
        let mut prefix = Vec::with_capacity(256);
        event.write_prefix(&mut prefix, view);
        Self { prefix }
    }

    /// Appends the whole frame.
    pub fn write(&self, out: &mut Vec<u8>, seq: Option<u64>) {
        out.extend_from_slice(&self.prefix);
        write_suffix(out, seq);
    }

    /// Bytes of the frame at most, with the longest `seq`.
    pub fn len_max(&self) -> usize {
        const SUFFIX: usize = ",\"seq\":}".len() + 20;
        self.prefix.len().saturating_add(SUFFIX)
    }
}

impl TickSnapshot {
    fn write(&self, out: &mut Vec<u8>, view: View) {
        let mut payload = ObjectWriter::open(out);
        payload.u64("ts", self.ts);
        if view == View::Full {
            payload.object("snapshot", |snapshot| {
                snapshot.key("sessions").extend_from_slice(self.sessions.json());
                snapshot.usize("total", self.total);
                snapshot.bool("truncated", self.truncated);
            });
        }
        payload.close();
    }
}

impl LogGap {
    fn write(&self, out: &mut Vec<u8>) {
        let mut payload = ObjectWriter::open(out);
        for (key, cursor) in [("fromCursor", self.from_cursor), ("toCursor", self.to_cursor)] {
            if let Some(cursor) = cursor {
                payload.u64(key, cursor.0);
            }
        }
        payload.u64("dropped", self.dropped);
        payload.close();
    }
}

/// Appends `{"presence":…,"health":…}`.
pub(super) fn write_state_version(out: &mut Vec<u8>, presence: u64, health: u64) {
    let mut version = ObjectWriter::open(out);
    version.u64("presence", presence).u64("health", health);
    version.close();
}

/// Appends one line of presence.
pub(super) fn push_presence(out: &mut Vec<u8>, entry: &PresenceEntry) {
    let mut line = ObjectWriter::open(out);
    line.str("host", &entry.host).str("ip", &entry.ip).str("version", &entry.version);
    line.str("platform", &entry.platform).str("mode", &entry.mode);
    line.opt_str("deviceId", entry.device_id.as_deref());
    line.strs("roles", [entry.role.as_str()]).strs("scopes", entry.scopes.names());
    line.opt_str("instanceId", entry.instance_id.as_deref());
    line.opt_str("agent", entry.agent.as_deref());
    if let Some(micros) = entry.rtt_micros {
        line.raw("rttMs", &format!("{}.{:03}", micros / 1_000, micros % 1_000));
    }
    line.str("reason", if entry.connected { "connect" } else { "disconnect" }).u64("ts", entry.ts);
    line.close();
}
