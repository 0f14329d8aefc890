//! The answer to `connect`: two different objects under `result` and `payload`.
//!
//! `result` is what the seed's clients read, `payload` what the public OpenClaw clients read.
//! Made by the hub, encoded by the fan-out thread.

use std::sync::{Arc, LazyLock};

use crate::base::ids::{AgentName, ConnId, DeviceId, RequestId, SessionKey, UserName};
use crate::base::secret::Secret;
use crate::protocol::event::{EVENT_NAMES, PresenceEntry, push_presence, write_state_version};
use crate::protocol::frame::open_response;
use crate::protocol::json::{ObjectWriter, push_array};
use crate::protocol::methods;
use crate::protocol::scope::{Role, ScopeSet};

/// What `server.version` says.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the connection may do; fixed at admission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The operator scopes.
    pub scopes: ScopeSet,
    /// An agent's name.
    pub agent: Option<AgentName>,
    /// The one session that a started agent speaks of; `None`: all of its own.
    pub session: Option<SessionKey>,
    /// The device that was proven, if any.
    pub device: Option<DeviceId>,
    /// Whose credential admitted it.
    pub user: UserName,
    /// Whether it came over the local control socket.
    pub is_owner: bool,
}

/// Everything that the answer to `connect` says.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The request's id.
    pub id: RequestId,
    /// 3 or 4.
    pub protocol: u8,
    /// The connection.
    pub conn: ConnId,
    /// The role in the peer's own word: `node` for an agent that called itself so, since the
    /// reference client keeps its token under the role that is answered.
    pub role_sent: &'static str,
    /// What was granted.
    pub grant: Grant,
    /// The device token, whenever a device was proven and tokens are on.
    pub token: Option<IssuedToken>,
    /// What `features` under `result` says: the parts of the product page that are built and on.
    pub features: Vec<&'static str>,
    /// Everyone present.
    pub presence: Arc<[PresenceEntry]>,
    /// `stateVersion.presence`
    pub presence_version: u64,
    /// `stateVersion.health`
    pub health_version: u64,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// How this peer was admitted: `device`, `device-token`, `token`, `password`,
    /// `owner` or `none`.
    pub auth_mode: &'static str,
    /// `policy.maxPayload`, bytes.
    pub message_bytes_max: usize,
    /// `policy.maxBufferedBytes`, bytes.
    pub backlog_bytes_max: usize,
    /// `policy.tickIntervalMs`
    pub tick_interval_ms: u64,
}

/// A device token with its life.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: Secret,
    /// When it was issued, Unix milliseconds.
    pub issued_at_ms: u64,
    /// When it expires, Unix milliseconds.
    pub expires_at_ms: u64,
}

/// Appends the response to `connect`.
pub fn write_hello(out: &mut Vec<u8>, hello: &Hello) {
    open_response(out, hello.id.as_str(), true);
    out.extend_from_slice(b",\"result\":");
    let mut result = ObjectWriter::open(out);
    result.u64("protocol", hello.protocol.into()).str("sessionId", &session_id(hello.conn));
    result.opt_str("deviceToken", hello.token.as_ref().map(|token| token.token.expose()));
    result.strs("features", hello.features.iter().copied());
    result.close();
    out.extend_from_slice(b",\"payload\":");
    write_hello_ok(out, hello);
    out.push(b'}');
}

/// `payload.features`, which is half of a hello and the same in each.
static FEATURES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut json = Vec::new();
    let mut features = ObjectWriter::open(&mut json);
    features.strs("methods", methods::names()).strs("events", EVENT_NAMES);
    features.close();
    json
});

fn session_id(conn: ConnId) -> String {
    format!("gateway-session-{}", conn.0)
}

fn write_hello_ok(out: &mut Vec<u8>, hello: &Hello) {
    let mut payload = ObjectWriter::open(out);
    payload.str("type", "hello-ok").u64("protocol", hello.protocol.into());
    payload.object("server", |server| {
        server.str("version", VERSION).str("connId", &hello.conn.to_string());
    });
    payload.key("features").extend_from_slice(&FEATURES);
    payload.object("snapshot", |snapshot| {
        push_array(snapshot.key("presence"), hello.presence.iter(), push_presence);
        snapshot.object("health", |health| {
            health.bool("ok", true);
        });
        write_state_version(
            snapshot.key("stateVersion"),
            hello.presence_version,
            hello.health_version,
        );
        snapshot.u64("uptimeMs", hello.uptime_ms).str("authMode", hello.auth_mode);
    });
    payload.object("auth", |auth| {
        auth.opt_str("deviceToken", hello.token.as_ref().map(|token| token.token.expose()));
        auth.str("role", hello.role_sent).strs("scopes", hello.grant.scopes.names());
        if let Some(token) = &hello.token {
            auth.u64("issuedAtMs", token.issued_at_ms).u64("expiresAtMs", token.expires_at_ms);
        }
    });
    payload.object("policy", |policy| {
        policy.usize("maxPayload", hello.message_bytes_max);
        policy.usize("maxBufferedBytes", hello.backlog_bytes_max);
        policy.u64("tickIntervalMs", hello.tick_interval_ms);
    });
    payload.close();
}
