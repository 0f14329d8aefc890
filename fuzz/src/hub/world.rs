//! The world around the hub: connections, a disk that may fail, a clock that jumps, and what
//! must hold of everything that the hub says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use openclaw_gateway::base::close_reason::CloseReason;
use openclaw_gateway::base::ids::{ConnId, RequestId, SpawnId, Ticket};
use openclaw_gateway::base::time::Moment;
use openclaw_gateway::hub::Hub;
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::hub::policy::Policy;
use openclaw_gateway::hub::records::{Change, DurableState};
use openclaw_gateway::protocol::frame;
use openclaw_gateway::protocol::hello::Grant;
use openclaw_gateway::protocol::request::{self, Call};

use super::super::bytes::Bytes;
use super::super::kit::disk::apply;
use super::super::kit::peers::Peer;
use super::authority::{self, Asked, Authority};
use super::jobs::Jobs;
use super::policies;
use super::promises::Promises;
use super::shell::Shell;

/// How often time jumps to a deadline before it jumps to the end.
const JUMPS_MAX: usize = 40;
/// Connections at most.
const CONNS_MAX: usize = 24;

pub(super) struct Conn {
    pub(super) asked: Asked,
    pub(super) grant: Option<Grant>,
    /// It was told to close, or refused; nothing more may be said to it.
    pub(super) is_closing: bool,
    pub(super) heard: Instant,
    /// Requests that have no answer yet.
    pub(super) open: BTreeSet<RequestId>,
    /// Requests whose first answer says that another will follow.
    pub(super) accepted: BTreeSet<RequestId>,
    /// Whose program it is, if that is how it was let in.
    pub(super) spawn: Option<SpawnId>,
    /// It was let in by a shared secret.
    pub(super) by_secret: bool,
}

/// See the module.
pub(super) struct World {
    hub: Hub,
    /// What is in force, as far as it can change while the gateway runs.
    pub(super) policy: Policy,
    /// What the next start reads.
    pub(super) configured: Policy,
    pub(super) now: Moment,
    pub(super) in_flight: Option<(Ticket, Vec<Change>)>,
    pub(super) last_ticket: Option<Ticket>,
    pub(super) is_failing: bool,
    /// Since when, if it was asked to stop.
    pub(super) stopping: Option<Instant>,
    /// The process has ended.
    pub(super) is_over: bool,
    pub(super) disk: DurableState,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    pub(super) closing: VecDeque<ConnId>,
    last_conn: u64,
    /// How often it was restarted.
    lives: u64,
    last_request: u64,
    pub(super) authority: Authority,
    pub(super) shell: Shell,
    pub(super) promises: Promises,
    pub(super) jobs: Jobs,
    /// The last answer that was a success, as it is sent.
    pub(super) last_answer: Vec<u8>,
    /// Who asks right now, and for which pairing.
    pub(super) asking: Option<(ConnId, String)>,
    known: BTreeMap<&'static str, Vec<String>>,
}

impl World {
    pub(super) fn new(bytes: &mut Bytes<'_>) -> Self {
        let policy = policies::read(bytes);
        let now = Moment { at: Instant::now(), unix_ms: 1_795_000_000_000 };
        let mut world = Self {
            hub: Hub::new(policy.clone(), DurableState::default(), [1; 32], now),
            configured: policy.clone(),
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
            lives: 0,
            last_request: 0,
            authority: Authority::default(),
            shell: Shell::default(),
            promises: Promises::default(),
            jobs: Jobs::default(),
            last_answer: Vec::new(),
            asking: None,
            known: BTreeMap::new(),
        };
        world.input(Input::Tick);
        world
    }

