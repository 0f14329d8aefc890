//! Values that several subjects need: the captured frames, and one of each thing we send.

use std::sync::Arc;

use openclaw_gateway::base::ids::{
    AgentName, ConnId, Cursor, DeviceId, RequestId, SessionKey, UserName,
};
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::protocol::agent_status::{AgentLine, AgentStatus};
use openclaw_gateway::protocol::cost::Cost;
use openclaw_gateway::protocol::event::{Event, LogGap, PresenceEntry, TickSnapshot};
use openclaw_gateway::protocol::frame::{self, RequestFrame};
use openclaw_gateway::protocol::hello::{Grant, Hello, IssuedToken};
use openclaw_gateway::protocol::log_entry::LogRecord;
use openclaw_gateway::protocol::reply::{ConfigShown, LogsPage, Reply, SessionsPage, Status};
use openclaw_gateway::protocol::request::{self, Call, Request, SessionPlace, SessionsCursor};
use openclaw_gateway::protocol::scope::{Role, ScopeSet};
use openclaw_gateway::protocol::session::{Session, SessionRows, SessionTotals};
use serde_json::{Value, json};

use crate::cron_samples::{cron_event, cron_replies};
use crate::device_samples::device_replies;
use crate::run_samples::{run_events, run_replies};
use crate::spawn_samples::{spawn_events, spawn_replies};

/// The moment of every sample: 2026-11-22T18:43:42.123Z.
pub(crate) const NOW: u64 = 1_795_373_022_123;

/// The device of the captured frames.
pub(crate) const DEVICE: &str = "d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce";

/// The frames that a real Mission Control 2.3.0 sent, in order.
pub(crate) fn captured() -> Vec<Value> {
    include_str!("mission-control-2.3.0.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["frame"].take())
        .collect()
}

pub(crate) fn parse_frame(text: &str) -> RequestFrame<'_> {
    frame::parse(text).unwrap_or_else(|error| panic!("{error:?} in {text}"))
}

pub(crate) fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

pub(crate) fn operator(scopes: ScopeSet) -> Grant {
    Grant {
        role: Role::Operator,
        scopes,
        agent: None,
        session: None,
        device: Some(DeviceId::new(DEVICE)),
        user: UserName::new("default"),
        is_owner: false,
    }
}

pub(crate) fn agent(name: &str) -> Grant {
    Grant {
        role: Role::Agent,
        scopes: ScopeSet::NONE,
        agent: Some(AgentName::new(name)),
        session: None,
        device: Some(DeviceId::new("device-550e8400-e29b-41d4")),
        user: UserName::new("default"),
        is_owner: false,
    }
}

/// A journal entry that went the whole way: reported by `agent1`, parsed, given a cursor.
pub(crate) fn record() -> Arc<LogRecord> {
    let text = json!({
        "type": "req", "id": "report-1", "method": "logs.append",
        "params": {"entries": [{
            "level": "info", "message": "Task completed successfully", "session": "agent1:chat",
            "timestamp": NOW, "extra": {"task_id": 456},
        }]},
    })
    .to_string();
    let call = request::parse(&parse_frame(&text), &agent("agent1"), 0).unwrap();
    let Call::Request(Request::LogsAppend(append)) = call else { panic!("{call:?}") };
    Arc::new(LogRecord { cursor: Cursor(123), draft: append.entries.into_iter().next().unwrap() })
}

pub(crate) fn presence() -> Arc<[PresenceEntry]> {
    let operator = PresenceEntry {
        host: "Mission Control".to_owned(),
        ip: "127.0.0.1".to_owned(),
        version: "2.3.0".to_owned(),
        platform: "web".to_owned(),
        mode: "ui".to_owned(),
        device_id: Some(DEVICE.to_owned()),
        role: Role::Operator,
        scopes: ScopeSet::ADMIN,
        instance_id: Some("mc-1795346722362".to_owned()),
        agent: None,
        rtt_micros: None,
        connected: true,
        ts: NOW,
    };
    let agent = PresenceEntry {
        host: "agent1".to_owned(),
        ip: "10.0.0.7".to_owned(),
        version: "1.0.0".to_owned(),
        platform: "linux".to_owned(),
        mode: "backend".to_owned(),
        device_id: None,
        role: Role::Agent,
        scopes: ScopeSet::NONE,
        instance_id: None,
        agent: Some("agent1".to_owned()),
        rtt_micros: None,
        connected: false,
        ts: NOW,
    };
    Arc::new([operator, agent])
}

