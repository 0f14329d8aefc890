//! One connection's thread: TLS, the request head, then WebSocket messages, until one named end.
//!
//! Owns the reading side: buffers, decoder, deadlines. Blocks in the read of its socket, or in
//! `poll(2)` while there is a deadline, and nowhere else (but see [`Link::begin_request`]);
//! handles everything that one read brought, then flushes once. Its buffers live only while
//! something was read. Does not know what messages mean; that is the [`Handler`]'s. Started by
//! `shell::listener`.
//!
//! ```text
//! accepted ─ TLS ─ head ─┬─ HTTP answer ───────────────┐
//!      (one deadline)    └─ upgraded ─ messages ─┐     │
//!                                 closing ◄──────┴─────┘  drains until EOF, 1 MiB or the grace
//! ```

mod input;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use crate::base::close_reason::CloseReason;
use crate::base::ids::ConnId;
use crate::base::limits::{CAPACITY_RETRY_AFTER, CLOSE_DRAIN_BYTES_MAX, MESSAGE_TIME_MAX};
use crate::shell::admission::Refusal;
use crate::shell::budget::Permit;
use crate::shell::clock;
use crate::shell::link::{Class, Link, Outgoing};
use crate::wire::decoder::{Decoder, Message};
use crate::wire::head::{Asked, Head, HeadReader, Method, Progress};
use crate::wire::http::{HttpResponse, switching_protocols};
use input::{Input, Received};

/// What becomes of the connection after the handler has seen something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on.
    Continue,
    /// It closes, if nobody closed it before.
    Close(CloseReason),
}

/// What a connection does with its messages. Called from the connection's thread only; whatever
/// it queues on the link is flushed after the messages of one read.
pub trait Handler {
    /// The upgrade is answered; the first call.
    fn opened(&mut self, link: &Arc<Link>) -> Flow;
    /// A text message.
    fn text(&mut self, link: &Arc<Link>, text: &str) -> Flow;
    /// A binary message.
    fn binary(&mut self, link: &Arc<Link>, data: &[u8]) -> Flow;
    /// A pong. Pings were answered already.
    fn pong(&mut self, link: &Arc<Link>, payload: &[u8]);
    /// The longest message from now on; asked before each one.
    fn message_bytes_max(&self) -> usize;
    /// How to close for a longer one.
    fn over_limit(&self) -> CloseReason;
    /// How long a message may take from its first byte to its last.
    fn message_time_max(&self) -> Duration {
        MESSAGE_TIME_MAX
    }
    /// When [`Handler::expired`] is to be called, if ever; asked before each wait.
    fn deadline(&self) -> Option<Instant>;
    /// The deadline has passed. On `Continue`, the deadline must have moved.
    fn expired(&mut self, link: &Arc<Link>) -> Flow;
    /// The connection ends; the last call, exactly one if [`Handler::opened`] was called. Nothing
    /// that is queued now is sent.
    fn closed(&mut self, reason: &CloseReason);
}

/// What a listener serves.
pub trait Service: Send + Sync + 'static {
    /// Handles one connection's messages.
    type Handler: Handler;

    /// Answers a GET or HEAD without upgrade. `address` is the client's as
    /// [`Service::client_address`] gave it.
    fn http(&self, head: &Head, peer: SocketAddr, is_tls: bool) -> HttpResponse;

    /// Answers a GET by itself, with more than fits into memory; `None` leaves it to
    /// [`Service::http`]. The socket is plain, and nothing is queued on its link.
    fn stream(&self, _head: &Head, _socket: BorrowedFd<'_>) -> Option<CloseReason> {
        None
    }

    /// Takes an upgrade that is in order, or refuses it.
    fn upgrade(
        &self,
        conn: ConnId,
        head: &Head,
        peer: SocketAddr,
        is_tls: bool,
    ) -> Result<Self::Handler, HttpResponse>;

    /// Whether connections from this address are a trusted proxy's: they are then not counted
    /// per address until the head has told the client's.
    fn is_proxy(&self, _address: IpAddr) -> bool {
        false
    }

    /// The client's address behind a trusted proxy. Asked only where [`Service::is_proxy`] is true.
    fn client_address(&self, _head: &Head, peer: SocketAddr) -> IpAddr {
        peer.ip()
    }

    /// A connection has ended, whether or not it came to a handler. Called once for each.
    fn ended(&self, _conn: ConnId, _peer: SocketAddr, _reason: &CloseReason) {}

    /// A connection was turned away before it had a thread, or after its head.
    fn refused(&self, _peer: SocketAddr, _refusal: Refusal) {}
}

/// What a connection starts with.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
    /// Set where the port speaks TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Until when TLS, head and upgrade must be done.
    pub(crate) deadline: Instant,
    /// Accounts unfinished messages.
    pub(crate) inbound: Permit,
}

