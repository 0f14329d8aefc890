//! Every short history of one run, of an agent that is there and of one that is started from its
//! template: whatever the agent, its program, its asker, the store and the gateway do, a run that
//! was accepted ends exactly once, no program is started twice for it, and each request for it is
//! answered as promised.
//!
//! A step for which there is no occasion (nothing is being stored, nobody is connected) ends its
//! branch, because the history without it is tried, too.

use std::collections::BTreeSet;
use std::time::Duration;

use openclaw_gateway::base::ids::{AgentName, ConnId, RequestId};
use openclaw_gateway::hub::child::ChildOrder;
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::protocol::event::Event;
use openclaw_gateway::protocol::reply::Reply;
use openclaw_gateway::protocol::run::RunState;
use openclaw_gateway::protocol::run_calls::RunReply;

use crate::peers::{agent, operator};
use crate::run_spawns::template;
use crate::runs::{abort, call, update, wait};
use crate::sim::{Sim, StoreMode};

/// After the first ones, which ask.
const STEPS_MAX: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ask,
    Say,
    Finish,
    Fail,
    Abort,
    AgentLeaves,
    AgentComes,
    /// The program that was started for it exits with 0, or with 1.
    ProgramEnds,
    ProgramFails,
    Stored,
    StoreFails,
    StoreRecovers,
    FiveSeconds,
    Restart,
}

const STEPS: [Step; 14] = [
    Step::Ask,
    Step::Say,
    Step::Finish,
    Step::Fail,
    Step::Abort,
    Step::AgentLeaves,
    Step::AgentComes,
    Step::ProgramEnds,
    Step::ProgramFails,
    Step::Stored,
    Step::StoreFails,
    Step::StoreRecovers,
    Step::FiveSeconds,
    Step::Restart,
];

struct World {
    sim: Sim,
    conns: u64,
    operator: u64,
    agent: Option<u64>,
    healthy: bool,
    /// Requests that were accepted and wait for their second answer.
    accepted: BTreeSet<(ConnId, RequestId)>,
    was_accepted: bool,
    endings: usize,
    programs: usize,
}

impl World {
    /// With the agent connected, or with its template.
    fn new(from_template: bool) -> Self {
        let mut sim = Sim::with(|policy| {
            if from_template {
                policy.spawn.templates.insert(AgentName::new("a1"), template());
            }
        });
        sim.settled().only(&[]);
        if from_template {
            sim.closed(2);
        }
        sim.log.clear();
        sim.store = StoreMode::Held;
        Self {
            sim,
            conns: 2,
            operator: 1,
            agent: (!from_template).then_some(2),
            healthy: true,
            accepted: BTreeSet::new(),
            was_accepted: false,
            endings: 0,
            programs: 0,
        }
    }

    /// Takes a step; false where there is no occasion for it.
    fn take(&mut self, step: Step) -> bool {
        match (step, self.agent) {
            (Step::Ask, _) => drop(self.sim.request(self.operator, call("k"))),
            (Step::Abort, _) => drop(self.sim.request(self.operator, abort("k"))),
            (Step::Say, Some(agent)) => {
                self.sim.request(agent, update("k", RunState::Delta, "a"));
            }
            (Step::Finish, Some(agent)) => {
                self.sim.request(agent, update("k", RunState::Final, "ab"));
            }
            (Step::Fail, Some(agent)) => {
                self.sim.request(agent, update("k", RunState::Error, "no"));
            }
            (Step::AgentLeaves, Some(agent)) => {
                self.sim.closed(agent);
                self.agent = None;
            }
            (Step::AgentComes, None) if self.healthy && !self.sim.is_storing() => {
                self.promptly(|sim, conn| {
                    sim.connect(conn, agent("a1"));
                });
                self.agent = Some(self.conns);
            }
            (Step::ProgramEnds, _) => return self.program_ends(0),
            (Step::ProgramFails, _) => return self.program_ends(1),
            (Step::Stored, _) if self.sim.is_storing() => drop(self.sim.stored()),
            (Step::StoreFails, _) if self.healthy && self.sim.is_storing() => {
                self.sim.store_fails();
                self.healthy = false;
            }
            (Step::StoreRecovers, _) if !self.healthy => {
                self.sim.store_recovers();
                self.healthy = true;
            }
            (Step::FiveSeconds, _) => drop(self.sim.run_for(Duration::from_secs(5))),
            (Step::Restart, _) => {
                self.notice();
                self.sim.store = StoreMode::Prompt;
                self.sim.shell.living.clear();
                self.sim.restart();
                self.promptly(|sim, conn| {
                    sim.connect(conn, operator().device("desk"));
                });
                self.operator = self.conns;
                self.promptly(|sim, conn| {
                    sim.connect(conn, agent("a1"));
                });
                self.agent = Some(self.conns);
                self.healthy = true;
                // Nobody is left who could hear these answers, and what was open has ended.
                self.accepted.clear();
                self.endings = usize::from(self.was_accepted);
            }
            _ => return false,
        }
        self.notice();
        true
    }

