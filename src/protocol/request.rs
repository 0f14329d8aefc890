//! The methods after the handshake, with typed parameters (`docs/protocol.md`, "Methods").
//!
//! Owns the way from a request frame to a typed [`Call`]. Executes nothing.
//! Called by the connection threads.

use std::sync::Arc;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::base::ids::{AgentName, Cursor, SessionKey};
use crate::base::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::protocol::approvals::ApprovalRequest;
use crate::protocol::cost::Cost;
use crate::protocol::cron::CronRequest;
use crate::protocol::devices::DeviceRequest;
use crate::protocol::error::ProtocolError;
use crate::protocol::event::PublishedKind;
use crate::protocol::fields::{Invalid, Object, Place};
use crate::protocol::frame::RequestFrame;
use crate::protocol::hello::Grant;
use crate::protocol::log_entry::{Level, LogDraft};
use crate::protocol::methods::spawn::SpawnMethod;
use crate::protocol::methods::{
    Method, agent_status, approvals, cron, devices, events_publish, logs_append, logs_subscribe,
    logs_tail, runs, session_key, session_reports, sessions, spawn,
};
use crate::protocol::run_calls::RunRequest;
use crate::protocol::spawn::SpawnRequest;
use crate::protocol::speaker::Speaker;

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
    /// `device.pair.*`, `device.token.*`, `auth.rateLimit.clear`
    Devices(DeviceRequest),
    /// `cron.*`
    Cron(CronRequest),
    /// `logs.subscribe`: receive these entries alone; `None` is everything again.
    LogsSubscribe(Option<LogFilter>),
    /// `session.update`
    SessionUpdate(Box<SessionUpdate>),
    /// `session.usage`
    SessionUsage(Box<SessionUsage>),
    /// `agent.status`
    AgentStatus(AgentReport),
    /// `events.publish`
    EventsPublish(EventsPublish),
    /// `sessions.patch` and its aliases.
    SessionsPatch(Box<SessionsPatch>),
    /// `sessions.reset`
    SessionsReset(SessionNamed),
    /// `sessions.delete`
    SessionsDelete(SessionNamed),
    /// `chat.*`, `agent`, `agent.wait`, `sessions.send`, `run.update`
    Runs(Box<RunRequest>),
    /// `exec.approval.*`, `exec.approvals.*`
    Approvals(Box<ApprovalRequest>),
    /// `spawn`, `spawn.*`, `sessions_spawn`, `sessions_kill`
    Spawn(Box<SpawnRequest>),
    /// What changes nothing.
    Read(Read),
}

/// A request that changes nothing and is answered at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// `sessions.list`
    SessionsList(SessionsList),
    /// `sessions.get`
    SessionsGet(SessionKey),
    /// `sessions.usage`, of all sessions or of this agent's.
    SessionsUsage(Option<AgentName>),
    /// `agents.list`
    AgentsList,
    /// `node.list`
    NodeList,
    /// `config.get`
    ConfigGet,
    /// `channels.status`
    ChannelsStatus,
    /// `models.list`
    ModelsList,
    /// `last-heartbeat`
    LastHeartbeat,
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

impl LogFilter {
    /// Whether an entry is among them.
    pub fn matches(&self, draft: &LogDraft) -> bool {
        self.level_min.is_none_or(|level| draft.level >= level)
            && self.source.as_deref().is_none_or(|source| *draft.source == *source)
            && self.session.as_ref().is_none_or(|session| draft.session.as_ref() == Some(session))
    }
}

/// Parameters of `logs.append`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogsAppend {
    /// 1 to `LOG_ENTRIES_PER_APPEND_MAX` entries, in order.
    pub entries: Vec<LogDraft>,
    /// See [`Idempotency`].
    pub idempotency: Option<Idempotency>,
}

