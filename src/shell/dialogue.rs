//! What is said on one gateway connection: challenge, `connect`, then requests.
//!
//! Runs on the connection's thread and does the costly work there, in parallel with other peers:
//! JSON, typed parameters, Ed25519. Answers `ping` and everything stateless itself; hands the rest
//! to the hub. Owns no shared state.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError};

use crate::base::close_reason::CloseReason;
use crate::base::ids::{ConnId, RequestId};
use crate::base::limits::{
    CAPACITY_RETRY_AFTER, ERROR_BUDGET, ERROR_BUDGET_REFILL, INBOUND_RETRY_AFTER_MS,
    REFUSED_ORIGIN_GRACE, REQUEST_BYTES_UNCOUNTED,
};
use crate::hub::input::{ConnectRequested, Input};
use crate::protocol::connect::parse_first;
use crate::protocol::device;
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::frame::{self, RequestFrame};
use crate::protocol::hello::Grant;
use crate::protocol::methods::Method;
use crate::protocol::origin::OriginPolicy;
use crate::protocol::peer::PeerContext;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::write_health;
use crate::protocol::request::{self, Call, Request};
use crate::shell::bounds::{Bounds, ConnectionLimits};
use crate::shell::clock;
use crate::shell::connection::{Flow, Handler};
use crate::shell::hub_thread::Inbound;
use crate::shell::link::{Class, InProgress, Link, Outgoing};
use crate::shell::metrics::Metrics;
use crate::shell::peer::{Peer, Verdict};
use crate::shell::readiness::Readiness;
use crate::shell::refusals::Refusals;
use crate::shell::signing_habits::SigningHabits;
use crate::wire::frame::{self as ws, TextFrame};

/// The methods that ask for a program to be started.
const SPAWNING: [&str; 2] = ["spawn", "sessions_spawn"];

/// What all dialogues share.
#[derive(Debug)]
pub struct Shared {
    /// To the hub thread.
    pub inbox: Sender<Inbound>,
    /// What connections may take; its inbound budget accounts requests that wait for the hub.
    pub bounds: Arc<Bounds>,
    /// Which origins may connect; see [`Shared::set_origins`].
    pub origins: RwLock<OriginPolicy>,
    /// What `health` shows.
    pub readiness: Arc<Readiness>,
    /// Whether the challenge asks for a device.
    pub device_auth_required: bool,
    /// Hears of peers that are refused here.
    pub refusals: Arc<Refusals>,
    /// Counts what is heard.
    pub metrics: Arc<Metrics>,
    /// What clients sign.
    pub habits: SigningHabits,
}

impl Shared {
    /// Lets these origins connect from now on; who is there stays.
    pub fn set_origins(&self, origins: OriginPolicy) {
        *self.origins.write().unwrap_or_else(PoisonError::into_inner) = origins;
    }

    /// Why this peer's page may not connect, if it may not.
    fn check_origin(&self, peer: &PeerContext) -> Option<Refusal> {
        self.origins.read().unwrap_or_else(PoisonError::into_inner).check(peer).err()
    }
}

/// Where a dialogue stands.
#[derive(Debug)]
enum State {
    /// The challenge was sent.
    Challenged,
    /// The hub decides.
    Connecting(Arc<Peer>),
    /// The peer is in.
    Open(Arc<Peer>, Arc<Grant>),
    /// The link is closing; nothing more is heard.
    Refused,
}

/// One connection's dialogue.
#[derive(Debug)]
pub struct Dialogue {
    shared: Arc<Shared>,
    conn: ConnId,
    context: PeerContext,
    nonce: String,
    /// Those that it began with.
    limits: ConnectionLimits,
    /// The longest message of an admitted peer, as its hello said; 0 before.
    message_bytes_max: usize,
    /// Why the peer's page is not allowed, if it is not; said in answer to its `connect`.
    origin_refusal: Option<Refusal>,
    deadline: Instant,
    state: State,
    /// Whether the hub has heard of this connection and must hear of its end.
    introduced: bool,
    errors_left: f64,
    errors_at: Instant,
}

