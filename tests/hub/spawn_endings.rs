//! How spawns end: by themselves, by request, by time, with leftovers; once each.

use std::time::Duration;

use expect_test::{Expect, expect};
use openclaw_gateway::hub::child::{ChildNews, Exit};
use openclaw_gateway::protocol::spawn::SpawnRequest;

use crate::shell::{ask, held, resolved};
use crate::sim::Sim;

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(|policy| policy.spawn.allowed_commands = vec!["p".to_owned()]);
    sim.settled().only(&["Respond", "Spawn", "Child", "Log"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn a_program_runs_prints_and_exits() {
    check(
        |sim| {
            sim.spawn(1, ask("p")).prints(1, &["hello"]).run_secs(3).ends(1, 0);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Broadcast(log 1 "timestamp":1000,"level":"info","source":"spawn","session":"spawn:sp-1","message":"hello")
            3s Broadcast(spawn_result r1 sp-1 completed pid 101 Code(0))
        "#]],
    );
}

#[test]
fn the_end_comes_after_the_last_line_whichever_is_told_first() {
    check(
        |sim| {
            sim.spawn(1, ask("p")).exits(1, Exit::Code(0)).prints(1, &["late"]).output_ends(1);
            sim.spawn(1, ask("p")).output_ends(2).run_secs(60).exits(2, Exit::Code(3));
            sim.spawn(1, ask("p")).output_ends(3).exits(3, Exit::Signal(11));
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Broadcast(log 1 "timestamp":1000,"level":"info","source":"spawn","session":"spawn:sp-1","message":"late")
            0s Broadcast(spawn_result r1 sp-1 completed pid 101 Code(0))
            0s Child(resolve sp-2 p)
            0s Child(launch sp-2 [])
            0s Child(go sp-2)
            0s Respond(conn-1, r2, spawned r2 sp-2 running pid 102)
            0s Broadcast(spawn_result r2 sp-2 running pid 102)
            60s Broadcast(spawn_result r2 sp-2 failed pid 102 Code(3) "exited with code 3")
            60s Child(resolve sp-3 p)
            60s Child(launch sp-3 [])
            60s Child(go sp-3)
            60s Respond(conn-1, r3, spawned r3 sp-3 running pid 103)
            60s Broadcast(spawn_result r3 sp-3 running pid 103)
            60s Broadcast(spawn_result r3 sp-3 failed pid 103 Signal(11) "ended by SIGSEGV")
        "#]],
    );
}

#[test]
fn a_cancel_is_term_and_then_kill() {
    check(
        |sim| {
            sim.spawn(1, ask("p")).cancel(1, "r1").run_secs(10).cancel(1, "r1").run_secs(60);
            sim.exits(1, Exit::Signal(9)).output_ends(1).cancel(1, "r1");
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Child(signal sp-1 Terminate)
            0s Respond(conn-1, r2, cancelling r1 sp-1 running pid 101)
            10s Child(signal sp-1 Kill)
            10s Respond(conn-1, r3, cancelling r1 sp-1 running pid 101)
            70s Broadcast(spawn_result r1 sp-1 cancelled pid 101 Signal(9))
            70s Respond(conn-1, r4, cancelling r1 sp-1 cancelled pid 101 Signal(9))
        "#]],
    );
}

#[test]
fn a_shorter_grace_counts_and_a_longer_one_does_not() {
    check(
        |sim| {
            let cancel =
                |grace| SpawnRequest::Cancel { id: "r1".to_owned(), grace_ms: Some(grace) };
            sim.spawn(1, ask("p")).cancel(1, "r1").run_secs(1).spawns(1, cancel(60_000));
            sim.spawns(1, cancel(500)).run_secs(60).exits(1, Exit::Signal(9)).output_ends(1);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Child(signal sp-1 Terminate)
            0s Respond(conn-1, r2, cancelling r1 sp-1 running pid 101)
            1s Respond(conn-1, r3, cancelling r1 sp-1 running pid 101)
            1s Respond(conn-1, r4, cancelling r1 sp-1 running pid 101)
            1.500s Child(signal sp-1 Kill)
            61s Broadcast(spawn_result r1 sp-1 cancelled pid 101 Signal(9))
        "#]],
    );
}

#[test]
fn a_program_that_runs_too_long_is_ended() {
    check(
        |sim| {
            let mut short = ask("p");
            short.timeout_ms = Some(1_500);
            sim.spawn(1, short).run_secs(2).exits(1, Exit::Signal(15)).output_ends(1);
            sim.run_secs(100);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            1.500s Child(signal sp-1 Terminate)
            2s Broadcast(spawn_result r1 sp-1 timeout pid 101 Signal(15) "ran longer than 1.5 s")
        "#]],
    );
}

#[test]
fn a_cancel_after_the_time_was_up_changes_nothing() {
    check(
        |sim| {
            let mut short = ask("p");
            short.timeout_ms = Some(1_000);
            sim.spawn(1, short).run_secs(2).cancel(1, "r1").ends(1, 0);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            1s Child(signal sp-1 Terminate)
            2s Respond(conn-1, r2, cancelling r1 sp-1 running pid 101)
            2s Broadcast(spawn_result r1 sp-1 timeout pid 101 Code(0) "ran longer than 1 s")
        "#]],
    );
}

#[test]
fn what_a_program_left_running_has_a_moment_and_is_then_ended() {
    check(
        |sim| {
            sim.spawn(1, ask("p"));
            let spawn = sim.id(1);
            sim.news(ChildNews::Exited { spawn, exit: Exit::Code(0), leftovers: true });
            sim.run_secs(1).prints(1, &["from a leftover"]).output_ends(1).run_secs(60);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            1s Broadcast(log 1 "timestamp":1000,"level":"info","source":"spawn","session":"spawn:sp-1","message":"from a leftover")
            2s Child(end leftovers sp-1)
            2s Broadcast(spawn_result r1 sp-1 completed pid 101 Code(0))
        "#]],
    );
}

#[test]
fn who_is_out_of_reach_and_holds_the_pipe_holds_nothing_up_for_long() {
    check(
        |sim| {
            sim.spawn(1, ask("p")).exits(1, Exit::Code(0)).run_secs(60);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            5s Child(close output sp-1)
            5s Broadcast(spawn_result r1 sp-1 completed pid 101 Code(0))
        "#]],
    );
}

#[test]
fn what_cannot_start_has_failed_and_the_answer_says_why() {
    check(
        |sim| {
            sim.shell.held = true;
            let failed =
                |spawn, error: &str| ChildNews::StartFailed { spawn, error: error.to_owned() };
            sim.spawn(1, ask("p"));
            let one = sim.id(1);
            sim.news(resolved(&one)).news(held(&one, 7)).news(failed(one, "not executable"));
            sim.spawn(1, ask("p"));
            let two = sim.id(2);
            let outcome = Err("out of processes".to_owned());
            sim.news(resolved(&two)).news(ChildNews::Held { spawn: two, outcome });
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 failed "not executable")
            0s Broadcast(spawn_result r1 sp-1 failed "not executable")
            0s Child(resolve sp-2 p)
            0s Child(launch sp-2 [])
            0s Respond(conn-1, r2, spawned r2 sp-2 failed "out of processes")
            0s Broadcast(spawn_result r2 sp-2 failed "out of processes")
        "#]],
    );
}

#[test]
fn what_was_told_to_go_and_does_not_start_is_given_up() {
    check(
        |sim| {
            sim.shell.held = true;
            sim.spawn(1, ask("p"));
            let id = sim.id(1);
            sim.news(resolved(&id)).news(held(&id, 7)).run_secs(100);
            let exit = Exit::Signal(9);
            sim.news(ChildNews::Exited { spawn: id, exit, leftovers: false });
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            60s Child(signal sp-1 Terminate)
            60s Child(signal sp-1 Kill)
            100s Respond(conn-1, r1, spawned r1 sp-1 failed "did not start within 60 s: what it needs is on a disk that does not answer")
            100s Broadcast(spawn_result r1 sp-1 failed "did not start within 60 s: what it needs is on a disk that does not answer")
        "#]],
    );
}

/// Cancels a spawn after each of these news, and lets it end.
fn cancelled_after(steps: usize) -> String {
    let mut sim = Sim::with(|policy| policy.spawn.allowed_commands = vec!["p".to_owned()]);
    sim.settled().only(&["Respond", "Spawn", "Child"]);
    sim.shell.held = true;
    sim.spawn(1, ask("p"));
    let id = sim.id(1);
    let mut news = vec![
        resolved(&id),
        held(&id, 7),
        ChildNews::Started(id.clone()),
        ChildNews::Exited { spawn: id.clone(), exit: Exit::Signal(15), leftovers: false },
        ChildNews::OutputEnded(id),
    ]
    .into_iter();
    for news in news.by_ref().take(steps) {
        sim.news(news);
    }
    sim.cancel(1, "r1");
    for news in news {
        sim.news(news);
    }
    sim.run_for(Duration::from_secs(100));
    sim.take()
}

#[test]
fn a_cancel_at_any_moment_ends_it_once() {
    let mut told = String::new();
    for steps in 0..=4 {
        told.push_str(&format!("after {steps}\n{}", cancelled_after(steps)));
    }
    expect![[r#"
        after 0
        0s Child(resolve sp-1 p)
        0s Respond(conn-1, r1, spawned r1 sp-1 cancelled)
        0s Respond(conn-1, r2, cancelling r1 sp-1 cancelled)
        0s Broadcast(spawn_result r1 sp-1 cancelled)
        after 1
        0s Child(resolve sp-1 p)
        0s Child(launch sp-1 [])
        0s Respond(conn-1, r2, cancelling r1 sp-1 queued)
        0s Child(abandon sp-1)
        0s Respond(conn-1, r1, spawned r1 sp-1 cancelled)
        0s Broadcast(spawn_result r1 sp-1 cancelled)
        after 2
        0s Child(resolve sp-1 p)
        0s Child(launch sp-1 [])
        0s Child(go sp-1)
        0s Child(signal sp-1 Terminate)
        0s Respond(conn-1, r2, cancelling r1 sp-1 queued)
        0s Respond(conn-1, r1, spawned r1 sp-1 running pid 7)
        0s Broadcast(spawn_result r1 sp-1 running pid 7)
        0s Broadcast(spawn_result r1 sp-1 cancelled pid 7 Signal(15))
        after 3
        0s Child(resolve sp-1 p)
        0s Child(launch sp-1 [])
        0s Child(go sp-1)
        0s Respond(conn-1, r1, spawned r1 sp-1 running pid 7)
        0s Broadcast(spawn_result r1 sp-1 running pid 7)
        0s Child(signal sp-1 Terminate)
        0s Respond(conn-1, r2, cancelling r1 sp-1 running pid 7)
        0s Broadcast(spawn_result r1 sp-1 cancelled pid 7 Signal(15))
        after 4
        0s Child(resolve sp-1 p)
        0s Child(launch sp-1 [])
        0s Child(go sp-1)
        0s Respond(conn-1, r1, spawned r1 sp-1 running pid 7)
        0s Broadcast(spawn_result r1 sp-1 running pid 7)
        0s Respond(conn-1, r2, cancelling r1 sp-1 running pid 7 Signal(15))
        0s Broadcast(spawn_result r1 sp-1 failed pid 7 Signal(15) "ended by SIGTERM")
    "#]]
    .assert_eq(&told);
}

#[test]
fn all_of_a_session_are_killed_together() {
    check(
        |sim| {
            let session = openclaw_gateway::base::ids::SessionKey::new("a1:work");
            let in_session = || {
                let mut ask = ask("p");
                ask.session = Some(openclaw_gateway::base::ids::SessionKey::new("a1:work"));
                ask
            };
            sim.spawn(1, in_session()).spawn(1, in_session()).spawn(1, ask("p"));
            sim.spawns(1, SpawnRequest::KillSession(session.clone())).ends(1, 0).ends(2, 0);
            sim.spawns(1, SpawnRequest::KillSession(session));
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Child(resolve sp-2 p)
            0s Child(launch sp-2 [])
            0s Child(go sp-2)
            0s Respond(conn-1, r2, spawned r2 sp-2 running pid 102)
            0s Broadcast(spawn_result r2 sp-2 running pid 102)
            0s Child(resolve sp-3 p)
            0s Child(launch sp-3 [])
            0s Child(go sp-3)
            0s Respond(conn-1, r3, spawned r3 sp-3 running pid 103)
            0s Broadcast(spawn_result r3 sp-3 running pid 103)
            0s Child(signal sp-1 Terminate)
            0s Child(signal sp-2 Terminate)
            0s Respond(conn-1, r4, killing 2 of a1:work)
            0s Broadcast(spawn_result r1 sp-1 cancelled pid 101 Code(0))
            0s Broadcast(spawn_result r2 sp-2 cancelled pid 102 Code(0))
            0s Respond(conn-1, r5, NOT_FOUND "no spawn runs in session a1:work")
        "#]],
    );
}
