//! Text of a peer, before and after it is let in.
//!
//! Each line of the input is one message. Whatever it says: no panic, an answer that is JSON, and
//! after the handshake no answer that a client takes for the end (`docs/protocol.md`, "Frames").
//! What a line asks for is done by a small hub, and all that this one says must be JSON, too.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use openclaw_gateway::base::close_reason::CloseReason;
use openclaw_gateway::base::ids::{ConnId, Cursor, RequestId};
use openclaw_gateway::base::time::Moment;
use openclaw_gateway::hub::Hub;
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::hub::input::{ConnectRequested, Input};
use openclaw_gateway::hub::records::DurableState;
use openclaw_gateway::protocol::approvals::ApprovalReply;
use openclaw_gateway::protocol::connect::parse_first;
use openclaw_gateway::protocol::device::{DeviceProof, prove};
use openclaw_gateway::protocol::error::ProtocolError;
use openclaw_gateway::protocol::event::{Event, View};
use openclaw_gateway::protocol::frame::{self, FrameError, write_failure, write_refusal};
use openclaw_gateway::protocol::hello::Grant;
use openclaw_gateway::protocol::origin::OriginPolicy;
use openclaw_gateway::protocol::peer::{Cidr, Headers, PeerContext, ProxyPolicy};
use openclaw_gateway::protocol::reply::{Reply, write_reply};
use openclaw_gateway::protocol::request::{self, Call};
use openclaw_gateway::protocol::run_calls::RunReply;
use openclaw_gateway::protocol::safe_text::{CONNECT_DETAIL_CODES, echo, safe_message};
use openclaw_gateway::protocol::scope::{Role, ScopeSet};
use openclaw_gateway::protocol::{log_entry, methods};
use serde_json::Value;

use super::bytes::Bytes;
use super::hub::shell::Shell;
use super::kit::disk::apply;
use super::kit::{peers, policies};

/// What ends a client when it stands in an error after the handshake: the contract's list, not
/// the code's.
pub(crate) const FATAL_PHRASES: [&str; 12] = [
    "device_auth_signature_invalid",
    "device signature invalid",
    "invalid device token",
    "device token invalid",
    "rate limited",
    "auth rate limit",
    "origin not allowed",
    "device identity required",
    "requires device identity",
    "secure context",
    "invalid connect params",
    "/client/id",
];
const NOW_MS: u64 = 1_795_000_000_000;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (kind, who) = (bytes.byte(), bytes.byte());
    let text = String::from_utf8_lossy(bytes.rest());
    match kind {
        0..=31 => text.lines().for_each(check_first),
        32..=39 => check_texts(&text),
        40..=47 => check_headers(&text),
        48..=95 => World::new().hear(who, text.lines().map(str::to_owned)),
        // The method is given, so that the input is all parameters.
        method => {
            let names: Vec<_> = methods::names().collect();
            let frames = text.lines().enumerate().map(|(index, params)| {
                let method = names[(usize::from(method) + index) % names.len()];
                format!(r#"{{"type":"req","id":"{index}","method":"{method}","params":{params}}}"#)
            });
            World::new().hear(who, frames);
        }
    }
}

/// A first message: a `connect` or its refusal.
fn check_first(text: &str) {
    match parse_first(text) {
        Ok(connect) => {
            prove(&connect, "nonce", NOW_MS);
            let is_named = connect.role == Role::Operator || connect.agent_name.is_some();
            assert!(is_named, "an agent has a name: {text}");
            assert!(matches!(connect.protocol, 3 | 4));
            // What is signed must be readable in one way only.
            let signed = [&connect.client.id, &connect.client.mode];
            assert!(signed.iter().all(|field| !field.contains(['|', '\n'])), "{text}");
            assert!(connect.scopes_sent.iter().all(|scope| !scope.contains(['|', ','])), "{text}");
        }
        Err(refused) => {
            let mut out = Vec::new();
            write_refusal(&mut out, &refused.id, &refused.refusal.error);
            check_error(&out, &refused.id);
            let close = &refused.refusal.close;
            assert!(close.code().is_some(), "a refusal closes");
            assert!(close.text().len() <= 123, "a close reason fits into its frame");
        }
    }
}