/// Serves one connection to its end. Never panics: a panic below is `CloseReason::Bug`.
pub(crate) fn run<S: Service>(link: &Arc<Link>, service: &S, arrival: Arrival) -> CloseReason {
    let peer = arrival.peer;
    let mut connection = Connection {
        link,
        service,
        peer,
        is_tls: false,
        deadline: arrival.deadline,
        inbound: arrival.inbound,
        input: Input::new(),
        message_due: None,
    };
    let mut handler = None;
    let served =
        catch_unwind(AssertUnwindSafe(|| connection.serve(arrival.tls.as_ref(), &mut handler)));
    link.close(served.unwrap_or(CloseReason::Bug));
    let reason = link.closing().unwrap_or(CloseReason::Bug);
    if let Some(mut handler) = handler {
        // A panic here has been reported by the hook; the connection ends either way.
        let _reported = catch_unwind(AssertUnwindSafe(|| handler.closed(&reason)));
    }
    let _nothing_is_always_free = connection.inbound.resize(0);
    connection.drain();
    link.retire();
    service.ended(link.conn(), peer, &reason);
    reason
}

struct Connection<'a, S> {
    link: &'a Arc<Link>,
    service: &'a S,
    peer: SocketAddr,
    is_tls: bool,
    deadline: Instant,
    inbound: Permit,
    input: Input,
    /// Until when the message that has begun must be whole.
    message_due: Option<Instant>,
}

