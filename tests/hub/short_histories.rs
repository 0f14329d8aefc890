//! Every short history of two devices and whoever may decide about them: nobody ever holds a scope
//! that was not approved, and what was revoked never gets in.
//!
//! What was approved is kept beside the hub, from what was asked and what was answered alone. A
//! step for which there is no occasion (nothing waits, nobody is connected) ends its branch,
//! because the history without it is tried, too.

use std::collections::BTreeMap;

use openclaw_gateway::base::ids::{ConnId, DeviceId, PairingId};
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::hub::policy::Registration;
use openclaw_gateway::protocol::devices::{DeviceRequest, TokenOf};
use openclaw_gateway::protocol::event::Event;
use openclaw_gateway::protocol::request::Request;
use openclaw_gateway::protocol::scope::ScopeSet;

use crate::peers::{Peer, operator, owner};
use crate::sim::Sim;

const STEPS_MAX: usize = 4;
const OWNER: u64 = 1;
const SMALL: ScopeSet = ScopeSet::READ.union(ScopeSet::PAIRING);
/// The keys of the two devices, and those that they turn up with later.
const KEYS: [[&str; 2]; 2] = [["a", "a-new"], ["b", "b-new"]];

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Owner,
    Itself,
    TheOther,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Connects with this key, asking for this.
    Connect {
        key: usize,
        scopes: ScopeSet,
    },
    /// Connects with the token that was given out last.
    ConnectByToken,
    /// Approves the request that was made last.
    Approve(By),
    Reject,
    Remove(By),
    Forget,
    Rotate(By),
    RevokeTokens,
}

const STEPS: [Step; 14] = [
    Step::Connect { key: 0, scopes: SMALL },
    Step::Connect { key: 0, scopes: ScopeSet::ADMIN },
    Step::Connect { key: 1, scopes: SMALL },
    Step::ConnectByToken,
    Step::Approve(By::Owner),
    Step::Approve(By::Itself),
    Step::Approve(By::TheOther),
    Step::Reject,
    Step::Remove(By::Owner),
    Step::Remove(By::TheOther),
    Step::Forget,
    Step::Rotate(By::Owner),
    Step::Rotate(By::Itself),
    Step::RevokeTokens,
];

/// What a device asked for and waits for.
#[derive(Clone, Debug)]
struct Asked {
    id: PairingId,
    key: &'static str,
    scopes: ScopeSet,
}