impl Dialogue {
    /// A dialogue that starts with this challenge.
    pub fn new(shared: Arc<Shared>, conn: ConnId, context: PeerContext, nonce: String) -> Self {
        let now = clock::instant();
        let limits = shared.bounds.limits();
        Self {
            shared,
            conn,
            context,
            nonce,
            limits,
            message_bytes_max: 0,
            origin_refusal: None,
            deadline: now + limits.handshake,
            state: State::Challenged,
            introduced: false,
            errors_left: ERROR_BUDGET,
            errors_at: now,
        }
    }

    /// The first frame: it must be a `connect` that passes every stateless check.
    fn connect(&mut self, link: &Arc<Link>, text: &str) -> Flow {
        let connect = match parse_first(text) {
            Ok(connect) => connect,
            Err(refused) => return self.refuse_connect(link, &refused.id, *refused.refusal),
        };
        if let Some(refusal) = self.origin_refusal.take() {
            return self.refuse_connect(link, connect.id.as_str(), refusal);
        }
        if self.shared.inbox.is_full() || self.shared.bounds.inbound().is_spent() {
            // Those that are in go first; whoever is not yet comes back.
            let refusal = Refusal::over_capacity(CAPACITY_RETRY_AFTER);
            return self.refuse_connect(link, connect.id.as_str(), refusal);
        }
        if self.shared.refusals.audit().refuses() && !self.context.is_owner {
            return self.refuse_connect(link, connect.id.as_str(), Refusal::audit_failing());
        }
        let now_ms = clock::moment().unix_ms;
        let proof = self.shared.habits.prove(&connect, &self.nonce, now_ms);
        let peer = Arc::new(Peer::new(Arc::clone(link), connect.id.clone(), self.deadline));
        self.state = State::Connecting(Arc::clone(&peer));
        self.introduced = true;
        let input = Input::ConnectRequested(Box::new(ConnectRequested {
            conn: self.conn,
            peer: self.context.clone(),
            connect,
            proof,
        }));
        self.tell(link, Inbound::Connect(peer, input))
    }

    /// Answers a `connect` that never reaches the hub.
    fn refuse_connect(&mut self, link: &Arc<Link>, id: &str, refusal: Refusal) -> Flow {
        let bytes = TextFrame::build(512, |out| frame::write_refusal(out, id, &refusal.error));
        link.queue(Outgoing { bytes, class: Class::Reply });
        self.note_refusal(&refusal);
        self.state = State::Refused;
        Flow::Close(refusal.close)
    }

    fn note_refusal(&self, refusal: &Refusal) {
        let reason = refusal.error.detail_code();
        self.shared.metrics.refused(reason);
        self.shared.refusals.refused(&self.context, self.conn, reason);
    }

    /// The time for the handshake is over.
    fn too_late(&self) -> Flow {
        match &self.origin_refusal {
            Some(refusal) => {
                self.note_refusal(refusal);
                Flow::Close(refusal.close.clone())
            }
            None => Flow::Close(CloseReason::HandshakeTimeout),
        }
    }

    /// The hub's verdict, waited for if it is still out; the peer may send requests without
    /// waiting for the hello.
    fn settle(&mut self) {
        if let State::Connecting(peer) = &self.state {
            self.state = match peer.wait_for_verdict(self.deadline) {
                Verdict::Pending => return,
                Verdict::Admitted { grant, message_bytes_max } => {
                    self.message_bytes_max = message_bytes_max;
                    State::Open(Arc::clone(peer), grant)
                }
                Verdict::Refused => State::Refused,
            };
        }
    }

