//! The one enum that says why a connection ended.
//!
//! Every ending names itself once, is logged once and counted once.
//! The reason decides the WebSocket close code, the text in the close frame (at most 123 bytes,
//! RFC 6455 section 5.5), and whether queued events are still delivered first.

use std::fmt;
use std::time::Duration;

/// Why a connection ended. `docs/protocol.md`, section "Close codes", lists them for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer sent a close frame, with this code if it named one.
    ClosedByPeer(Option<u16>),
    /// The peer ended the TCP stream, or reset it, without a close frame.
    Vanished,
    /// An HTTP request without upgrade was answered.
    HttpAnswered,
    /// The TLS handshake failed or the record layer was violated.
    TlsFailed,
    /// The peer was too slow with TLS, the HTTP head or the upgrade.
    HeadTimeout,
    /// No `connect` within the deadline.
    HandshakeTimeout,
    /// The `connect` was refused: close code and text as in the table of connect errors.
    Refused {
        /// 1002, 1008, 1013 or 4001.
        code: u16,
        /// The text of the close frame.
        text: String,
    },
    /// An illegal frame (RFC 6455): 1002.
    ProtocolViolation(&'static str),
    /// Text that is not UTF-8: 1007.
    InvalidUtf8,
    /// A binary frame: 1003.
    BinaryFrame,
    /// A message over the limit: 1009.
    MessageTooLarge,
    /// A message over the limit before the handshake ended: 1009 `preauth payload too large`.
    PreauthTooLarge,
    /// A message that was begun and not finished in time: 1008 `message timeout`.
    MessageTimeout,
    /// Too many errors: 1008.
    ErrorBudgetSpent,
    /// Responses could not be delivered within the backlog limit: 1008 `slow consumer`.
    SlowConsumer,
    /// Silent through all its heartbeats: 4000.
    HeartbeatTimeout,
    /// The credential was withdrawn while connected: 4001.
    CredentialWithdrawn,
    /// The gateway has no room: 1013.
    OverCapacity {
        /// When to come back.
        retry_after: Duration,
    },
    /// The gateway stops: 1012 `service restart`.
    ServerStopping,
    /// Reading or writing the socket failed.
    SocketFailed,
    /// Our bug: a panic in this connection's thread: 1011.
    Bug,
}

impl CloseReason {
    /// The WebSocket close code to send; `None` where no close frame can or should be sent.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::ClosedByPeer(code) => Some(code.unwrap_or(1000)),
            Self::Vanished | Self::HttpAnswered | Self::TlsFailed | Self::SocketFailed => None,
            Self::HeadTimeout => None,
            Self::Refused { code, .. } => Some(*code),
            Self::ProtocolViolation(_) => Some(1002),
            Self::BinaryFrame => Some(1003),
            Self::InvalidUtf8 => Some(1007),
            Self::HandshakeTimeout
            | Self::MessageTimeout
            | Self::ErrorBudgetSpent
            | Self::SlowConsumer => Some(1008),
            Self::MessageTooLarge | Self::PreauthTooLarge => Some(1009),
            Self::Bug => Some(1011),
            Self::ServerStopping => Some(1012),
            Self::OverCapacity { .. } => Some(1013),
            Self::HeartbeatTimeout => Some(4000),
            Self::CredentialWithdrawn => Some(4001),
        }
    }

    /// The text of the close frame, cut to what a close frame can hold.
    pub fn text(&self) -> String {
        let text = match self {
            Self::ClosedByPeer(_) => String::new(),
            Self::Refused { text, .. } => text.clone(),
            Self::ProtocolViolation(what) => (*what).to_owned(),
            Self::InvalidUtf8 => "invalid UTF-8".to_owned(),
            Self::BinaryFrame => "binary frames are not accepted".to_owned(),
            Self::MessageTooLarge => "message too large".to_owned(),
            Self::PreauthTooLarge => "preauth payload too large".to_owned(),
            Self::HandshakeTimeout => "handshake timeout".to_owned(),
            Self::MessageTimeout => "message timeout".to_owned(),
            Self::ErrorBudgetSpent => "too many errors".to_owned(),
            Self::SlowConsumer => "slow consumer".to_owned(),
            Self::HeartbeatTimeout => "heartbeat timeout".to_owned(),
            Self::CredentialWithdrawn => "credential withdrawn".to_owned(),
            Self::OverCapacity { retry_after } => {
                format!("gateway at capacity; retry in {} s", retry_after.as_secs().max(1))
            }
            Self::ServerStopping => "service restart".to_owned(),
            Self::Bug => "internal error".to_owned(),
            Self::Vanished
            | Self::HttpAnswered
            | Self::TlsFailed
            | Self::HeadTimeout
            | Self::SocketFailed => self.name().to_owned(),
        };
        let mut end = text.len().min(CLOSE_TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].to_owned()
    }

    /// Every [`CloseReason::name`] there is.
    pub const NAMES: &[&str] = &[
        "closed_by_peer",
        "vanished",
        "http_answered",
        "tls_failed",
        "head_timeout",
        "handshake_timeout",
        "refused",
        "protocol_violation",
        "invalid_utf8",
        "binary_frame",
        "message_too_large",
        "preauth_too_large",
        "message_timeout",
        "error_budget_spent",
        "slow_consumer",
        "heartbeat_timeout",
        "credential_withdrawn",
        "over_capacity",
        "server_stopping",
        "socket_failed",
        "bug",
    ];

    /// A short stable name: the `reason` field of diagnostics and the label in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClosedByPeer(_) => "closed_by_peer",
            Self::Vanished => "vanished",
            Self::HttpAnswered => "http_answered",
            Self::TlsFailed => "tls_failed",
            Self::HeadTimeout => "head_timeout",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Refused { .. } => "refused",
            Self::ProtocolViolation(_) => "protocol_violation",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::BinaryFrame => "binary_frame",
            Self::MessageTooLarge => "message_too_large",
            Self::PreauthTooLarge => "preauth_too_large",
            Self::MessageTimeout => "message_timeout",
            Self::ErrorBudgetSpent => "error_budget_spent",
            Self::SlowConsumer => "slow_consumer",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::CredentialWithdrawn => "credential_withdrawn",
            Self::OverCapacity { .. } => "over_capacity",
            Self::ServerStopping => "server_stopping",
            Self::SocketFailed => "socket_failed",
            Self::Bug => "bug",
        }
    }

    /// Whether events that are still queued are delivered before the close frame.
    /// Responses always are.
    pub fn flushes_events(&self) -> bool {
        matches!(self, Self::ServerStopping | Self::CredentialWithdrawn)
    }
}

/// A control frame holds 125 bytes, two of which are the code (RFC 6455 section 5.5.1).
const CLOSE_TEXT_BYTES_MAX: usize = 123;

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
