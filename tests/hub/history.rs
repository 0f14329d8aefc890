//! Long random histories, each from its seed, with what must hold in every one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openclaw_gateway::base::ids::{ConnId, DeviceId, PairingId, RequestId, UserName};
use openclaw_gateway::hub::Approver;
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::hub::policy::Registration;
use openclaw_gateway::hub::records::DeviceState;
use openclaw_gateway::protocol::device::DeviceFailure;
use openclaw_gateway::protocol::devices::{DeviceRequest, TokenOf};
use openclaw_gateway::protocol::event::Event;
use openclaw_gateway::protocol::hello::Hello;
use openclaw_gateway::protocol::reply::Reply;
use openclaw_gateway::protocol::request::{Idempotency, LogsAppend, Request};
use openclaw_gateway::protocol::scope::{Role, ScopeSet};

use crate::peers::{Peer, agent, operator};
use crate::policies::shared;
use crate::sessions::usage;
use crate::sim::{Sim, StoreMode, draft, tail};

const SEEDS: u64 = 60;
const STEPS: usize = 400;

/// A small generator; its quality hardly matters, that it repeats itself does.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

struct World {
    sim: Sim,
    dice: Dice,
    conns: u64,
    requests: u64,
    /// Connects that are not answered yet.
    connecting: BTreeSet<ConnId>,
    open: BTreeMap<ConnId, Hello>,
    /// Requests that are not answered yet.
    asked: BTreeSet<(ConnId, RequestId)>,
    last_cursor: u64,
    tokens: Vec<String>,
    /// Uses of sessions that were reported, and of these the ones without an answer yet.
    uses: Uses,
}

