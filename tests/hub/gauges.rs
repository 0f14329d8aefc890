//! What the hub counts for the metrics page: how much is open, and what became of the rest.

use std::time::Duration;

use expect_test::{Expect, expect};
use openclaw_gateway::hub::gauges::{Outcome, Tally};
use openclaw_gateway::protocol::run::RunState;

use crate::cron::{add, every, job};
use crate::peers::{agent, operator};
use crate::runs::{call, update};
use crate::shell::ask;
use crate::sim::Sim;

/// The ways in which something ended, each with its number; the others are zero.
fn tally<K: Outcome>(tally: &Tally<K>) -> String {
    let ended = tally.counts().filter(|(_, count)| *count > 0);
    let ended: Vec<_> = ended.map(|(how, count)| format!("{} {count}", how.name())).collect();
    ended.join(", ")
}

/// What is open and what has ended, after each part of a story.
#[track_caller]
fn check(mut sim: Sim, parts: &[&dyn Fn(&mut Sim)], expected: Expect) {
    sim.only(&[]).settled();
    let mut seen = String::new();
    for part in parts {
        part(&mut sim);
        let now = sim.hub.gauges();
        seen.push_str(&format!(
            "spawns {}+{} ({}); runs {} ({}); jobs {}, {} at it ({})\n",
            now.spawns_queued,
            now.spawns_running,
            tally(&now.spawns_ended),
            now.runs_open,
            tally(&now.runs_ended),
            now.cron_jobs,
            now.cron_running,
            tally(&now.cron_ended),
        ));
    }
    expected.assert_eq(&seen);
}

#[test]
fn spawns_are_counted_while_they_are_open_and_by_how_they_ended() {
    let sim = Sim::with(|policy| {
        policy.spawn.allowed_commands = vec!["p".to_owned()];
        policy.spawn.concurrent_max = 1;
    });
    check(
        sim,
        &[
            &|sim| {
                sim.spawn(1, ask("p")).spawn(1, ask("p")).spawn(1, ask("p"));
            },
            // One that was refused was none.
            &|sim| {
                sim.spawn(1, ask("sh")).ends(1, 0);
            },
            &|sim| {
                sim.ends(2, 3);
            },
            // What ran when the gateway was killed has failed.
            &|sim| {
                sim.restart();
            },
        ],
        expect![[r#"
            spawns 2+1 (); runs 0 (); jobs 0, 0 at it ()
            spawns 1+1 (completed 1); runs 0 (); jobs 0, 0 at it ()
            spawns 0+1 (completed 1, failed 1); runs 0 (); jobs 0, 0 at it ()
            spawns 0+0 (lost 1); runs 0 (); jobs 0, 0 at it ()
        "#]],
    );
}

#[test]
fn runs_are_counted_while_they_are_open_and_by_how_they_ended() {
    check(
        Sim::new(),
        &[
            &|sim| {
                sim.connect(3, agent("a1"));
                for key in ["one", "two", "three", "four"] {
                    sim.request(1, call(key));
                }
            },
            &|sim| {
                sim.request(3, update("one", RunState::Final, "done"));
                sim.request(3, update("two", RunState::Error, "no"));
                sim.request(3, update("three", RunState::Aborted, ""));
            },
            // It was open when the gateway was killed.
            &|sim| {
                sim.restart().connect(1, operator().device("desk"));
            },
        ],
        expect![[r#"
            spawns 0+0 (); runs 4 (); jobs 0, 0 at it ()
            spawns 0+0 (); runs 1 (final 1, error 1, aborted 1); jobs 0, 0 at it ()
            spawns 0+0 (); runs 0 (error 1); jobs 0, 0 at it ()
        "#]],
    );
}

#[test]
fn occurrences_of_jobs_are_counted_whether_they_ran_or_not() {
    check(
        Sim::new(),
        &[
            &|sim| add(sim, job("tea", every(60))),
            &|sim| {
                sim.run_secs(150);
            },
            // Each that was missed counts, although they stand together in the history.
            &|sim| {
                sim.pass(Duration::from_secs(400)).restart();
            },
        ],
        expect![[r#"
            spawns 0+0 (); runs 0 (); jobs 1, 0 at it ()
            spawns 0+0 (); runs 0 (); jobs 1, 0 at it (ok 2)
            spawns 0+0 (); runs 0 (); jobs 1, 0 at it (missed 7)
        "#]],
    );
}
