//! Processes that children left behind, and that became ours: this process is their subreaper.
//!
//! Owns nothing. Called by `reaper`, on its thread.

use std::collections::HashSet;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpid, kill_process, set_child_subreaper,
    waitid,
};

use super::proc;
use crate::hub::child::Exit;

/// Becomes the parent of whatever loses its own below us.
pub(super) fn become_subreaper() -> std::io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Reaps the adopted children that have ended. `started` are those that we started ourselves.
pub(super) fn reap(started: &HashSet<Pid>) {
    for pid in adopted(started) {
        // One that still runs stays.
        let _still_runs = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Kills all adopted children; says how many there were. What those had started is adopted next.
/// They are ours and unreaped, so their numbers are their own.
pub(super) fn kill(started: &HashSet<Pid>) -> usize {
    reap(started);
    let adopted = adopted(started);
    for pid in &adopted {
        let _not_ours = kill_process(*pid, Signal::KILL);
    }
    adopted.len()
}

/// The first thread of a process is the one that adopts; every other way to become a child of ours
/// goes through `launch`.
pub(super) fn adopted(started: &HashSet<Pid>) -> Vec<Pid> {
    let own = getpid();
    let mut children = proc::children_of_thread(own).unwrap_or_else(|| {
        let own = own.as_raw_nonzero().get();
        let all = proc::all().unwrap_or_default();
        let children = all.iter().filter(|process| process.parent == own);
        children.map(|process| process.id.pid).collect()
    });
    children.retain(|pid| !started.contains(pid));
    children
}

/// How a child ended.
pub(super) fn exit(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        // What is waited for is an exit, and that is one of the two.
        (None, None) => Exit::Signal(Signal::KILL.as_raw()),
    }
}