/// Text that is repeated to somebody.
fn check_texts(text: &str) {
    let safe = safe_message(text);
    assert!(!is_fatal(&safe), "{safe}");
    assert!(echo(text, 64).chars().all(|character| !character.is_control()));
    let error = ProtocolError::unknown_method(text)
        .with_details(serde_json::json!({"code": text, "more": [text, {text: text}]}));
    let mut out = Vec::new();
    write_failure(&mut out, text, &error);
    check_failure(&out, text);
    let draft = log_entry::LogDraft::new(NOW_MS, log_entry::Level::Warn, "a1", None, text);
    let record = log_entry::LogRecord { cursor: Cursor(7), draft };
    let mut out = Vec::new();
    record.write(&mut out);
    assert_eq!(json(&out)["message"], text);
    assert_eq!(record.line().lines().count(), 1, "an entry is one line");
}

/// Who somebody is by the headers, one value a line.
fn check_headers(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    let line = |index: usize| lines.get(index).copied().filter(|line| !line.is_empty());
    let public_hosts = vec!["gateway.example.com".to_owned()];
    for (socket, proxy) in
        [("127.0.0.1", None), ("127.0.0.1", Some("127.0.0.0/8")), ("203.0.113.1", None)]
    {
        let headers = Headers {
            host: line(0),
            origin: line(1),
            x_forwarded_for: lines.get(4..).unwrap_or_default(),
            x_real_ip: line(2),
            forwarded_proto: line(3),
            any_forwarding_header: lines.len() > 2,
        };
        let trusted: Vec<_> = proxy.and_then(Cidr::parse).into_iter().collect();
        let is_direct = trusted.is_empty() && lines.len() <= 2;
        let policy = ProxyPolicy { trusted, public_hosts: Vec::new() };
        let socket: IpAddr = socket.parse().expect("an address");
        let peer = PeerContext::derive(socket, &headers, false, &policy);
        assert!(!peer.is_owner, "no header makes an owner");
        assert!(!peer.local || (socket.is_loopback() && is_direct), "{text}");
        let origins = OriginPolicy::new(true, &[], public_hosts.clone());
        if let Err(refusal) = origins.check(&peer) {
            let mut out = Vec::new();
            write_refusal(&mut out, "1", &refusal.error);
            check_error(&out, "1");
        }
    }
}

/// A hub with an owner, an operator who may only read, and an agent; anything may be started.
struct World {
    hub: Hub,
    now: Moment,
    grants: Vec<(ConnId, Grant)>,
    disk: DurableState,
    shell: Shell,
    /// First answers that another follows, by connection and request. Ids may be used again.
    accepted: BTreeMap<(ConnId, RequestId), usize>,
}

impl World {
    fn new() -> Self {
        let mut policy = policies::policy();
        policy.auth.require_signature = false;
        policy.spawn.allowed_commands = vec!["*".to_owned()];
        let now = Moment { at: Instant::now(), unix_ms: NOW_MS };
        let hub = Hub::new(policy, DurableState::default(), [1; 32], now);
        let mut world = Self {
            hub,
            now,
            grants: Vec::new(),
            disk: DurableState::default(),
            shell: Shell::default(),
            accepted: BTreeMap::new(),
        };
        world.input(Input::Tick);
        let reader = peers::operator().scopes(ScopeSet::READ);
        let mut agent = peers::agent("a1");
        agent.connect.device = None;
        agent.proof = DeviceProof::Absent;
        for (conn, peer) in [peers::owner(), reader, agent].into_iter().enumerate() {
            let asked: ConnectRequested = peer.on(conn as u64);
            world.input(Input::ConnectRequested(Box::new(asked)));
        }
        assert_eq!(world.grants.len(), 3, "all of them are let in");
        world
    }

    fn hear(mut self, who: u8, frames: impl Iterator<Item = String>) {
        for (index, text) in frames.take(64).enumerate() {
            let (conn, grant) = self.grants[(usize::from(who) + index) % 3].clone();
            self.now = self.now.after(Duration::from_millis(100));
            match frame::parse(&text) {
                Err(FrameError { id, error }) => fail(&id, &error),
                Ok(frame) => match request::parse(&frame, &grant, self.now.unix_ms) {
                    Err(error) => fail(&frame.id, &error),
                    Ok(Call::Ping | Call::Health) => {}
                    Ok(Call::Request(request)) => {
                        let id = RequestId::new(&*frame.id);
                        self.input(Input::Requested { conn, id, request });
                    }
                },
            }
        }
    }

