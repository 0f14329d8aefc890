//! Every short history of two jobs of which one runs at a time: whatever their programs, the clocks,
//! the store and the gateway do, each occurrence runs once at most, never beside another of its
//! job, is on disk as started before that, ends once, and each stands in the history once; and what
//! is told of them is on disk.
//!
//! A step for which there is no occasion ends its branch, because the history without it is tried,
//! too.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::protocol::cron::{CronNews, CronRun, Missed, RunStatus, Trigger};
use openclaw_gateway::protocol::event::Event;

use super::running::program;
use super::*;
use crate::sim::StoreMode;

const EVERY_MS: u64 = 60_000;

/// After those that a history begins with.
const STEPS_MAX: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Minute,
    ProgramEnds,
    RunNow,
    Stored,
    StoreFails,
    StoreRecovers,
    Restart,
    /// What is with the store reaches the disk, and nobody hears of it.
    RestartAfterCommit,
    /// The gateway is away for a minute and a half.
    Down,
    ClockForward,
    ClockBack,
}

const STEPS: [Step; 11] = [
    Step::Minute,
    Step::ProgramEnds,
    Step::RunNow,
    Step::Stored,
    Step::StoreFails,
    Step::StoreRecovers,
    Step::Restart,
    Step::RestartAfterCommit,
    Step::Down,
    Step::ClockForward,
    Step::ClockBack,
];

struct World {
    sim: Sim,
    healthy: bool,
    /// Occurrences that have begun, of all lives.
    begun: BTreeSet<(JobId, u64)>,
    /// The run of each job that goes on.
    running: BTreeMap<JobId, u64>,
}

impl World {
    fn new(missed: Missed) -> Self {
        let mut sim = Sim::with(|policy| {
            policy.spawn.allowed_commands = vec!["p".to_owned()];
            policy.cron.concurrent_max = 1;
        });
        sim.settled().only(&[]);
        for name in ["one", "other"] {
            add(&mut sim, NewJob { missed: Some(missed), ..program(name, EVERY_MS / 1_000) });
        }
        sim.log.clear();
        sim.store = StoreMode::Held;
        Self { sim, healthy: true, begun: BTreeSet::new(), running: BTreeMap::new() }
    }

    /// Takes a step; false where there is no occasion for it.
    fn take(&mut self, step: Step) -> bool {
        self.sim.heard(1);
        match step {
            Step::Minute => drop(self.sim.run_secs(EVERY_MS / 1_000)),
            Step::ProgramEnds => {
                let Some(spawn) = self.sim.shell.living.keys().next().cloned() else {
                    return false;
                };
                let number = self.sim.shell.ids.iter().position(|id| *id == spawn).unwrap() + 1;
                self.sim.ends(number, 0);
            }
            Step::RunNow => run_now(&mut self.sim),
            Step::Stored if self.sim.is_storing() => drop(self.sim.stored()),
            Step::StoreFails if self.healthy && self.sim.is_storing() => {
                self.healthy = false;
                self.sim.store_fails();
            }
            Step::StoreRecovers if !self.healthy => {
                self.healthy = true;
                self.sim.store_recovers();
            }
            Step::Restart => self.restart(),
            Step::RestartAfterCommit if self.sim.is_storing() => {
                self.sim.reach_disk();
                self.restart();
            }
            Step::Down => {
                self.notice();
                self.sim.pass(Duration::from_secs(90));
                self.restart();
            }
            Step::ClockForward => drop(self.sim.set_clock(180_000).tick()),
            Step::ClockBack => drop(self.sim.set_clock(-90_000).tick()),
            _ => return false,
        }
        self.notice();
        true
    }

    fn restart(&mut self) {
        self.notice();
        self.healthy = true;
        self.running.clear();
        self.sim.shell.living.clear();
        self.sim.store = StoreMode::Prompt;
        self.sim.restart();
        connect_again(&mut self.sim);
        self.sim.store = StoreMode::Held;
    }

    fn notice(&mut self) {
        for effect in std::mem::take(&mut self.sim.log) {
            let Effect::Broadcast(Event::Cron(news)) = effect else { continue };
            match news.action {
                "started" => {
                    let mut on_disk = self.sim.disk.cron_runs.iter();
                    let run = on_disk
                        .find(|run| run.job == news.job && Some(run.number) == news.number)
                        .expect("it is on disk before it begins");
                    let before = self.running.insert(news.job.clone(), run.number);
                    assert_eq!(before, None, "it runs beside itself");
                    assert!(self.running.len() <= 1, "more run than may");
                    if run.trigger != Trigger::Manual {
                        let is_new = self.begun.insert((news.job.clone(), run.occurrence_ms));
                        assert!(is_new, "an occurrence has begun twice");
                    }
                }
                "finished" => {
                    let before = self.running.remove(&news.job);
                    assert_eq!(before, news.number, "another run has ended");
                    self.check_told(&news);
                }
                "skipped" | "missed" => self.check_told(&news),
                _ => {}
            }
        }
    }

