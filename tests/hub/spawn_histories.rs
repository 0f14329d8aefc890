//! All short histories of spawns, over a small alphabet: whatever happens in whichever order, each
//! spawn has exactly one terminal event, the last that is heard of it, and each request exactly
//! one answer, before the first event.
//!
//! What can happen next follows from what was ordered: news come only from processes that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openclaw_gateway::base::ids::SpawnId;
use openclaw_gateway::hub::child::{ChildNews, ChildOrder, Exit, Signal};
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::protocol::event::Event;
use openclaw_gateway::protocol::reply::Reply;
use openclaw_gateway::protocol::spawn::SpawnReply;

use crate::peers::operator;
use crate::shell::{ask, held, resolved};
use crate::sim::{Sim, StoreMode};

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ask,
    /// What the shell can tell of this spawn, by its number in the list of what it can.
    News(usize, usize),
    Cancel(usize),
    /// The next deadline of the hub.
    Wait,
    Stored,
    StoreFails,
    StoreRecovers,
    /// The gateway is killed and started again.
    Restart,
    /// The same, after the commit in flight has reached the disk and before anybody hears of it.
    RestartUnheard,
    Stop,
}

/// A process, as the shell has it.
#[derive(Clone, Debug, Default)]
struct Process {
    asked: Vec<&'static str>,
    lives: bool,
    runs: bool,
    output_open: bool,
    leftovers: bool,
    killed: bool,
}

struct World {
    sim: Sim,
    processes: BTreeMap<SpawnId, Process>,
    order: Vec<SpawnId>,
    failing: bool,
    stopping: bool,
    restarted: bool,
    asked: usize,
    /// What was heard of each spawn.
    events: BTreeMap<SpawnId, Vec<String>>,
    /// Requests that started spawns, and how often each was answered.
    answers: BTreeMap<String, usize>,
    earlier: BTreeSet<SpawnId>,
    /// Those whose end was told while the store failed, and may not be on disk.
    told_early: BTreeSet<SpawnId>,
}

impl World {
    fn new(store: StoreMode) -> Self {
        let mut sim = Sim::with(|policy| {
            policy.spawn.allowed_commands = vec!["p".to_owned()];
            policy.spawn.concurrent_max = 1;
            policy.spawn.queued_max = 1;
            policy.spawn.timeout = Duration::from_secs(2);
            policy.spawn.grace = Duration::from_secs(1);
        });
        sim.settled().only(&[]);
        sim.shell.held = true;
        sim.store = store;
        sim.log.clear();
        Self {
            sim,
            processes: BTreeMap::new(),
            order: Vec::new(),
            failing: false,
            stopping: false,
            restarted: false,
            asked: 0,
            events: BTreeMap::new(),
            answers: BTreeMap::new(),
            earlier: BTreeSet::new(),
            told_early: BTreeSet::new(),
        }
    }

    /// What this process can make the shell tell now.
    fn possible(&self, id: &SpawnId) -> Vec<ChildNews> {
        let Some(process) = self.processes.get(id) else { return Vec::new() };
        let mut news = Vec::new();
        let exited = |code, leftovers| ChildNews::Exited {
            spawn: id.clone(),
            exit: if code == 9 { Exit::Signal(9) } else { Exit::Code(code) },
            leftovers,
        };
        for asked in &process.asked {
            match *asked {
                "resolve" => news.push(resolved(id)),
                "launch" => news.push(held(id, 7)),
                "go" => {
                    news.push(ChildNews::Started(id.clone()));
                    let error = "exec".to_owned();
                    news.push(ChildNews::StartFailed { spawn: id.clone(), error });
                }
                "leftovers" => news.push(ChildNews::LeftoversEnded(id.clone())),
                "earlier" => {
                    news.extend([true, false].map(|was_running| ChildNews::EarlierEnded {
                        spawn: id.clone(),
                        was_running,
                    }))
                }
                _ => {}
            }
        }
        if process.lives && !process.asked.contains(&"launch") {
            // A launcher that was told to go or to go away, or a program.
            if process.runs && !process.killed {
                news.push(exited(0, true));
            }
            news.push(exited(9, false));
        }
        if process.runs && process.output_open {
            news.push(self.sim.printed(id, &["line"]));
            news.push(ChildNews::OutputEnded(id.clone()));
        }
        news
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.asked < 2 {
            steps.push(Step::Ask);
        }
        for (number, id) in self.order.iter().enumerate() {
            steps.extend((0..self.possible(id).len()).map(|news| Step::News(number, news)));
            let has_ended = self.events.get(id).is_some_and(|events| is_over(events));
            if !has_ended && !self.stopping {
                steps.push(Step::Cancel(number));
            }
        }
        if !self.order.is_empty() {
            if self.asked > 0 && !self.failing && self.sim.is_storing() {
                steps.extend([Step::Stored, Step::StoreFails]);
            }
            if self.failing {
                steps.push(Step::StoreRecovers);
            }
            steps.push(Step::Wait);
            if !self.restarted {
                steps.push(Step::Restart);
                if self.sim.is_storing() {
                    steps.push(Step::RestartUnheard);
                }
            }
            if !self.stopping {
                steps.push(Step::Stop);
            }
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask => {
                self.asked += 1;
                self.sim.spawn(1, ask("p"));
            }
            Step::News(number, news) => {
                let id = self.order[number].clone();
                let news = self.possible(&id).swap_remove(news);
                self.tell(&id, news);
            }
            Step::Cancel(number) => {
                let id = self.order[number].to_string();
                self.sim.cancel(1, &id);
            }
            Step::Wait => {
                if let Some(deadline) = self.sim.hub.next_deadline() {
                    let left = deadline.saturating_duration_since(self.sim.now.at);
                    self.sim.heard(1).run_for(left);
                }
            }
            Step::Stored => {
                self.sim.stored();
            }
            Step::StoreFails => {
                self.failing = true;
                self.sim.store_fails();
            }
            Step::StoreRecovers => {
                self.failing = false;
                self.sim.store_recovers();
            }
            Step::Restart => self.restart(),
            Step::RestartUnheard => {
                self.sim.reach_disk();
                self.restart();
            }
            Step::Stop => {
                self.stopping = true;
                self.sim.input(Input::StopRequested { reason: "stop".to_owned() });
            }
        }
        self.notice();
    }