/// Parameters of `session.update`: what is, as far as it is said. An empty text takes back.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionUpdate {
    /// Which session; it need not be known yet.
    pub key: SessionKey,
    /// What kind of conversation; not empty.
    pub kind: Option<Arc<str>>,
    /// The model.
    pub model: Option<Arc<str>>,
    /// A name for people.
    pub label: Option<Arc<str>>,
    /// At most `COUNT_MAX`, as all counts.
    pub total_tokens: Option<u64>,
    /// See `total_tokens`.
    pub input_tokens: Option<u64>,
    /// See `total_tokens`.
    pub output_tokens: Option<u64>,
    /// See `total_tokens`.
    pub context_tokens: Option<u64>,
    /// See `total_tokens`.
    pub message_count: Option<u64>,
    /// What it has cost so far.
    pub cost: Option<Cost>,
    /// Whether it goes on.
    pub active: Option<bool>,
    /// See [`Idempotency`].
    pub idempotency: Option<Idempotency>,
}

/// Parameters of `session.usage`: what comes on top.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionUsage {
    /// Which session; it need not be known yet.
    pub key: SessionKey,
    /// At most `COUNT_MAX`, as all counts.
    pub input_tokens: u64,
    /// See `input_tokens`.
    pub output_tokens: u64,
    /// See `input_tokens`.
    pub messages: u64,
    /// The cost of this use.
    pub cost: Cost,
    /// The model that was used; not empty.
    pub model: Option<Arc<str>>,
    /// See [`Idempotency`].
    pub idempotency: Option<Idempotency>,
}

/// Parameters of `agent.status`.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentReport {
    /// Whose status; an agent's own name.
    pub name: AgentName,
    /// Such as `idle` or `busy`.
    pub status: String,
    /// The number by which the agent is known elsewhere, 1 to `COUNT_MAX - 1`.
    pub id: Option<u64>,
    /// What it did last.
    pub last_activity: Option<String>,
    /// See [`Idempotency`].
    pub idempotency: Option<Idempotency>,
}

/// Parameters of `events.publish`.
#[derive(Clone, Debug, PartialEq)]
pub struct EventsPublish {
    /// Which event.
    pub kind: PublishedKind,
    /// The payload as it is passed on: a compact JSON object.
    pub payload: Arc<str>,
    /// See [`Idempotency`].
    pub idempotency: Option<Idempotency>,
}

/// Parameters of `sessions.list`.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionsList {
    /// Rows at most, 1 to `SESSIONS_LIST_LIMIT_MAX`.
    pub limit: usize,
    /// Where to go on; `None` is from the session reported last.
    pub cursor: Option<SessionsCursor>,
    /// Only this agent's.
    pub agent: Option<AgentName>,
    /// Only those reported within so many milliseconds.
    pub active_within_ms: Option<u64>,
}

/// A session's place in the order of activity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionPlace {
    /// Its last report, Unix milliseconds.
    pub updated_at_ms: u64,
    /// Its key, which tells sessions of one millisecond apart.
    pub key: SessionKey,
}

/// Where a list goes on. It first goes down from the newest to the oldest, then up again from
/// where it started, over what was reported meanwhile: so it misses nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsCursor {
    /// Down, to the places before `after`.
    Down {
        /// The newest place when the list was begun.
        start: SessionPlace,
        /// The last one returned.
        after: SessionPlace,
    },
    /// Up, to the places after this one.
    Up {
        /// The last one returned, or where the list started.
        after: SessionPlace,
    },
}

/// Parameters of `sessions.patch`: what is set, as far as it is said. An empty text takes back.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionsPatch {
    /// Which session.
    pub key: SessionKey,
    /// A name for people.
    pub label: Option<Arc<str>>,
    /// The model.
    pub model: Option<Arc<str>>,
    /// How much to think.
    pub thinking: Option<Arc<str>>,
    /// How much to tell.
    pub verbose: Option<Arc<str>>,
    /// Whether to show reasoning.
    pub reasoning: Option<Arc<str>>,
    /// See [`Idempotency`].
    pub idempotency: Option<Idempotency>,
}

/// Parameters of `sessions.reset` and `sessions.delete`.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionNamed {
    /// Which session.
    pub key: SessionKey,
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

/// What an admitted peer calls.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// `ping`: answer with a bare `ok`, here and now.
    Ping,
    /// `health`: answer with `reply::write_health`, here and now.
    Health,
    /// The hub's to answer.
    Request(Request),
}

