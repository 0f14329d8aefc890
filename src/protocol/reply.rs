//! What successful requests are answered with, and the encoding of it.
//!
//! The hub makes a [`Reply`]; the fan-out thread encodes it, once, into the frame that is sent.

use std::sync::Arc;

use crate::base::ids::{Cursor, SessionKey};
use crate::protocol::agent_status::AgentLine;
use crate::protocol::approvals::ApprovalReply;
use crate::protocol::cron::CronReply;
use crate::protocol::devices::DeviceReply;
use crate::protocol::event::{PresenceEntry, push_presence};
use crate::protocol::frame::{write_ok, write_success};
use crate::protocol::json::{ObjectWriter, push_array, push_str};
use crate::protocol::log_entry::LogRecord;
use crate::protocol::methods::sessions::encode_cursor;
use crate::protocol::request::SessionsCursor;
use crate::protocol::run_calls::RunReply;
use crate::protocol::session::{Session, SessionTotals};
use crate::protocol::spawn::SpawnReply;

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
    /// `cron.*`
    Cron(Box<CronReply>),
    /// `sessions.list`
    SessionsList(SessionsPage),
    /// `sessions.get`
    SessionsGet {
        /// The session.
        session: Arc<Session>,
        /// The moment, Unix milliseconds.
        now_ms: u64,
    },
    /// `sessions.usage`
    SessionsUsage {
        /// The sums.
        totals: SessionTotals,
        /// The moment, Unix milliseconds.
        now_ms: u64,
    },
    /// `sessions.patch` and `sessions.reset`: the session as it is now.
    SessionChanged {
        /// The session.
        session: Arc<Session>,
        /// The moment, Unix milliseconds.
        now_ms: u64,
    },
    /// `sessions.delete`
    SessionDeleted {
        /// Which was to be deleted.
        key: SessionKey,
        /// Whether there was one.
        deleted: bool,
    },
    /// `agents.list`
    AgentsList(Vec<AgentLine>),
    /// `node.list`
    NodeList {
        /// The connected agents' lines of presence.
        agents: Vec<PresenceEntry>,
        /// The moment, Unix milliseconds.
        now_ms: u64,
    },
    /// `config.get`: what is configured, without secrets.
    Config(Box<ConfigShown>),
    /// `channels.status` at this moment, Unix milliseconds. There are no channels.
    ChannelsStatus(u64),
    /// `spawn`, `spawn.*`, `sessions_spawn`, `sessions_kill`
    Spawn(Box<SpawnReply>),
    /// `models.list`. The agents choose their models.
    ModelsList,
    /// `last-heartbeat`: when the last `tick` went to everyone, Unix milliseconds.
    LastHeartbeat(Option<u64>),
    /// `chat.*`, `agent`, `agent.wait`, `sessions.send`
    Runs(Box<RunReply>),
    /// `exec.approval.*`, `exec.approvals.*`
    Approvals(Box<ApprovalReply>),
}

/// A page of the sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionsPage {
    /// The rows.
    pub rows: Vec<Arc<Session>>,
    /// Where to go on, if there is more.
    pub next: Option<SessionsCursor>,
    /// Sessions in all, or of the agent that was asked for.
    pub total: usize,
    /// The moment, Unix milliseconds.
    pub now_ms: u64,
}

