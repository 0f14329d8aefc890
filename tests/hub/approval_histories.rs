//! Every short history of one request for approval: whatever its agent, the approver, the clock, the
//! store and the gateway do, it is decided once, whoever waits is answered once, and a decision
//! that was told is never another one later, also after a restart. Likewise what is always
//! allowed, once that was answered.
//!
//! A step for which there is no occasion ends its branch, because the history without it is tried,
//! too. A decision that is told while the store takes no writes may be lost with the gateway: the
//! documents say so, and so does `in_doubt`.

use std::collections::BTreeSet;
use std::time::Duration;

use openclaw_gateway::base::ids::{AllowedId, ConnId, RequestId};
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::protocol::approvals::{ApprovalAsk, ApprovalReply, Decision};
use openclaw_gateway::protocol::event::Event;
use openclaw_gateway::protocol::reply::Reply;
use openclaw_gateway::protocol::request::Request;

use crate::approvals::{asked, list, remove, request, resolve, wait};
use crate::peers::{Peer, agent, operator};
use crate::sim::{Sim, StoreMode};

/// After the first ones, which ask.
const STEPS_MAX: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ask,
    Wait,
    /// The same command under another id: answered at once if it is always allowed.
    AskAnew,
    Decide(Decision),
    Withdraw,
    AgentLeaves,
    AgentComes,
    Stored,
    StoreFails,
    StoreRecovers,
    TimeOver,
    Restart,
    /// What is with the store reaches the disk, and nobody hears of it.
    RestartAfterCommit,
}

const STEPS: [Step; 15] = [
    Step::Ask,
    Step::Wait,
    Step::AskAnew,
    Step::Decide(Decision::AllowOnce),
    Step::Decide(Decision::AllowAlways),
    Step::Decide(Decision::Deny),
    Step::Withdraw,
    Step::AgentLeaves,
    Step::AgentComes,
    Step::Stored,
    Step::StoreFails,
    Step::StoreRecovers,
    Step::TimeOver,
    Step::Restart,
    Step::RestartAfterCommit,
];

struct World {
    sim: Sim,
    conns: u64,
    operator: u64,
    agent: Option<u64>,
    healthy: bool,
    /// Whether what was told may not be on disk.
    in_doubt: bool,
    /// How many requests under another id there were.
    others: usize,
    /// Requests that are to be answered.
    waiting: BTreeSet<(ConnId, RequestId)>,
    /// Those of them that change what is always allowed.
    changing: BTreeSet<RequestId>,
    /// What was told of the request, since it is known.
    told: Option<Decision>,
    /// Whether it was announced and its decision was not.
    open: bool,
    /// Whether the command is always allowed; `None`: the gateway was killed before it said so.
    always: Option<bool>,
}

impl World {
    fn new() -> Self {
        let mut sim = Sim::new();
        sim.settled().only(&[]);
        sim.log.clear();
        sim.store = StoreMode::Held;
        Self {
            sim,
            conns: 2,
            operator: 1,
            agent: Some(2),
            healthy: true,
            in_doubt: false,
            others: 0,
            waiting: BTreeSet::new(),
            changing: BTreeSet::new(),
            told: None,
            open: false,
            always: Some(false),
        }
    }

    /// Takes a step; false where there is no occasion for it.
    fn take(&mut self, step: Step) -> bool {
        match (step, self.agent) {
            (Step::Ask, Some(agent)) => self.ask(agent, "x"),
            (Step::AskAnew, Some(agent)) => {
                self.others += 1;
                let id = format!("y{}", self.others);
                self.ask(agent, &id);
            }
            (Step::Wait, Some(agent)) => drop(self.request(agent, wait("x"))),
            (Step::Decide(decision), _) => {
                let allows = decision == Decision::AllowAlways && self.open;
                let id = self.request(self.operator, resolve("x", decision));
                if allows {
                    self.always = Some(true);
                    self.changing.insert(id);
                }
            }
            (Step::Withdraw, _) => {
                self.request(self.operator, list());
                let Some(allowed) = self.sim.log.iter().find_map(first_allowed) else {
                    return false;
                };
                let id = self.request(self.operator, remove(&allowed));
                self.always = Some(false);
                self.changing.insert(id);
            }
            (Step::AgentLeaves, Some(agent)) => {
                self.sim.closed(agent);
                self.agent = None;
                self.waiting.retain(|(conn, _)| *conn != ConnId(agent));
            }
            (Step::AgentComes, None) if self.healthy && !self.sim.is_storing() => {
                self.agent = Some(self.promptly(agent("a1")));
            }
            (Step::Stored, _) if self.sim.is_storing() => {
                self.sim.stored();
                self.in_doubt &= self.sim.is_storing() || !self.healthy;
            }
            (Step::StoreFails, _) if self.healthy && self.sim.is_storing() => {
                self.healthy = false;
                self.in_doubt = true;
                self.sim.store_fails();
            }
            (Step::StoreRecovers, _) if !self.healthy => {
                self.healthy = true;
                self.sim.store_recovers();
            }
            (Step::TimeOver, _) => drop(self.sim.run_for(Duration::from_secs(5))),
            (Step::Restart, _) => self.restart(),
            (Step::RestartAfterCommit, _) if self.sim.is_storing() => {
                self.sim.reach_disk();
                self.restart();
            }
            _ => return false,
        }
        self.notice();
        true
    }