    /// What is told of a run is on disk, so that a restart does not tell something else.
    fn check_told(&self, news: &CronNews) {
        let mut on_disk = self.sim.disk.cron_runs.iter();
        let run = on_disk.find(|run| run.job == news.job && Some(run.number) == news.number);
        let status = run.map(|run| run.status);
        assert!(!self.healthy || status == news.status, "{status:?} is on disk, told: {news:?}");
    }

    /// Everything comes to its end: the store takes what there is, and programs end.
    fn settle(&mut self) {
        self.take(Step::StoreRecovers);
        while self.take(Step::Stored) || self.take(Step::ProgramEnds) {}
        assert_eq!(self.running, BTreeMap::new(), "an end is missing");
        for job in &self.sim.disk.cron_jobs {
            self.check_history(&job.id);
        }
    }

    /// What is on disk tells of each occurrence once.
    fn check_history(&self, job: &JobId) {
        let of_job = |run: &&CronRun| run.job == *job;
        let mut told = BTreeSet::new();
        for run in self.sim.disk.cron_runs.iter().filter(of_job) {
            assert_ne!(run.status, RunStatus::Running, "it goes on for ever");
            if run.trigger == Trigger::Manual {
                continue;
            }
            let occurrences = (run.occurrence_ms..=run.last_occurrence_ms).step_by(60_000);
            let before = told.len();
            told.extend(occurrences.clone());
            assert_eq!(told.len() - before, occurrences.count(), "told twice: {}", self.shown(job));
            assert_eq!(run.count, (told.len() - before) as u64, "miscounted: {}", self.shown(job));
        }
        let Some((first, last)) = told.first().zip(told.last()) else { return };
        assert_eq!(*first, START_MS + EVERY_MS, "the first is missing: {}", self.shown(job));
        let all = (last - first) / EVERY_MS + 1;
        assert_eq!(told.len() as u64, all, "one is missing: {}", self.shown(job));
    }

    fn shown(&self, job: &JobId) -> String {
        let runs = self.sim.disk.cron_runs.iter().filter(|run| run.job == *job);
        let line = |run: &CronRun| {
            let at = |ms: u64| (ms - START_MS) / 1_000;
            let (first, last) = (at(run.occurrence_ms), at(run.last_occurrence_ms));
            format!("#{} {} {first}..{last} x{}", run.number, run.status.as_str(), run.count)
        };
        runs.map(line).collect::<Vec<_>>().join(", ")
    }
}

fn play(missed: Missed, history: &[Step]) -> Option<World> {
    let mut world = World::new(missed);
    history.iter().all(|step| world.take(*step)).then_some(world)
}

fn explore(missed: Missed, history: &mut Vec<Step>, steps_left: usize, tried: &mut usize) {
    let shown = history.clone();
    let played = std::panic::catch_unwind(|| play(missed, &shown).map(|mut one| one.settle()));
    match played {
        Ok(Some(())) => *tried += 1,
        Ok(None) => return,
        Err(panic) => {
            eprintln!("{missed:?}: history {history:?}");
            std::panic::resume_unwind(panic);
        }
    }
    if let Some(steps_left) = steps_left.checked_sub(1) {
        for step in STEPS {
            history.push(step);
            explore(missed, history, steps_left, tried);
            history.pop();
        }
    }
}

#[track_caller]
fn check_all(missed: Missed) {
    use Step::{Minute, Stored};
    let mut tried = 0;
    // Before anything is on disk, with a program that runs, and with one that waits for long.
    explore(missed, &mut vec![Minute], STEPS_MAX, &mut tried);
    explore(missed, &mut vec![Minute, Stored], STEPS_MAX, &mut tried);
    explore(missed, &mut vec![Minute, Stored, Stored, Minute], STEPS_MAX, &mut tried);
    assert!(tried > 1_000, "only {tried} histories");
}

#[test]
fn every_occurrence_runs_once_or_is_skipped_or_missed_in_every_short_history() {
    check_all(Missed::Skip);
}

#[test]
fn every_occurrence_runs_once_or_is_made_up_for_in_every_short_history() {
    check_all(Missed::RunOnce);
}
