//! What the world must now do, in the imperative and in order.

use crate::base::close_reason::CloseReason;
use crate::base::ids::{ConnId, RequestId, Ticket};
use crate::hub::audit::AuditEvent;
use crate::hub::child::ChildOrder;
use crate::hub::records::Change;
use crate::protocol::error::ProtocolError;
use crate::protocol::event::Event;
use crate::protocol::hello::Hello;
use crate::protocol::reply::Reply;
use crate::protocol::request::LogFilter;

/// One thing to do. Everything for connections passes through the fan-out thread in this order.
#[derive(Debug)]
pub enum Effect {
    /// Let a peer in: its grant to its thread, the hello to its link, before anything else.
    Admit(Box<Hello>),
    /// Refuse a `connect`: the error response, then the close.
    Refuse {
        /// The peer.
        conn: ConnId,
        /// The error response.
        error: Box<ProtocolError>,
        /// The close.
        reason: CloseReason,
    },
    /// Answer a request.
    Respond {
        /// The peer.
        conn: ConnId,
        /// The frame's id.
        id: RequestId,
        /// The answer.
        result: Result<Reply, Box<ProtocolError>>,
    },
    /// Answer a request once more that `Respond` answered before: it is no longer in progress.
    RespondAgain {
        /// The peer.
        conn: ConnId,
        /// The frame's id.
        id: RequestId,
        /// The last answer.
        reply: Box<Reply>,
    },
    /// Send an event to one peer, without `seq`.
    Send {
        /// The peer.
        conn: ConnId,
        /// The event.
        event: Event,
    },
    /// Send an event to everyone whose scope covers it.
    Broadcast(Event),
    /// Let a connection receive only these log entries, from here on; `None`: everything again.
    Narrow {
        /// The peer.
        conn: ConnId,
        /// Which entries.
        filter: Option<LogFilter>,
    },
    /// Send a WebSocket ping whose payload carries the time, so that its pong gives the RTT.
    Ping(ConnId),
    /// Close a connection, after what was sent to it before.
    Close {
        /// The peer.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// Say when each of these was last heard, with `Input::SilenceMeasured`, at once.
    MeasureSilence(Vec<ConnId>),
    /// Commit these changes as one; answer `Stored` or `StoreFailed`. At most one commit is in
    /// flight: the hub groups what arrives meanwhile into the next.
    Persist {
        /// The commit.
        ticket: Ticket,
        /// What it changes.
        changes: Vec<Change>,
    },
    /// Whether the store takes writes (`/readyz`).
    SetReady(Result<(), &'static str>),
    /// Something to do with a child process.
    Child(Box<ChildOrder>),
    /// Write one line of diagnostics.
    Diagnose(Diagnostic),
    /// Write one line of audit, if that is wanted; refused connects are reported in diagnostics,
    /// too, and summarised in both.
    Audit(Box<AuditEvent>),
    /// All connections are gone and everything is committed: the process may end.
    Stopped,
}

/// A line of diagnostics, as data: the hub itself logs nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// Severity.
    pub level: log::Level,
    /// The message; the three that the seed shows are word for word.
    pub msg: &'static str,
    /// Further fields, in order (`client_id`, `device_id`, `role`, `valid`, `missed_pongs`, …).
    pub fields: Vec<(&'static str, DiagnosticValue)>,
}

/// A value in a diagnostic line.
#[derive(Clone, Debug, PartialEq)]
pub enum DiagnosticValue {
    /// Text.
    Text(String),
    /// A number.
    Number(u64),
    /// A truth value.
    Bool(bool),
}
