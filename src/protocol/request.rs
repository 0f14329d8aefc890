//! The methods after the handshake, with typed parameters (`docs/protocol.md`, "Methods").
//!
//! Owns the way from a request frame to a typed [`Call`]. Executes nothing.
//! Called by the connection threads.

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::base::ids::{Cursor, SessionKey};
use crate::base::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::protocol::devices::DeviceRequest;
use crate::protocol::error::ProtocolError;
use crate::protocol::fields::{Invalid, Object, Place};
use crate::protocol::frame::RequestFrame;
use crate::protocol::hello::Grant;
use crate::protocol::log_entry::{Level, LogDraft};
use crate::protocol::methods::{Method, devices, logs_append, logs_tail};
use crate::protocol::scope::Role;

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
    let invalid = |invalid: Invalid| ProtocolError::invalid_params(method.name(), &invalid.0);
    if !json.starts_with('{') {
        return Err(invalid(Invalid("must be an object".to_owned())));
    }
    match method {
        Method::Ping => Ok(Call::Ping),
        Method::Health => Ok(Call::Health),
        Method::Status => Ok(Call::Request(Request::Status)),
        Method::SystemPresence => Ok(Call::Request(Request::SystemPresence)),
        Method::LogsTail => {
            let mut params = Object::empty(Place::Root, &logs_tail::PARAMS);
            params.fill(json).map_err(invalid)?;
            let tail = logs_tail::read(&params).map_err(invalid)?;
            Ok(Call::Request(Request::LogsTail(tail)))
        }
        Method::LogsAppend => {
            let mut params = Object::empty(Place::Root, &logs_append::PARAMS);
            params.fill(json).map_err(invalid)?;
            let agent = grant.agent.as_ref().filter(|_| grant.role == Role::Agent);
            let append = LogsAppend {
                idempotency: idempotency(&params, json).map_err(invalid)?,
                entries: logs_append::read(&params, agent, now_unix_ms).map_err(invalid)?,
            };
            Ok(Call::Request(Request::LogsAppend(append)))
        }
        Method::Devices(method) => {
            let mut params = Object::empty(Place::Root, &devices::PARAMS);
            params.fill(json).map_err(invalid)?;
            let ask = devices::read(method, &params).map_err(invalid)?;
            Ok(Call::Request(Request::Devices(ask)))
        }
    }
}

fn idempotency<const N: usize>(
    params: &Object<'_, N>,
    json: &str,
) -> Result<Option<Idempotency>, Invalid> {
    let Some(key) = params.string("idempotencyKey", IDEMPOTENCY_KEY_BYTES_MAX)? else {
        return Ok(None);
    };
    if key.is_empty() {
        return Err(params.invalid("idempotencyKey", "must be a non-empty string"));
    }
    let params_hash = Sha256::digest(json.as_bytes()).into();
    Ok(Some(Idempotency { key: key.into_owned(), params_hash }))
}
