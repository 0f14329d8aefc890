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
use crate::base::limits::{KILLED_AT_ONCE_MAX, LEFTOVER_ROUND_WAIT, LEFTOVER_ROUNDS_MAX};
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

impl Target {
    /// When the first of its processes began, if that is known.
    fn first_start(&self) -> u64 {
        self.leader.map_or(0, |leader| leader.start_time)
    }

    fn is_led_by(&self, process: &Process) -> bool {
        self.leader == Some(process.id)
    }
}

/// Whether anything that the child started still runs.
pub(super) fn has_leftovers(target: &Target) -> bool {
    !Look::take(target.first_start()).descendants(target).is_empty()
}

/// Sends a signal to every descendant that can be found, but to the process group of a held leader,
/// which has got it already.
pub(super) fn signal(target: &Target, signal: Signal) {
    let group = target.leader.filter(|_| target.is_held).map(|leader| number(leader.pid));
    for process in Look::take(target.first_start()).descendants(target) {
        if Some(process.group) != group {
            signal_one(process.id, signal);
        }
    }
}

/// Kills what these children started until nothing is found any more. Says of each whether there was
/// anything, and what is left after as many rounds as there may be: what another user runs, or what
/// starts faster than it is killed. One look serves all, because a look reads all of `/proc`.
pub(super) fn end(targets: &[Target]) -> Vec<Ended> {
    let mut ended = vec![Ended::default(); targets.len()];
    let mut unfinished: Vec<_> = targets.iter().zip(&mut ended).collect();
    for _ in 0..LEFTOVER_ROUNDS_MAX {
        let since = unfinished.iter().map(|(target, _)| target.first_start()).min();
        let look = Look::take(since.unwrap_or_default());
        let mut killed = Vec::new();
        unfinished.retain_mut(|(target, ended)| {
            let found = look.everything(target);
            ended.left = found.len();
            ended.was_running |= !found.is_empty();
            if !found.is_empty() {
                kill(target, &found, &mut killed);
            }
            !found.is_empty()
        });
        if unfinished.is_empty() {
            break;
        }
        wait_for(&killed);
    }
    targets
        .iter()
        .filter_map(|target| target.cgroup.as_ref())
        .for_each(|group| cgroup::remove(group));
    ended
}

/// Kills what was found of a child; `killed` gets what tells the end of each.
fn kill(target: &Target, found: &[Process], killed: &mut Vec<OwnedFd>) {
    if let Some(group) = &target.cgroup {
        // A kernel that cannot do it leaves it to what follows.
        let _unable = cgroup::kill(group);
    }
    if let Some(leader) = target.leader.filter(|_| target.is_held) {
        let _empty = kill_process_group(leader.pid, Signal::KILL);
    }
    for process in found {
        if killed.len() >= KILLED_AT_ONCE_MAX {
            wait_for(killed);
            killed.clear();
        }
        killed.extend(signal_one(process.id, Signal::KILL));
    }
}

/// What came of [`end`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) was_running: bool,
    /// Processes that could not be ended.
    pub(super) left: usize,
}

/// Every process that was seen at one moment, and what it can be found by.
#[derive(Default)]
struct Look {
    processes: HashMap<i32, Process>,
    by_parent: HashMap<i32, Vec<i32>>,
    by_group: HashMap<i32, Vec<i32>>,
    /// By the spawn that they were given.
    by_spawn: HashMap<Vec<u8>, Vec<i32>>,
}

impl Look {
    /// Looks at all that can be read. What began before that moment is not asked for its spawn.
    fn take(since: u64) -> Self {
        let processes = proc::all().unwrap_or_else(|error| {
            log::error!("cannot look for processes: {error}");
            Vec::new()
        });
        let mut look = Self::default();
        for process in processes {
            let pid = number(process.id.pid);
            let is_asked = process.id.start_time >= since && process.id.pid != getpid();
            if is_asked && let Some(spawn) = proc::variable(process.id.pid, SPAWN_VARIABLE) {
                look.by_spawn.entry(spawn).or_default().push(pid);
            }
            look.by_parent.entry(process.parent).or_default().push(pid);
            look.by_group.entry(process.group).or_default().push(pid);
            look.processes.insert(pid, process);
        }
        look
    }

    /// The descendants, and the leader itself while it runs.
    fn everything(&self, target: &Target) -> Vec<Process> {
        let mut found = self.descendants(target);
        let leader = target.leader.and_then(|leader| self.processes.get(&number(leader.pid)));
        found.extend(leader.filter(|leader| target.is_led_by(leader) && leader.is_alive));
        found
    }

    /// Every living descendant.
    fn descendants(&self, target: &Target) -> Vec<Process> {
        let leader = target.leader.map(|leader| number(leader.pid)).filter(|leader| {
            // Of an earlier gateway's child the number may be somebody else's by now.
            let seen = self.processes.get(leader);
            target.is_held || seen.is_some_and(|process| target.is_led_by(process))
        });
        let in_group = leader.and_then(|leader| self.by_group.get(&leader)).into_iter().flatten();
        let spawned = self.by_spawn.get(target.spawn.as_str().as_bytes()).into_iter().flatten();
        let in_cgroup = target.cgroup.iter().flat_map(|group| cgroup::processes(group));
        // Nothing that was there before can be a descendant.
        let is_new = |pid: &i32| {
            let seen = self.processes.get(pid);
            seen.is_some_and(|process| process.id.start_time >= target.first_start())
        };
        let members = in_group.chain(spawned).copied().chain(in_cgroup.map(number)).filter(is_new);
        let mut unseen: Vec<i32> = leader.into_iter().chain(members).collect();
        // What we started ourselves is not of this child, even if we are: an agent may have
        // restarted the gateway.
        let mut seen = HashSet::from([number(getpid())]);
        let mut found = Vec::new();
        while let Some(pid) = unseen.pop() {
            if !seen.insert(pid) {
                continue;
            }
            unseen.extend(self.by_parent.get(&pid).into_iter().flatten());
            let process = self.processes.get(&pid);
            found.extend(process.filter(|process| process.is_alive && !target.is_led_by(process)));
        }
        found
    }
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
        assert_eq!(end(&[target]), [Ended::default()]);
    }
}
