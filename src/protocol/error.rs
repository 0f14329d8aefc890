//! What a request can be refused with.
//!
//! The refusals of `connect`, which also close the connection, are in `refusal`.
//! Encoded by `frame`; made by this layer and by the hub.

use serde_json::Value;

use crate::base::limits::ECHO_CHARS_MAX;
use crate::protocol::safe_text::echo;

/// The top-level error codes of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// `INVALID_REQUEST`
    InvalidRequest,
    /// `NOT_PAIRED`
    NotPaired,
    /// `UNAUTHORIZED`
    Unauthorized,
    /// `UNAVAILABLE`
    Unavailable,
    /// `AGENT_TIMEOUT`
    AgentTimeout,
    /// `NOT_FOUND`
    NotFound,
    /// `CONFLICT`
    Conflict,
    /// `RESOURCE_EXHAUSTED`
    ResourceExhausted,
}

impl ErrorCode {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::NotPaired => "NOT_PAIRED",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Unavailable => "UNAVAILABLE",
            Self::AgentTimeout => "AGENT_TIMEOUT",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
        }
    }
}

/// A refusal that leaves the connection open (or that precedes its close, for `connect`).
#[derive(Clone, Debug, PartialEq)]
pub struct ProtocolError {
    /// The top-level code.
    pub code: ErrorCode,
    /// What was wrong and what to do. Never empty, never a secret.
    pub message: String,
    /// Machine-readable detail, with its own `code` for connect errors.
    pub details: Option<Value>,
    /// When a retry makes sense. Sent as `retryable: true` and `retryAfterMs`.
    pub retry_after_ms: Option<u64>,
}

impl ProtocolError {
    /// An error without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None, retry_after_ms: None }
    }
    /// `INVALID_REQUEST` without details.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }
    /// A method that is in no table.
    pub fn unknown_method(name: &str) -> Self {
        Self::invalid(format!("unknown method: {}", echo(name, ECHO_CHARS_MAX)))
    }
    /// A method that the peer may not call.
    pub fn missing_scope(scope: &str) -> Self {
        Self::invalid(format!("missing scope: {scope}"))
    }
    /// A method of the local control socket, called from elsewhere.
    pub fn owner_only(method: &str) -> Self {
        Self::invalid(format!("{method} is taken from the local control socket only"))
    }
    /// A method of agents, called by somebody else.
    pub fn agents_only(method: &str) -> Self {
        Self::invalid(format!("{method} is taken from agents only"))
    }
    /// Parameters that are not what `method` takes; `what` begins with the field's path.
    pub fn invalid_params(method: &str, what: &str) -> Self {
        Self::invalid(format!("invalid {method} params: {what}"))
    }
    /// A `connect` after the handshake that is not a repetition of the first.
    pub fn second_connect() -> Self {
        Self::invalid("connect is only valid as the first request")
    }
    /// The same error with details.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }
    /// The same error, retryable after this many milliseconds.
    #[must_use]
    pub fn retry_after(mut self, millis: u64) -> Self {
        self.retry_after_ms = Some(millis);
        self
    }
}
