//! What can happen to the hub, in the past tense.

use std::time::{Duration, Instant};

use crate::base::close_reason::CloseReason;
use crate::base::ids::{ConnId, RequestId, Ticket};
use crate::hub::child::ChildNews;
use crate::hub::policy::Policy;
use crate::protocol::connect::Connect;
use crate::protocol::device::DeviceProof;
use crate::protocol::peer::PeerContext;
use crate::protocol::request::Request;

/// One thing that happened.
#[derive(Debug)]
pub enum Input {
    /// A peer sent a well-formed `connect` that passed every stateless check
    /// (frame, protocol range, role, origin); its device proof has been computed.
    /// Answered by exactly one `Effect::Admit` or `Effect::Refuse`.
    ConnectRequested(Box<ConnectRequested>),
    /// An admitted peer sent a request that it has the scope for.
    /// Answered by exactly one `Effect::Respond`, unless the connection closes first.
    Requested {
        /// The peer.
        conn: ConnId,
        /// The frame's id.
        id: RequestId,
        /// The request.
        request: Request,
    },
    /// A connection that the hub had seen is gone. The last word about it.
    Closed {
        /// The peer.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// A peer answered one of our WebSocket pings.
    PongReceived {
        /// The peer.
        conn: ConnId,
        /// The round trip.
        rtt: Duration,
    },
    /// The answer to `Effect::MeasureSilence`: when each of these peers was last heard.
    SilenceMeasured(Vec<(ConnId, Instant)>),
    /// Every commit up to and with this one is on disk.
    Stored(Ticket),
    /// The store failed: this commit and every later one that was asked for is not on disk.
    StoreFailed {
        /// The first commit that failed.
        ticket: Ticket,
        /// The cause, for diagnostics.
        error: String,
    },
    /// The store takes writes again; nothing is in flight.
    StoreRecovered,
    /// The process was asked to stop.
    StopRequested {
        /// Why, for the `shutdown` event.
        reason: String,
    },
    /// The configuration was read again. What cannot change while the hub runs is left as it is.
    PolicyChanged(Box<Policy>),
    /// Something happened to a child process.
    Child(Box<ChildNews>),
    /// Nothing but time has passed.
    Tick,
}

/// See [`Input::ConnectRequested`].
#[derive(Debug)]
pub struct ConnectRequested {
    /// The peer.
    pub conn: ConnId,
    /// Where it comes from.
    pub peer: PeerContext,
    /// What it asked.
    pub connect: Connect,
    /// How its device proof came out.
    pub proof: DeviceProof,
}
