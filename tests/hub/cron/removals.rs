//! Jobs that are removed while something of them goes on: what is removed is not on disk again.

use expect_test::expect;

use super::running::program;
use super::*;
use crate::sim::StoreMode;

/// A story with programs, in which so many runs may go on, after one or two jobs were added.
#[track_caller]
fn check(concurrent_max: usize, jobs: Vec<NewJob>, story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(|policy| {
        policy.spawn.allowed_commands = vec!["p".to_owned()];
        policy.cron.concurrent_max = concurrent_max;
    });
    sim.settled();
    sim.only(&["Respond", "Cron"]);
    jobs.into_iter().for_each(|job| add(&mut sim, job));
    story(&mut sim);
    for job in &sim.disk.cron_jobs.clone() {
        let next = job.state.next_run_at_ms.map(|at_ms| (at_ms - START_MS) / 1_000);
        sim.note(&format!("on disk: {}, next {next:?}", job.name));
    }
    for run in &sim.disk.cron_runs.clone() {
        sim.note(&format!("on disk: #{} {}", run.number, run.status.as_str()));
    }
    expected.assert_eq(&sim.take());
}

/// The last job that was added.
fn last(sim: &Sim) -> JobId {
    sim.disk.cron_jobs.last().unwrap().id.clone()
}

/// The first of those that wait, where all were due at once and one of them runs.
fn waiting(sim: &Sim) -> JobId {
    let mut ids: Vec<_> = sim.disk.cron_jobs.iter().map(|job| job.id.clone()).collect();
    ids.sort();
    ids.remove(1)
}

fn remove(sim: &mut Sim, job: JobId) {
    sim.request(1, Request::Cron(CronRequest::Remove(job)));
}

#[test]
fn a_job_that_is_removed_while_its_run_begins_is_gone_when_that_has_ended() {
    check(
        8,
        vec![job("tea", every(600))],
        |sim| {
            let tea = last(sim);
            sim.store = StoreMode::Held;
            run_now(sim);
            remove(sim, tea);
            sim.stored().note("the run is over, the removal on its way").stored();
            sim.store = StoreMode::Prompt;
            sim.run_secs(700);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 600s)
            0s Broadcast(cron added next 600s)
            0s -- stored
            0s Respond(conn-1, r2, started 1)
            0s Broadcast(cron started #1 running at 0s)
            0s -- the run is over, the removal on its way
            0s -- stored
            0s Respond(conn-1, r3, removed: true)
            0s Broadcast(cron removed)
        "#]],
    );
}

#[test]
fn a_run_that_ends_while_its_job_is_removed_brings_nothing_back() {
    check(
        8,
        vec![program("tidy", 60)],
        |sim| {
            sim.live_for(61, &[1, 2]);
            let tidy = last(sim);
            sim.store = StoreMode::Held;
            remove(sim, tidy);
            sim.ends(1, 0).note("the run is over, the removal on its way");
            while sim.is_storing() {
                sim.stored();
            }
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tidy next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            61s -- the run is over, the removal on its way
            61s -- stored
            61s Respond(conn-1, r2, removed: true)
            61s Broadcast(cron removed)
            61s -- stored
        "#]],
    );
}

#[test]
fn nothing_is_said_of_a_removed_job_when_the_store_fails_after_its_removal() {
    check(
        8,
        vec![program("tidy", 60)],
        |sim| {
            sim.live_for(61, &[1, 2]);
            let tidy = last(sim);
            sim.store = StoreMode::Held;
            remove(sim, tidy);
            sim.ends(1, 0).note("the run is over, the removal on its way");
            sim.stored().store_fails();
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tidy next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            61s -- the run is over, the removal on its way
            61s -- stored
            61s Respond(conn-1, r2, removed: true)
            61s Broadcast(cron removed)
            61s -- store fails
        "#]],
    );
}

#[test]
fn a_job_whose_removal_fails_has_all_that_happened_meanwhile() {
    check(
        8,
        vec![program("tidy", 60)],
        |sim| {
            sim.live_for(61, &[1, 2]);
            let tidy = last(sim);
            sim.store = StoreMode::Held;
            remove(sim, tidy);
            sim.ends(1, 0).note("the run is over, the removal on its way").store_fails();
            sim.store = StoreMode::Prompt;
            sim.note("the store recovers").store_recovers();
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tidy next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            61s -- the run is over, the removal on its way
            61s -- store fails
            61s Broadcast(cron finished #1 ok at 60s)
            61s Respond(conn-1, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            61s -- the store recovers
            61s -- store recovers
            61s -- on disk: tidy, next Some(120)
            61s -- on disk: #1 ok
        "#]],
    );
}

#[test]
fn a_job_that_waits_and_is_removed_is_passed_over_by_those_behind_it() {
    check(
        1,
        ["one", "two", "three"].map(|name| program(name, 60)).into(),
        |sim| {
            sim.live_for(61, &[1, 2]);
            let waits = waiting(sim);
            sim.store = StoreMode::Held;
            remove(sim, waits);
            sim.note("the first run is over, the removal on its way").ends(1, 0);
            while sim.is_storing() {
                sim.stored();
            }
        },
        expect![[r#"
            0s Respond(conn-1, r1, job one next 60s)
            0s Broadcast(cron added next 60s)
            0s Respond(conn-1, r2, job two next 60s)
            0s Broadcast(cron added next 60s)
            0s Respond(conn-1, r3, job three next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            61s -- the first run is over, the removal on its way
            61s -- stored
            61s Respond(conn-1, r4, removed: true)
            61s Broadcast(cron removed)
            61s -- stored
            61s Broadcast(cron finished #1 ok at 60s next 120s)
            61s Broadcast(cron started #1 running at 61s next 120s)
            61s -- stored
            61s -- stored
            61s -- on disk: one, next Some(120)
            61s -- on disk: three, next Some(120)
            61s -- on disk: #1 ok
            61s -- on disk: #1 running
        "#]],
    );
}

#[test]
fn a_job_that_waits_and_is_not_removed_after_all_has_missed_its_turn() {
    check(
        1,
        ["one", "two"].map(|name| program(name, 60)).into(),
        |sim| {
            sim.live_for(61, &[1, 2]);
            let waits = waiting(sim);
            sim.store = StoreMode::Held;
            remove(sim, waits);
            sim.note("the first run is over, the removal on its way").ends(1, 0).store_fails();
            sim.store = StoreMode::Prompt;
            sim.note("the store recovers").store_recovers().live_for(60, &[1, 2]);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job one next 60s)
            0s Broadcast(cron added next 60s)
            0s Respond(conn-1, r2, job two next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            61s -- the first run is over, the removal on its way
            61s -- store fails
            61s Broadcast(cron finished #1 ok at 60s next 120s)
            61s Respond(conn-1, r3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            61s Broadcast(cron missed #1 missed at 60s (the store took no writes) next 120s)
            61s -- the store recovers
            61s -- store recovers
            120s Broadcast(cron started #2 running at 120s next 180s)
            121s -- on disk: one, next Some(180)
            121s -- on disk: two, next Some(180)
            121s -- on disk: #1 ok
            121s -- on disk: #1 missed
            121s -- on disk: #2 running
        "#]],
    );
}