impl<S: Service> Connection<'_, S> {
    fn serve(
        &mut self,
        tls: Option<&Arc<ServerConfig>>,
        handler: &mut Option<S::Handler>,
    ) -> CloseReason {
        let (head, rest) = match self.read_head(tls) {
            Ok(head) => head,
            Err(reason) => return reason,
        };
        let opened = match self.answer(&head) {
            Ok(opened) => handler.insert(opened),
            Err(reason) => return reason,
        };
        drop(head);
        if let Flow::Close(reason) = opened.opened(self.link) {
            return reason;
        }
        self.serve_messages(opened, rest)
    }

    /// Reads up to the end of the request head; the error is why it did not come to that.
    fn read_head(
        &mut self,
        tls: Option<&Arc<ServerConfig>>,
    ) -> Result<(Box<Head>, Vec<u8>), CloseReason> {
        let mut reader = HeadReader::default();
        let mut is_first = true;
        loop {
            match self.input.receive(self.link, Some(self.deadline)) {
                Received::Bytes => {}
                Received::Nothing => {
                    // In clear only where the port speaks plain, whether or not a byte has come.
                    if tls.is_none() || self.input.is_tls_open() {
                        self.respond(&HttpResponse::text(408, "the request took too long"), false);
                    }
                    return Err(CloseReason::HeadTimeout);
                }
                Received::End(reason) => return Err(reason),
            }
            if std::mem::replace(&mut is_first, false) {
                self.sniff(tls)?;
            }
            while self.input.next_chunk(self.link)? {
                match reader.push(&self.input.plain) {
                    Progress::Partial => {}
                    Progress::Whole(head) => return Ok((Box::new(head), reader.into_rest())),
                    Progress::Refused(response) => {
                        self.respond(&response, false);
                        return Err(CloseReason::HttpAnswered);
                    }
                }
            }
            // TLS has its own answers.
            self.link.flush();
        }
    }

    /// Decides by the first byte whether this is TLS, and whether it ought to be.
    fn sniff(&mut self, tls: Option<&Arc<ServerConfig>>) -> Result<(), CloseReason> {
        const TLS_HANDSHAKE_RECORD: u8 = 0x16;
        let is_tls = self.input.first_byte() == Some(TLS_HANDSHAKE_RECORD);
        match tls {
            Some(config) if is_tls => {
                self.is_tls = true;
                self.input.set_tls();
                self.link.start_tls(config).map_err(|_| CloseReason::TlsFailed)
            }
            Some(_) => {
                let answer =
                    HttpResponse::text(400, "this port speaks TLS: use https:// or wss://");
                self.respond(&answer, false);
                Err(CloseReason::HttpAnswered)
            }
            None if is_tls => {
                Err(CloseReason::ProtocolViolation("TLS on a port that speaks plain"))
            }
            None => Ok(()),
        }
    }

    /// Answers the head: with a handler if it becomes a WebSocket, else with HTTP.
    fn answer(&self, head: &Head) -> Result<S::Handler, CloseReason> {
        if self.service.is_proxy(self.peer.ip()) {
            let client = self.service.client_address(head, self.peer);
            if let Err(refusal) = self.link.slot().assign(client) {
                self.service.refused(self.peer, refusal);
                self.respond(&at_capacity(), head.method == Method::Head);
                return Err(CloseReason::OverCapacity { retry_after: CAPACITY_RETRY_AFTER });
            }
        }
        if head.asked == Asked::Http
            && head.method == Method::Get
            && let Some(end) = self.service.stream(head, self.link.socket())
        {
            return Err(end);
        }
        let refused = match &head.asked {
            Asked::Http => self.service.http(head, self.peer, self.is_tls),
            Asked::Upgrade { accept } => {
                match self.service.upgrade(self.link.conn(), head, self.peer, self.is_tls) {
                    Ok(handler) => {
                        self.link.upgrade(switching_protocols(accept));
                        return Ok(handler);
                    }
                    Err(response) => response,
                }
            }
        };
        self.respond(&refused, head.method == Method::Head);
        Err(CloseReason::HttpAnswered)
    }

    fn respond(&self, response: &HttpResponse, is_head: bool) {
        self.link.queue(Outgoing { bytes: response.encode(is_head), class: Class::Reply });
    }

    fn serve_messages(&mut self, handler: &mut S::Handler, rest: Vec<u8>) -> CloseReason {
        let mut decoder = Decoder::new(handler.message_bytes_max());
        self.input.plain = rest;
        loop {
            // First what came behind the head, and what TLS has decrypted with it.
            loop {
                if let Some(reason) = self.handle_chunk(handler, &mut decoder) {
                    return reason;
                }
                match self.input.next_chunk(self.link) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(reason) => return reason,
                }
            }
            if !self.inbound.resize(decoder.held_bytes()) {
                return CloseReason::OverCapacity { retry_after: CAPACITY_RETRY_AFTER };
            }
            self.link.flush();
            if self.is_overdue(&decoder, handler.message_time_max()) {
                return CloseReason::MessageTimeout;
            }
            if let Err(reason) = self.next_bytes(handler) {
                return reason;
            }
        }
    }

    /// Notes when an unfinished message is due; whether that has passed.
    fn is_overdue(&mut self, decoder: &Decoder, time_max: Duration) -> bool {
        if !decoder.has_begun() {
            self.message_due = None;
            return false;
        }
        let now = clock::instant();
        *self.message_due.get_or_insert(now + time_max) <= now
    }

    /// Waits until bytes have arrived; serves the handler's deadline meanwhile.
    fn next_bytes(&mut self, handler: &mut S::Handler) -> Result<(), CloseReason> {
        loop {
            let deadline = handler.deadline().into_iter().chain(self.message_due).min();
            let received = self.input.receive(self.link, deadline);
            if let Some(reason) = self.link.closing() {
                return Err(reason);
            }
            match received {
                Received::Nothing
                    if self.message_due.is_some_and(|due| due <= clock::instant()) =>
                {
                    return Err(CloseReason::MessageTimeout);
                }
                Received::Nothing => {
                    if let Flow::Close(reason) = handler.expired(self.link) {
                        return Err(reason);
                    }
                    self.link.flush();
                }
                Received::End(reason) => return Err(reason),
                Received::Bytes => {
                    self.link.heard(clock::instant());
                    return match self.input.next_chunk(self.link) {
                        Ok(_) => Ok(()),
                        Err(reason) => Err(reason),
                    };
                }
            }
        }
    }

    /// Hands every message that ends in the current chunk to the handler. Some is the end.
    fn handle_chunk(
        &mut self,
        handler: &mut S::Handler,
        decoder: &mut Decoder,
    ) -> Option<CloseReason> {
        let mut position = 0;
        loop {
            decoder.set_message_bytes_max(handler.message_bytes_max());
            let message = match decoder.next(&mut self.input.plain, &mut position) {
                Ok(Some(message)) => message,
                Ok(None) => return None,
                Err(violation) => return Some(violation.close_reason(handler.over_limit())),
            };
            if matches!(message, Message::Text(_) | Message::Binary(_)) {
                self.message_due = None;
            }
            let flow = match message {
                Message::Text(text) => handler.text(self.link, text),
                Message::Binary(data) => handler.binary(self.link, data),
                Message::Ping(payload) => {
                    self.link.queue_pong(payload);
                    Flow::Continue
                }
                Message::Pong(payload) => {
                    handler.pong(self.link, payload);
                    Flow::Continue
                }
                Message::Close(close) => {
                    Flow::Close(CloseReason::ClosedByPeer(close.map(|(code, _)| code)))
                }
            };
            if let Flow::Close(reason) = flow {
                return Some(reason);
            }
            if self.link.is_closing() {
                return self.link.closing();
            }
        }
    }

    /// Reads and forgets until the peer has ended, too: to close a socket with unread bytes would
    /// reset it, and the peer might never see our close frame. The flusher ends the grace.
    fn drain(&mut self) {
        let mut left = CLOSE_DRAIN_BYTES_MAX;
        while let Received::Bytes = self.input.receive(self.link, None) {
            let Some(rest) = left.checked_sub(self.input.discard()) else { return };
            left = rest;
        }
    }
}

/// The answer to a connection for which there is no room.
pub(crate) fn at_capacity() -> HttpResponse {
    HttpResponse::text(503, "the gateway is at capacity")
        .with_header("Retry-After", CAPACITY_RETRY_AFTER.as_secs().to_string())
}
