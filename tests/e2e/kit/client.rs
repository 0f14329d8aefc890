//! A blocking WebSocket client that never waits without a deadline.
//!
//! Responses and events arrive mixed; each is kept until somebody asks for it, in order.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::dial::{Control, Stream};
use super::{Connect, PATIENCE, Refusal};

/// Something that came from the gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    /// A text frame, as JSON.
    Frame(Value),
    /// A WebSocket ping. The answer goes out with the next read, unless the client is muted.
    Ping,
    /// A close frame.
    Closed(u16, String),
    /// The socket ended without a close frame.
    Gone(String),
}

/// One connection to a gateway.
pub(crate) struct Client {
    socket: WebSocket<Stream>,
    control: Control,
    challenge: Option<Value>,
    responses: HashMap<String, Value>,
    events: VecDeque<Value>,
    ended: Option<Heard>,
    requests_sent: u64,
}

impl Client {
    pub(crate) fn new(socket: WebSocket<Stream>, control: Control) -> Self {
        Self {
            socket,
            control,
            challenge: None,
            responses: HashMap::new(),
            events: VecDeque::new(),
            ended: None,
            requests_sent: 0,
        }
    }

    /// The payload of `connect.challenge`, which the gateway sends without being asked.
    #[track_caller]
    pub(crate) fn challenge(&mut self) -> Value {
        if self.challenge.is_none() {
            let event = self.event("connect.challenge");
            assert_eq!(event.get("seq"), None, "a challenge carries no seq");
            self.challenge = Some(event["payload"].clone());
        }
        self.challenge.clone().unwrap()
    }

    /// Sends a `connect` and returns the whole response frame.
    #[track_caller]
    pub(crate) fn connect(&mut self, connect: &Connect<'_>) -> Value {
        let challenge = self.challenge();
        let nonce = challenge["nonce"].as_str().expect("a challenge has a nonce");
        let params = connect.params(nonce);
        let id = self.send_request("connect", params);
        self.response(&id)
    }

    /// Sends a `connect` that must be accepted; returns the response frame.
    #[track_caller]
    pub(crate) fn admitted(&mut self, connect: &Connect<'_>) -> Value {
        let response = self.connect(connect);
        assert_eq!(response["ok"], true, "not admitted: {response}");
        response
    }

    /// Sends a `connect` that must be refused: an error response, then a close frame.
    #[track_caller]
    pub(crate) fn refused(&mut self, connect: &Connect<'_>) -> Refusal {
        let response = self.connect(connect);
        self.refusal(&response)
    }

    /// Takes an error response that was received and the close that must follow it.
    #[track_caller]
    pub(crate) fn refusal(&mut self, response: &Value) -> Refusal {
        assert_eq!(response["ok"], false, "not refused: {response}");
        check_response(response);
        let (close_code, close_reason) = self.closed();
        Refusal { error: response["error"].clone(), close_code, close_reason }
    }

    /// Sends a request and returns its id, without waiting.
    #[track_caller]
    pub(crate) fn send_request(&mut self, method: &str, params: Value) -> String {
        self.requests_sent += 1;
        let id = format!("r-{}", self.requests_sent);
        let mut frame = json!({ "type": "req", "id": id, "method": method });
        if !params.is_null() {
            frame["params"] = params;
        }
        self.send_text(&frame.to_string());
        id
    }

    /// Sends a text frame, whatever it says.
    #[track_caller]
    pub(crate) fn send_text(&mut self, text: &str) {
        if let Err(error) = self.try_send(Message::text(text)) {
            panic!("cannot send {text}: {error}");
        }
    }

    /// Sends a message; an error means that the connection has ended.
    pub(crate) fn try_send(&mut self, message: Message) -> Result<(), String> {
        self.socket.send(message).map_err(|error| error.to_string())
    }