/// What is known of a device, from outside.
#[derive(Default)]
struct Known {
    asked: Option<Asked>,
    approved: Option<(&'static str, ScopeSet)>,
    revoked: Option<&'static str>,
    /// Given out, with the key that earned each.
    tokens: Vec<(String, &'static str)>,
}

struct Live {
    device: usize,
    key: &'static str,
    scopes: ScopeSet,
}

struct World {
    sim: Sim,
    conns: u64,
    devices: [Known; 2],
    live: BTreeMap<u64, Live>,
}

impl World {
    fn new() -> Self {
        let mut sim = Sim::with(|policy| policy.auth.registration = Registration::Manual);
        sim.only(&[]).connect(OWNER, owner());
        sim.log.clear();
        Self { sim, conns: OWNER, devices: Default::default(), live: BTreeMap::new() }
    }

    /// Takes a step; false where there is no occasion for it.
    fn take(&mut self, device: usize, step: Step) -> bool {
        match step {
            Step::Connect { key, scopes } => {
                let key = KEYS[device][key];
                let peer = operator().device_with_key(name(device), key).scopes(scopes);
                self.connect(device, key, scopes, peer);
                true
            }
            Step::ConnectByToken => {
                let Some((token, key)) = self.devices[device].tokens.last().cloned() else {
                    return false;
                };
                let peer = operator().root_token(&token).terse();
                self.connect(device, key, ScopeSet::ADMIN, peer);
                true
            }
            Step::Approve(by) => {
                let Some(asked) = self.devices[device].asked.clone() else { return false };
                self.decide(device, by, DeviceRequest::Approve(asked.id.clone()), |known, has| {
                    // Who approves has it, and is not the device that it is for.
                    assert!(by == By::Owner || has.contains(asked.scopes), "{by:?} gave {asked:?}");
                    if by == By::Itself {
                        let (_, had) = known.approved.expect("it is connected");
                        assert!(had.contains(asked.scopes), "it gave itself {asked:?}");
                    }
                    let before = known.approved.filter(|(key, _)| *key == asked.key);
                    let before = before.map_or(ScopeSet::NONE, |(_, scopes)| scopes);
                    known.approved = Some((asked.key, before.union(asked.scopes)));
                    known.asked = None;
                })
            }
            Step::Reject => {
                let Some(asked) = self.devices[device].asked.clone() else { return false };
                let reject = DeviceRequest::Reject(asked.id);
                self.decide(device, By::Owner, reject, |known, _| known.asked = None)
            }
            Step::Remove(by) => {
                let remove = DeviceRequest::Remove(DeviceId::new(name(device)));
                self.decide(device, by, remove, |known, _| {
                    known.revoked = known.approved.map(|(key, _)| key).or(known.revoked);
                    known.approved = None;
                })
            }
            Step::Forget => {
                let forget = DeviceRequest::Forget(DeviceId::new(name(device)));
                self.decide(device, By::Owner, forget, |known, _| {
                    known.revoked = None;
                    known.approved = None;
                })
            }
            Step::Rotate(by) => {
                self.decide(device, by, DeviceRequest::RotateToken(token_of(device)), |_, _| {})
            }
            Step::RevokeTokens => {
                let revoke = DeviceRequest::RevokeTokens(token_of(device));
                let taken = self.decide(device, By::Owner, revoke, |_, _| {});
                if taken {
                    self.devices[device].tokens.clear();
                }
                taken
            }
        }
    }

    fn connect(&mut self, device: usize, key: &'static str, scopes: ScopeSet, peer: Peer) {
        self.conns += 1;
        let conn = self.conns;
        // Everyone from an address of their own, so that no limit stands in for a rule.
        let place = KEYS.iter().flatten().position(|known| *known == key).unwrap();
        self.sim.connect(conn, peer.remote(&format!("203.0.113.{place}")));
        for effect in std::mem::take(&mut self.sim.log) {
            match effect {
                Effect::Admit(hello) => {
                    let known = &mut self.devices[device];
                    let token = hello.token.map(|issued| issued.token.expose().to_owned());
                    if token.as_ref() != known.tokens.last().map(|(last, _)| last) {
                        known.tokens.extend(token.map(|token| (token, key)));
                    }
                    let scopes = hello.grant.scopes;
                    self.live.insert(conn, Live { device, key, scopes });
                }
                Effect::Broadcast(Event::PairRequested(request)) => {
                    let id = PairingId::new(request["requestId"].as_str().unwrap());
                    self.devices[device].asked = Some(Asked { id, key, scopes });
                }
                other => self.notice(&other),
            }
        }
    }

    /// Lets somebody decide; `then` is what has happened if they were heard. They are told its
    /// own scopes. False where nobody is there to decide, or nothing to decide about.
    fn decide(
        &mut self,
        device: usize,
        by: By,
        ask: DeviceRequest,
        then: impl FnOnce(&mut Known, ScopeSet),
    ) -> bool {
        let whose = match by {
            By::Owner => None,
            By::Itself => Some(device),
            By::TheOther => Some(1 - device),
        };
        let (conn, has) = match whose {
            None => (OWNER, ScopeSet::ALL),
            Some(whose) => {
                let mut newest = self.live.iter().rev();
                let Some((conn, live)) = newest.find(|(_, live)| live.device == whose) else {
                    return false;
                };
                (*conn, live.scopes)
            }
        };
        self.sim.request(conn, Request::Devices(ask));
        let effects = std::mem::take(&mut self.sim.log);
        // Who cut itself off by what it did has done it.
        let heard = effects.iter().any(|effect| match effect {
            Effect::Respond { result, .. } => result.is_ok(),
            Effect::Close { conn: closed, .. } => *closed == ConnId(conn),
            _ => false,
        });
        for effect in &effects {
            self.notice(effect);
        }
        if heard {
            then(&mut self.devices[device], has);
        }
        heard || by != By::Owner
    }

    fn notice(&mut self, effect: &Effect) {
        if let Effect::Close { conn, .. } = effect {
            self.live.remove(&conn.0);
        }
    }

    /// What must hold of everyone who is connected.
    #[track_caller]
    fn check(&self, history: &[(usize, Step)]) {
        for live in self.live.values() {
            let known = &self.devices[live.device];
            let (key, scopes) = known.approved.unwrap_or_else(|| {
                panic!("{} is connected and not approved: {history:?}", name(live.device))
            });
            assert_eq!(key, live.key, "connected with another key: {history:?}");
            assert!(scopes.contains(live.scopes), "more than was approved: {history:?}");
            let is_revoked = self.devices.iter().any(|device| device.revoked == Some(live.key));
            assert!(!is_revoked, "a revoked key is connected: {history:?}");
        }
    }

    /// Everyone tries to get in with everything that they ever had.
    fn try_everything(&mut self, history: &[(usize, Step)]) {
        for device in 0..2 {
            for key in 0..2 {
                for scopes in [SMALL, ScopeSet::ADMIN] {
                    self.take(device, Step::Connect { key, scopes });
                    self.check(history);
                }
            }
            for (token, key) in self.devices[device].tokens.clone() {
                let peer = operator().root_token(&token).terse();
                self.connect(device, key, ScopeSet::ADMIN, peer);
                self.check(history);
            }
        }
    }
}

fn name(device: usize) -> &'static str {
    KEYS[device][0]
}

fn token_of(device: usize) -> TokenOf {
    TokenOf { device: DeviceId::new(name(device)), role: None }
}

/// Plays a history; false if there was no occasion for its last step.
fn play(history: &[(usize, Step)]) -> bool {
    let mut world = World::new();
    for (device, step) in history {
        if !world.take(*device, *step) {
            return false;
        }
        world.check(history);
    }
    // Trying it before the restart, too, is what the next longer histories do.
    world.sim.restart();
    world.sim.log.clear();
    world.live.clear();
    world.try_everything(history);
    true
}

/// How the first device came in, for the histories that begin where somebody is there.
const SETTLED: [(usize, Step); 3] = [
    (0, Step::Connect { key: 0, scopes: SMALL }),
    (0, Step::Approve(By::Owner)),
    (0, Step::Connect { key: 0, scopes: SMALL }),
];

fn explore(history: &mut Vec<(usize, Step)>, steps_left: usize, played: &mut usize) {
    // The devices are alike, so the first step may as well be the first one's.
    let devices = if history.is_empty() { 1 } else { 2 };
    for device in 0..devices {
        for step in STEPS {
            history.push((device, step));
            if play(history) {
                *played += 1;
                if steps_left > 1 {
                    explore(history, steps_left - 1, played);
                }
            }
            history.pop();
        }
    }
}

#[test]
fn no_short_history_gives_anybody_more_than_was_approved() {
    let mut played = 0;
    explore(&mut Vec::new(), STEPS_MAX, &mut played);
    assert!(played > 1_000, "only {played} histories had an occasion for every step");
}

#[test]
fn nor_does_one_that_begins_with_a_device_that_is_connected() {
    let mut played = 0;
    explore(&mut SETTLED.to_vec(), STEPS_MAX - 1, &mut played);
    assert!(played > 1_000, "only {played} histories had an occasion for every step");
}
