//! What of spawns is on disk and when: before the program runs, across failures and restarts, and
//! at the gateway's own end.

use std::time::Duration;

use expect_test::{Expect, expect};
use openclaw_gateway::hub::child::{ChildNews, Exit};
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::protocol::spawn::{SpawnRequest, SpawnStatus};

use crate::peers::operator;
use crate::shell::{ask, held, resolved};
use crate::sim::{Sim, StoreMode};

fn sim() -> Sim {
    let mut sim = Sim::with(|policy| {
        policy.spawn.allowed_commands = vec!["p".to_owned()];
        policy.spawn.concurrent_max = 1;
    });
    sim.settled().only(&["Respond", "Spawn", "Child", "Log", "Stopped"]);
    sim
}

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = sim();
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

fn stop(sim: &mut Sim) -> &mut Sim {
    sim.input(Input::StopRequested { reason: "service restart".to_owned() })
}

#[test]
fn no_program_runs_before_it_is_on_disk_how_to_find_it() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.spawn(1, ask("p"));
            assert!(sim.disk.spawns.is_empty());
            sim.stored();
            assert_eq!(sim.disk.spawns[0].marks.as_ref().unwrap().pid, 101);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s -- stored
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
        "#]],
    );
}

#[test]
fn who_waits_is_answered_when_that_is_on_disk() {
    check(
        |sim| {
            sim.spawn(1, ask("p"));
            sim.store = StoreMode::Held;
            sim.spawn(1, ask("p")).stored();
            if sim.is_storing() {
                sim.stored();
            }
            assert_eq!(sim.disk.spawns[1].status, SpawnStatus::Queued);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Child(resolve sp-2 p)
            0s -- stored
            0s Respond(conn-1, r2, spawned r2 sp-2 queued)
            0s Broadcast(spawn_result r2 sp-2 queued)
        "#]],
    );
}

#[test]
fn a_program_that_cannot_be_recorded_does_not_run() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.spawn(1, ask("p")).store_fails().spawn(1, ask("p")).store_recovers();
            sim.store = StoreMode::Prompt;
            if sim.is_storing() {
                sim.stored();
            }
            assert_eq!(sim.disk.spawns[0].status, SpawnStatus::Failed);
            assert!(sim.disk.sessions.is_empty());
            sim.spawn(1, ask("p"));
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s -- store fails
            0s Respond(conn-1, r1, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Child(abandon sp-1)
            0s Broadcast(spawn_result r1 sp-1 failed "not stored: the gateway's store takes no writes right now")
            0s Respond(conn-1, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Broadcast(spawn_result r2 sp-2 failed "not stored: the gateway's store takes no writes right now")
            0s -- store recovers
            0s -- stored
            0s Child(resolve sp-3 p)
            0s Child(launch sp-3 [])
            0s Child(go sp-3)
            0s Respond(conn-1, r3, spawned r3 sp-3 running pid 102)
            0s Broadcast(spawn_result r3 sp-3 running pid 102)
        "#]],
    );
}

#[test]
fn one_that_waits_and_cannot_be_recorded_is_refused() {
    check(
        |sim| {
            sim.spawn(1, ask("p"));
            sim.store = StoreMode::Held;
            sim.spawn(1, ask("p")).store_fails().ends(1, 0);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Child(resolve sp-2 p)
            0s -- store fails
            0s Respond(conn-1, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Broadcast(spawn_result r2 sp-2 failed "not stored: the gateway's store takes no writes right now")
            0s Broadcast(spawn_result r1 sp-1 completed pid 101 Code(0))
        "#]],
    );
}

#[test]
fn a_store_that_fails_ends_no_program_and_lines_that_are_lost_are_counted() {
    check(
        |sim| {
            sim.spawn(1, ask("p")).prints(1, &["one"]);
            sim.store = StoreMode::Held;
            sim.prints(1, &["two"]).store_fails().prints(1, &["three", "four"]).store_recovers();
            sim.store = StoreMode::Prompt;
            if sim.is_storing() {
                sim.stored();
            }
            sim.prints(1, &["five"]);
            sim.store_fails().prints(1, &["six"]).ends(1, 0);
            assert_eq!(sim.disk.spawns[0].status, SpawnStatus::Running);
            sim.store_recovers();
            assert_eq!(sim.disk.spawns[0].status, SpawnStatus::Completed);
            assert!(!sim.disk.sessions[0].active);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Broadcast(log 1 "timestamp":1000,"level":"info","source":"spawn","session":"spawn:sp-1","message":"one")
            0s Broadcast(log 2 "timestamp":1000,"level":"info","source":"spawn","session":"spawn:sp-1","message":"two")
            0s -- store fails
            0s -- store recovers
            0s -- stored
            0s Broadcast(log 3 "timestamp":1795000000000,"level":"warn","source":"spawn","session":"spawn:sp-1","message":"2 lines lost: they could not be stored")
            0s Broadcast(log 4 "timestamp":1000,"level":"info","source":"spawn","session":"spawn:sp-1","message":"five")
            0s -- store fails
            0s Broadcast(spawn_result r1 sp-1 completed pid 101 Code(0))
            0s -- store recovers
        "#]],
    );
}

#[test]
fn after_a_restart_each_that_was_open_gets_its_end() {
    check(
        |sim| {
            sim.spawn(1, ask("p")).spawn(1, ask("p"));
            sim.shell.held = true;
            sim.restart().connect(1, operator().device("desk"));
            sim.spawns(1, SpawnRequest::List);
            let (one, two) = (sim.id(1), sim.id(2));
            sim.news(ChildNews::EarlierEnded { spawn: one.clone(), was_running: true });
            sim.news(ChildNews::EarlierEnded { spawn: two, was_running: false });
            sim.news(ChildNews::EarlierEnded { spawn: one, was_running: false });
            assert!(sim.disk.sessions.iter().all(|session| !session.active));
            sim.restart().connect(1, operator().device("desk")).spawns(1, SpawnRequest::List);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Child(resolve sp-2 p)
            0s Respond(conn-1, r2, spawned r2 sp-2 queued)
            0s Broadcast(spawn_result r2 sp-2 queued)
            0s -- restarted
            0s Child(end earlier sp-1 pid 101, sp-2)
            0s Respond(conn-1, r3, spawns [r2 sp-2 queued; r1 sp-1 running pid 101])
            0s Broadcast(spawn_result r1 sp-1 failed pid 101 Signal(9) "ended because the gateway restarted")
            0s Broadcast(spawn_result r2 sp-2 failed "the gateway restarted before it could start")
            0s -- restarted
            0s Respond(conn-1, r4, spawns [r2 sp-2 failed "the gateway restarted before it could start"; r1 sp-1 failed pid 101 Signal(9) "ended because the gateway restarted"])
        "#]],
    );
}

#[test]
fn how_it_ended_while_the_gateway_was_away_is_not_known() {
    check(
        |sim| {
            sim.spawn(1, ask("p")).restart().connect(1, operator().device("desk"));
            sim.spawns(1, SpawnRequest::List);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s -- restarted
            0s Child(end earlier sp-1 pid 101)
            0s Broadcast(spawn_result r1 sp-1 lost pid 101 "ended while the gateway was away; how is not known")
            0s Respond(conn-1, r2, spawns [r1 sp-1 lost pid 101 "ended while the gateway was away; how is not known"])
        "#]],
    );
}

#[test]
fn what_had_not_reached_the_disk_never_ran() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.spawn(1, ask("p"));
            sim.store = StoreMode::Prompt;
            sim.restart().connect(1, operator().device("desk")).spawns(1, SpawnRequest::List);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s -- restarted
            0s Respond(conn-1, r2, spawns [])
        "#]],
    );
}

#[test]
fn the_gateways_own_end_ends_its_programs_first() {
    check(
        |sim| {
            sim.spawn(1, ask("p")).spawn(1, ask("p"));
            stop(sim).spawn(1, ask("p")).run_secs(1);
            sim.exits(1, Exit::Signal(15)).output_ends(1);
            assert!(sim.disk.spawns.iter().all(|spawn| spawn.status == SpawnStatus::Cancelled));
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Child(resolve sp-2 p)
            0s Respond(conn-1, r2, spawned r2 sp-2 queued)
            0s Broadcast(spawn_result r2 sp-2 queued)
            0s Child(signal sp-1 Terminate)
            0s Broadcast(spawn_result r2 sp-2 cancelled "the gateway was stopped")
            0s Respond(conn-1, r3, UNAVAILABLE "the gateway is stopping; retry when it is back" retry 5000)
            0s Broadcast(spawn_result r3 sp-3 failed "the gateway is stopping; retry when it is back")
            1s Broadcast(spawn_result r1 sp-1 cancelled pid 101 Signal(15) "the gateway was stopped")
            1s Stopped
        "#]],
    );
}

#[test]
fn one_that_ignores_term_is_killed_within_the_gateways_grace() {
    check(
        |sim| {
            sim.spawn(1, ask("p"));
            let spawn = sim.id(1);
            stop(sim).run_secs(4);
            sim.news(ChildNews::Exited { spawn, exit: Exit::Signal(9), leftovers: true });
            sim.run_for(Duration::from_millis(1)).output_ends(1);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Child(signal sp-1 Terminate)
            3s Child(signal sp-1 Kill)
            4s Child(end leftovers sp-1)
            4.001s Broadcast(spawn_result r1 sp-1 cancelled pid 101 Signal(9) "the gateway was stopped")
            4.001s Stopped
        "#]],
    );
}

#[test]
fn one_that_cannot_be_killed_does_not_hold_the_gateway_up() {
    check(
        |sim| {
            sim.spawn(1, ask("p"));
            stop(sim).run_secs(60);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Child(signal sp-1 Terminate)
            3s Child(signal sp-1 Kill)
            10s Stopped
        "#]],
    );
}

#[test]
fn launchers_are_abandoned_when_the_gateway_stops() {
    check(
        |sim| {
            sim.shell.held = true;
            sim.spawn(1, ask("p"));
            let id = sim.id(1);
            sim.news(resolved(&id));
            stop(sim).news(held(&id, 7));
            sim.news(ChildNews::Exited { spawn: id, exit: Exit::Code(0), leftovers: false });
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(abandon sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 cancelled "the gateway was stopped")
            0s Broadcast(spawn_result r1 sp-1 cancelled "the gateway was stopped")
            0s Stopped
        "#]],
    );
}
