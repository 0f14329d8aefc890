//! Presence: one line per device, coalesced, with round trips on request.

use expect_test::{Expect, expect};
use openclaw_gateway::base::limits::PRESENCE_SHOWN_MAX;
use openclaw_gateway::protocol::request::Request;

use crate::peers::{agent, operator};
use crate::policies::shared;
use crate::sim::Sim;

pub(crate) fn system_presence() -> Request {
    Request::SystemPresence
}

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(|policy| policy.auth.secrets = shared("open sesame"));
    sim.only(&["Presence"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn arrivals_and_departures_are_told_together_after_the_delay() {
    check(
        |sim| {
            sim.connect(1, operator().device("desk")).connect(2, agent("a1"));
            sim.run_secs(1).closed(2).run_secs(1).connect(3, agent("a2")).closed(3).run_secs(1);
        },
        expect![[r#"
            0.250s Broadcast(presence v2 +a1 +desk)
            1.250s Broadcast(presence v3 +desk -a1)
            2.250s Broadcast(presence v5 +desk -a2)
        "#]],
    );
}

#[test]
fn a_device_with_two_connections_is_one_line_until_the_last_is_gone() {
    check(
        |sim| {
            sim.connect(1, operator().device("desk")).connect(2, agent("a1")).run_secs(1);
            sim.connect(3, agent("a1")).closed(2).run_secs(1).closed(3).run_secs(1);
        },
        expect![[r#"
            0.250s Broadcast(presence v2 +a1 +desk)
            1.250s Broadcast(presence v3 +a1 +desk)
            2.250s Broadcast(presence v4 +desk -a1)
        "#]],
    );
}

#[test]
fn a_crowd_is_shown_in_part_and_less_often() {
    let mut sim = Sim::with(|policy| policy.auth.secrets = shared("open sesame"));
    sim.only(&[]);
    for conn in 0..1_000 {
        sim.connect(conn, operator().token("open sesame"));
    }
    assert!(sim.hello(999).presence.len() <= PRESENCE_SHOWN_MAX);
    sim.only(&["Presence"]).run_secs(10).closed(0).closed(1);
    sim.take();
    sim.run_secs(10);
    let told = sim.take();
    assert_eq!(told.lines().count(), 1);
    assert!(told.starts_with("11.000s") || told.trim_start().starts_with("11"), "{told}");
}

#[test]
fn who_may_not_hear_presence_is_not_told_in_the_hello_either() {
    let mut sim = Sim::new();
    sim.settled();
    assert_eq!(sim.hello(2).presence.len(), 0);
    sim.connect(3, operator().device("desk"));
    assert_eq!(sim.hello(3).presence.len(), 2);
}
