//! One admitted connection to a gateway: requests and their answers, events, heartbeats, the end.
//!
//! Owns the WebSocket and the patience: every wait has a deadline, and a gateway that falls silent
//! is pinged and then given up. Keeps no events: whoever waits for an answer says what to do with
//! those that come first. Called by the subcommands.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message, WebSocket};

use super::dial::{Stream, dial};
use super::failure::{Failure, Lost, WireError};
use super::login::Login;
use super::target::Target;
use crate::app::config::error::nearest;
use crate::base::limits::{CLIENT_GONE_AFTER, CLIENT_PING_AFTER};
use crate::shell::clock;
use crate::shell::dial::Socket;

/// The connection, after its `connect` was accepted.
#[derive(Debug)]
pub(super) struct Connection {
    socket: WebSocket<Stream>,
    timeout: Duration,
    pulse: Pulse,
    requests: u64,
    /// The methods that the gateway listed in its hello.
    methods: Vec<String>,
}

/// A frame of the gateway's; members that nobody here needs are left out.
#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    ok: bool,
    #[serde(default, borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    payload: Option<&'a RawValue>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Box<WireError>>,
}

/// An event: its name and its payload as JSON text.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) payload: Box<RawValue>,
}

/// What a wait brought.
#[derive(Debug)]
pub(super) enum Heard {
    /// An event.
    Event(Event),
    /// The answer to a request.
    Response(Response),
    /// The descriptor that the socket watches has something.
    Woken,
    /// Nothing before the deadline.
    Nothing,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Response {
    id: String,
    outcome: Result<Box<RawValue>, Box<WireError>>,
}

impl Connection {
    /// Dials, proves who we are, and waits to be let in. Nothing of it waits longer than `timeout`
    /// in all; later, each answer has that time.
    pub(super) fn open(target: &Target, login: &Login, timeout: Duration) -> Result<Self, Failure> {
        let deadline = clock::instant() + timeout;
        let socket = dial(target, deadline)?;
        let pulse = Pulse::new(clock::instant());
        let mut connection = Self { socket, timeout, pulse, requests: 0, methods: Vec::new() };
        let nonce = connection.challenge(deadline)?;
        let params = login.params(&nonce, clock::moment().unix_ms);
        let id = connection.send("connect", &params)?;
        match connection.response(&id, deadline, "connect", &mut |_| Ok(()))? {
            Ok(hello) => {
                connection.methods = methods(&hello);
                Ok(connection)
            }
            Err(mut error) => {
                // The advice names the device; we know which, whether or not the gateway says it.
                error.fill_in("deviceId", login.device_id());
                Err(Failure::NotAdmitted(error))
            }
        }
    }

    /// The nonce of the gateway's first message.
    fn challenge(&mut self, deadline: Instant) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Challenge {
            nonce: String,
        }
        match self.hear(deadline)? {
            Heard::Event(event) if event.name == "connect.challenge" => {
                let challenge: Result<Challenge, _> = serde_json::from_str(event.payload.get());
                challenge.map(|challenge| challenge.nonce).map_err(|_| not_a_gateway())
            }
            Heard::Nothing => Err(Failure::Timeout("the gateway's challenge".to_owned())),
            _ => Err(not_a_gateway()),
        }
    }

    /// Sends a request and waits for its body, `null` where there is none; events that come first
    /// go to `on_event`.
    pub(super) fn request(
        &mut self,
        method: &str,
        params: &impl serde::Serialize,
        on_event: &mut dyn FnMut(Event) -> Result<(), Failure>,
    ) -> Result<Box<RawValue>, Failure> {
        let id = self.send(method, params)?;
        let deadline = clock::instant() + self.timeout;
        let outcome = self.response(&id, deadline, method, on_event)?;
        outcome.map_err(|error| self.refused(method, error))
    }

    /// Sends a request and hands over each of its answers: one that says `accepted` is followed by
    /// another under the same id (`docs/protocol.md`, `agent`), which has as much time again.
    pub(super) fn ask_to_the_end(
        &mut self,
        method: &str,
        params: &impl serde::Serialize,
        on_body: &mut dyn FnMut(&RawValue) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let id = self.send(method, params)?;
        let mut what = Cow::Borrowed(method);
        loop {
            let deadline = clock::instant() + self.timeout;
            let outcome = self.response(&id, deadline, &what, &mut |_| Ok(()))?;
            let body = outcome.map_err(|error| self.refused(method, error))?;
            on_body(&body)?;
            if !is_accepted(&body) {
                return Ok(());
            }
            what = Cow::Owned(format!("{method} that follows \"accepted\""));
        }
    }