/// Each use counts one message, so the sum over the sessions tells how many were counted.
#[derive(Default)]
struct Uses {
    waiting: BTreeSet<(ConnId, RequestId)>,
    asked: u64,
    stored: u64,
    refused: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let registration = match seed % 3 {
            0 => Registration::Auto,
            1 => Registration::Open,
            _ => Registration::Manual,
        };
        let mut sim = Sim::with(|policy| {
            policy.auth.registration = registration;
            policy.auth.secrets = shared("open sesame");
            policy.auth.token_ttl = Duration::from_secs(200);
            policy.auth.devices_per_user_max = 3;
            policy.limits.journal_entries_max = 20;
            // In every other history sessions displace each other.
            policy.limits.sessions_max = if seed.is_multiple_of(2) { 100 } else { 3 };
        });
        sim.only(&[]);
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self {
            sim,
            dice,
            conns: 0,
            requests: 0,
            connecting: BTreeSet::new(),
            open: BTreeMap::new(),
            asked: BTreeSet::new(),
            last_cursor: 0,
            tokens: vec!["dt_unknown".to_owned()],
            uses: Uses::default(),
        }
    }

    fn peer(&mut self) -> Peer {
        let name = ["d1", "d2", "d3", "d4", "d5", "d6"][self.dice.roll(6) as usize];
        let mut peer = if self.dice.roll(2) == 0 { agent(name) } else { operator().device(name) };
        peer = match self.dice.roll(8) {
            0 => peer.named("shared-name"),
            1 => peer.failing(DeviceFailure::SignatureInvalid),
            2 => peer.bare(),
            3 => peer.device_with_key(name, "another key"),
            _ => peer,
        };
        let token = self.tokens[self.dice.roll(self.tokens.len() as u64) as usize].clone();
        peer = match self.dice.roll(8) {
            0 => peer.token("wrong"),
            1 | 2 => peer.token("open sesame"),
            3 => peer.root_token(&token),
            4 => peer.bare().terse().root_token(&token),
            _ => peer,
        };
        peer = peer.scopes(match self.dice.roll(4) {
            0 => None,
            1 => Some(ScopeSet::READ),
            2 => Some(ScopeSet::NONE),
            _ => Some(ScopeSet::ADMIN),
        });
        match self.dice.roll(3) {
            0 => peer,
            address => peer.remote(&format!("203.0.113.{address}")),
        }
    }

    fn some_conn(&mut self) -> Option<ConnId> {
        let count = self.open.len() as u64;
        let index = self.dice.roll(count.max(1)) as usize;
        self.open.keys().nth(index).copied()
    }

    fn step(&mut self) {
        match self.dice.roll(20) {
            0..=4 => {
                self.conns += 1;
                let peer = self.peer();
                self.connecting.insert(ConnId(self.conns));
                self.sim.connect(self.conns, peer);
            }
            5..=10 => self.request(),
            11 => {
                if let Some(conn) = self.some_conn() {
                    self.gone(conn);
                    self.sim.closed(conn.0);
                }
            }
            12 => {
                if let Some(conn) = self.some_conn() {
                    let rtt = Duration::from_millis(1);
                    self.sim.heard(conn.0).input(Input::PongReceived { conn, rtt });
                }
            }
            13..=15 => self.store(),
            16 => {
                let seconds = [1, 10, 100, 400][self.dice.roll(4) as usize];
                self.sim.run_secs(seconds);
            }
            17 => self.administer(),
            18 if self.dice.roll(10) == 0 => self.restart(),
            _ => {
                self.sim.input(Input::Tick);
            }
        }
        self.observe();
    }

    fn request(&mut self) {
        let Some(conn) = self.some_conn() else { return };
        self.requests += 1;
        let id = RequestId::new(format!("r{}", self.requests));
        let entries = (0..=self.dice.roll(3)).map(|number| draft(&number.to_string())).collect();
        let request = match self.dice.roll(9) {
            8 => Request::Devices(self.device_request()),
            6 | 7 => {
                self.uses.asked += 1;
                self.uses.waiting.insert((conn, id.clone()));
                let key = format!("a{}:{}", self.dice.roll(2), self.dice.roll(4));
                Request::SessionUsage(Box::new(usage(&key, 1)))
            }
            0 => Request::Status,
            1 => Request::LogsTail(tail(Some(self.dice.roll(self.last_cursor + 2)), 5)),
            2 => Request::SystemPresence,
            3 => {
                let params_hash = [self.dice.roll(2) as u8; 32];
                let key = format!("k{}", self.dice.roll(4));
                let idempotency = Some(Idempotency { key, params_hash });
                Request::LogsAppend(LogsAppend { entries, idempotency })
            }
            _ => Request::LogsAppend(LogsAppend { entries, idempotency: None }),
        };
        self.asked.insert((conn, id.clone()));
        self.sim.input(Input::Requested { conn, id, request });
    }

    fn device_request(&mut self) -> DeviceRequest {
        let pending = self.sim.hub.pending_pairings();
        let first = pending.first().and_then(|pairing| pairing["requestId"].as_str());
        let request = PairingId::new(first.unwrap_or("none"));
        let device = DeviceId::new(format!("d{}", 1 + self.dice.roll(6)));
        let role = [None, Some(Role::Agent)][self.dice.roll(2) as usize];
        match self.dice.roll(10) {
            0 => DeviceRequest::Reject(request),
            1 => DeviceRequest::Remove(device),
            2 => DeviceRequest::Forget(device),
            3 => DeviceRequest::OfferCode,
            4 | 5 => DeviceRequest::RotateToken(TokenOf { device, role }),
            6 => DeviceRequest::RevokeTokens(TokenOf { device, role }),
            7 => DeviceRequest::ClearRateLimit(None),
            8 => DeviceRequest::List,
            _ => DeviceRequest::Approve(request),
        }
    }

    fn store(&mut self) {
        match self.dice.roll(6) {
            0 => self.sim.store = StoreMode::Prompt,
            1 => self.sim.store = StoreMode::Held,
            2 => {
                self.sim.store_fails();
                self.sim.store = StoreMode::Held;
            }
            3 | 4 => {
                self.sim.store_recovers();
            }
            _ => {}
        }
        if self.sim.is_storing() && self.dice.roll(3) > 0 {
            self.sim.stored();
        }
    }

    fn administer(&mut self) {
        let pending = self.sim.hub.pending_pairings();
        let mut effects = Vec::new();
        let first = pending.first().and_then(|pairing| pairing["requestId"].as_str());
        match (self.dice.roll(4), first) {
            (0 | 1, Some(id)) => {
                let scopes = ScopeSet([31, 1][self.dice.roll(2) as usize]);
                let approver = Approver { user: UserName::new("default"), scopes };
                let id = PairingId::new(id);
                // May be refused, for scopes or limits.
                let hub = &mut self.sim.hub;
                drop(hub.approve_pairing(self.sim.now, &id, &approver, &mut effects));
            }
            (2, _) => {
                let device = DeviceId::new(format!("d{}", 1 + self.dice.roll(6)));
                drop(self.sim.hub.revoke_device(&device, &mut effects));
            }
            (3, _) => {
                let device = DeviceId::new(format!("d{}", 1 + self.dice.roll(6)));
                drop(self.sim.hub.forget_device(&device, &mut effects));
            }
            _ => {}
        }
        self.sim.perform_now(effects);
        // What was pushed outside of an input is dispatched with the next one.
        self.sim.input(Input::Tick);
    }

    /// Every use that was answered is on disk, and none that was refused.
    fn check_uses(&self) {
        let sessions = &self.sim.disk.sessions;
        let counted: u64 = sessions.iter().map(|session| session.message_count).sum();
        let most = self.uses.asked - self.uses.refused;
        assert!(counted <= most, "{counted} were counted, of {most} at most");
        if sessions.len() > 3 {
            assert!(
                self.uses.stored <= counted,
                "{} answered, {counted} counted",
                self.uses.stored
            );
        }
    }

    fn restart(&mut self) {
        self.observe();
        self.check_uses();
        self.connecting.clear();
        self.open.clear();
        self.asked.clear();
        self.sim.restart();
    }

    fn gone(&mut self, conn: ConnId) {
        self.open.remove(&conn);
        self.asked.retain(|(asker, _)| *asker != conn);
    }

    /// Checks the effects since the last step.
    fn observe(&mut self) {
        for effect in std::mem::take(&mut self.sim.log) {
            match effect {
                Effect::Admit(hello) => {
                    assert!(self.connecting.remove(&hello.conn), "admitted unasked or twice");
                    self.check_grant(&hello);
                    self.tokens.extend(hello.token.iter().map(|t| t.token.expose().to_owned()));
                    self.open.insert(hello.conn, *hello);
                }
                Effect::Refuse { conn, error, .. } => {
                    assert!(self.connecting.remove(&conn), "refused unasked or twice");
                    assert!(!error.message.is_empty());
                }
                Effect::Respond { conn, id, result } => {
                    if self.uses.waiting.remove(&(conn, id.clone())) {
                        match result {
                            Ok(_) => self.uses.stored += 1,
                            Err(_) => self.uses.refused += 1,
                        }
                    }
                    assert!(self.asked.remove(&(conn, id)), "answered unasked or twice");
                    if let Ok(Reply::LogsAppended { first, last }) = result {
                        assert!(first <= last && last.0 <= self.last_cursor);
                    }
                }
                Effect::Broadcast(Event::Log(record)) => {
                    let cursor = record.cursor;
                    assert!(cursor.0 > self.last_cursor, "cursors rise and are used once");
                    assert!(cursor < self.sim.disk.cursors_reserved, "cursors are reserved");
                    self.last_cursor = cursor.0;
                }
                Effect::Send { conn, .. } => assert!(self.open.contains_key(&conn)),
                Effect::Close { conn, .. } => self.gone(conn),
                _ => {}
            }
        }
    }

    /// Nobody holds what was not approved and made durable.
    fn check_grant(&self, hello: &Hello) {
        let grant = &hello.grant;
        let Some(id) = &grant.device else { return };
        let record = self.sim.disk.devices.iter().find(|record| record.id == *id);
        if !self.sim.hub.current_status(self.sim.now).store_healthy {
            // A person's decision holds in memory until the store takes it.
            return;
        }
        let Some(record) = record else { panic!("{id} is let in and not on disk") };
        assert_eq!(record.state, DeviceState::Approved);
        assert_eq!(record.role, grant.role);
        // Nobody but an agent bears an agent's name, though a device keeps what it once had.
        let name = record.agent.as_ref().filter(|_| record.role == Role::Agent);
        assert_eq!(name, grant.agent.as_ref());
        assert!(record.scopes.contains(grant.scopes), "{id} got more than was approved");
    }

    /// Brings everything to rest: what is open then is answered.
    fn settle(&mut self) {
        self.sim.store_recovers();
        self.sim.store = StoreMode::Prompt;
        if self.sim.is_storing() {
            self.sim.stored();
        }
        self.observe();
        assert_eq!(self.connecting, BTreeSet::new(), "every connect is answered");
        assert_eq!(self.asked, BTreeSet::new(), "every request is answered");
        self.sim.input(Input::StopRequested { reason: "end".to_owned() });
        assert!(matches!(self.sim.log.last(), Some(Effect::Stopped)));
    }
}

#[test]
fn every_history_keeps_every_promise() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        world.check_uses();
    }
}

#[test]
fn the_same_history_gives_the_same_effects() {
    let transcript = |seed| {
        let mut world = World::new(seed);
        world.sim.show(&["Admit", "Refuse", "Respond", "Close", "Persist", "Log", "Pair"]);
        for _ in 0..STEPS {
            world.step();
        }
        world.sim.take()
    };
    assert_eq!(transcript(3), transcript(3));
    assert_ne!(transcript(3), transcript(4));
}
