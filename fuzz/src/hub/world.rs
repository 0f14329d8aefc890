//! The world around the hub: connections, a disk that may fail, a clock that jumps, and what
//! must hold of everything that the hub says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use openclaw_gateway::base::close_reason::CloseReason;
use openclaw_gateway::base::ids::{ConnId, DeviceId, RequestId, Ticket};
use openclaw_gateway::base::limits::STOP_GRACE;
use openclaw_gateway::base::time::Moment;
use openclaw_gateway::hub::Hub;
use openclaw_gateway::hub::effect::{Diagnostic, DiagnosticValue, Effect};
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::hub::policy::Policy;
use openclaw_gateway::hub::records::{Change, DurableState};
use openclaw_gateway::protocol::devices::DeviceReply;
use openclaw_gateway::protocol::event::{Event, View};
use openclaw_gateway::protocol::frame;
use openclaw_gateway::protocol::hello::{Grant, Hello};
use openclaw_gateway::protocol::reply::{Reply, write_reply};
use openclaw_gateway::protocol::request::{self, Call};
use openclaw_gateway::protocol::scope::ScopeSet;

use super::super::bytes::Bytes;
use super::super::kit::disk::apply;
use super::super::kit::peers::{self, Peer};
use super::authority::{Asked, Authority};
use super::policies;
use super::steps::DEVICES;

/// How often time jumps to a deadline before it jumps to the end.
const JUMPS_MAX: usize = 40;
/// Connections at most.
const CONNS_MAX: usize = 24;

struct Conn {
    asked: Asked,
    grant: Option<Grant>,
    /// It was told to close, or refused; nothing more may be said to it.
    is_closing: bool,
    heard: Instant,
    /// Requests that have no answer yet.
    open: BTreeSet<RequestId>,
}

/// See the module.
pub(super) struct World {
    hub: Hub,
    policy: Policy,
    now: Moment,
    in_flight: Option<(Ticket, Vec<Change>)>,
    last_ticket: Option<Ticket>,
    is_failing: bool,
    /// Since when, if it was asked to stop.
    stopping: Option<Instant>,
    /// The process has ended.
    is_over: bool,
    disk: DurableState,
    conns: BTreeMap<ConnId, Conn>,
    closing: VecDeque<ConnId>,
    last_conn: u64,
    last_request: u64,
    authority: Authority,
    /// Who asks right now, and for which pairing.
    asking: Option<(ConnId, String)>,
    pairings: Vec<String>,
    tokens: Vec<String>,
    codes: Vec<String>,
}

impl World {
    pub(super) fn new(bytes: &mut Bytes<'_>) -> Self {
        let policy = policies::read(bytes);
        let now = Moment { at: Instant::now(), unix_ms: 1_795_000_000_000 };
        let mut world = Self {
            hub: Hub::new(policy.clone(), DurableState::default(), [1; 32], now),
            policy,
            now,
            in_flight: None,
            last_ticket: None,
            is_failing: false,
            stopping: None,
            is_over: false,
            disk: DurableState::default(),
            conns: BTreeMap::new(),
            closing: VecDeque::new(),
            last_conn: 0,
            last_request: 0,
            authority: Authority::default(),
            asking: None,
            pairings: Vec::new(),
            tokens: Vec::new(),
            codes: Vec::new(),
        };
        world.input(Input::Tick);
        world
    }