    fn request(&mut self, link: &Arc<Link>, peer: &Peer, grant: &Grant, text: &str) -> Flow {
        let frame = match frame::parse(text) {
            Ok(frame) => frame,
            Err(bad) => return self.refuse(link, &bad.id, &bad.error),
        };
        if frame.method == "connect" {
            return self.connect_again(link, peer, &frame);
        }
        if SPAWNING.contains(&frame.method.as_ref()) {
            self.shared.metrics.spawn_requests.add(1);
        }
        let now = clock::moment();
        match request::parse(&frame, grant, now.unix_ms) {
            Ok(Call::Ping) => {
                let bytes = TextFrame::build(64, |out| frame::write_ok(out, &frame.id));
                link.queue(Outgoing { bytes, class: Class::Control });
                Flow::Continue
            }
            Ok(Call::Health) => {
                let ready = self.shared.readiness.not_ready().is_none();
                let bytes = TextFrame::build(256, |out| write_health(out, &frame.id, ready));
                link.queue(Outgoing { bytes, class: Class::Control });
                Flow::Continue
            }
            Ok(Call::Request(request)) => {
                let mut permit = self.shared.bounds.inbound().permit();
                if text.len() > REQUEST_BYTES_UNCOUNTED && !permit.resize(text.len()) {
                    let error = ProtocolError::new(
                        ErrorCode::ResourceExhausted,
                        "the gateway holds too many unhandled requests; retry",
                    );
                    let error = error.retry_after(INBOUND_RETRY_AFTER_MS);
                    // The gateway's lack of room is no error of this peer's.
                    answer_failure(link, &frame.id, &error);
                    return Flow::Continue;
                }
                let id = RequestId::new(frame.id.as_ref());
                let method = Method::position(&frame.method).unwrap_or(usize::MAX);
                // What waits for other things than the store must not hold up what comes behind it.
                let bytes = if matches!(request, Request::LogsAppend(_)) { text.len() } else { 0 };
                let since = now.at;
                if !link.begin_request(InProgress { id: id.clone(), method, since, bytes }) {
                    return Flow::Continue;
                }
                let input = Input::Requested { conn: self.conn, id, request };
                self.tell(link, Inbound::Request(input, permit))
            }
            Err(error) => self.refuse(link, &frame.id, &error),
        }
    }

    /// A second `connect` with the first one's id gets the same answer (Mission Control's server
    /// side sends one when the challenge comes late), as long as a first one would have had time;
    /// any other is an error.
    fn connect_again(&mut self, link: &Arc<Link>, peer: &Peer, frame: &RequestFrame<'_>) -> Flow {
        match peer.answer(clock::instant()) {
            Some(bytes) if frame.id == peer.connect_id.as_str() => {
                link.queue(Outgoing { bytes, class: Class::Reply });
                Flow::Continue
            }
            _ => self.refuse(link, &frame.id, &ProtocolError::second_connect()),
        }
    }

    /// Answers a bad request, and ends a peer that sends nothing else.
    fn refuse(&mut self, link: &Arc<Link>, id: &str, error: &ProtocolError) -> Flow {
        self.shared.metrics.request_errors.add(error.code.as_str());
        answer_failure(link, id, error);
        let now = clock::instant();
        let refill = (now - self.errors_at).as_secs_f64() * ERROR_BUDGET_REFILL;
        self.errors_left = (self.errors_left + refill).min(ERROR_BUDGET) - 1.0;
        self.errors_at = now;
        if self.errors_left < 0.0 {
            Flow::Close(CloseReason::ErrorBudgetSpent)
        } else {
            Flow::Continue
        }
    }

    /// Hands something to the hub; waits while its inbox is full, which is the back-pressure that
    /// keeps this peer's next bytes in its socket.
    fn tell(&self, link: &Link, inbound: Inbound) -> Flow {
        let told = match self.shared.inbox.try_send(inbound) {
            Err(TrySendError::Full(inbound)) => {
                // What this thread has queued (pongs, say) must not wait with it.
                link.flush();
                link.without_reading(|| self.shared.inbox.send(inbound).is_ok())
            }
            told => told.is_ok(),
        };
        if told { Flow::Continue } else { Flow::Close(CloseReason::ServerStopping) }
    }
}

