//! Runs that last: programs and messages to agents, from the occurrence to their one end.

use expect_test::expect;
use openclaw_gateway::protocol::cron::{CronSpawn, Missed};
use openclaw_gateway::protocol::run::RunState;

use super::*;
use crate::sim::StoreMode;

/// A job that runs the program `p`.
pub(super) fn program(name: &str, seconds: u64) -> NewJob {
    let spawn = CronSpawn {
        command: "p".to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: None,
        stdin: None,
        timeout_ms: None,
        session: None,
        reports: false,
    };
    NewJob { payload: CronPayload::Spawn(Box::new(spawn)), ..job(name, every(seconds)) }
}

/// A job that talks to the agent of connection 2.
fn turn(name: &str, seconds: u64) -> NewJob {
    let payload = CronPayload::AgentTurn {
        agent: Some(AgentName::new("a1")),
        session: None,
        message: Arc::from("Good morning"),
        model: None,
        timeout_ms: None,
    };
    NewJob { payload, ..job(name, every(seconds)) }
}

#[track_caller]
fn story(concurrent_max: usize, story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(|policy| {
        policy.spawn.allowed_commands = vec!["p".to_owned()];
        policy.cron.concurrent_max = concurrent_max;
    });
    sim.settled();
    sim.only(&["Respond", "Cron", "Spawn", "AgentRequest"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

/// Time passes while both peers are heard.
fn live(sim: &mut Sim, seconds: u64) {
    sim.live_for(seconds, &[1, 2]);
}

#[test]
fn a_program_runs_until_it_ends_and_its_job_does_not_run_beside_it() {
    story(
        8,
        |sim| {
            add(sim, program("tidy", 60));
            live(sim, 130);
            sim.note("the program ends").ends(1, 0);
            live(sim, 60);
            sim.note("the next one fails").ends(2, 3);
            runs(sim);
            list(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tidy next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Broadcast(spawn_result sp-1 sp-1 running pid 101)
            120s Broadcast(cron skipped #2 skipped at 120s (the run before had not ended) next 180s)
            130s -- the program ends
            130s Broadcast(spawn_result sp-1 sp-1 completed pid 101 Code(0))
            130s Broadcast(cron finished #1 ok at 60s next 180s)
            180s Broadcast(cron started #3 running at 180s next 240s)
            180s Broadcast(spawn_result sp-2 sp-2 running pid 102)
            190s -- the next one fails
            190s Broadcast(spawn_result sp-2 sp-2 failed pid 102 Code(3) "exited with code 3")
            190s Broadcast(cron finished #3 error at 180s (exited with code 3) next 240s)
            190s Respond(conn-1, r2, runs [#3 error 180s (exited with code 3), #2 skipped 120s (the run before had not ended), #1 ok 60s])
            190s Respond(conn-1, r3, jobs [tidy error 1 errors next 240s] of 1)
        "#]],
    );
}

#[test]
fn an_agent_is_asked_and_its_answer_is_what_comes_of_it() {
    story(
        8,
        |sim| {
            add(sim, turn("greet", 60));
            live(sim, 61);
            let run = format!("{}-1", first(sim));
            sim.request(2, crate::runs::update(&run, RunState::Final, "And to you"));
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job greet next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Send(conn-2, job-01bad93d8dbcfd3d-1 asked "Good morning" in a1:job-01bad93d8dbcfd3d)
            61s Broadcast(cron finished #1 ok at 60s next 120s)
            61s Respond(conn-2, r2, ok)
            61s Respond(conn-1, r3, runs [#1 ok 60s])
        "#]],
    );
}

#[test]
fn what_cannot_begin_has_failed() {
    story(
        8,
        |sim| {
            let mut unknown = turn("greet", 60);
            if let CronPayload::AgentTurn { agent, .. } = &mut unknown.payload {
                *agent = Some(AgentName::new("nobody"));
            }
            add(sim, unknown);
            let mut forbidden = program("tidy", 60);
            if let CronPayload::Spawn(spawn) = &mut forbidden.payload {
                spawn.command = "rm".to_owned();
            }
            add(sim, forbidden);
            live(sim, 61);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job greet next 60s)
            0s Broadcast(cron added next 60s)
            0s Respond(conn-1, r2, job tidy next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Broadcast(spawn_result sp-1 sp-1 failed "gateway.spawn.allowedCommands does not name \"rm\"")
            60s Broadcast(cron finished #1 error at 60s (agent not connected: nobody) next 120s)
            60s Broadcast(cron finished #1 error at 60s (gateway.spawn.allowedCommands does not name "rm") next 120s)
        "#]],
    );
}

#[test]
fn a_job_that_is_changed_or_removed_leaves_its_run_alone() {
    story(
        8,
        |sim| {
            add(sim, program("tidy", 60));
            live(sim, 60);
            update(sim, JobPatch { enabled: Some(false), ..JobPatch::default() });
            run_now(sim);
            sim.note("the program ends").ends(1, 0);
            run_now(sim);
            let job = first(sim);
            sim.request(1, Request::Cron(CronRequest::Remove(job)));
            sim.note("the program of the removed job ends").ends(2, 0);
            sim.request(1, Request::Cron(CronRequest::Status));
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tidy next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Broadcast(spawn_result sp-1 sp-1 running pid 101)
            60s Respond(conn-1, r2, job -tidy never)
            60s Broadcast(cron updated)
            60s Respond(conn-1, r3, not started: already-running)
            60s -- the program ends
            60s Broadcast(spawn_result sp-1 sp-1 completed pid 101 Code(0))
            60s Broadcast(cron finished #1 ok at 60s)
            60s Respond(conn-1, r4, started 2)
            60s Broadcast(cron started #2 running at 60s)
            60s Broadcast(spawn_result sp-2 sp-2 running pid 102)
            60s Respond(conn-1, r5, removed: true)
            60s Broadcast(cron removed)
            60s -- the program of the removed job ends
            60s Broadcast(spawn_result sp-2 sp-2 completed pid 102 Code(0))
            60s Respond(conn-1, r6, cron 0 jobs, 0 running)
        "#]],
    );
}

#[test]
fn jobs_wait_for_a_free_place_in_the_order_in_which_they_came() {
    story(
        1,
        |sim| {
            add(sim, program("first", 60));
            sim.run_secs(1);
            add(sim, program("second", 60));
            live(sim, 100);
            sim.note("the first ends").ends(1, 0);
            live(sim, 5);
            sim.note("the second ends").ends(2, 0);
            sim.request(1, Request::Cron(CronRequest::Status));
        },
        expect![[r#"
            0s Respond(conn-1, r1, job first next 60s)
            0s Broadcast(cron added next 60s)
            1s Respond(conn-1, r2, job second next 61s)
            1s Broadcast(cron added next 61s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Broadcast(spawn_result sp-1 sp-1 running pid 101)
            101s -- the first ends
            101s Broadcast(spawn_result sp-1 sp-1 completed pid 101 Code(0))
            101s Broadcast(cron finished #1 ok at 60s next 120s)
            101s Broadcast(cron started #1 running at 101s next 121s)
            101s Broadcast(spawn_result sp-2 sp-2 running pid 102)
            106s -- the second ends
            106s Broadcast(spawn_result sp-2 sp-2 completed pid 102 Code(0))
            106s Broadcast(cron finished #1 ok at 101s next 121s)
            106s Respond(conn-1, r3, cron 2 jobs, 0 running)
        "#]],
    );
}

#[test]
fn of_occurrences_that_wait_for_a_place_the_newest_runs() {
    story(
        1,
        |sim| {
            add(sim, program("long", 600));
            sim.run_secs(540);
            connect_again(sim);
            add(sim, program("short", 60));
            live(sim, 190);
            sim.note("the long one ends").ends(1, 0);
            let job = sim.disk.cron_jobs.last().unwrap().id.clone();
            sim.request(1, Request::Cron(CronRequest::Runs { job, limit: 50 }));
        },
        expect![[r#"
            0s Respond(conn-1, r1, job long next 600s)
            0s Broadcast(cron added next 600s)
            540s Respond(conn-1, r2, job short next 600s)
            540s Broadcast(cron added next 600s)
            600s Broadcast(cron started #1 running at 600s next 1200s)
            600s Broadcast(spawn_result sp-1 sp-1 running pid 101)
            660s Broadcast(cron skipped #1 skipped at 600s (no place was free until the next one came) next 720s)
            720s Broadcast(cron skipped #1 skipped at 660s (no place was free until the next one came) next 780s)
            730s -- the long one ends
            730s Broadcast(spawn_result sp-1 sp-1 completed pid 101 Code(0))
            730s Broadcast(cron finished #1 ok at 600s next 1200s)
            730s Broadcast(cron started #2 running at 730s next 780s)
            730s Broadcast(spawn_result sp-2 sp-2 running pid 102)
            730s Respond(conn-1, r3, runs [#2 running 720s, #1 skipped 600s to 660s x2 (no place was free until the next one came)])
        "#]],
    );
}

#[test]
fn a_place_is_free_for_another_when_a_run_cannot_begin() {
    story(
        1,
        |sim| {
            add(sim, program("first", 60));
            add(sim, NewJob { missed: Some(Missed::RunOnce), ..program("second", 60) });
            sim.store = StoreMode::Held;
            live(sim, 60);
            sim.store_fails();
            sim.store = StoreMode::Prompt;
            sim.store_recovers();
        },
        expect![[r#"
            0s Respond(conn-1, r1, job first next 60s)
            0s Broadcast(cron added next 60s)
            0s Respond(conn-1, r2, job second next 60s)
            0s Broadcast(cron added next 60s)
            60s -- store fails
            60s Broadcast(cron missed #2 missed at 60s (the store took no writes) next 120s)
            60s -- store recovers
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Broadcast(spawn_result sp-1 sp-1 running pid 101)
        "#]],
    );
}

#[test]
fn a_program_that_the_gateway_did_not_survive_ends_its_run_once() {
    story(
        8,
        |sim| {
            add(sim, NewJob { missed: Some(Missed::RunOnce), ..program("tidy", 60) });
            live(sim, 70);
            sim.restart();
            connect_again(sim);
            sim.run_secs(5);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tidy next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Broadcast(spawn_result sp-1 sp-1 running pid 101)
            70s -- restarted
            70s Broadcast(spawn_result sp-1 sp-1 lost pid 101 "ended while the gateway was away; how is not known")
            75s Respond(conn-1, r2, runs [#1 error 60s (the gateway ended while it ran)])
        "#]],
    );
}

#[test]
fn an_agent_that_the_gateway_did_not_survive_ends_its_run_once() {
    story(
        8,
        |sim| {
            add(sim, turn("greet", 60));
            live(sim, 70);
            sim.restart();
            connect_again(sim);
            sim.run_secs(5);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job greet next 60s)
            0s Broadcast(cron added next 60s)
            60s Broadcast(cron started #1 running at 60s next 120s)
            60s Send(conn-2, job-01bad93d8dbcfd3d-1 asked "Good morning" in a1:job-01bad93d8dbcfd3d)
            70s -- restarted
            75s Respond(conn-1, r2, runs [#1 error 60s (the gateway ended while it ran)])
        "#]],
    );
}

#[test]
fn a_program_that_ends_while_the_store_fails_is_written_when_it_recovers() {
    story(
        8,
        |sim| {
            add(sim, program("tidy", 600));
            live(sim, 610);
            sim.store = StoreMode::Held;
            sim.append(1, &["anything"]);
            sim.store_fails();
            sim.note("the program ends").ends(1, 0);
            sim.store = StoreMode::Prompt;
            sim.store_recovers().restart();
            connect_again(sim);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tidy next 600s)
            0s Broadcast(cron added next 600s)
            600s Broadcast(cron started #1 running at 600s next 1200s)
            600s Broadcast(spawn_result sp-1 sp-1 running pid 101)
            610s -- store fails
            610s Respond(conn-1, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            610s -- the program ends
            610s Broadcast(spawn_result sp-1 sp-1 completed pid 101 Code(0))
            610s Broadcast(cron finished #1 ok at 600s next 1200s)
            610s -- store recovers
            610s -- restarted
            610s Respond(conn-1, r3, runs [#1 ok 600s])
        "#]],
    );
}