    /// Hands one input to the hub and does what it says.
    pub(super) fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front().filter(|_| !self.is_over) {
            let mut effects = Vec::new();
            self.hub.handle(self.now, input, &mut effects);
            for effect in effects {
                inputs.extend(self.perform(effect));
            }
            assert_eq!(self.hub.broken_invariant(), None);
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        assert!(!self.is_over, "{effect:?} after the end");
        match effect {
            Effect::Admit(hello) => self.admitted(&hello),
            Effect::Refuse { conn, .. } => {
                let refused = self.conns.get_mut(&conn).expect("nobody is refused");
                assert!(refused.grant.is_none() && !refused.is_closing, "answered: {conn}");
                refused.is_closing = true;
                self.closing.push_back(conn);
            }
            Effect::Respond { conn, id, result } => {
                assert!(self.live(conn).open.remove(&id), "{id} was not asked, or is answered");
                if let Ok(reply) = result {
                    self.answered(conn, &id, &reply);
                }
            }
            Effect::RespondAgain { conn, .. } => {
                self.live(conn);
            }
            Effect::Child(_) => {}
            Effect::Send { conn, event } => {
                self.live(conn);
                self.heard_event(&event);
            }
            Effect::Broadcast(event) => self.heard_event(&event),
            Effect::Narrow { conn, .. } | Effect::Ping(conn) => {
                self.live(conn);
            }
            Effect::Close { conn, .. } => {
                self.live(conn).is_closing = true;
                self.closing.push_back(conn);
            }
            Effect::MeasureSilence(conns) => {
                let heard = |conn: ConnId| Some((conn, self.conns.get(&conn)?.heard));
                return Some(Input::SilenceMeasured(conns.into_iter().filter_map(heard).collect()));
            }
            Effect::Persist { ticket, changes } => {
                assert!(self.in_flight.is_none(), "two commits at once");
                assert!(!self.is_failing, "a commit for a store that takes none");
                assert!(self.last_ticket < Some(ticket), "tickets grow");
                self.last_ticket = Some(ticket);
                self.in_flight = Some((ticket, changes));
            }
            Effect::Diagnose(line) => self.diagnosed(&line),
            Effect::SetReady(_) | Effect::Audit(_) => {}
            Effect::Stopped => {
                let asked = self.stopping.expect("nobody asked it to stop");
                let is_late = asked + STOP_GRACE <= self.now.at;
                let is_empty = self.conns.values().all(|conn| conn.grant.is_none());
                assert!(is_empty || is_late, "somebody is here");
                self.is_over = true;
            }
        }
        None
    }

    /// Somebody who was let in and not told to go.
    #[track_caller]
    fn live(&mut self, conn: ConnId) -> &mut Conn {
        let live = self.conns.get_mut(&conn).unwrap_or_else(|| panic!("{conn} is gone"));
        assert!(live.grant.is_some(), "{conn} was not let in");
        assert!(!live.is_closing, "{conn} was told to go");
        live
    }

    fn admitted(&mut self, hello: &Hello) {
        let conn = self.conns.get_mut(&hello.conn).expect("nobody is let in");
        assert!(conn.grant.is_none() && !conn.is_closing, "answered: {}", hello.conn);
        self.authority.check(&self.policy, &conn.asked, hello);
        conn.grant = Some(hello.grant.clone());
        conn.heard = self.now.at;
        if let (Some(issued), Some(device)) = (&hello.token, &hello.grant.device) {
            self.authority.token_given(issued.token.expose(), device);
            self.tokens.push(issued.token.expose().to_owned());
        }
    }

    fn answered(&mut self, conn: ConnId, id: &RequestId, reply: &Reply) {
        let mut out = Vec::new();
        write_reply(&mut out, id.as_str(), reply);
        let Reply::Devices(reply) = reply else { return };
        match &**reply {
            DeviceReply::Code { code, .. } => {
                self.authority.code_offered(code.expose());
                self.codes.push(code.expose().to_owned());
            }
            DeviceReply::Rotated { device, bearer: Some(bearer), .. } => {
                let grant = self.conns.get(&conn).and_then(|conn| conn.grant.as_ref());
                let own = grant.and_then(|grant| grant.device.as_ref());
                assert_eq!(own, Some(device), "another's token");
                self.authority.token_given(bearer.token.expose(), device);
                self.tokens.push(bearer.token.expose().to_owned());
            }
            DeviceReply::Removed { device, .. } | DeviceReply::Forgotten(device) => {
                self.authority.removal_answered(device);
            }
            _ => {}
        }
    }

    fn heard_event(&mut self, event: &Event) {
        let mut out = Vec::new();
        event.write(&mut out, View::of(ScopeSet::ALL), Some(1));
        if let Event::PairRequested(request) = event {
            self.authority.pair_requested(request);
            self.pairings.push(request["requestId"].as_str().expect("an id").to_owned());
        }
    }