    /// Hands one input to the hub and does what it says.
    pub(super) fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front().or_else(|| self.obeyed())
            && !self.is_over
        {
            let mut effects = Vec::new();
            self.hub.handle(self.now, input, &mut effects);
            for effect in effects {
                inputs.extend(self.perform(effect));
            }
            assert_eq!(self.hub.broken_invariant(), None);
        }
    }

    /// What a shell that is prompt has to tell.
    fn obeyed(&mut self) -> Option<Input> {
        let news = if self.shell.is_prompt { self.shell.obey() } else { None };
        news.map(|news| Input::Child(Box::new(news)))
    }

    /// A process does something, if there is one that can.
    pub(super) fn process_goes_on(&mut self, bytes: &mut Bytes<'_>) {
        if !self.is_over
            && let Some(news) = self.shell.news(bytes, self.now.unix_ms)
        {
            self.input(Input::Child(Box::new(news)));
        }
    }

    /// Everything that was ordered of the shell is done.
    pub(super) fn shell_obeys(&mut self) {
        let before = std::mem::replace(&mut self.shell.is_prompt, true);
        if let Some(news) = self.obeyed().filter(|_| !self.is_over) {
            self.input(news);
        }
        self.shell.is_prompt = before;
    }

    pub(super) fn connect(&mut self, peer: Peer) {
        if self.conns.len() < CONNS_MAX {
            self.connect_anyway(peer);
        }
    }

    pub(super) fn connect_anyway(&mut self, peer: Peer) {
        if self.is_over {
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
        let waiting = Conn {
            asked: asked.clone(),
            grant: None,
            is_closing: false,
            heard,
            open: BTreeSet::new(),
            accepted: BTreeSet::new(),
            spawn: None,
            by_secret: false,
        };
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
        if let Some(news) = self.obeyed() {
            self.input(news);
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

    /// Something of which ids were heard: one of the newest eight.
    pub(super) fn known(&self, what: &str, bytes: &mut Bytes<'_>) -> &str {
        let index = bytes.below(8);
        let texts = self.known.get(what).map_or(&[][..], Vec::as_slice);
        let text = texts.iter().rev().nth(index).or_else(|| texts.last());
        text.map_or("unknown", String::as_str)
    }

    /// The newest of them.
    pub(super) fn newest(&self, what: &str) -> Vec<String> {
        self.known.get(what).into_iter().flatten().rev().take(8).cloned().collect()
    }

    pub(super) fn learn(&mut self, what: &'static str, text: &str) {
        let texts = self.known.entry(what).or_default();
        if !texts.iter().any(|known| known == text) {
            texts.push(text.to_owned());
        }
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
        self.promises.stored(&changes);
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

    pub(super) fn tick(&mut self) {
        self.input(Input::Tick);
        let next = self.hub.next_deadline().filter(|_| !self.is_over);
        assert!(next.is_none_or(|next| next > self.now.at), "a deadline is due after its tick");
    }

    /// The configuration is read again, and the hub is handed what it says.
    pub(super) fn change_policy(&mut self, policy: Policy) {
        self.configured = policy.clone();
        self.policy.auth = policy.auth.clone();
        self.policy.spawn = policy.spawn.clone();
        self.policy.approvals = policy.approvals;
        self.policy.limits = policy.limits;
        self.input(Input::PolicyChanged(Box::new(policy)));
        for (id, conn) in self.conns.iter().filter(|(_, conn)| conn.by_secret && !conn.is_closing) {
            let scopes = conn.grant.as_ref().expect("it was let in").scopes;
            let may = authority::shared(&self.policy, &conn.asked.connect);
            let is_held = may.is_some_and(|may| may.contains(scopes));
            assert!(is_held, "{id} stays with {scopes:?} by a secret that gives {may:?}");
        }
    }

    /// Somebody sets the wall clock.
    pub(super) fn set_clock(&mut self, by_ms: i64) {
        let before_ms = self.now.unix_ms;
        self.now.unix_ms = before_ms.saturating_add_signed(by_ms);
        self.promises.clock_set();
        self.jobs.clock_set(before_ms, self.now.unix_ms);
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
        self.shell.restarted();
        self.promises.restarted(&self.disk);
        self.jobs.restarted(self.now.unix_ms, &self.disk);
        self.policy = self.configured.clone();
        // Chance does not repeat itself: no later life may give an earlier one's ids.
        self.lives += 1;
        let mut seed = [2; 32];
        seed[..8].copy_from_slice(&self.lives.to_le_bytes());
        self.hub = Hub::new(self.policy.clone(), self.disk.clone(), seed, self.now);
        self.input(Input::Tick);
    }

    pub(super) fn check(&self) {
        let open: usize = self.conns.values().map(|conn| conn.open.len()).sum();
        assert!(open <= 600 && self.conns.len() <= CONNS_MAX);
    }
}