    fn restart(&mut self) {
        (self.restarted, self.stopping, self.failing) = (true, false, false);
        self.processes.clear();
        for record in self.sim.disk.spawns.iter().filter(|record| !record.status.is_terminal()) {
            // What no disk took cannot be remembered.
            if self.told_early.contains(&record.id) {
                self.events.remove(&record.id);
            }
        }
        // So that the operator is back at once.
        let store = std::mem::replace(&mut self.sim.store, StoreMode::Prompt);
        self.sim.restart();
        self.notice();
        // Who was not answered was on a connection that is gone.
        self.answers.clear();
        self.sim.connect(1, operator().device("desk"));
        self.sim.store = store;
    }

    fn tell(&mut self, id: &SpawnId, news: ChildNews) {
        let process = self.processes.get_mut(id).expect("news come from a process");
        match &news {
            ChildNews::Resolved { .. } => process.asked.retain(|asked| *asked != "resolve"),
            ChildNews::Held { .. } => process.asked.retain(|asked| *asked != "launch"),
            ChildNews::Started(_) => {
                process.asked.retain(|asked| *asked != "go");
                process.runs = true;
            }
            ChildNews::StartFailed { .. } => *process = Process::default(),
            ChildNews::Exited { leftovers, .. } => {
                process.asked.retain(|asked| *asked != "go");
                process.lives = false;
                process.leftovers = *leftovers;
            }
            ChildNews::OutputEnded(_) => process.output_open = false,
            ChildNews::LeftoversEnded(_) => {
                process.asked.retain(|asked| *asked != "leftovers");
                process.leftovers = false;
            }
            ChildNews::EarlierEnded { .. } => *process = Process::default(),
            ChildNews::Output { .. } => {}
        }
        self.sim.news(news);
    }

    /// Learns from the effects.
    fn notice(&mut self) {
        for effect in std::mem::take(&mut self.sim.log) {
            match effect {
                Effect::Child(order) => self.ordered(&order),
                Effect::Broadcast(Event::SpawnResult(shown)) => {
                    if !self.order.contains(&shown.spawn) {
                        // Refused before it was let in.
                        self.order.push(shown.spawn.clone());
                    }
                    let asked = shown.request.to_string();
                    assert!(
                        self.restarted || self.stopping || self.answers.get(&asked) == Some(&1),
                        "an event before the answer"
                    );
                    let events = self.events.entry(shown.spawn.clone()).or_default();
                    assert!(!is_over(events), "{} after the end of {events:?}", shown.status);
                    events.push(shown.status.to_string());
                    let ended = is_over(events);
                    if ended && self.failing {
                        self.told_early.insert(shown.spawn.clone());
                    }
                    if let Some(process) = self.processes.get(&shown.spawn).filter(|_| ended) {
                        assert!(!process.lives, "an end while the process lives");
                        assert!(!process.leftovers, "an end while something is left");
                        assert!(
                            !(process.runs && process.output_open),
                            "an end before the last line"
                        );
                    }
                }
                Effect::Broadcast(Event::Log(record)) => {
                    let session = record.draft.session.as_ref().unwrap().to_string();
                    let id = session.strip_prefix("spawn:").unwrap();
                    let events = &self.events[&SpawnId::new(id)];
                    assert!(!is_over(events), "output after the end");
                }
                Effect::Respond { id, result, .. } => {
                    let is_spawn = match &result {
                        Ok(Reply::Spawn(reply)) => matches!(**reply, SpawnReply::Spawned(_)),
                        Ok(_) => false,
                        Err(error) => !error.message.contains("no such spawn"),
                    };
                    if is_spawn {
                        let answers = self.answers.entry(id.to_string()).or_default();
                        *answers += 1;
                        assert_eq!(*answers, 1, "{id} was answered twice");
                    }
                }
                _ => {}
            }
        }
    }