    fn diagnosed(&mut self, line: &Diagnostic) {
        let device = line.fields.iter().find_map(|(name, value)| match value {
            DiagnosticValue::Text(text) if *name == "device_id" => Some(DeviceId::new(&**text)),
            _ => None,
        });
        match (line.msg, device) {
            ("Device approved", _) => {
                let (by, pairing) = self.asking.clone().expect("nobody asked");
                let grant = self.conns.get(&by).and_then(|conn| conn.grant.as_ref());
                let grant = grant.expect("somebody who was let in");
                self.authority.approved(&pairing, grant.device.as_ref(), grant.scopes);
            }
            ("Device removed" | "Device forgotten", Some(device)) => {
                self.authority.taken_back(&device);
                let left = self.conns.values().find(|conn| {
                    !conn.is_closing
                        && conn.grant.as_ref().is_some_and(|g| g.device.as_ref() == Some(&device))
                });
                assert!(left.is_none(), "{device} is out and still connected");
            }
            ("Device tokens revoked", Some(device)) => self.authority.tokens_ended(&device),
            _ => {}
        }
    }

    pub(super) fn connect(&mut self, peer: Peer) {
        if self.conns.len() >= CONNS_MAX || self.is_over {
            return;
        }
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        let asked = self.authority.asked(
            &self.policy,
            &peer.connect,
            &peer.context,
            peer.proof,
            &self.disk.devices,
        );
        let heard = self.now.at;
        let open = BTreeSet::new();
        let waiting = Conn { asked: asked.clone(), grant: None, is_closing: false, heard, open };
        self.conns.insert(conn, waiting);
        // What the rule gives counts before the answer comes, and not at all if that is no.
        let input = Input::ConnectRequested(Box::new(peer.on(conn.0)));
        let mut effects = Vec::new();
        self.hub.handle(self.now, input, &mut effects);
        let is_refused = |effect: &Effect| matches!(effect, Effect::Refuse { conn: refused, .. } if *refused == conn);
        if !effects.iter().any(is_refused) {
            self.authority.not_refused(&asked);
        }
        for effect in effects {
            if let Some(input) = self.perform(effect) {
                self.input(input);
            }
        }
    }