    fn input(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop().or_else(|| {
            let news = self.shell.obey()?;
            Some(Input::Child(Box::new(news)))
        }) {
            let mut effects = Vec::new();
            self.hub.handle(self.now, input, &mut effects);
            assert_eq!(self.hub.broken_invariant(), None);
            for effect in effects {
                inputs.extend(self.perform(effect));
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Admit(hello) => self.grants.push((hello.conn, hello.grant.clone())),
            Effect::Respond { conn, id, result: Ok(reply) } => {
                let is_first = match &reply {
                    Reply::Runs(reply) => matches!(**reply, RunReply::Accepted { .. }),
                    Reply::Approvals(reply) => matches!(**reply, ApprovalReply::Accepted(_)),
                    _ => false,
                };
                if is_first {
                    *self.accepted.entry((conn, id.clone())).or_default() += 1;
                }
                let mut out = Vec::new();
                write_reply(&mut out, id.as_str(), &reply);
                let response = json(&out);
                assert_eq!((&response["ok"], &response["id"]), (&true.into(), &id.as_str().into()));
            }
            Effect::Respond { id, result: Err(error), .. } => fail(id.as_str(), &error),
            Effect::Send { event, .. } | Effect::Broadcast(event) => check_event(&event),
            Effect::Persist { ticket, changes } => {
                changes.into_iter().for_each(|change| apply(&mut self.disk, change));
                return Some(Input::Stored(ticket));
            }
            Effect::Close { conn, .. } => {
                return Some(Input::Closed { conn, reason: CloseReason::Vanished });
            }
            Effect::Child(order) => self.shell.ordered(*order, &self.disk),
            Effect::RespondAgain { conn, id, reply } => {
                let owed = self.accepted.get_mut(&(conn, id.clone())).filter(|owed| **owed > 0);
                *owed.expect("it was accepted, and is not answered") -= 1;
                let mut out = Vec::new();
                write_reply(&mut out, id.as_str(), &reply);
                assert_eq!(json(&out)["id"], id.as_str());
            }
            Effect::Refuse { .. }
            | Effect::Narrow { .. }
            | Effect::Ping(_)
            | Effect::MeasureSilence(_)
            | Effect::SetReady(_)
            | Effect::Diagnose(_)
            | Effect::Audit(_)
            | Effect::Stopped => {}
        }
        None
    }
}

fn check_event(event: &Event) {
    for scopes in [ScopeSet::NONE, ScopeSet::READ, ScopeSet::ALL] {
        let mut out = Vec::new();
        event.write(&mut out, View::of(scopes), Some(7));
        let shown = json(&out);
        assert_eq!(shown["event"], event.name());
        assert!(shown["payload"].is_object(), "{shown}");
    }
}

fn fail(id: &str, error: &ProtocolError) {
    let mut out = Vec::new();
    write_failure(&mut out, id, error);
    check_failure(&out, id);
}

/// An error after the handshake.
fn check_failure(out: &[u8], id: &str) {
    let error = &check_error(out, id)["error"];
    assert!(!is_fatal(&error.to_string()), "{error}");
    let code = error["details"]["code"].as_str().unwrap_or_default();
    assert!(!CONNECT_DETAIL_CODES.contains(&code), "{error}");
}

fn check_error(out: &[u8], id: &str) -> Value {
    let response = json(out);
    assert_eq!((&response["type"], &response["ok"]), (&"res".into(), &false.into()));
    assert_eq!(response["id"], id);
    for member in ["code", "message"] {
        let text = response["error"][member].as_str().expect("a text");
        assert!(!text.is_empty(), "{response}");
    }
    response
}

/// What a client does: lowercase the text, look for a phrase.
fn is_fatal(text: &str) -> bool {
    let lower = text.to_lowercase();
    FATAL_PHRASES.iter().any(|phrase| lower.contains(phrase))
}

#[track_caller]
fn json(out: &[u8]) -> Value {
    serde_json::from_slice(out)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(out)))
}