    fn ordered(&mut self, order: &ChildOrder) {
        let mut ask = |id: &SpawnId, what| {
            let process = self.processes.entry(id.clone()).or_default();
            process.asked.push(what);
        };
        match order {
            ChildOrder::Resolve(asked) => {
                ask(&asked.spawn, "resolve");
                self.order.push(asked.spawn.clone());
            }
            ChildOrder::Launch(launch) => {
                ask(&launch.spawn, "launch");
                let process = self.processes.entry(launch.spawn.clone()).or_default();
                (process.lives, process.output_open) = (true, true);
            }
            ChildOrder::Go(id) => ask(id, "go"),
            ChildOrder::EndLeftovers(id) => ask(id, "leftovers"),
            ChildOrder::Abandon(_) => {}
            ChildOrder::Signal { spawn, signal } => {
                let process = self.processes.get_mut(spawn).expect("a process to signal");
                assert!(process.lives, "no process is signalled after its end was told");
                process.killed |= *signal == Signal::Kill;
            }
            ChildOrder::CloseOutput(id) => {
                let process = self.processes.get_mut(id).expect("a pipe to close");
                assert!(process.output_open, "a pipe is closed once");
            }
            ChildOrder::EndEarlier(spawns) => {
                for (id, _) in spawns {
                    self.earlier.insert(id.clone());
                    ask(id, "earlier");
                }
            }
        }
    }

    /// Lets everything come to its end: the disk works, processes obey, time passes.
    fn finish(&mut self) {
        if self.failing {
            self.take(Step::StoreRecovers);
        }
        self.sim.store = StoreMode::Prompt;
        if self.sim.is_storing() {
            self.take(Step::Stored);
        }
        for _ in 0..40 {
            let told = self.order.iter().find_map(|id| {
                self.possible(id).into_iter().next_back().map(|news| (id.clone(), news))
            });
            match told {
                Some((id, news)) => self.tell(&id, news),
                None => {
                    let has_ended = self.order.iter().all(|id| self.has_ended(id));
                    self.take(Step::Wait);
                    if has_ended {
                        break;
                    }
                }
            }
            self.notice();
        }
    }

    /// What was not on disk when the gateway was killed has had its end with its asker.
    fn has_ended(&self, id: &SpawnId) -> bool {
        let was_forgotten = self.restarted && !self.earlier.contains(id);
        was_forgotten || self.events.get(id).is_some_and(|events| is_over(events))
    }

    fn check_ended(&self, history: &[Step]) {
        for id in &self.order {
            let events = self.events.get(id);
            assert!(self.has_ended(id), "{id} has not ended: {events:?} after {history:?}");
        }
        if !self.restarted && !self.stopping {
            for number in 0..self.asked {
                assert!(number < self.answers.len(), "unanswered after {history:?}");
            }
        }
    }
}

fn is_over(events: &[String]) -> bool {
    events.last().is_some_and(|last| last != "queued" && last != "running")
}

fn play(store: StoreMode, history: &[Step]) -> World {
    let mut world = World::new(store);
    for step in history {
        world.take(*step);
    }
    world
}

fn explore(store: StoreMode, history: &mut Vec<Step>, steps_left: usize, played: &mut usize) {
    let steps = play(store, history).steps();
    for step in steps {
        history.push(step);
        *played += 1;
        if steps_left > 1 {
            explore(store, history, steps_left - 1, played);
        } else {
            let mut world = play(store, history);
            world.finish();
            world.check_ended(history);
        }
        history.pop();
    }
}

#[test]
fn every_spawn_ends_once_whatever_the_disk_does() {
    let mut played = 0;
    explore(StoreMode::Held, &mut Vec::new(), 6, &mut played);
    assert!(played > 1_000, "only {played} histories");
}

/// One program runs, and another waits for its place.
const BUSY: [Step; 6] =
    [Step::Ask, Step::News(0, 0), Step::News(0, 0), Step::News(0, 0), Step::Ask, Step::News(1, 0)];

#[test]
fn every_spawn_ends_once_where_one_runs_and_another_waits() {
    let mut played = 0;
    explore(StoreMode::Prompt, &mut BUSY.to_vec(), 4, &mut played);
    assert!(played > 1_000, "only {played} histories");
}

#[test]
fn every_spawn_ends_once_across_restarts_and_stops() {
    let mut played = 0;
    explore(StoreMode::Prompt, &mut Vec::new(), 6, &mut played);
    assert!(played > 1_000, "only {played} histories");
}