    pub(super) fn request(&mut self, conn: ConnId, method: &str, params: &str) {
        let Some(live) = self.conns.get_mut(&conn) else { return };
        let Some(grant) = live.grant.clone() else { return };
        self.last_request += 1;
        let id = format!("r{}", self.last_request);
        let text = format!(r#"{{"type":"req","id":"{id}","method":"{method}","params":{params}}}"#);
        let frame = frame::parse(&text).expect("a frame");
        // Who may not is told so before the hub hears of it.
        let Ok(Call::Request(request)) = request::parse(&frame, &grant, self.now.unix_ms) else {
            return;
        };
        let id = RequestId::new(id);
        if !live.is_closing {
            live.open.insert(id.clone());
        }
        live.heard = self.now.at;
        let pairing = serde_json::from_str::<serde_json::Value>(params).expect("JSON");
        let pairing = pairing["requestId"].as_str().unwrap_or_default().to_owned();
        self.asking = Some((conn, pairing));
        self.input(Input::Requested { conn, id, request });
        self.asking = None;
    }

    /// One of those who are connected, told to go or not.
    pub(super) fn somebody(&self, bytes: &mut Bytes<'_>) -> Option<ConnId> {
        let index = bytes.below(CONNS_MAX);
        self.conns.keys().nth(index % self.conns.len().max(1)).copied()
    }

    pub(super) fn pairing(&self, bytes: &mut Bytes<'_>) -> &str {
        newest(&self.pairings, bytes).unwrap_or("unknown")
    }

    pub(super) fn token(&self, bytes: &mut Bytes<'_>) -> &str {
        newest(&self.tokens, bytes).unwrap_or("dt_wrong")
    }

    pub(super) fn code(&self, bytes: &mut Bytes<'_>) -> &str {
        newest(&self.codes, bytes).unwrap_or("wrong")
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
        self.closing.retain(|closing| *closing != conn);
        self.input(Input::Closed { conn, reason: CloseReason::Vanished });
    }

    /// The first of those who were told to go is gone.
    pub(super) fn close_next(&mut self) {
        if let Some(conn) = self.closing.pop_front() {
            self.closed(conn);
        }
    }

    pub(super) fn heard(&mut self, conn: ConnId) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.heard = self.now.at;
        }
    }

    /// The commit in flight is on disk.
    pub(super) fn store_succeeds(&mut self) {
        let Some((ticket, changes)) = self.in_flight.take() else { return };
        self.authority.stored(&changes);
        changes.into_iter().for_each(|change| apply(&mut self.disk, change));
        self.input(Input::Stored(ticket));
    }

    /// The store fails; the disk may have kept the commit in flight all the same.
    pub(super) fn store_fails(&mut self, is_kept: bool) {
        if self.is_failing {
            return;
        }
        self.is_failing = true;
        let mut ticket = Ticket(u64::MAX);
        if let Some((in_flight, changes)) = self.in_flight.take() {
            ticket = in_flight;
            if is_kept {
                self.authority.kept_in_doubt(&changes);
                changes.into_iter().for_each(|change| apply(&mut self.disk, change));
            }
        }
        self.input(Input::StoreFailed { ticket, error: "no space left".to_owned() });
    }

    pub(super) fn store_recovers(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            self.input(Input::StoreRecovered);
        }
    }

    /// Lets time pass, from deadline to deadline.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        for _ in 0..JUMPS_MAX {
            let deadline = self.hub.next_deadline().filter(|deadline| *deadline <= end.at);
            let Some(deadline) = deadline.filter(|_| !self.is_over) else { break };
            self.now = self.now.after(deadline.saturating_duration_since(self.now.at));
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    fn tick(&mut self) {
        self.input(Input::Tick);
        let next = self.hub.next_deadline().filter(|_| !self.is_over);
        assert!(next.is_none_or(|next| next > self.now.at), "a deadline is due after its tick");
    }

    pub(super) fn stop(&mut self) {
        self.stopping.get_or_insert(self.now.at);
        self.input(Input::StopRequested { reason: "stopped".to_owned() });
    }

    /// The gateway is killed and started again, with what is on disk.
    pub(super) fn restart(&mut self) {
        self.in_flight = None;
        self.last_ticket = None;
        (self.is_failing, self.stopping, self.is_over) = (false, None, false);
        self.conns.clear();
        self.closing.clear();
        self.authority.restarted(&self.disk.devices);
        let seed = [u8::try_from(self.last_conn % 200).unwrap_or(0) + 2; 32];
        self.hub = Hub::new(self.policy.clone(), self.disk.clone(), seed, self.now);
        self.input(Input::Tick);
    }

    pub(super) fn check(&self) {
        let open: usize = self.conns.values().map(|conn| conn.open.len()).sum();
        assert!(open <= 600 && self.conns.len() <= CONNS_MAX);
    }

    /// Everything that waits comes to its end; then everyone tries once more.
    pub(super) fn finish(&mut self) {
        self.settle();
        for (id, conn) in self.conns.iter().filter(|(_, conn)| !conn.is_closing) {
            assert!(self.is_over || conn.grant.is_some(), "{id} was neither let in nor refused");
            assert!(self.is_over || conn.open.is_empty(), "{id} waits for {:?}", conn.open);
        }
        if self.stopping.is_some() {
            while let Some(conn) = self.conns.keys().next().copied() {
                self.closed(conn);
            }
            self.settle();
            self.pass(Duration::from_secs(60));
            assert!(self.is_over, "it was asked to stop and goes on");
        }
        self.restart();
        self.settle();
        for device in DEVICES {
            for key in [device, "new-key"] {
                for scopes in [ScopeSet::READ, ScopeSet::ADMIN] {
                    let peer = peers::operator().device_with_key(device, key).scopes(scopes);
                    self.connect(peer.remote("203.0.113.7"));
                    self.settle();
                }
            }
        }
        for token in self.tokens.clone().into_iter().rev().take(8) {
            self.connect(peers::operator().root_token(&token).terse());
        }
        self.settle();
    }

    /// The disk is well and everything reaches it.
    fn settle(&mut self) {
        self.store_recovers();
        while self.in_flight.is_some() && !self.is_over {
            self.store_succeeds();
        }
        while let Some(conn) = self.closing.pop_front() {
            self.closed(conn);
        }
    }
}

/// One of the newest eight.
fn newest<'t>(texts: &'t [String], bytes: &mut Bytes<'_>) -> Option<&'t str> {
    let index = bytes.below(8);
    texts.iter().rev().nth(index).or_else(|| texts.last()).map(String::as_str)
}