    fn request(&mut self, conn: u64, request: Request) -> RequestId {
        let id = RequestId::new(format!("r{}", self.sim.requests + 1));
        self.waiting.insert((ConnId(conn), id.clone()));
        self.sim.request(conn, request);
        id
    }

    fn ask(&mut self, agent: u64, id: &str) {
        let timeout = Some(Duration::from_secs(5));
        self.request(agent, request(ApprovalAsk { timeout, ..asked(id, "make", None) }));
        if id == "x" {
            return;
        }
        let was_announced = self.sim.log.iter().any(|effect| match effect {
            Effect::Broadcast(Event::ApprovalRequested(one)) => one.id.as_str() == id,
            _ => false,
        });
        let was_allowed = self.sim.log.iter().filter_map(decided).any(|(of, _)| of == id);
        assert!(!(was_announced && self.always == Some(true)), "always allowed, and asked for");
        assert!(!(was_allowed && self.always == Some(false)), "allowed although it never was");
    }

    fn restart(&mut self) {
        self.notice();
        self.sim.store = StoreMode::Prompt;
        self.sim.restart();
        if self.in_doubt || !self.changing.is_empty() {
            self.always = None;
        }
        if std::mem::take(&mut self.in_doubt) {
            self.told = None;
        }
        self.healthy = true;
        self.open = false;
        self.waiting.clear();
        self.changing.clear();
        self.operator = self.promptly(operator().device("desk"));
        self.agent = Some(self.promptly(agent("a1")));
    }

    /// Lets somebody connect, for whom the store is prompt.
    fn promptly(&mut self, peer: Peer) -> u64 {
        self.conns += 1;
        self.sim.store = StoreMode::Prompt;
        self.sim.connect(self.conns, peer);
        self.sim.store = StoreMode::Held;
        self.conns
    }

    fn notice(&mut self) {
        for effect in std::mem::take(&mut self.sim.log) {
            if let Some((id, decision)) = decided(&effect)
                && id == "x"
            {
                assert_eq!(*self.told.get_or_insert(decision), decision, "two decisions");
                assert!(!self.open, "told before it was decided");
            }
            match effect {
                Effect::Broadcast(Event::ApprovalRequested(one)) if one.id.as_str() == "x" => {
                    assert!(!self.open, "announced twice");
                    assert_eq!(self.told, None, "asked again although it was decided");
                    self.open = true;
                }
                Effect::Broadcast(Event::ApprovalResolved(one)) if one.id.as_str() == "x" => {
                    assert!(self.open, "decided twice");
                    self.open = false;
                }
                Effect::Respond { conn, id, result } if self.is_here(conn) => {
                    if result.is_ok() {
                        self.changing.remove(&id);
                    }
                    assert!(self.waiting.remove(&(conn, id)), "answered once too often");
                }
                _ => {}
            }
        }
    }

    fn is_here(&self, conn: ConnId) -> bool {
        conn == ConnId(self.operator) || self.agent.map(ConnId) == Some(conn)
    }

    /// Everything comes to its end: the store takes what there is, and the time is over.
    fn settle(&mut self) {
        self.take(Step::StoreRecovers);
        while self.take(Step::Stored) {}
        self.take(Step::TimeOver);
        while self.take(Step::Stored) {}
        assert!(!self.open, "a decision is missing");
        assert_eq!(self.waiting, BTreeSet::new(), "an answer is missing");
    }
}

/// The request about whose decision somebody is told, and the decision.
fn decided(effect: &Effect) -> Option<(&str, Decision)> {
    let Effect::Respond { result: Ok(Reply::Approvals(reply)), .. } = effect else { return None };
    let ApprovalReply::Decided(one) = &**reply else { return None };
    Some((one.id.as_str(), one.resolution.as_ref().expect("it was decided").decision))
}

fn first_allowed(effect: &Effect) -> Option<AllowedId> {
    let Effect::Respond { result: Ok(Reply::Approvals(reply)), .. } = effect else { return None };
    let ApprovalReply::List { allowed, .. } = &**reply else { return None };
    allowed.first().map(|command| command.id.clone())
}

fn play(history: &[Step]) -> Option<World> {
    let mut world = World::new();
    history.iter().all(|step| world.take(*step)).then_some(world)
}

fn explore(history: &mut Vec<Step>, steps_left: usize, tried: &mut usize) {
    let shown = history.clone();
    let played = std::panic::catch_unwind(|| play(&shown).map(|mut world| world.settle()));
    match played {
        Ok(Some(())) => *tried += 1,
        Ok(None) => return,
        Err(panic) => {
            eprintln!("history {history:?}");
            std::panic::resume_unwind(panic);
        }
    }
    if let Some(steps_left) = steps_left.checked_sub(1) {
        for step in STEPS {
            history.push(step);
            explore(history, steps_left, tried);
            history.pop();
        }
    }
}

#[test]
fn every_request_is_decided_once_in_every_short_history() {
    let mut tried = 0;
    explore(&mut vec![Step::Ask], STEPS_MAX, &mut tried);
    explore(&mut vec![Step::Ask, Step::Stored], STEPS_MAX, &mut tried);
    assert!(tried > 1_000, "only {tried} histories");
}