/// Finds the method, checks that the peer may call it, and reads its parameters, in this order:
/// a peer that may not call a method learns nothing of its parameters.
/// `now_unix_ms` is what an entry without a timestamp gets.
pub fn parse(
    frame: &RequestFrame<'_>,
    grant: &Grant,
    now_unix_ms: u64,
) -> Result<Call, ProtocolError> {
    let method =
        Method::find(&frame.method).ok_or_else(|| ProtocolError::unknown_method(&frame.method))?;
    method.check(grant)?;
    let json = frame.params.map_or("{}", RawValue::get);
    let called = Called { name: &frame.method, json, agent: Speaker::of(grant), now_unix_ms };
    called.call(method)
}

/// Reads a report of an agent that has no connection.
pub(super) fn parse_report(
    method: Method,
    params: Option<&RawValue>,
    agent: Speaker<'_>,
    now_unix_ms: u64,
) -> Result<Request, ProtocolError> {
    let json = params.map_or("{}", RawValue::get);
    let called = Called { name: method.name(), json, agent: Some(agent), now_unix_ms };
    match called.call(method)? {
        Call::Request(request) => Ok(request),
        Call::Ping | Call::Health => Err(ProtocolError::unknown_method(method.name())),
    }
}

/// A request on its way to being typed.
struct Called<'a> {
    /// The method's name or alias.
    name: &'a str,
    json: &'a str,
    agent: Option<Speaker<'a>>,
    now_unix_ms: u64,
}

