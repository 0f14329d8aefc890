//! Stopping: said, answered, closed, ended, in this order and in time.

use expect_test::{Expect, expect};

use crate::peers::{agent, operator};
use crate::sim::{Sim, StoreMode};

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::new();
    sim.settled().show(&["Shutdown", "SetReady"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

fn stop(sim: &mut Sim) -> &mut Sim {
    use openclaw_gateway::hub::input::Input;
    sim.input(Input::StopRequested { reason: "service restart".to_owned() })
}

#[test]
fn everyone_is_told_and_closed_and_then_it_ends() {
    check(
        |sim| {
            stop(sim);
        },
        expect![[r#"
                0s Broadcast(shutdown "service restart" back in Some(5000))
                0s SetReady(Err("the gateway is stopping"))
                0s Close(conn-1, server_stopping)
                0s Close(conn-2, server_stopping)
                0s Stopped
        "#]],
    );
}

#[test]
fn what_is_being_committed_is_answered_before_the_close() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.append(2, &["one"]).append(2, &["two"]);
            stop(sim).append(2, &["three"]).stored().stored();
        },
        expect![[r#"
                0s Broadcast(shutdown "service restart" back in Some(5000))
                0s SetReady(Err("the gateway is stopping"))
                0s Respond(conn-2, r3, UNAVAILABLE "the gateway is stopping; retry when it is back" retry 5000)
                0s -- stored
                0s Respond(conn-2, r1, appended 1..=1)
                0s -- stored
                0s Respond(conn-2, r2, appended 2..=2)
                0s Close(conn-1, server_stopping)
                0s Close(conn-2, server_stopping)
                0s Stopped
        "#]],
    );
}

#[test]
fn a_store_that_hangs_holds_nobody_up_for_long() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.append(2, &["one"]);
            stop(sim).run_secs(60);
        },
        expect![[r#"
            0s Broadcast(shutdown "service restart" back in Some(5000))
            0s SetReady(Err("the gateway is stopping"))
            5s Close(conn-1, server_stopping)
            5s Close(conn-2, server_stopping)
            10s Stopped
        "#]],
    );
}

#[test]
fn nobody_is_let_in_any_more() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.append(2, &["one"]).connect(3, agent("a2"));
            stop(sim).connect(4, operator().device("desk")).stored().stored();
        },
        expect![[r#"
            0s Broadcast(shutdown "service restart" back in Some(5000))
            0s SetReady(Err("the gateway is stopping"))
            0s Refuse(conn-4, UNAVAILABLE "the gateway is stopping; retry when it is back" {"code":"UNAVAILABLE_STOPPING"} retry 5000) 1012 "service restart"
            0s -- stored
            0s Respond(conn-2, r1, appended 1..=1)
            0s -- stored
            0s Refuse(conn-3, UNAVAILABLE "the gateway is stopping; retry when it is back" {"code":"UNAVAILABLE_STOPPING"} retry 5000) 1012 "service restart"
            0s Close(conn-1, server_stopping)
            0s Close(conn-2, server_stopping)
            0s Stopped
        "#]],
    );
}

#[test]
fn a_second_request_to_stop_changes_nothing() {
    let mut sim = Sim::new();
    sim.settled().only(&["Stopped", "Shutdown"]);
    stop(&mut sim);
    stop(&mut sim).run_secs(60);
    assert_eq!(sim.take().matches("Stopped").count(), 1);
}
