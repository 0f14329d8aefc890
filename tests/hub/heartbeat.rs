//! Heartbeats: silence, pings, pongs, the end.

use std::time::Duration;

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::ConnId;
use openclaw_gateway::hub::input::Input;

use crate::peers::{agent, operator};
use crate::sim::Sim;

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::new();
    sim.connect(1, operator().device("desk"));
    sim.only(&["Ping", "Close", "Stopped", "Tick"]).forget();
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn silent_peer_is_pinged_three_times_then_closed() {
    check(
        |sim| {
            sim.run_secs(600);
        },
        expect![[r#"
            30s Broadcast(tick)
            30s Ping(conn-1)
            60s Broadcast(tick)
            60s Ping(conn-1)
            90s Broadcast(tick)
            90s Ping(conn-1)
            120s Broadcast(tick)
            120s Close(conn-1, heartbeat_timeout)
        "#]],
    );
}

#[test]
fn peer_that_speaks_is_never_pinged() {
    check(
        |sim| {
            sim.only(&["Ping", "Close"]);
            for _ in 0..30 {
                sim.run_secs(20).heard(1);
            }
        },
        expect![""],
    );
}

#[test]
fn whatever_a_peer_sends_after_a_ping_answers_it() {
    check(
        |sim| {
            sim.only(&["Ping", "Close"]);
            sim.run_secs(95).heard(1).note("heard").run_secs(600);
        },
        expect![[r#"
            30s Ping(conn-1)
            60s Ping(conn-1)
            90s Ping(conn-1)
            95s -- heard
            125s Ping(conn-1)
            155s Ping(conn-1)
            185s Ping(conn-1)
            215s Close(conn-1, heartbeat_timeout)
        "#]],
    );
}

#[test]
fn peer_that_only_answers_pings_lives_and_is_measured_once_per_interval() {
    check(
        |sim| {
            sim.only(&["Ping", "Close", "MeasureSilence"]);
            for _ in 0..3 {
                sim.run_secs(30).heard(1);
                let rtt = Duration::from_micros(1_500);
                sim.input(Input::PongReceived { conn: ConnId(1), rtt });
            }
            sim.only(&["Respond"]).request(1, crate::presence::system_presence());
        },
        expect![[r#"
            30s MeasureSilence(conn-1)
            30s Ping(conn-1)
            60s MeasureSilence(conn-1)
            60s Ping(conn-1)
            90s MeasureSilence(conn-1)
            90s Ping(conn-1)
            90s Respond(conn-1, r1, presence ui 1500 us)
        "#]],
    );
}

#[test]
fn ticks_stop_when_nobody_is_there_and_start_with_the_next_peer() {
    check(
        |sim| {
            sim.run_secs(10).closed(1).run_secs(100);
            assert_eq!(sim.hub.next_deadline(), None);
            sim.connect(2, operator().device("desk")).run_secs(30);
        },
        expect![[r#"
            110s Send(conn-2, tick)
            140s Broadcast(tick)
            140s Ping(conn-2)
        "#]],
    );
}

#[test]
fn a_dead_peer_is_reported_in_the_words_of_the_seed() {
    check(
        |sim| {
            sim.only(&["Diagnose"]).run_secs(120);
        },
        expect![[r#"
            120s WARN "Heartbeat timeout" client_id=ui missed_pongs=3 conn=conn-1
        "#]],
    );
}

#[test]
fn peers_that_are_due_in_a_moment_are_looked_at_together() {
    check(
        |sim| {
            sim.only(&["Ping", "Close", "MeasureSilence"]);
            sim.run_for(Duration::from_millis(200)).connect(2, agent("a1"));
            sim.run_for(Duration::from_millis(100)).connect(3, agent("a2"));
            sim.run_secs(31);
        },
        expect![[r#"
            30s MeasureSilence(conn-1, conn-2)
            30s Ping(conn-1)
            30s Ping(conn-2)
            30.300s MeasureSilence(conn-3)
            30.300s Ping(conn-3)
        "#]],
    );
}