impl Called<'_> {
    fn call(&self, method: Method) -> Result<Call, ProtocolError> {
        let call = if self.json.starts_with('{') {
            self.read(method)
        } else {
            Err(Invalid("must be an object".to_owned()))
        };
        call.map_err(|invalid| ProtocolError::invalid_params(method.name(), &invalid.0))
    }

    fn read(&self, method: Method) -> Result<Call, Invalid> {
        let read = |read| Ok(Call::Request(Request::Read(read)));
        let request = match method {
            Method::Devices(method) => {
                Request::Devices(devices::read(method, &self.members(&devices::PARAMS)?)?)
            }
            Method::Cron(method) => {
                Request::Cron(cron::read(method, self.report(&cron::PARAMS)?, self.now_unix_ms)?)
            }
            Method::Runs(call) => {
                Request::Runs(Box::new(runs::read(call, &self.members(&runs::PARAMS)?, self.json)?))
            }
            Method::Approvals(call) => {
                let params = self.members(&approvals::PARAMS)?;
                Request::Approvals(Box::new(approvals::read(call, &params, self.agent)?))
            }
            Method::Ping => return Ok(Call::Ping),
            Method::Health => return Ok(Call::Health),
            Method::AgentsList => return read(Read::AgentsList),
            Method::NodeList => return read(Read::NodeList),
            Method::ConfigGet => return read(Read::ConfigGet),
            Method::ChannelsStatus => return read(Read::ChannelsStatus),
            Method::ModelsList => return read(Read::ModelsList),
            Method::LastHeartbeat => return read(Read::LastHeartbeat),
            Method::SessionsGet => return read(Read::SessionsGet(self.key()?)),
            Method::SessionsList => {
                let params = self.members(&sessions::LIST)?;
                return read(Read::SessionsList(sessions::read_list(&params)?));
            }
            Method::SessionsUsage => {
                let params = self.members(&sessions::USAGE)?;
                return read(Read::SessionsUsage(sessions::read_agent(&params)?));
            }
            Method::SessionsReset => Request::SessionsReset(self.named()?),
            Method::SessionsDelete => Request::SessionsDelete(self.named()?),
            Method::SessionsPatch => {
                let (params, once) = self.report(&sessions::PATCH)?;
                let patch = sessions::read_patch(&params, self.name, once)?;
                Request::SessionsPatch(Box::new(patch))
            }
            Method::Status => Request::Status,
            Method::SystemPresence => Request::SystemPresence,
            Method::LogsTail => {
                Request::LogsTail(logs_tail::read(&self.members(&logs_tail::PARAMS)?)?)
            }
            Method::LogsSubscribe => {
                let params = self.members(&logs_subscribe::PARAMS)?;
                Request::LogsSubscribe(logs_subscribe::read(&params)?)
            }
            Method::Spawn(method) => Request::Spawn(Box::new(self.spawn(method)?)),
            Method::LogsAppend => self.logs_append()?,
            Method::SessionUpdate => {
                let (params, once) = self.report(&session_reports::UPDATE)?;
                let update = session_reports::read_update(&params, self.agent, once)?;
                Request::SessionUpdate(Box::new(update))
            }
            Method::SessionUsage => {
                let (params, once) = self.report(&session_reports::USAGE)?;
                let usage = session_reports::read_usage(&params, self.agent, once)?;
                Request::SessionUsage(Box::new(usage))
            }
            Method::AgentStatus => {
                let (params, once) = self.report(&agent_status::PARAMS)?;
                Request::AgentStatus(agent_status::read(&params, self.agent, once)?)
            }
            Method::EventsPublish => {
                let (params, once) = self.report(&events_publish::PARAMS)?;
                Request::EventsPublish(events_publish::read(&params, self.agent, once)?)
            }
        };
        Ok(Call::Request(request))
    }

    fn spawn(&self, method: SpawnMethod) -> Result<SpawnRequest, Invalid> {
        Ok(match method {
            SpawnMethod::Spawn => {
                let (params, once) = self.report(&spawn::SPAWN)?;
                SpawnRequest::Spawn(Box::new(spawn::read_spawn(&params, once)?))
            }
            SpawnMethod::Template => {
                let (params, once) = self.report(&spawn::TEMPLATE)?;
                SpawnRequest::Template(Box::new(spawn::read_template(&params, once)?))
            }
            SpawnMethod::List => SpawnRequest::List,
            SpawnMethod::Logs => {
                spawn::read_logs(&self.members(&spawn::ID)?, &self.members(&logs_tail::PARAMS)?)?
            }
            SpawnMethod::Cancel => spawn::read_cancel(&self.members(&spawn::CANCEL)?)?,
            SpawnMethod::KillSession => SpawnRequest::KillSession(self.key()?),
        })
    }

    fn logs_append(&self) -> Result<Request, Invalid> {
        let (params, idempotency) = self.report(&logs_append::PARAMS)?;
        let entries = logs_append::read(&params, self.agent, self.now_unix_ms)?;
        Ok(Request::LogsAppend(LogsAppend { entries, idempotency }))
    }

    /// The session that an operator names.
    fn key(&self) -> Result<SessionKey, Invalid> {
        session_key::required(&self.members(&sessions::KEY)?, None)
    }

    /// The session that an operator changes.
    fn named(&self) -> Result<SessionNamed, Invalid> {
        let (params, idempotency) = self.report(&sessions::NAMED)?;
        Ok(SessionNamed { key: session_key::required(&params, None)?, idempotency })
    }

    /// The parameters of a report, with its idempotency key.
    fn report<const N: usize>(
        &self,
        names: &'static [&'static str; N],
    ) -> Result<(Object<'_, N>, Option<Idempotency>), Invalid> {
        let params = self.members(names)?;
        let idempotency = idempotency(&params, self.name, self.json)?;
        Ok((params, idempotency))
    }

    fn members<const N: usize>(
        &self,
        names: &'static [&'static str; N],
    ) -> Result<Object<'_, N>, Invalid> {
        let mut params = Object::empty(Place::Root, names);
        params.fill(self.json)?;
        Ok(params)
    }
}

fn idempotency<const N: usize>(
    params: &Object<'_, N>,
    called: &str,
    json: &str,
) -> Result<Option<Idempotency>, Invalid> {
    let Some(key) = params.string("idempotencyKey", IDEMPOTENCY_KEY_BYTES_MAX)? else {
        return Ok(None);
    };
    if key.is_empty() {
        return Err(params.invalid("idempotencyKey", "must be a non-empty string"));
    }
    let mut hash = Sha256::new();
    // `level` means something else under each of these names, though the method is one.
    if called.starts_with("session_set") {
        hash.update(called.as_bytes());
    }
    hash.update(json.as_bytes());
    let params_hash = hash.finalize().into();
    Ok(Some(Idempotency { key: key.into_owned(), params_hash }))
}