    /// Waits for the response to a request.
    #[track_caller]
    pub(crate) fn response(&mut self, id: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(response) = self.responses.remove(id) {
                check_response(&response);
                return response;
            }
            self.hear_more(deadline, &format!("the response to {id}"));
        }
    }

    /// Whether a response to this request came, and said that it succeeded.
    pub(crate) fn was_answered(&self, id: &str) -> bool {
        self.responses.get(id).is_some_and(|response| response["ok"] == true)
    }

    /// Sends a request and waits for its response frame.
    #[track_caller]
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send_request(method, params);
        self.response(&id)
    }

    /// Sends a request that must succeed; returns the body.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        let response = self.request(method, params);
        assert_eq!(response["ok"], true, "{method} failed: {response}");
        response.get("payload").cloned().unwrap_or(Value::Null)
    }

    /// Sends a request that must fail; returns the error. The connection must survive it.
    #[track_caller]
    pub(crate) fn ask_in_vain(&mut self, method: &str, params: Value) -> Value {
        let response = self.request(method, params);
        assert_eq!(response["ok"], false, "{method} succeeded: {response}");
        response["error"].clone()
    }

    /// Reports log messages and waits until they are durable.
    #[track_caller]
    pub(crate) fn report<'m>(&mut self, messages: impl IntoIterator<Item = &'m str>) {
        self.ask("logs.append", entries(messages));
    }

    /// The next event of this name, in the order received; others stay.
    #[track_caller]
    pub(crate) fn event(&mut self, name: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let place = self.events.iter().position(|event| event["event"] == name);
            if let Some(event) = place.and_then(|place| self.events.remove(place)) {
                return event;
            }
            self.hear_more(deadline, &format!("event {name}"));
        }
    }

    /// The payloads of the next `count` events of this name.
    #[track_caller]
    pub(crate) fn payloads(&mut self, name: &str, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.event(name)["payload"].clone()).collect()
    }

    /// All events that were heard and not asked for.
    pub(crate) fn take_events(&mut self) -> Vec<Value> {
        self.events.drain(..).collect()
    }

    /// Drops the events that were heard and kept: for those who use [`Client::hear`] for long.
    pub(crate) fn forget_events(&mut self) {
        self.events.clear();
    }

    /// Waits for the gateway to close; returns the close frame's code and reason.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> (u16, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match &self.ended {
                Some(Heard::Closed(code, reason)) => return (*code, reason.clone()),
                Some(other) => panic!("ended without a close frame: {other:?}"),
                None => drop(self.hear(deadline).unwrap_or_else(|| panic!("not closed in time"))),
            }
        }
    }

    /// Waits until the connection has ended in any way; returns how.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Heard {
        let deadline = Instant::now() + PATIENCE;
        while self.ended.is_none() {
            self.hear(deadline).unwrap_or_else(|| panic!("did not end in time"));
        }
        self.ended.clone().unwrap()
    }

    /// What comes next, or `None` at the deadline. Frames are also kept for the other methods.
    pub(crate) fn hear(&mut self, deadline: Instant) -> Option<Heard> {
        if let Some(ended) = &self.ended {
            return Some(ended.clone());
        }
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            self.control.set_read_timeout(left);
            let heard = match self.socket.read() {
                Ok(Message::Text(text)) => self.keep(text.as_str()),
                Ok(Message::Ping(_)) => Heard::Ping,
                Ok(Message::Close(frame)) => {
                    let (code, reason) = frame
                        .map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                    Heard::Closed(code, reason)
                }
                Ok(_) => continue,
                Err(tungstenite::Error::Io(error)) if is_timeout(error.kind()) => continue,
                Err(error) => Heard::Gone(error.to_string()),
            };
            if matches!(heard, Heard::Closed(..) | Heard::Gone(_)) {
                // Lets the answering close frame out; the gateway may already be gone.
                let _sent = self.socket.flush();
                self.ended = Some(heard.clone());
            }
            return Some(heard);
        }
    }

    /// From now on nothing that this client says arrives, pongs and close frames included.
    pub(crate) fn mute(&self) {
        self.control.mute();
    }

    /// Closes with 1000 and waits for the gateway to answer in kind.
    #[track_caller]
    pub(crate) fn leave(mut self) {
        self.socket.close(None).expect("a close frame can be sent");
        let deadline = Instant::now() + PATIENCE;
        while self.ended.is_none() {
            self.hear(deadline).unwrap_or_else(|| panic!("no answer to our close"));
        }
    }

    fn keep(&mut self, text: &str) -> Heard {
        let frame: Value = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("the gateway sent no JSON ({error}): {text}"));
        match frame["type"].as_str() {
            Some("res") => {
                let id = frame["id"].as_str().expect("a response has an id").to_owned();
                self.responses.insert(id, frame.clone());
            }
            Some("event") => self.events.push_back(frame.clone()),
            _ => panic!("neither response nor event: {text}"),
        }
        Heard::Frame(frame)
    }

    #[track_caller]
    fn hear_more(&mut self, deadline: Instant, what: &str) {
        match self.hear(deadline) {
            Some(Heard::Frame(_) | Heard::Ping) => {}
            Some(ended) => panic!("waiting for {what}, but the connection ended: {ended:?}"),
            None => panic!("waited in vain for {what}"),
        }
    }

    /// Hears whatever comes within `time`, keeping it.
    pub(crate) fn listen_for(&mut self, time: Duration) -> Vec<Heard> {
        let deadline = Instant::now() + time;
        let mut heard = Vec::new();
        while self.ended.is_none() {
            match self.hear(deadline) {
                Some(item) => heard.push(item),
                None => break,
            }
        }
        heard
    }
}

/// Parameters of `logs.append`, one entry of level `info` for each message.
pub(crate) fn entries<'m>(messages: impl IntoIterator<Item = &'m str>) -> Value {
    let entries: Vec<_> = messages
        .into_iter()
        .map(|message| json!({ "level": "info", "message": message }))
        .collect();
    json!({ "entries": entries })
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// What holds for every response (contract, "Frames"): both bodies equal, `error` only on failure.
#[track_caller]
fn check_response(response: &Value) {
    let error = response.get("error");
    if response["ok"] == true {
        assert_eq!(error, None, "a success carries an error: {response}");
        let hello = response["payload"]["type"] == "hello-ok";
        if let (false, Some(result)) = (hello, response.get("result")) {
            assert_eq!(Some(result), response.get("payload"), "two different bodies");
        }
    } else {
        let error = error.expect("a failure carries an error");
        for field in ["code", "message"] {
            let text = error[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "a failure without {field}: {response}");
        }
    }
}