/// What `config.get` shows: the part of the configuration that says what a client may expect.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigShown {
    /// Gateway version.
    pub version: String,
    /// `gateway.auth.deviceAuth.enabled`
    pub devices_enabled: bool,
    /// `gateway.auth.deviceAuth.requireSignature`
    pub require_signature: bool,
    /// `gateway.auth.deviceAuth.tokenTTL`, seconds.
    pub token_ttl_seconds: u64,
    /// `gateway.auth.deviceAuth.maxDevicesPerUser`
    pub devices_per_user_max: usize,
    /// Whether there is a `gateway.auth.token`, or a user's.
    pub has_token: bool,
    /// Whether there is a `gateway.auth.password`.
    pub has_password: bool,
    /// `gateway.heartbeat.intervalSeconds`
    pub heartbeat_interval_seconds: u64,
    /// `gateway.heartbeat.missedMax`
    pub heartbeat_missed_max: u32,
    /// `gateway.limits` by its keys, as far as the hub enforces it.
    pub limits: Vec<(&'static str, u64)>,
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
        Reply::Runs(reply) => reply.write(out, id),
        Reply::Approvals(reply) => reply.write(out, id),
        Reply::Spawn(reply) => write_success(out, id, |out| reply.write(out)),
        Reply::Devices(reply) => write_success(out, id, |out| reply.write(out)),
        Reply::Cron(reply) => write_object(out, id, |body| reply.write(body)),
        Reply::SessionsList(page) => write_object(out, id, |body| write_sessions(body, page)),
        Reply::SessionsGet { session, now_ms } => write_object(out, id, |body| {
            session.write_whole(body.key("session"), *now_ms);
        }),
        Reply::SessionsUsage { totals, now_ms } => write_object(out, id, |body| {
            body.usize("sessions", totals.sessions);
            totals.write(body.key("totals"));
            body.u64("ts", *now_ms);
        }),
        Reply::SessionChanged { session, now_ms } => write_object(out, id, |body| {
            body.bool("ok", true).str("key", session.key.as_str());
            session.write_whole(body.key("session"), *now_ms);
        }),
        Reply::SessionDeleted { key, deleted } => write_object(out, id, |body| {
            body.bool("ok", true).str("key", key.as_str()).bool("deleted", *deleted);
        }),
        Reply::AgentsList(lines) => write_object(out, id, |body| {
            push_array(body.key("agents"), lines, |out, line| line.write(out));
        }),
        Reply::NodeList { agents, now_ms } => write_object(out, id, |body| {
            push_array(body.u64("ts", *now_ms).key("nodes"), agents, push_node);
        }),
        Reply::Config(config) => write_object(out, id, |body| write_config(body, config)),
        Reply::ChannelsStatus(now_ms) => write_object(out, id, |body| {
            body.raw("channels", "{}").raw("channelAccounts", "{}");
            body.raw("channelOrder", "[]").raw("channelLabels", "{}").u64("ts", *now_ms);
        }),
        Reply::ModelsList => write_object(out, id, |body| {
            body.raw("models", "[]");
        }),
        Reply::LastHeartbeat(ts) => write_object(out, id, |body| {
            match ts {
                Some(ts) => body.u64("ts", *ts),
                None => body.raw("ts", "null"),
            };
        }),
    }
}

/// Appends a response whose body is an object.
fn write_object(out: &mut Vec<u8>, id: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
    write_success(out, id, |out| {
        let mut body = ObjectWriter::open(out);
        fill(&mut body);
        body.close();
    });
}

fn write_sessions(body: &mut ObjectWriter<'_>, page: &SessionsPage) {
    push_array(body.key("sessions"), &page.rows, |out, row| row.write_row(out, page.now_ms));
    body.usize("count", page.rows.len()).usize("total", page.total);
    match &page.next {
        Some(next) => body.str("nextCursor", &encode_cursor(next)),
        None => body.raw("nextCursor", "null"),
    };
    body.u64("ts", page.now_ms);
}

/// Appends a connected agent in the words of those clients that know nodes.
fn push_node(out: &mut Vec<u8>, entry: &PresenceEntry) {
    let mut node = ObjectWriter::open(out);
    let id = entry.device_id.as_deref().or(entry.agent.as_deref());
    node.str("nodeId", id.unwrap_or(&entry.host));
    node.str("displayName", entry.agent.as_deref().unwrap_or(&entry.host));
    node.str("platform", &entry.platform).str("version", &entry.version);
    node.str("remoteIp", &entry.ip).bool("paired", entry.device_id.is_some());
    node.bool("connected", true).u64("connectedAtMs", entry.ts);
    node.close();
}

/// Appends `{config, redacted}`, with the keys of the configuration file. A secret is shown as
/// `"***"` where there is one.
fn write_config(body: &mut ObjectWriter<'_>, config: &ConfigShown) {
    body.str("version", &config.version);
    body.object("config", |root| {
        root.object("gateway", |gateway| {
            gateway.object("auth", |auth| {
                auth.opt_str("token", config.has_token.then_some("***"));
                auth.opt_str("password", config.has_password.then_some("***"));
                auth.object("deviceAuth", |devices| {
                    devices.bool("enabled", config.devices_enabled);
                    devices.bool("requireSignature", config.require_signature);
                    devices.u64("tokenTTL", config.token_ttl_seconds);
                    devices.usize("maxDevicesPerUser", config.devices_per_user_max);
                });
            });
            gateway.object("heartbeat", |heartbeat| {
                heartbeat.u64("intervalSeconds", config.heartbeat_interval_seconds);
                heartbeat.u64("missedMax", config.heartbeat_missed_max.into());
            });
            gateway.object("limits", |limits| {
                for (key, value) in &config.limits {
                    limits.u64(key, *value);
                }
            });
        });
    });
    body.bool("redacted", true);
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
