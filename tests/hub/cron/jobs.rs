//! What operators do with jobs, and what jobs do.

use super::*;
use crate::sim::StoreMode;
use expect_test::expect;
use openclaw_gateway::protocol::request::Idempotency;

#[test]
fn an_occurrence_is_on_disk_as_started_before_it_does_anything() {
    check(
        |sim| {
            sim.show(&["Persist"]);
            add(sim, job("tea", every(60)));
            sim.store = StoreMode::Held;
            sim.run_secs(60).note("due").stored().note("ran").stored();
            runs(sim);
        },
        expect![[r#"
            0s Persist(#4: put job tea next 60s)
            0s Respond(conn-1, r1, job tea next 60s)
            0s Broadcast(cron added next 60s)
            60s Persist(#5: put run #1 running 60s, put job tea next 60s, put job tea next 120s)
            60s -- due
            60s -- stored
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Broadcast(log 1 "timestamp":1795000060000,"level":"info","source":"cron","message":"hello")
            60s Broadcast(notification {"id":1795000060000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000060})
            60s Persist(#6: append 1, put run #1 ok 60s, put job tea ok next 120s)
            60s -- ran
            60s -- stored
            60s Broadcast(cron finished #1 ok at 60s next 120s)
            60s Respond(conn-1, r2, runs [#1 ok 60s])
        "#]],
    );
}

fn once(key: &str, params: u8) -> Option<Idempotency> {
    Some(Idempotency { key: key.to_owned(), params_hash: [params; 32] })
}

#[test]
fn a_repetition_of_a_request_with_a_key_adds_and_runs_nothing() {
    check(
        |sim| {
            let ask = |params| NewJob { idempotency: once("k", params), ..job("tea", every(60)) };
            sim.store = StoreMode::Held;
            add(sim, ask(1));
            add(sim, ask(1));
            sim.note("both are answered when it is on disk").stored();
            add(sim, ask(1));
            add(sim, ask(2));
            sim.store = StoreMode::Prompt;
            let run = |sim: &mut Sim| {
                let job = first(sim);
                let ask = CronRequest::Run { job, only_if_due: false, idempotency: once("k", 1) };
                sim.request(1, Request::Cron(ask));
            };
            run(sim);
            run(sim);
            sim.note("after a restart").restart();
            connect_again(sim);
            run(sim);
            add(sim, ask(1));
            assert_eq!((sim.disk.cron_jobs.len(), sim.disk.cron_runs.len()), (1, 1));
        },
        expect![[r#"
            0s -- both are answered when it is on disk
            0s -- stored
            0s Respond(conn-1, r1, job tea next 60s)
            0s Respond(conn-1, r2, job tea next 60s)
            0s Broadcast(cron added next 60s)
            0s Respond(conn-1, r3, job tea next 60s)
            0s Respond(conn-1, r4, CONFLICT "this idempotencyKey was used with other params")
            0s Respond(conn-1, r5, started 1)
            0s Broadcast(cron started #1 running at 0s next 60s)
            0s Broadcast(log 1 "timestamp":1795000000000,"level":"info","source":"cron","message":"hello")
            0s Broadcast(notification {"id":1795000000000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000000})
            0s Broadcast(cron finished #1 ok at 0s next 60s)
            0s Respond(conn-1, r6, started 1)
            0s -- after a restart
            0s -- restarted
            0s Respond(conn-1, r7, started 1)
            0s Respond(conn-1, r8, job tea ok next 60s)
        "#]],
    );
}

#[test]
fn a_request_with_a_key_that_was_not_stored_is_free_to_come_again() {
    check(
        |sim| {
            let ask = NewJob { idempotency: once("k", 1), ..job("tea", every(60)) };
            sim.store = StoreMode::Held;
            add(sim, ask.clone());
            sim.store_fails();
            sim.store = StoreMode::Prompt;
            sim.store_recovers();
            add(sim, ask);
            assert_eq!((sim.disk.cron_jobs.len(), sim.disk.answers.len()), (1, 1));
        },
        expect![[r#"
            0s -- store fails
            0s Respond(conn-1, r1, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- store recovers
            0s Respond(conn-1, r2, job tea next 60s)
            0s Broadcast(cron added next 60s)
        "#]],
    );
}

#[test]
fn a_moment_that_is_over_is_refused_unless_it_is_a_repetition_or_no_change() {
    check(
        |sim| {
            sim.only(&["Respond"]);
            let at = |ms| Schedule::At(START_MS + ms);
            let ask = NewJob { idempotency: once("k", 1), ..job("once", at(5_000)) };
            add(sim, ask.clone());
            sim.run_secs(100);
            add(sim, ask);
            add(sim, job("a minute ago", at(40_000)));
            add(sim, job("too late", at(39_999)));
            update(sim, JobPatch { schedule: Some(at(5_000)), ..JobPatch::default() });
            update(sim, JobPatch { schedule: Some(at(6_000)), ..JobPatch::default() });
        },
        expect![[r#"
            0s Respond(conn-1, r1, job once next 5s)
            100s Respond(conn-1, r2, job -once ok never)
            100s Respond(conn-1, r3, job a minute ago never)
            100s Respond(conn-1, r4, INVALID_REQUEST "invalid cron.add params: schedule.at is in the past: it is 2026-11-18T11:08:20.000Z now")
            100s Respond(conn-1, r5, job -once ok never)
            100s Respond(conn-1, r6, INVALID_REQUEST "invalid cron.update params: schedule.at is in the past: it is 2026-11-18T11:08:20.000Z now")
        "#]],
    );
}

#[test]
fn a_moment_comes_once_and_its_job_is_switched_off() {
    check(
        |sim| {
            add(sim, job("once", Schedule::At(START_MS + 5_000)));
            sim.run_secs(100);
            list(sim);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job once next 5s)
            0s Broadcast(cron added next 5s)
            5s Broadcast(cron started #1 running at 5s)
            5s Broadcast(log 1 "timestamp":1795000005000,"level":"info","source":"cron","message":"hello")
            5s Broadcast(notification {"id":1795000005000,"recipient":"operator","type":"cron","title":"once","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000005})
            5s Broadcast(cron finished #1 ok at 5s)
            100s Respond(conn-1, r2, jobs [-once ok never] of 1)
            100s Respond(conn-1, r3, runs [#1 ok 5s])
        "#]],
    );
}

#[test]
fn a_job_that_is_to_be_deleted_after_its_run_is_gone() {
    check(
        |sim| {
            let once = job("once", Schedule::At(START_MS + 5_000));
            add(sim, NewJob { delete_after_run: true, ..once });
            sim.run_secs(100);
            list(sim);
            assert!(sim.disk.cron_jobs.is_empty() && sim.disk.cron_runs.is_empty());
        },
        expect![[r#"
            0s Respond(conn-1, r1, job once next 5s)
            0s Broadcast(cron added next 5s)
            5s Broadcast(cron started #1 running at 5s)
            5s Broadcast(log 1 "timestamp":1795000005000,"level":"info","source":"cron","message":"hello")
            5s Broadcast(notification {"id":1795000005000,"recipient":"operator","type":"cron","title":"once","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000005})
            5s Broadcast(cron finished #1 ok at 5s)
            5s Broadcast(cron removed)
            100s Respond(conn-1, r2, jobs [] of 0)
        "#]],
    );
}

#[test]
fn a_job_runs_at_once_when_it_is_told_to_even_if_it_is_switched_off() {
    check(
        |sim| {
            add(sim, NewJob { enabled: false, ..job("tea", every(60)) });
            sim.run_secs(120);
            connect_again(sim);
            run_now(sim);
            let job = first(sim);
            sim.request(
                1,
                Request::Cron(CronRequest::Run { job, only_if_due: true, idempotency: None }),
            );
            runs(sim);
            list(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job -tea never)
            0s Broadcast(cron added)
            120s Respond(conn-1, r2, started 1)
            120s Broadcast(cron started #1 running at 120s)
            120s Broadcast(log 1 "timestamp":1795000120000,"level":"info","source":"cron","message":"hello")
            120s Broadcast(notification {"id":1795000120000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000120})
            120s Broadcast(cron finished #1 ok at 120s)
            120s Respond(conn-1, r3, not started: not-due)
            120s Respond(conn-1, r4, runs [#1 ok 120s manual])
            120s Respond(conn-1, r5, jobs [-tea ok never] of 1)
        "#]],
    );
}

#[test]
fn a_job_that_is_switched_on_again_has_missed_nothing() {
    check(
        |sim| {
            add(sim, job("tea", every(60)));
            update(sim, JobPatch { enabled: Some(false), ..JobPatch::default() });
            sim.run_secs(200);
            connect_again(sim);
            update(sim, JobPatch { enabled: Some(true), ..JobPatch::default() });
            sim.run_secs(60);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 60s)
            0s Broadcast(cron added next 60s)
            0s Respond(conn-1, r2, job -tea never)
            0s Broadcast(cron updated)
            200s Respond(conn-1, r3, job tea next 240s)
            200s Broadcast(cron updated next 240s)
            240s Broadcast(cron started #1 running at 240s next 300s)
            240s Broadcast(log 1 "timestamp":1795000240000,"level":"info","source":"cron","message":"hello")
            240s Broadcast(notification {"id":1795000240000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000240})
            240s Broadcast(cron finished #1 ok at 240s next 300s)
            260s Respond(conn-1, r4, runs [#1 ok 240s])
        "#]],
    );
}

#[test]
fn a_new_schedule_begins_when_it_is_given() {
    check(
        |sim| {
            add(sim, job("tea", every(60)));
            sim.run_secs(30);
            update(sim, JobPatch { schedule: Some(every(100)), ..JobPatch::default() });
            sim.run_secs(100);
            connect_again(sim);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 60s)
            0s Broadcast(cron added next 60s)
            30s Respond(conn-1, r2, job tea next 130s)
            30s Broadcast(cron updated next 130s)
            130s Broadcast(cron started #1 running at 130s next 230s)
            130s Broadcast(log 1 "timestamp":1795000130000,"level":"info","source":"cron","message":"hello")
            130s Broadcast(notification {"id":1795000130000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000130})
            130s Broadcast(cron finished #1 ok at 130s next 230s)
            130s Respond(conn-1, r3, runs [#1 ok 130s])
        "#]],
    );
}

#[test]
fn jobs_are_as_many_as_there_may_be() {
    check_with(
        |policy| policy.cron.jobs_max = 2,
        |sim| {
            sim.only(&["Respond"]);
            add(sim, job("once", Schedule::At(START_MS + 1)));
            add(sim, job("tea", every(60)));
            add(sim, job("one too many", every(60)));
            sim.run_secs(1).note("one is over");
            add(sim, job("in its place", every(60)));
            list(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job once next 0.001s)
            0s Respond(conn-1, r2, job tea next 60s)
            0s Respond(conn-1, r3, RESOURCE_EXHAUSTED "there are 2 jobs already (gateway.cron.maxJobs)")
            1s -- one is over
            1s Respond(conn-1, r4, job in its place next 61s)
            1s Respond(conn-1, r5, jobs [tea next 60s, in its place next 61s] of 2)
        "#]],
    );
}

#[test]
fn the_history_of_a_job_is_bounded() {
    let mut sim = Sim::new();
    sim.settled();
    sim.only(&[]);
    add(&mut sim, job("tea", every(1)));
    sim.run_secs(200);
    let mut numbers: Vec<_> = sim.disk.cron_runs.iter().map(|run| run.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (151..=200).collect::<Vec<_>>());
}

#[test]
fn a_schedule_that_is_switched_off_shows_its_jobs_and_runs_none() {
    check_with(
        |policy| policy.cron.enabled = false,
        |sim| {
            add(sim, job("tea", every(60)));
            list(sim);
            sim.request(1, Request::Cron(CronRequest::Status));
            assert!(!sim.hello(1).features.contains(&"cron"));
        },
        expect![[r#"
            0s Respond(conn-1, r1, UNAVAILABLE "the schedule is switched off (gateway.cron.enabled)")
            0s Respond(conn-1, r2, jobs [] of 0)
            0s Respond(conn-1, r3, cron 0 jobs, 0 running)
        "#]],
    );
}

#[test]
fn nothing_starts_while_the_gateway_stops() {
    check(
        |sim| {
            sim.show(&["Stopped"]);
            add(sim, job("tea", every(60)));
            sim.run_secs(59);
            sim.input(Input::StopRequested { reason: "test".to_owned() });
            sim.run_secs(30);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 60s)
            0s Broadcast(cron added next 60s)
            59s Stopped
        "#]],
    );
}
