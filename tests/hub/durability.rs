//! Commits: grouped, one at a time, and what a failing store means.

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::DeviceId;
use openclaw_gateway::base::limits::UNCOMMITTED_BYTES_MAX;
use openclaw_gateway::protocol::devices::{DeviceRequest, TokenOf};
use openclaw_gateway::protocol::request::Request;

use crate::peers::{agent, operator};
use crate::policies::shared;
use crate::sim::{Sim, StoreMode};

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::new();
    sim.settled().show(&["Persist", "SetReady", "Log"]);
    sim.store = StoreMode::Held;
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn what_changes_while_a_commit_runs_is_one_next_commit() {
    check(
        |sim| {
            sim.append(2, &["1"]).append(2, &["2"]).append(2, &["3"]).connect(3, agent("a2"));
            sim.stored().stored();
        },
        expect![[r#"
            0s Broadcast(log 1 1)
            0s Persist(#4: append 1)
            0s Broadcast(log 2 2)
            0s Broadcast(log 3 3)
            0s -- stored
            0s Respond(conn-2, r1, appended 1..=1)
            0s Persist(#5: append 2, append 3, put device a2, put token of a2)
            0s -- stored
            0s Respond(conn-2, r2, appended 2..=2)
            0s Respond(conn-2, r3, appended 3..=3)
            0s Admit(conn-3 agent [] named a2 device a2 token-3 of default by device)
        "#]],
    );
}

#[test]
fn the_first_commit_makes_ready() {
    let mut sim = Sim::new();
    sim.show(&["SetReady", "Persist"]).forget();
    sim.restart();
    expect![[r#"
        0s -- restarted
        0s Persist(#1: reserve 131073)
        0s SetReady(Ok(()))
    "#]]
    .assert_eq(&sim.take());
}

#[test]
fn a_failed_commit_is_refused_forgotten_and_its_cursors_are_not_used_again() {
    check(
        |sim| {
            sim.append(2, &["1"]).append(2, &["2"]).store_fails();
            sim.tail(1, None, 10).append(2, &["3"]);
            sim.store_recovers().append(2, &["4"]).stored().stored().tail(1, None, 10);
        },
        expect![[r#"
            0s Broadcast(log 1 1)
            0s Persist(#4: append 1)
            0s Broadcast(log 2 2)
            0s -- store fails
            0s SetReady(Err("the store takes no writes"))
            0s Respond(conn-2, r1, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-2, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-1, r3, entries [] cursor 2)
            0s Respond(conn-2, r4, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- store recovers
            0s SetReady(Ok(()))
            0s Persist(#5: delete logs 1 to 2)
            0s Broadcast(log 3 4)
            0s -- stored
            0s Persist(#6: append 3)
            0s -- stored
            0s Respond(conn-2, r5, appended 3..=3)
            0s Respond(conn-1, r6, entries [3] cursor 3)
        "#]],
    );
}

#[test]
fn a_registration_that_is_not_stored_is_refused_and_may_be_tried_again() {
    check(
        |sim| {
            sim.connect(3, agent("a2")).connect(4, agent("a2")).note("nobody is in yet");
            sim.store_fails().connect(5, agent("a2")).store_recovers();
            if sim.is_storing() {
                sim.stored();
            }
            sim.connect(6, agent("a2")).stored();
        },
        expect![[r#"
            0s Persist(#4: put device a2, put token of a2)
            0s -- nobody is in yet
            0s -- store fails
            0s SetReady(Err("the store takes no writes"))
            0s Refuse(conn-3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" {"code":"UNAVAILABLE_STORAGE"} retry 1000) 1013 "gateway cannot store right now"
            0s Refuse(conn-4, UNAVAILABLE "not stored: the gateway's store takes no writes right now" {"code":"UNAVAILABLE_STORAGE"} retry 1000) 1013 "gateway cannot store right now"
            0s Refuse(conn-5, UNAVAILABLE "not stored: the gateway's store takes no writes right now" {"code":"UNAVAILABLE_STORAGE"} retry 1000) 1013 "gateway cannot store right now"
            0s -- store recovers
            0s SetReady(Ok(()))
            0s Persist(#5: delete device a2)
            0s -- stored
            0s Persist(#6: put device a2, put token of a2)
            0s -- stored
            0s Admit(conn-6 agent [] named a2 device a2 token-3 of default by device)
        "#]],
    );
}

#[test]
fn a_pairing_code_is_good_again_when_its_use_was_not_stored() {
    let code = openclaw_gateway::base::secret::Secret::new("4711");
    let mut sim = Sim::with(|policy| policy.auth.pairing_code = Some(code.hash()));
    sim.store = StoreMode::Held;
    let far = || operator().device("far").remote("203.0.113.1").code("4711");
    sim.connect(1, far()).store_fails().store_recovers();
    sim.store = StoreMode::Prompt;
    if sim.is_storing() {
        sim.stored();
    }
    sim.connect(2, far());
    expect![[r#"
        0s -- store fails
        0s Refuse(conn-1, UNAVAILABLE "not stored: the gateway's store takes no writes right now" {"code":"UNAVAILABLE_STORAGE"} retry 1000) 1013 "gateway cannot store right now"
        0s -- store recovers
        0s -- stored
        0s Admit(conn-2 operator [operator.admin] device far token-1 of default by device)
    "#]].assert_eq(&sim.take());
}

#[test]
fn a_connection_that_closes_before_its_commit_is_answered_nothing() {
    check(
        |sim| {
            sim.append(2, &["1"]).closed(2).connect(3, agent("a2")).closed(3);
            sim.stored().stored().tail(1, None, 10);
        },
        expect![[r#"
            0s Broadcast(log 1 1)
            0s Persist(#4: append 1)
            0s -- stored
            0s Persist(#5: put device a2, put token of a2)
            0s -- stored
            0s Respond(conn-1, r2, entries [1] cursor 1)
        "#]],
    );
}

#[test]
fn too_many_bytes_waiting_for_the_disk_are_refused() {
    let mut sim = Sim::with(|policy| policy.limits.journal_bytes_max = 1 << 30);
    sim.settled().only(&["Respond"]);
    sim.store = StoreMode::Held;
    let megabyte = "x".repeat(1 << 20);
    for _ in 0..UNCOMMITTED_BYTES_MAX >> 20 {
        sim.append(2, &[&megabyte]);
    }
    sim.stored().append(2, &[&megabyte]);
    expect![[r#"
        0s Respond(conn-2, r16, RESOURCE_EXHAUSTED "too many reports are waiting for the disk" retry 200)
        0s -- stored
        0s Respond(conn-2, r1, appended 1..=1)
    "#]].assert_eq(&sim.take());
}

#[test]
fn reads_and_live_ticks_go_on_while_the_store_fails() {
    check(
        |sim| {
            sim.append(2, &["1"]).stored().store_fails().show(&["Tick"]);
            sim.tail(1, None, 10).connect(3, operator().device("desk")).run_secs(30);
        },
        expect![[r#"
            0s Broadcast(log 1 1)
            0s Persist(#4: append 1)
            0s -- stored
            0s Respond(conn-2, r1, appended 1..=1)
            0s -- store fails
            0s SetReady(Err("the store takes no writes"))
            0s Respond(conn-1, r2, entries [1] cursor 1)
            0s Admit(conn-3 operator [operator.admin] device desk token-1 of default by device)
            0s Send(conn-3, tick)
            30s Broadcast(tick)
            30s Ping(conn-1)
            30s Ping(conn-2)
            30s Ping(conn-3)
        "#]],
    );
}

#[test]
fn a_store_that_fails_at_the_start_makes_ready_when_it_recovers() {
    let mut sim = Sim::new();
    sim.show(&["SetReady", "Persist"]).forget();
    sim.store = StoreMode::Held;
    sim.restart().store_fails();
    assert_eq!(sim.hub.next_deadline(), None);
    sim.store_recovers().stored();
    expect![[r#"
        0s -- restarted
        0s Persist(#1: reserve 131073)
        0s -- store fails
        0s SetReady(Err("the store takes no writes"))
        0s -- store recovers
        0s SetReady(Ok(()))
        0s Persist(#2: reserve 131073)
        0s -- stored
    "#]]
    .assert_eq(&sim.take());
}

#[test]
fn a_device_that_is_revoked_while_its_connect_waits_is_refused() {
    check(
        |sim| {
            sim.connect(3, agent("a2"));
            let mut effects = Vec::new();
            let a2 = DeviceId::new("a2");
            sim.hub.revoke_device(&a2, &mut effects).unwrap();
            sim.note("revoked").perform_now(effects);
            sim.stored().stored();
        },
        expect![[r#"
            0s Persist(#4: put device a2, put token of a2)
            0s -- revoked
            0s -- stored
            0s Persist(#5: delete token, put device a2)
            0s -- stored
            0s Refuse(conn-3, UNAUTHORIZED "device revoked" {"code":"DEVICE_REVOKED"}) 4001 "device revoked"
        "#]],
    );
}

#[test]
fn a_registration_on_disk_outlives_the_failure_of_what_changed_since() {
    check(
        |sim| {
            sim.connect(3, agent("a2"));
            let device = DeviceId::new("a2");
            let tokens = DeviceRequest::RevokeTokens(TokenOf { device, role: None });
            sim.request(1, Request::Devices(tokens)).stored();
            sim.store_fails().store_recovers();
            if sim.is_storing() {
                sim.stored();
            }
            sim.note("as it was registered").connect(4, agent("a2")).stored();
        },
        expect![[r#"
            0s Persist(#4: put device a2, put token of a2)
            0s -- stored
            0s Persist(#5: delete token)
            0s -- store fails
            0s SetReady(Err("the store takes no writes"))
            0s Respond(conn-1, r1, UNAVAILABLE "in force, but not on disk yet: the gateway's store takes no writes right now" {"inForce":true})
            0s Refuse(conn-3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" {"code":"UNAVAILABLE_STORAGE"} retry 1000) 1013 "gateway cannot store right now"
            0s -- store recovers
            0s SetReady(Ok(()))
            0s Persist(#6: delete token)
            0s -- stored
            0s -- as it was registered
            0s Persist(#7: put token of a2)
            0s -- stored
            0s Admit(conn-4 agent [] named a2 device a2 token-3 of default by device)
        "#]],
    );
}

#[test]
fn a_connect_waits_until_what_its_device_is_now_is_on_disk() {
    let mut sim = Sim::with(|policy| policy.auth.secrets = shared("open sesame"));
    sim.settled().show(&["Persist"]);
    sim.store = StoreMode::Held;
    sim.append(2, &["1"]).connect(3, agent("n"));
    sim.connect(4, operator().device("n").token("open sesame")).stored();
    sim.connect(5, agent("n").token("open sesame")).stored().stored();
    expect![[r#"
        0s Persist(#4: append 1)
        0s -- stored
        0s Respond(conn-2, r1, appended 1..=1)
        0s Persist(#5: put device n, put token of n, put device n, delete token, put token of n)
        0s -- stored
        0s Persist(#6: put device n, delete token, put token of n)
        0s -- stored
        0s Admit(conn-5 agent [] named n device n token-3 of default by device)
        0s Refuse(conn-3, UNAVAILABLE "the device was changed while it connected; connect again" {"code":"UNAVAILABLE_DEVICE_CHANGED"} retry 1000) 1013 "the device was changed while it connected; connect again"
        0s Refuse(conn-4, UNAVAILABLE "the device was changed while it connected; connect again" {"code":"UNAVAILABLE_DEVICE_CHANGED"} retry 1000) 1013 "the device was changed while it connected; connect again"
    "#]].assert_eq(&sim.take());
}
