//! When the hub goes, nothing of its children is left, in whatever state each of them is.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use openclaw_gateway::hub::child::{ChildNews, ChildOrder};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::kit::{World, eventually, runs, sh, state, turn};

/// Set for a second run of this binary, which plays a gateway that is killed.
const IS_GATEWAY: &str = "OPENCLAW_TEST_IS_GATEWAY";

#[test]
fn a_launcher_that_was_never_told_to_go_exits() {
    let mut world = World::new();
    let (_, marks) = world.hold(sh("sleep 1000"));
    world.end();
    assert_eq!(state(marks.pid), None);
}

#[test]
fn whatever_runs_is_ended_and_reaped() {
    let mut world = World::new();
    let scripts = [
        "sleep 1000",
        "trap '' TERM HUP INT; while :; do sleep 1000; done",
        "exec >&- 2>&- <&-; while :; do sleep 1000; done",
        "yes",
        "setsid sleep 1000 & wait",
    ];
    let pids: Vec<_> = scripts.iter().map(|script| world.run(sh(script)).1.pid).collect();
    world.end();
    for (pid, script) in pids.into_iter().zip(scripts) {
        assert_eq!(state(pid), None, "{script}");
    }
}

#[test]
fn what_an_ended_child_left_is_ended_without_its_grace() {
    let mut world = World::new();
    let (spawn, _) = world.run(sh("setsid sleep 1000 & echo $!"));
    let left = world.hear(|news| match news {
        ChildNews::Output { lines, .. } => {
            let text = format!("{lines:?}");
            let digits = text.split("text: Some(\"").nth(1)?.split('"').next()?.to_owned();
            digits.parse().ok()
        }
        _ => None,
    });
    let leftovers = world.hear(|news| match news {
        ChildNews::Exited { spawn: of, leftovers, .. } if *of == spawn => Some(*leftovers),
        _ => None,
    });
    assert!(leftovers && runs(left));
    world.end();
    assert!(!runs(left));
}

#[test]
fn orders_for_a_child_that_is_forgotten_do_nothing() {
    let mut world = World::new();
    let order = sh("true");
    let spawn = order.spawn.clone();
    world.tell(order);
    for order in [
        ChildOrder::Go(spawn.clone()),
        ChildOrder::Abandon(spawn.clone()),
        ChildOrder::CloseOutput(spawn.clone()),
    ] {
        world.order(order);
    }
    world.signal(&spawn, openclaw_gateway::hub::child::Signal::Kill);
    assert_eq!(world.tell(sh("echo next")).stdout, ["next"]);
}

/// Does nothing in the first run of this binary.
#[test]
fn play_a_gateway_that_is_killed() {
    if std::env::var_os(IS_GATEWAY).is_none() {
        return;
    }
    let mut world = World::new();
    let (_, held) = world.hold(sh("sleep 1000"));
    let (_, running) = world.run(sh("trap '' TERM HUP INT; while :; do sleep 0.1; done"));
    eprintln!("pids {} {}", held.pid, running.pid);
    world.hear(|_| None::<()>);
}

#[test]
fn kill_9_of_the_gateway_ends_what_waits_and_what_runs() {
    let _turn = turn();
    let mut gateway = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ending::play_a_gateway_that_is_killed", "--nocapture"])
        .env(IS_GATEWAY, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(gateway.stderr.take().unwrap()).lines();
    let pids = lines.map_while(Result::ok).find_map(|line| {
        let pids = line.strip_prefix("pids ")?.split(' ').map(|pid| pid.parse().unwrap());
        Some(pids.collect::<Vec<u32>>())
    });
    let pids = pids.expect("the gateway has children");
    assert!(pids.iter().all(|pid| runs(*pid)));
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    for pid in pids {
        eventually("the child has ended", || (!runs(pid)).then_some(()));
        // It is ours to reap if an earlier test has made us a subreaper.
        let id = WaitId::Pid(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap());
        let _not_ours = waitid(id, WaitIdOptions::EXITED);
    }
}
