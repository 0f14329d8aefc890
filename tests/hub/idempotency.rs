//! Idempotency keys: executed once, answered as often as asked.

use expect_test::{Expect, expect};
use openclaw_gateway::protocol::request::Request;

use crate::peers::agent;
use crate::sim::{Sim, StoreMode};

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::new();
    sim.settled().show(&["Log"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn a_repeat_is_answered_the_same_and_not_executed() {
    check(
        |sim| {
            sim.append_once(2, "k", "one").append_once(2, "k", "one").append_once(2, "l", "one");
            sim.append_once(1, "k", "one");
        },
        expect![[r#"
            0s Broadcast(log 1 one)
            0s Respond(conn-2, r1, appended 1..=1)
            0s Respond(conn-2, r2, appended 1..=1)
            0s Broadcast(log 2 one)
            0s Respond(conn-2, r3, appended 2..=2)
            0s Respond(conn-1, r4, appended 1..=1)
        "#]],
    );
}

#[test]
fn a_repeat_in_progress_is_answered_together_with_the_first() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.append_once(2, "k", "one").append_once(2, "k", "one").append_once(1, "k", "one");
            sim.append_once(2, "k", "other").stored();
        },
        expect![[r#"
            0s Broadcast(log 1 one)
            0s Respond(conn-2, r4, CONFLICT "this idempotencyKey was used with other params")
            0s -- stored
            0s Respond(conn-2, r1, appended 1..=1)
            0s Respond(conn-2, r2, appended 1..=1)
            0s Respond(conn-1, r3, appended 1..=1)
        "#]],
    );
}

#[test]
fn other_params_under_the_same_key_are_a_conflict() {
    check(
        |sim| {
            sim.append_once(2, "k", "one").append_once(2, "k", "two");
        },
        expect![[r#"
            0s Broadcast(log 1 one)
            0s Respond(conn-2, r1, appended 1..=1)
            0s Respond(conn-2, r2, CONFLICT "this idempotencyKey was used with other params")
        "#]],
    );
}

#[test]
fn an_answer_survives_a_restart_and_is_forgotten_after_five_minutes() {
    check(
        |sim| {
            sim.append_once(2, "k", "one").run_secs(100).restart();
            sim.connect(2, agent("a1")).forget().append_once(2, "k", "one");
            sim.live_for(199, &[2]).append_once(2, "k", "one");
            sim.run_secs(1).append_once(2, "k", "one");
        },
        expect![[r#"
            100s Respond(conn-2, r2, appended 1..=1)
            299s Respond(conn-2, r3, appended 1..=1)
            300s Broadcast(log 65537 one)
            300s Respond(conn-2, r4, appended 65537..=65537)
        "#]],
    );
}

#[test]
fn a_failed_commit_leaves_no_answer_behind() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.append_once(2, "k", "one").append_once(2, "k", "one").store_fails();
            sim.append_once(2, "k", "one").store_recovers();
            sim.store = StoreMode::Prompt;
            if sim.is_storing() {
                sim.stored();
            }
            sim.append_once(2, "k", "one");
        },
        expect![[r#"
            0s Broadcast(log 1 one)
            0s -- store fails
            0s Respond(conn-2, r1, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-2, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-2, r3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- store recovers
            0s -- stored
            0s Broadcast(log 2 one)
            0s Respond(conn-2, r4, appended 2..=2)
        "#]],
    );
}

#[test]
fn forgotten_answers_leave_the_disk_with_the_next_commit() {
    let mut sim = Sim::new();
    sim.settled().only(&["Persist"]);
    sim.append_once(2, "k", "one");
    sim.live_for(400, &[1, 2]);
    assert_eq!(sim.disk.answers.len(), 1);
    sim.append(2, &["two"]);
    assert_eq!(sim.disk.answers.len(), 0);
    sim.only(&["Respond"]).request(1, Request::Status);
    expect![[r#"
        0s Persist(#4: append 1, put answer k)
        400s Persist(#5: delete answer k, append 2)
        400s Respond(conn-1, r3, status 1 operators 1 agents 2 entries, store healthy)
    "#]]
    .assert_eq(&sim.take());
}