/// A request to be approved, as the event and the list show it.
pub(crate) fn pairing_request() -> Value {
    json!({
        "requestId": "pair-1",
        "deviceId": DEVICE,
        "publicKey": captured()[0]["params"]["device"]["publicKey"],
        "reason": "not-paired",
        "role": "operator",
        "scopes": ["operator.admin"],
        "clientId": "openclaw-control-ui",
        "displayName": "Mission Control",
        "platform": "web",
        "remoteIp": "10.0.0.9",
        "ts": NOW,
        "expiresAtMs": NOW + 300_000,
    })
}

/// The same with the round trip, which only `system-presence` tells.
fn presence_with_rtt() -> Arc<[PresenceEntry]> {
    let mut entries = presence().to_vec();
    entries[0].rtt_micros = Some(431);
    entries.into()
}

pub(crate) fn hello() -> Hello {
    Hello {
        role_sent: "operator",
        id: RequestId::new("mc-1"),
        protocol: 3,
        conn: ConnId(7),
        grant: operator(ScopeSet::ADMIN),
        token: Some(IssuedToken {
            token: Secret::new("dt_469da4fc2cfcfb4343d3d123"),
            issued_at_ms: NOW,
            expires_at_ms: NOW + 86_400_000,
        }),
        features: vec!["spawn", "cron", "logs"],
        presence: presence(),
        presence_version: 2,
        health_version: 1,
        uptime_ms: 61_000,
        auth_mode: "device",
        message_bytes_max: 26_214_400,
        backlog_bytes_max: 4_194_304,
        tick_interval_ms: 30_000,
    }
}

/// One event of every kind.
pub(crate) fn events() -> Vec<Event> {
    let mut events = vec![
        Event::Log(record()),
        Event::Tick(Arc::new(TickSnapshot {
            ts: NOW,
            sessions: Arc::new(SessionRows::new(NOW, vec![sample_session()])),
            total: 1,
            truncated: false,
        })),
        Event::Presence { entries: presence(), version: 2, health_version: 1 },
        Event::LogGap(LogGap {
            from_cursor: Some(Cursor(100)),
            to_cursor: Some(Cursor(122)),
            dropped: 22,
        }),
        Event::Shutdown { reason: "service restart".to_owned(), restart_expected_ms: Some(5_000) },
        Event::PairRequested(pairing_request()),
        Event::PairResolved(json!({
            "requestId": "pair-1", "deviceId": DEVICE, "decision": "approved", "ts": NOW,
        })),
        Event::AgentStatus(Arc::new(agent_status("agent1", 7))),
        cron_event(),
        spawn_events().swap_remove(0),
        spawn_events().swap_remove(1),
        published(
            "notification",
            json!({
                "id": 5, "recipient": "operator", "type": "info", "title": "Done",
                "message": "Task 456 is done", "source_type": "task", "source_id": 456,
                "created_at": NOW / 1_000,
            }),
        ),
        published(
            "tool.stream",
            json!({
                "id": "call-1", "conversation_id": "agent1:chat", "toolName": "shell",
                "args": {"command": "make test"}, "output": "ok", "status": "completed",
                "durationMs": 1250, "timestamp": NOW,
            }),
        ),
        published("context.compaction", json!({"sessionKey": "agent1:chat", "percentage": 62})),
        published("model.fallback", json!({"from": "claude-opus-4", "to": "claude-sonnet-4"})),
        published(
            "token_usage",
            json!({
                "sessionKey": "agent1:chat", "inputTokens": 1200, "outputTokens": 345,
            }),
        ),
    ];
    events.extend(run_events());
    events
}

