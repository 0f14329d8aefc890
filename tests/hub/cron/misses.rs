//! The gateway is down, or its store fails: nothing runs twice, nothing is forgotten.

use expect_test::expect;
use openclaw_gateway::protocol::cron::Missed;

use super::*;
use crate::sim::StoreMode;

#[test]
fn what_came_while_the_gateway_was_down_is_recorded_and_skipped() {
    check(
        |sim| {
            add(sim, job("tea", every(60)));
            sim.run_secs(90);
            sim.pass(Duration::from_secs(400)).restart();
            connect_again(sim);
            sim.run_secs(60);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Broadcast(log 1 "timestamp":1795000060000,"level":"info","source":"cron","message":"hello")
            60s Broadcast(notification {"id":1795000060000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000060})
            60s Broadcast(cron finished #1 ok at 60s next 120s)
            490s -- restarted
            490s Broadcast(cron missed #2 missed at 480s (the gateway was not running) next 540s)
            540s Broadcast(cron started #3 running at 540s next 600s)
            540s Broadcast(log 65537 "timestamp":1795000540000,"level":"info","source":"cron","message":"hello")
            540s Broadcast(notification {"id":1795000540000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000540})
            540s Broadcast(cron finished #3 ok at 540s next 600s)
            550s Respond(conn-1, r2, runs [#3 ok 540s, #2 missed 120s to 480s x7 (the gateway was not running), #1 ok 60s])
        "#]],
    );
}

#[test]
fn what_came_while_the_gateway_was_down_is_made_up_for_once() {
    check(
        |sim| {
            add(sim, NewJob { missed: Some(Missed::RunOnce), ..job("tea", every(60)) });
            sim.run_secs(90);
            sim.pass(Duration::from_secs(400)).restart();
            connect_again(sim);
            sim.run_secs(60);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Broadcast(log 1 "timestamp":1795000060000,"level":"info","source":"cron","message":"hello")
            60s Broadcast(notification {"id":1795000060000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000060})
            60s Broadcast(cron finished #1 ok at 60s next 120s)
            490s -- restarted
            490s Broadcast(cron missed #2 missed at 420s (the gateway was not running) next 540s)
            490s Broadcast(cron started #3 running at 490s next 540s)
            490s Broadcast(log 65537 "timestamp":1795000490000,"level":"info","source":"cron","message":"hello")
            490s Broadcast(notification {"id":1795000490000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000490})
            490s Broadcast(cron finished #3 ok at 490s next 540s)
            540s Broadcast(cron started #4 running at 540s next 600s)
            540s Broadcast(log 65538 "timestamp":1795000540000,"level":"info","source":"cron","message":"hello")
            540s Broadcast(notification {"id":1795000540000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000540})
            540s Broadcast(cron finished #4 ok at 540s next 600s)
            550s Respond(conn-1, r2, runs [#4 ok 540s, #3 ok 480s catch-up, #2 missed 120s to 420s x6 (the gateway was not running), #1 ok 60s])
        "#]],
    );
}

#[test]
fn a_moment_that_passed_while_the_gateway_was_down_is_made_up_for() {
    check(
        |sim| {
            add(sim, job("once", Schedule::At(START_MS + 5_000)));
            sim.pass(Duration::from_secs(100_000)).restart();
            connect_again(sim);
            list(sim);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job once next 5s)
            0s Broadcast(cron added next 5s)
            100000s -- restarted
            100000s Broadcast(cron started #1 running at 2026-11-19T14:53:20.000Z)
            100000s Broadcast(log 65537 "timestamp":1795100000000,"level":"info","source":"cron","message":"hello")
            100000s Broadcast(notification {"id":1795100000000,"recipient":"operator","type":"cron","title":"once","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795100000})
            100000s Broadcast(cron finished #1 ok at 2026-11-19T14:53:20.000Z)
            100000s Respond(conn-1, r2, jobs [-once ok never] of 1)
            100000s Respond(conn-1, r3, runs [#1 ok 5s catch-up])
        "#]],
    );
}

#[test]
fn a_run_that_the_gateway_did_not_survive_has_failed_and_is_not_repeated() {
    check(
        |sim| {
            add(sim, NewJob { missed: Some(Missed::RunOnce), ..job("tea", every(60)) });
            sim.store = StoreMode::Held;
            sim.run_secs(60).reach_disk().note("started is on disk, and nobody knows");
            sim.store = StoreMode::Prompt;
            sim.restart();
            connect_again(sim);
            runs(sim);
            list(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 60s)
            0s Broadcast(cron added next 60s)
            60s -- started is on disk, and nobody knows
            60s -- restarted
            60s Respond(conn-1, r2, runs [#1 error 60s (the gateway ended while it ran)])
            60s Respond(conn-1, r3, jobs [tea error 1 errors next 120s] of 1)
        "#]],
    );
}

#[test]
fn a_run_whose_start_did_not_reach_the_disk_is_missed() {
    check(
        |sim| {
            add(sim, job("tea", every(60)));
            sim.store = StoreMode::Held;
            sim.run_secs(60).note("started is not on disk");
            sim.store = StoreMode::Prompt;
            sim.pass(Duration::from_secs(5)).restart();
            connect_again(sim);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 60s)
            0s Broadcast(cron added next 60s)
            60s -- started is not on disk
            65s -- restarted
            65s Broadcast(cron missed #1 missed at 60s (the gateway was not running) next 120s)
            65s Respond(conn-1, r2, runs [#1 missed 60s (the gateway was not running)])
        "#]],
    );
}

#[test]
fn a_store_that_fails_makes_an_occurrence_missed() {
    check(
        |sim| {
            add(sim, job("tea", every(60)));
            sim.store = StoreMode::Held;
            sim.run_secs(60).store_fails().run_secs(60).store_recovers().stored();
            sim.store = StoreMode::Prompt;
            sim.run_secs(60);
            runs(sim);
            sim.restart();
            connect_again(sim);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 60s)
            0s Broadcast(cron added next 60s)
            60s -- store fails
            60s Broadcast(cron missed #2 missed at 60s (the store took no writes) next 120s)
            120s Broadcast(cron missed #2 missed at 120s (the store took no writes) next 180s)
            120s -- store recovers
            120s -- stored
            180s Broadcast(cron started #3 running at 180s next 240s)
            180s Broadcast(log 1 "timestamp":1795000180000,"level":"info","source":"cron","message":"hello")
            180s Broadcast(notification {"id":1795000180000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000180})
            180s Broadcast(cron finished #3 ok at 180s next 240s)
            180s -- restarted
            180s Respond(conn-1, r3, runs [#3 ok 180s, #2 missed 60s to 120s x2 (the store took no writes)])
        "#]],
    );
}

#[test]
fn a_store_that_fails_delays_an_occurrence_that_is_to_be_made_up_for() {
    check(
        |sim| {
            add(sim, NewJob { missed: Some(Missed::RunOnce), ..job("tea", every(60)) });
            sim.store = StoreMode::Held;
            sim.run_secs(60).store_fails().run_secs(60);
            sim.store = StoreMode::Prompt;
            sim.store_recovers();
            runs(sim);
            sim.restart();
            connect_again(sim);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 60s)
            0s Broadcast(cron added next 60s)
            60s -- store fails
            120s Broadcast(cron missed #2 missed at 60s (the store took no writes) next 180s)
            120s -- store recovers
            120s Broadcast(cron started #3 running at 120s next 180s)
            120s Broadcast(log 1 "timestamp":1795000120000,"level":"info","source":"cron","message":"hello")
            120s Broadcast(notification {"id":1795000120000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000120})
            120s Broadcast(cron finished #3 ok at 120s next 180s)
            120s -- restarted
            120s Respond(conn-1, r3, runs [#3 ok 120s catch-up, #2 missed 60s (the store took no writes)])
        "#]],
    );
}

#[test]
fn a_job_that_came_while_the_store_failed_is_forgotten_when_it_recovers() {
    check(
        |sim| {
            let once = job("once", Schedule::At(START_MS + 5_000));
            add(sim, NewJob { delete_after_run: true, ..once });
            sim.only(&["Cron"]);
            sim.store = StoreMode::Held;
            sim.run_secs(5).stored().note("it has run").store_fails();
            sim.store = StoreMode::Prompt;
            sim.store_recovers();
            assert!(sim.disk.cron_jobs.is_empty() && sim.disk.cron_runs.is_empty());
        },
        expect![[r#"
            0s Respond(conn-1, r1, job once next 5s)
            0s Broadcast(cron added next 5s)
            5s -- stored
            5s Broadcast(cron started #1 running at 5s)
            5s -- it has run
            5s -- store fails
            5s Broadcast(cron finished #1 ok at 5s)
            5s -- store recovers
            5s Broadcast(cron removed)
        "#]],
    );
}

#[test]
fn changes_that_are_not_on_disk_are_taken_back() {
    check(
        |sim| {
            add(sim, job("tea", every(60)));
            sim.store = StoreMode::Held;
            let renamed = Some(Arc::from("coffee"));
            update(sim, JobPatch { name: renamed, ..JobPatch::default() });
            add(sim, job("milk", every(60)));
            let removed = first(sim);
            sim.request(1, Request::Cron(CronRequest::Remove(removed)));
            sim.note("in force");
            list(sim);
            sim.store_fails();
            list(sim);
            sim.store = StoreMode::Prompt;
            sim.store_recovers().restart();
            connect_again(sim);
            list(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 60s)
            0s Broadcast(cron added next 60s)
            0s -- in force
            0s Respond(conn-1, r5, jobs [milk next 60s] of 1)
            0s -- store fails
            0s Respond(conn-1, r4, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-1, r3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-1, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-1, r6, jobs [tea next 60s] of 1)
            0s -- store recovers
            0s -- restarted
            0s Respond(conn-1, r7, jobs [tea next 60s] of 1)
        "#]],
    );
}
