//! The refusals of a `connect` that only the hub can decide, which no row of the table of
//! connect errors names: the gateway is stopping, or cannot write down what it would promise; and
//! what requests hear then.
//!
//! Every row of that table is in `protocol::refusal`. Called by `admission`.

use std::time::Duration;

use serde_json::json;

use crate::base::close_reason::CloseReason;
use crate::base::ids::JobId;
use crate::base::ids::SessionKey;
use crate::base::limits::{ECHO_CHARS_MAX, STORE_RETRY_AFTER};
use crate::base::time::millis;
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::refusal::Refusal;
use crate::protocol::safe_text::echo;

/// What an admission that must be durable is refused with while the store fails. Close 1013.
pub(super) fn store_failing() -> Refusal {
    let close =
        CloseReason::Refused { code: 1013, text: "gateway cannot store right now".to_owned() };
    let error = not_stored().with_details(json!({ "code": "UNAVAILABLE_STORAGE" }));
    Refusal { error, close }
}

/// What a durable request is refused with while the store fails.
pub(super) fn not_stored() -> ProtocolError {
    ProtocolError::new(
        ErrorCode::Unavailable,
        "not stored: the gateway's store takes no writes right now",
    )
    .retry_after(millis(STORE_RETRY_AFTER))
}

/// What a request about a job is refused with that there is not.
pub(super) fn no_such_job(id: &JobId) -> ProtocolError {
    let id = echo(id.as_str(), ECHO_CHARS_MAX);
    ProtocolError::new(ErrorCode::NotFound, format!("no such job: {id}"))
}

/// What a decision about a device is answered with while the store fails: it holds all the same.
/// Nothing is to be repeated.
pub(super) fn stored_later() -> ProtocolError {
    ProtocolError::new(
        ErrorCode::Unavailable,
        "in force, but not on disk yet: the gateway's store takes no writes right now",
    )
    .with_details(json!({ "inForce": true }))
}

/// What a `connect` is refused with whose device was changed while its commit ran. Close 1013.
pub(super) fn changed_meanwhile() -> Refusal {
    let message = "the device was changed while it connected; connect again";
    let error = ProtocolError::new(ErrorCode::Unavailable, message)
        .with_details(json!({ "code": "UNAVAILABLE_DEVICE_CHANGED" }))
        .retry_after(millis(STORE_RETRY_AFTER));
    Refusal { error, close: CloseReason::Refused { code: 1013, text: message.to_owned() } }
}

/// What a `connect` is refused with while the gateway stops. Close 1012.
pub(super) fn stopping(retry_after: Duration) -> Refusal {
    let error =
        request_while_stopping(retry_after).with_details(json!({ "code": "UNAVAILABLE_STOPPING" }));
    Refusal { error, close: CloseReason::ServerStopping }
}

/// What a durable request is refused with while the gateway stops.
pub(super) fn request_while_stopping(retry_after: Duration) -> ProtocolError {
    ProtocolError::new(ErrorCode::Unavailable, "the gateway is stopping; retry when it is back")
        .retry_after(millis(retry_after))
}

/// What is said of a session that is not there.
pub(super) fn no_such_session(key: &SessionKey) -> Box<ProtocolError> {
    let key = echo(key.as_str(), ECHO_CHARS_MAX);
    Box::new(ProtocolError::new(ErrorCode::NotFound, format!("no such session: {key}")))
}
