//! Finds what children started, and signals it.
//!
//! A descendant is in the child's control group, in its process group, below another descendant,
//! or was given the child's `OPENCLAW_SPAWN_ID`. What leaves all four is found by `orphans` once it
//! has lost its parent.
//!
//! May wait for a stuck process, so it runs on a `helper` thread. A process is signalled through a
//! pidfd that was opened before it was looked at again, so a number that is used again is not; a
//! whole group only while its leader is ours and unreaped, which keeps the number.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process_group, pidfd_open, pidfd_send_signal,
};

use super::cgroup;
use super::launch::SPAWN_VARIABLE;
use super::proc::{self, Process, ProcessId};
use crate::base::ids::SpawnId;
use crate::base::limits::{LEFTOVER_ROUND_WAIT, LEFTOVER_ROUNDS_MAX};
use crate::shell::clock;
use crate::shell::flusher::timespec;

/// A child, as far as a search needs it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) spawn: SpawnId,
    /// The process that we started.
    pub(super) leader: Option<ProcessId>,
    /// Whether that is unreaped for as long as the search takes, so that its group is its own.
    pub(super) is_held: bool,
    pub(super) cgroup: Option<PathBuf>,
}

/// Whether anything that the child started still runs.
pub(super) fn has_leftovers(target: &Target) -> bool {
    !descendants(target).is_empty()
}

/// Sends a signal to every descendant that can be found, but to the process group of a held leader,
/// which has got it already.
pub(super) fn signal(target: &Target, signal: Signal) {
    let group = target.leader.filter(|_| target.is_held).map(|leader| number(leader.pid));
    for process in descendants(target) {
        if Some(process.group) != group {
            signal_one(process.id, signal);
        }
    }
}

/// Kills until nothing is found any more. Says whether there was anything, and what is left after
/// as many rounds as there may be: what another user runs, or what starts faster than it is killed.
pub(super) fn end(target: &Target) -> Ended {
    let mut ended = Ended::default();
    for _ in 0..LEFTOVER_ROUNDS_MAX {
        let found = match target.leader {
            Some(_) => everything(target),
            None => descendants(target),
        };
        ended.left = found.len();
        if found.is_empty() {
            break;
        }
        ended.was_running = true;
        if let Some(group) = &target.cgroup {
            // A kernel that cannot do it leaves it to what follows.
            let _unable = cgroup::kill(group);
        }
        if let Some(leader) = target.leader.filter(|_| target.is_held) {
            let _empty = kill_process_group(leader.pid, Signal::KILL);
        }
        let killed: Vec<_> =
            found.iter().filter_map(|process| signal_one(process.id, Signal::KILL)).collect();
        wait_for(&killed);
    }
    if let Some(group) = &target.cgroup {
        cgroup::remove(group);
    }
    ended
}

/// Those of many children of an earlier gateway of which something may still run, found in one look.
pub(super) fn may_run(targets: &[Target]) -> Vec<bool> {
    let processes = proc::all().unwrap_or_default();
    let ids: HashSet<_> = processes.iter().map(|process| process.id).collect();
    let spawns: HashSet<_> = processes
        .iter()
        .filter(|process| process.id.pid != getpid())
        .filter_map(|process| proc::variable(process.id.pid, SPAWN_VARIABLE))
        .collect();
    let may_run = |target: &Target| {
        target.cgroup.is_some()
            || target.leader.is_some_and(|leader| ids.contains(&leader))
            || spawns.contains(target.spawn.as_str().as_bytes())
    };
    targets.iter().map(may_run).collect()
}

/// What came of [`end`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) was_running: bool,
    /// Processes that could not be ended.
    pub(super) left: usize,
}

/// The descendants, and the leader itself while it runs.
fn everything(target: &Target) -> Vec<Process> {
    let mut found = descendants(target);
    let leader = target.leader.and_then(|leader| proc::read(leader.pid));
    found.extend(leader.filter(|process| Some(process.id) == target.leader && process.is_alive));
    found
}

/// Every living descendant. What cannot be read is none.
fn descendants(target: &Target) -> Vec<Process> {
    let processes = proc::all().unwrap_or_else(|error| {
        log::error!("cannot look for processes: {error}");
        Vec::new()
    });
    let own = getpid();
    let by_pid: HashMap<_, _> =
        processes.iter().map(|process| (number(process.id.pid), process)).collect();
    let leader = target.leader.filter(|leader| {
        // Of an earlier gateway's child the number may be somebody else's by now.
        target.is_held || by_pid.get(&number(leader.pid)).is_some_and(|found| found.id == *leader)
    });
    let in_cgroup: HashSet<_> =
        target.cgroup.iter().flat_map(|group| cgroup::processes(group)).collect();
    let first_start = target.leader.map_or(0, |leader| leader.start_time);
    let mut members: HashSet<i32> = leader.iter().map(|leader| number(leader.pid)).collect();
    for process in &processes {
        // Nothing that was there before can be a descendant.
        if process.id.start_time < first_start || process.id.pid == own {
            continue;
        }
        let is_member = leader.is_some_and(|leader| process.group == number(leader.pid))
            || in_cgroup.contains(&process.id.pid)
            || proc::variable(process.id.pid, SPAWN_VARIABLE).as_deref()
                == Some(target.spawn.as_str().as_bytes());
        if is_member {
            members.insert(number(process.id.pid));
        }
    }
    let is_leader = |process: &Process| Some(process.id) == target.leader;
    let found = processes.iter().filter(|process| {
        process.is_alive
            && !is_leader(process)
            && process.id.pid != own
            && is_below(process, &members, &by_pid)
    });
    found.copied().collect()
}

/// Whether a process or one above it is among these.
fn is_below(process: &Process, members: &HashSet<i32>, by_pid: &HashMap<i32, &Process>) -> bool {
    let own = number(getpid());
    let mut at = number(process.id.pid);
    // No chain of parents is longer than there are processes. What we started ourselves is not of
    // this child, even if we are: an agent may have restarted the gateway.
    for _ in 0..=by_pid.len() {
        if at == own {
            return false;
        }
        if members.contains(&at) {
            return true;
        }
        match by_pid.get(&at) {
            Some(process) => at = process.parent,
            None => return false,
        }
    }
    false
}

/// Signals a process if it is still the same; returns what tells its end.
pub(super) fn signal_one(id: ProcessId, signal: Signal) -> Option<OwnedFd> {
    let pidfd = pidfd_open(id.pid, PidfdFlags::empty()).ok()?;
    if proc::read(id.pid).is_none_or(|process| process.id != id) {
        return None;
    }
    pidfd_send_signal(&pidfd, signal).ok().map(|()| pidfd)
}

/// Waits until they have ended, or for as long as one round may take.
fn wait_for(killed: &[OwnedFd]) {
    let deadline = clock::instant() + LEFTOVER_ROUND_WAIT;
    let mut waiting: Vec<_> =
        killed.iter().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)).collect();
    while !waiting.is_empty() && clock::instant() < deadline {
        let left = timespec(deadline, clock::instant());
        let Ok(_) = poll(&mut waiting, Some(&left)) else { continue };
        waiting.retain(|pidfd| pidfd.revents().is_empty());
    }
}

fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spawn_that_never_was_has_nothing_to_end() {
        let spawn = SpawnId::new("sp-00000000ffffffff");
        let target = Target { spawn, leader: None, is_held: false, cgroup: None };
        assert!(!has_leftovers(&target));
        assert_eq!(end(&target), Ended::default());
    }
}