/// One reply of every kind, with the id of its request.
pub(crate) fn replies() -> Vec<(&'static str, Reply)> {
    let session_row = sample_session();
    let place = SessionPlace { updated_at_ms: NOW, key: session("agent1:chat") };
    let page = SessionsPage {
        rows: vec![session_row.clone()],
        next: Some(SessionsCursor::Up { after: place }),
        total: 2,
        now_ms: NOW,
    };
    vec![
        ("ping-1", Reply::Empty),
        ("report-1", Reply::LogsAppended { first: Cursor(123), last: Cursor(123) }),
        (
            "tail-1",
            Reply::LogsTail(LogsPage {
                entries: vec![record()],
                cursor: Cursor(123),
                truncated: false,
                reset: false,
            }),
        ),
        (
            "status-1",
            Reply::Status(Status {
                version: "0.1.0".to_owned(),
                uptime_ms: 61_000,
                operators: 1,
                agents: 1,
                sessions: 0,
                journal_entries: 123,
                journal_bytes: 24_600,
                store_healthy: true,
            }),
        ),
        ("presence-1", Reply::Presence(presence_with_rtt())),
        ("sessions-1", Reply::SessionsList(page)),
        ("session-1", Reply::SessionsGet { session: session_row.clone(), now_ms: NOW }),
        (
            "usage-1",
            Reply::SessionsUsage {
                totals: SessionTotals {
                    sessions: 1,
                    total_tokens: 5_432,
                    input_tokens: 4_000,
                    output_tokens: 1_432,
                    message_count: 12,
                    cost_nanos: 420_000_000,
                },
                now_ms: NOW,
            },
        ),
        ("patch-1", Reply::SessionChanged { session: session_row, now_ms: NOW }),
        ("delete-1", Reply::SessionDeleted { key: session("agent1:chat"), deleted: true }),
        (
            "agents-1",
            Reply::AgentsList(vec![AgentLine {
                status: agent_status("agent1", 7),
                connected: true,
            }]),
        ),
        ("nodes-1", Reply::NodeList { agents: vec![presence()[1].clone()], now_ms: NOW }),
        ("config-1", Reply::Config(Box::new(config_shown()))),
        ("channels-1", Reply::ChannelsStatus(NOW)),
        ("models-1", Reply::ModelsList),
        ("heartbeat-1", Reply::LastHeartbeat(Some(NOW))),
    ]
    .into_iter()
    .chain(device_replies())
    .chain(cron_replies().into_iter().chain(run_replies()))
    .chain(spawn_replies())
    .collect()
}

/// The one who comes over the control socket.
pub(crate) fn owner() -> Grant {
    Grant { device: None, is_owner: true, ..operator(ScopeSet::ADMIN) }
}

/// The session of the product page.
pub(crate) fn sample_session() -> Arc<Session> {
    Arc::new(Session {
        model: Some("claude-sonnet-4".into()),
        label: Some("Release notes".into()),
        thinking: Some("high".into()),
        total_tokens: 5_432,
        input_tokens: 4_000,
        output_tokens: 1_432,
        context_tokens: 35_000,
        message_count: 12,
        cost: Cost::parse("0.42").unwrap(),
        ..Session::new(session("agent1:chat"), NOW)
    })
}

pub(crate) fn agent_status(name: &str, id: u64) -> AgentStatus {
    AgentStatus {
        name: AgentName::new(name),
        id,
        status: "busy".to_owned(),
        last_activity: Some("Running the tests".to_owned()),
        last_seen_ms: NOW,
    }
}

/// What becomes of an event that `agent1` publishes.
fn published(event: &str, payload: Value) -> Event {
    let text = json!({
        "type": "req", "id": "publish-1", "method": "events.publish",
        "params": {"event": event, "payload": payload},
    })
    .to_string();
    let call = request::parse(&parse_frame(&text), &agent("agent1"), 0).unwrap();
    let Call::Request(Request::EventsPublish(event)) = call else { panic!("{call:?}") };
    Event::Published { kind: event.kind, payload: event.payload }
}

fn config_shown() -> ConfigShown {
    ConfigShown {
        version: "0.1.0".to_owned(),
        devices_enabled: true,
        require_signature: true,
        token_ttl_seconds: 86_400,
        devices_per_user_max: 10,
        has_token: true,
        has_password: false,
        heartbeat_interval_seconds: 30,
        heartbeat_missed_max: 3,
        limits: vec![
            ("messageBytes", 26_214_400),
            ("backlogBytes", 4_194_304),
            ("journalEntries", 100_000),
            ("journalBytes", 33_554_432),
            ("sessions", 10_000),
            ("snapshotSessions", 200),
            ("tickMilliseconds", 250),
        ],
    }
}

pub(crate) fn session(key: &str) -> SessionKey {
    SessionKey::new(key)
}