    /// The same as `request` for those who do not care for events.
    pub(super) fn ask(
        &mut self,
        method: &str,
        params: &impl serde::Serialize,
    ) -> Result<Box<RawValue>, Failure> {
        self.request(method, params, &mut |_| Ok(()))
    }

    /// Whether the gateway has this method.
    pub(super) fn knows(&self, method: &str) -> bool {
        self.methods.iter().any(|known| known == method)
    }

    /// The socket, for watching another descriptor beside it.
    pub(super) fn socket(&mut self) -> &mut Socket {
        self.socket.get_mut().socket()
    }

    /// Waits for whatever comes next.
    pub(super) fn hear(&mut self, deadline: Instant) -> Result<Heard, Failure> {
        loop {
            let now = clock::instant();
            let until = match self.pulse.check(now) {
                Check::Wait(until) => until.min(deadline),
                Check::Ping => {
                    self.write(Message::Ping(Vec::new().into()))?;
                    continue;
                }
                Check::Gone => {
                    let seconds = CLIENT_GONE_AFTER.as_secs();
                    let reason = format!("the gateway was silent for {seconds} s");
                    return Err(Failure::Lost(Lost { code: None, reason }));
                }
            };
            self.socket().set_deadline(until);
            match self.socket.read() {
                Ok(message) => {
                    self.pulse.heard(clock::instant());
                    if let Some(heard) = self.understand(message)? {
                        return Ok(heard);
                    }
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Heard::Woken);
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut => {
                    if clock::instant() >= deadline {
                        return Ok(Heard::Nothing);
                    }
                }
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    /// Says goodbye. The gateway's answer is not waited for: nothing depends on it.
    pub(super) fn close(mut self) {
        let deadline = clock::instant() + self.timeout.min(Duration::from_secs(1));
        self.socket().set_deadline(deadline);
        // Failing means that it has ended already.
        let _ended = self.socket.close(None).and_then(|()| self.socket.flush());
    }

    fn understand(&mut self, message: Message) -> Result<Option<Heard>, Failure> {
        match message {
            Message::Text(text) => heard(text.as_str()),
            Message::Close(frame) => {
                let deadline = clock::instant() + Duration::from_secs(1);
                self.socket().set_deadline(deadline);
                // Lets the answering close frame out; the gateway may already be gone.
                let _sent = self.socket.flush();
                Err(Failure::Lost(closed(frame)))
            }
            Message::Binary(_) => Err(not_a_gateway()),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        }
    }

    fn send(&mut self, method: &str, params: &impl serde::Serialize) -> Result<String, Failure> {
        #[derive(serde::Serialize)]
        struct Request<'a, P> {
            #[serde(rename = "type")]
            kind: &'static str,
            id: &'a str,
            method: &'a str,
            params: &'a P,
        }
        self.requests += 1;
        let id = format!("cli-{}", self.requests);
        let request = Request { kind: "req", id: &id, method, params };
        let text = serde_json::to_string(&request)
            .map_err(|error| Failure::Local(format!("cannot encode the request: {error}")))?;
        self.write(Message::text(text))?;
        Ok(id)
    }

    fn write(&mut self, message: Message) -> Result<(), Failure> {
        let deadline = clock::instant() + self.timeout;
        self.socket().set_deadline(deadline);
        match self.socket.send(message) {
            Ok(()) => Ok(()),
            Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut => {
                Err(Failure::Timeout("the gateway to take a request".to_owned()))
            }
            // The gateway's last words may still be there to read, and say more.
            Err(Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed) => Ok(()),
            Err(error) => Err(lost(&error)),
        }
    }

    fn response(
        &mut self,
        id: &str,
        deadline: Instant,
        what: &str,
        on_event: &mut dyn FnMut(Event) -> Result<(), Failure>,
    ) -> Result<Result<Box<RawValue>, Box<WireError>>, Failure> {
        loop {
            match self.hear(deadline)? {
                Heard::Response(response) if response.id == id => return Ok(response.outcome),
                // Answers nobody waits for, and what another wait watches.
                Heard::Response(_) => {}
                Heard::Woken => self.socket().stop_watching(),
                Heard::Event(event) => on_event(event)?,
                Heard::Nothing => {
                    return Err(Failure::Timeout(format!("the answer to {what}")));
                }
            }
        }
    }

    fn refused(&self, method: &str, error: Box<WireError>) -> Failure {
        let scope = error.message.strip_prefix("missing scope: ");
        let advice = if let Some(scope) = scope {
            Some(format!("this device was not approved for {scope}"))
        } else if error.message.starts_with("unknown method") {
            let known = self.methods.iter().map(String::as_str);
            Some(match nearest(method, known) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("this gateway has {}", self.methods.join(", ")),
            })
        } else if ["unknown requestId", "unknown deviceId"].contains(&error.message.as_str()) {
            Some("openclaw-gateway devices list shows what there is".to_owned())
        } else {
            None
        };
        Failure::Refused { method: method.to_owned(), error, advice }
    }
}

/// What a text message says; `None` for what this client has no use for.
fn heard(text: &str) -> Result<Option<Heard>, Failure> {
    let frame: Frame<'_> = serde_json::from_str(text).map_err(|_| not_a_gateway())?;
    let null = || RawValue::NULL.to_owned();
    Ok(match (frame.kind.as_ref(), frame.id, frame.event) {
        ("res", Some(id), _) => {
            let outcome = match (frame.ok, frame.error) {
                (true, _) => {
                    let body = frame.payload.or(frame.result);
                    Ok(body.map_or_else(null, ToOwned::to_owned))
                }
                (false, Some(error)) => Err(error),
                (false, None) => return Err(not_a_gateway()),
            };
            Some(Heard::Response(Response { id: id.into_owned(), outcome }))
        }
        ("event", _, Some(name)) => {
            let payload = frame.payload.map_or_else(null, ToOwned::to_owned);
            Some(Heard::Event(Event { name: name.into_owned(), payload }))
        }
        _ => None,
    })
}

/// Whether this is the first answer of two.
fn is_accepted(body: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        status: Cow<'a, str>,
    }
    serde_json::from_str(body.get()).is_ok_and(|body: Body<'_>| body.status == "accepted")
}

/// `features.methods` of a hello; none if it lists none.
fn methods(hello: &RawValue) -> Vec<String> {
    let hello: Value = serde_json::from_str(hello.get()).unwrap_or_default();
    let methods = hello.pointer("/features/methods").and_then(Value::as_array);
    let names = methods.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

fn not_a_gateway() -> Failure {
    let advice = "check that the port is the gateway's".to_owned();
    Failure::Unreachable("the peer does not speak the gateway's protocol".to_owned(), Some(advice))
}

fn closed(frame: Option<CloseFrame>) -> Lost {
    match frame {
        Some(frame) => {
            Lost { code: Some(frame.code.into()), reason: frame.reason.as_str().to_owned() }
        }
        None => Lost { code: None, reason: "closed without a reason".to_owned() },
    }
}

fn lost(error: &Error) -> Failure {
    let reason = match error {
        Error::ConnectionClosed | Error::AlreadyClosed => "it was closed".to_owned(),
        other => other.to_string(),
    };
    Failure::Lost(Lost { code: None, reason })
}

/// Whether the gateway is alive: whatever it says counts; silence is answered with one ping, and
/// lasting silence with giving up.
#[derive(Debug)]
struct Pulse {
    heard: Instant,
    pinged: Option<Instant>,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
enum Check {
    /// Wait, until then at most.
    Wait(Instant),
    /// Send a ping.
    Ping,
    /// Nobody is there.
    Gone,
}

impl Pulse {
    fn new(now: Instant) -> Self {
        Self { heard: now, pinged: None }
    }

    fn heard(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    fn check(&mut self, now: Instant) -> Check {
        // The answer to a ping has its time even where this process slept through all of it.
        let gone = self.pinged.map(|pinged| pinged + (CLIENT_GONE_AFTER - CLIENT_PING_AFTER));
        let late = self.heard + CLIENT_PING_AFTER;
        match gone {
            Some(gone) if now >= gone => Check::Gone,
            Some(gone) => Check::Wait(gone),
            None if now >= late => {
                self.pinged = Some(now);
                Check::Ping
            }
            None => Check::Wait(late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_gateway_is_pinged_once_then_given_up() {
        let start = clock::instant();
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.check(start), Check::Wait(start + CLIENT_PING_AFTER));
        assert_eq!(pulse.check(start + CLIENT_PING_AFTER), Check::Ping);
        let gone = start + CLIENT_GONE_AFTER;
        assert_eq!(pulse.check(start + CLIENT_PING_AFTER), Check::Wait(gone));
        assert_eq!(pulse.check(gone), Check::Gone);
        pulse.heard(gone);
        assert_eq!(pulse.check(gone), Check::Wait(gone + CLIENT_PING_AFTER));
    }

    #[test]
    fn a_client_that_slept_asks_before_it_gives_up() {
        let start = clock::instant();
        let mut pulse = Pulse::new(start);
        let woke = start + 10 * CLIENT_GONE_AFTER;
        assert_eq!(pulse.check(woke), Check::Ping);
        let grace = CLIENT_GONE_AFTER - CLIENT_PING_AFTER;
        assert_eq!(pulse.check(woke), Check::Wait(woke + grace));
    }
}
