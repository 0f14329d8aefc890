//! `kill -9` of a gateway that has programs: at any moment, with all of them running, and between the
//! fork of a launcher and its becoming the program.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{SPAWN, children_of, gateway, is_terminal, mark, processes_with, sh, shown_in, start};
use crate::kit::{
    Client, FsyncShim, Gateway, Heard, PATIENCE, Rng, TempDir, eventually, number_from_env,
};

const SPAWNS: usize = 20;

/// Asks for this many programs, each of which leaves its group in one process and stays in another.
fn ask_for_twenty(operator: &mut Client, mark: &str) -> Vec<String> {
    let ask = |_| {
        let mut params = sh("sleep 1000 & setsid sleep 1000 & exec sleep 1000");
        params["env"] = json!({ "E2E_MARK": mark });
        operator.send_request("spawn", params)
    };
    (0..SPAWNS).map(ask).collect()
}

/// Starts the gateway again; the list of its spawns, all of which have ended by then.
#[track_caller]
fn account(gateway: &mut Gateway) -> Vec<Value> {
    gateway.start_again();
    let mut operator = gateway.operator();
    eventually("every spawn has ended", PATIENCE, || {
        let list = operator.ask("spawn.list", Value::Null);
        let spawns = list["spawns"].as_array().unwrap().clone();
        spawns.iter().all(is_terminal).then_some(spawns)
    })
}

#[test]
fn kill_9_at_any_moment_leaves_no_program_running_and_none_unaccounted() {
    let rounds = number_from_env("OPENCLAW_SPAWN_CRASH_ROUNDS", 8);
    let mut rng = Rng::announced();
    let mut gateway = gateway();
    let mut known_before = 0;
    // How long it takes until all run, which is what the moments are taken from.
    let mut whole = Duration::ZERO;
    for round in 0..rounds {
        let (variable, value) = mark(&mut rng);
        let mut operator = gateway.operator();
        let began = Instant::now();
        let ids = ask_for_twenty(&mut operator, &value);
        if round == 0 {
            let running = ids.iter().map(|id| operator.response(id)["payload"].clone());
            let running: Vec<_> = running.collect();
            assert!(running.iter().all(|spawn| spawn["status"] == "running"), "{running:?}");
            eventually("all that they start runs", PATIENCE, || {
                (processes_with(&variable).len() == 3 * SPAWNS).then_some(())
            });
            whole = began.elapsed();
        } else {
            let micros = u64::try_from(whole.as_micros()).unwrap();
            std::thread::sleep(Duration::from_micros(rng.between(0, micros)));
        }
        let launched = processes_with(&variable).len();
        gateway.kill_9();
        while !matches!(operator.ended(), Heard::Closed(..) | Heard::Gone(_)) {}
        let answered: Vec<_> = match round {
            0 => Vec::new(),
            _ => ids.into_iter().filter(|id| operator.was_answered(id)).collect(),
        };
        let answered: Vec<_> =
            answered.iter().map(|id| operator.response(id)["payload"].clone()).collect();

        if rng.between(0, 2) == 0 {
            // Once more while it looks for them.
            gateway.start_again();
            gateway.kill_9();
        }
        let spawns = account(&mut gateway);
        assert_eq!(processes_with(&variable), [0_u32; 0], "round {round}");
        let list = json!({ "spawns": spawns });
        answered.iter().for_each(|spawn| drop(shown_in(&list, spawn)));
        let (new, answered) = (spawns.len() - known_before, answered.len());
        assert!(new >= answered && new <= SPAWNS, "{new} of {SPAWNS} are known");
        assert!(round > 0 || new == SPAWNS, "{new} of {SPAWNS}, which all ran, are known");
        eprintln!("round {round}: {launched} processes, {answered} answered, {new} recorded");
        known_before = spawns.len();
    }
}

/// The launchers that wait below a gateway.
fn launchers_of(gateway: u32) -> Vec<u32> {
    let is_launcher = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"\0launch\0"))
    };
    children_of(gateway).into_iter().filter(is_launcher).collect()
}

fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

/// A gateway with so many launchers whose record does not reach the disk, and what each would write
/// if it ever became its program.
fn held_launchers(gateway: &Gateway, disk: &FsyncShim, dir: &TempDir) -> (Client, Vec<u32>) {
    let mut operator = gateway.operator();
    disk.hang(true);
    for number in 0..SPAWNS {
        let ran = dir.path().join(number.to_string());
        operator.send_request("spawn", sh(&format!("touch {}; exec sleep 1000", ran.display())));
    }
    let launchers = eventually("all launchers wait", PATIENCE, || {
        let launchers = launchers_of(gateway.pid());
        (launchers.len() == SPAWNS).then_some(launchers)
    });
    (operator, launchers)
}

fn ran(dir: &TempDir) -> HashSet<String> {
    let entries = fs::read_dir(dir.path()).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn kill_9_between_fork_and_record_runs_nothing() {
    let disk = match FsyncShim::build() {
        Ok(disk) => disk,
        Err(why) => skip!("kill_9_between_fork_and_record_runs_nothing", &why),
    };
    let mut gateway = Gateway::setup().config(SPAWN).disk(&disk).start();
    let dir = TempDir::new();
    let (_operator, launchers) = held_launchers(&gateway, &disk, &dir);
    gateway.kill_9();
    disk.hang(false);
    eventually("no launcher waits any more", PATIENCE, || {
        launchers.iter().all(|pid| is_gone(*pid)).then_some(())
    });
    // What was written and not synced may be there: the machine has not crashed.
    for spawn in account(&mut gateway) {
        assert_eq!(spawn["status"], "lost", "{spawn}");
    }
    assert_eq!(ran(&dir), HashSet::new());
}

#[test]
fn kill_9_between_record_and_program_runs_nothing_and_accounts_for_all() {
    let name = "kill_9_between_record_and_program_runs_nothing_and_accounts_for_all";
    let disk = match FsyncShim::build() {
        Ok(disk) => disk,
        Err(why) => skip!(name, &why),
    };
    let mut gateway = Gateway::setup().config(SPAWN).disk(&disk).start();
    let dir = TempDir::new();
    let (mut operator, launchers) = held_launchers(&gateway, &disk, &dir);
    let signal = |pid: u32, signal| {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    };
    launchers.iter().for_each(|pid| signal(*pid, Signal::STOP));
    disk.hang(false);
    // Its record comes after theirs: theirs are on disk, and they have been told to go.
    let last = start(&mut operator, sh("exec sleep 1000"));
    assert_eq!(last["status"], "running", "{last}");
    assert_eq!(launchers_of(gateway.pid()).len(), SPAWNS, "they would go, but cannot");
    gateway.kill_9();
    let spawns = account(&mut gateway);
    assert_eq!(spawns.len(), SPAWNS + 1);
    assert!(launchers.iter().all(|pid| is_gone(*pid)), "a launcher is left");
    assert_eq!(ran(&dir), HashSet::new());
}