fn answer_failure(link: &Link, id: &str, error: &ProtocolError) {
    let bytes = TextFrame::build(256, |out| frame::write_failure(out, id, error));
    link.queue(Outgoing { bytes, class: Class::Control });
}

impl Handler for Dialogue {
    fn opened(&mut self, link: &Arc<Link>) -> Flow {
        self.shared.metrics.websockets.fetch_add(1, Ordering::Relaxed);
        let required = self.shared.device_auth_required;
        let now = clock::moment();
        let challenge = device::challenge(&self.nonce, now.unix_ms, required);
        let bytes = ws::text(&challenge);
        self.origin_refusal = self.shared.check_origin(&self.context);
        let patience = match self.origin_refusal {
            Some(_) => self.limits.handshake.min(REFUSED_ORIGIN_GRACE),
            None => self.limits.handshake,
        };
        self.deadline = now.at + patience;
        link.queue(Outgoing { bytes, class: Class::Reply });
        Flow::Continue
    }

    fn text(&mut self, link: &Arc<Link>, text: &str) -> Flow {
        self.shared.metrics.messages_received.add(self.conn, 1);
        if matches!(self.state, State::Connecting(_)) {
            self.settle();
        }
        match &self.state {
            State::Challenged => self.connect(link, text),
            State::Open(peer, grant) => {
                let (peer, grant) = (Arc::clone(peer), Arc::clone(grant));
                self.request(link, &peer, &grant, text)
            }
            State::Connecting(_) => Flow::Close(CloseReason::HandshakeTimeout),
            State::Refused => Flow::Continue,
        }
    }

    fn binary(&mut self, _link: &Arc<Link>, _data: &[u8]) -> Flow {
        self.shared.metrics.messages_received.add(self.conn, 1);
        Flow::Close(CloseReason::BinaryFrame)
    }

    fn pong(&mut self, _link: &Arc<Link>, payload: &[u8]) {
        if let State::Connecting(_) = self.state {
            self.settle();
        }
        if let State::Open(peer, _) = &self.state
            && let Some(rtt) = peer.round_trip(payload)
        {
            self.shared.metrics.round_trips.observe(rtt);
            // A hub that has no room loses one measurement, and nothing else.
            drop(
                self.shared
                    .inbox
                    .try_send(Inbound::Input(Input::PongReceived { conn: self.conn, rtt })),
            );
        }
    }

    fn message_bytes_max(&self) -> usize {
        match &self.state {
            State::Open(..) => self.message_bytes_max,
            State::Connecting(peer) => match peer.verdict() {
                Verdict::Admitted { message_bytes_max, .. } => message_bytes_max,
                Verdict::Pending | Verdict::Refused => self.limits.preauth_bytes,
            },
            State::Challenged | State::Refused => self.limits.preauth_bytes,
        }
    }

    fn over_limit(&self) -> CloseReason {
        match self.state {
            State::Open(..) => CloseReason::MessageTooLarge,
            State::Challenged | State::Connecting(_) | State::Refused => {
                CloseReason::PreauthTooLarge
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Challenged | State::Connecting(_) => Some(self.deadline),
            State::Open(..) | State::Refused => None,
        }
    }

    fn expired(&mut self, _link: &Arc<Link>) -> Flow {
        if matches!(self.state, State::Connecting(_)) {
            self.settle();
        }
        match &self.state {
            State::Open(..) | State::Refused => Flow::Continue,
            State::Challenged | State::Connecting(_) => self.too_late(),
        }
    }

    fn closed(&mut self, reason: &CloseReason) {
        self.shared.metrics.websockets.fetch_sub(1, Ordering::Relaxed);
        if matches!(reason, CloseReason::HandshakeTimeout | CloseReason::PreauthTooLarge) {
            self.shared.refusals.refused(&self.context, self.conn, reason.name());
        }
        if self.introduced {
            // The last word about this connection must arrive.
            let input = Input::Closed { conn: self.conn, reason: reason.clone() };
            drop(self.shared.inbox.send(Inbound::Input(input)));
        }
    }
}
