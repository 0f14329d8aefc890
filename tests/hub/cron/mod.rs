//! The schedule: every occurrence runs once or stands in the history, whatever happens.

mod clocks;
mod histories;
mod jobs;
mod misses;
mod removals;
mod running;

use std::sync::Arc;
use std::time::Duration;

use expect_test::Expect;
use openclaw_gateway::base::ids::{AgentName, JobId};
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::hub::policy::Policy;
use openclaw_gateway::protocol::cron::{CronList, CronPayload, CronRequest, JobPatch, NewJob};
use openclaw_gateway::protocol::request::Request;
use openclaw_gateway::protocol::schedule::{Expression, Schedule, Zone};

use crate::sim::Sim;

/// Where the simulated wall clock begins.
const START_MS: u64 = 1_795_000_000_000;

/// A story after an operator (connection 1) has connected.
#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    check_with(|_| {}, story, expected);
}

#[track_caller]
fn check_with(adjust: impl FnOnce(&mut Policy), story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(adjust);
    sim.settled();
    sim.only(&["Respond", "Cron", "Published", "Log"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

pub(crate) fn every(seconds: u64) -> Schedule {
    Schedule::Every { every_ms: seconds * 1_000, anchor_ms: None }
}

fn cron(expr: &str, zone: &str) -> Schedule {
    let expression = Box::new(Expression::parse(expr).unwrap());
    Schedule::Cron { expression, zone: Some(Zone::find(zone).unwrap()) }
}

pub(crate) fn job(name: &str, schedule: Schedule) -> NewJob {
    NewJob {
        name: Arc::from(name),
        description: None,
        enabled: true,
        delete_after_run: false,
        schedule,
        payload: CronPayload::SystemEvent { text: Arc::from("hello") },
        missed: None,
        idempotency: None,
    }
}

pub(crate) fn add(sim: &mut Sim, job: NewJob) {
    sim.request(1, Request::Cron(CronRequest::Add(Box::new(job))));
}

/// The id of the job that was added first.
fn first(sim: &Sim) -> JobId {
    sim.disk.cron_jobs.first().expect("there is a job").id.clone()
}

fn runs(sim: &mut Sim) {
    let job = first(sim);
    sim.request(1, Request::Cron(CronRequest::Runs { job, limit: 50 }));
}

fn list(sim: &mut Sim) {
    let list = CronList { include_disabled: true, limit: 100, offset: 0 };
    sim.request(1, Request::Cron(CronRequest::List(list)));
}

fn run_now(sim: &mut Sim) {
    let job = first(sim);
    sim.request(1, Request::Cron(CronRequest::Run { job, only_if_due: false, idempotency: None }));
}

fn update(sim: &mut Sim, patch: JobPatch) {
    let job = first(sim);
    sim.request(1, Request::Cron(CronRequest::Update(job, Box::new(patch))));
}

/// The operator was silent for too long, or the gateway was started again.
fn connect_again(sim: &mut Sim) {
    sim.closed(1).connect(1, crate::peers::operator().device("desk"));
}

impl Sim {
    /// Both clocks go on, and the hub hears nothing.
    pub(crate) fn pass(&mut self, duration: Duration) -> &mut Self {
        self.now = self.now.after(duration);
        self
    }

    /// The wall clock is set, by so many milliseconds.
    pub(crate) fn set_clock(&mut self, by_ms: i64) -> &mut Self {
        self.now.unix_ms = self.now.unix_ms.saturating_add_signed(by_ms);
        self
    }

    pub(crate) fn tick(&mut self) -> &mut Self {
        self.input(Input::Tick)
    }
}