    fn program_ends(&mut self, code: i32) -> bool {
        let Some(spawn) = self.sim.shell.living.keys().next().cloned() else { return false };
        let number = self.sim.shell.ids.iter().position(|id| *id == spawn).unwrap() + 1;
        self.sim.ends(number, code);
        self.notice();
        true
    }

    /// Lets somebody connect, for whom the store is prompt.
    fn promptly(&mut self, connect: impl FnOnce(&mut Sim, u64)) {
        self.conns += 1;
        self.sim.store = StoreMode::Prompt;
        connect(&mut self.sim, self.conns);
        self.sim.store = StoreMode::Held;
    }

    fn notice(&mut self) {
        for effect in std::mem::take(&mut self.sim.log) {
            match effect {
                Effect::Respond { conn, id, result: Ok(Reply::Runs(reply)) } => {
                    if let RunReply::Accepted { .. } = *reply {
                        self.was_accepted = true;
                        assert!(self.accepted.insert((conn, id)), "accepted twice");
                    }
                }
                Effect::RespondAgain { conn, id, .. } => {
                    assert!(self.endings > 0, "told of an end that was none");
                    assert!(self.accepted.remove(&(conn, id)), "answered once too often");
                }
                Effect::Broadcast(Event::Chat(update)) if update.state != RunState::Delta => {
                    assert!(self.was_accepted, "ended before it was accepted");
                    self.endings += 1;
                    assert_eq!(self.endings, 1, "a second ending");
                }
                Effect::Child(order) if matches!(*order, ChildOrder::Launch(_)) => {
                    self.programs += 1;
                    assert_eq!(self.programs, 1, "a second program");
                }
                _ => {}
            }
        }
    }

    /// Everything comes to its end: the store takes what there is, and the agent leaves.
    fn settle(&mut self) {
        self.take(Step::StoreRecovers);
        while self.take(Step::Stored) {}
        self.take(Step::AgentLeaves);
        while self.take(Step::ProgramEnds) || self.take(Step::Stored) {}
        assert_eq!(self.endings, usize::from(self.was_accepted), "an ending is missing");
        assert_eq!(self.accepted, BTreeSet::new(), "a second answer is missing");
        if self.was_accepted {
            self.sim.request(self.operator, wait("k", 0));
            let ended = self.sim.log.iter().any(|effect| match effect {
                Effect::Respond { result: Ok(Reply::Runs(reply)), .. } => {
                    matches!(**reply, RunReply::Waited(_))
                }
                _ => false,
            });
            assert!(ended, "it cannot be asked for");
        }
    }
}

fn play(from_template: bool, history: &[Step]) -> Option<World> {
    let mut world = World::new(from_template);
    history.iter().all(|step| world.take(*step)).then_some(world)
}

fn explore(from_template: bool, history: &mut Vec<Step>, steps_left: usize, tried: &mut usize) {
    let shown = history.clone();
    let played = std::panic::catch_unwind(|| {
        play(from_template, &shown).map(|mut world| {
            world.settle();
        })
    });
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
            explore(from_template, history, steps_left, tried);
            history.pop();
        }
    }
}

/// Every history that begins with one of these.
#[track_caller]
fn check_all(from_template: bool, beginnings: &[&[Step]]) {
    let mut tried = 0;
    for beginning in beginnings {
        explore(from_template, &mut beginning.to_vec(), STEPS_MAX, &mut tried);
    }
    assert!(tried > 1_000, "only {tried} histories");
}

#[test]
fn every_run_that_is_accepted_ends_once_in_every_short_history() {
    check_all(false, &[&[Step::Ask], &[Step::Ask, Step::Stored]]);
}

#[test]
fn every_run_of_a_template_that_is_accepted_ends_once_in_every_short_history() {
    // With the last of these the program runs.
    let running = [Step::Ask, Step::Stored, Step::Stored];
    check_all(true, &[&running[..1], &running[..2], &running]);
}
