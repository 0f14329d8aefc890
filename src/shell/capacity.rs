//! How many connections this machine can carry, one thread and one descriptor each.
//!
//! A process that runs out of memory mappings is aborted whatever the spawn call returns, so the
//! limit is computed at the start, with room to spare, and a configured limit above it is refused
//! with the numbers. Owns the arithmetic; [`Machine::read`] is the only part that asks the system.

use std::fmt;
use std::fs;

use crate::base::limits::CONTROL_CONNECTIONS_MAX;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory mappings of one thread: its stack, the guard page, the signal stack and its guard.
const MAPPINGS_PER_THREAD: u64 = 4;
/// Threads that are not connections at the port, and what libraries or a child's launch may add.
const SPARE_THREADS: u64 = 256;
const _: () = assert!((CONTROL_CONNECTIONS_MAX as u64) < SPARE_THREADS / 2);
/// Descriptors that are not connections: listeners, store, log, epoll.
const SPARE_DESCRIPTORS: u64 = 512;
/// Descriptors of a child: three pipes, its launcher's socket, and what tells of its end.
const DESCRIPTORS_PER_CHILD: u64 = 5;
/// One part in this many of every resource is left to others: 1/8.
const SPARE_PART: u64 = 8;

/// What the system allows this process; `None` is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `vm.max_map_count`
    pub mappings: Option<u64>,
    /// `kernel.threads-max`
    pub threads: Option<u64>,
    /// `pids.max` of the nearest bounded control group.
    pub pids: Option<u64>,
    /// `RLIMIT_NPROC`
    pub user_processes: Option<u64>,
    /// `RLIMIT_NOFILE`
    pub descriptors: Option<u64>,
}

/// The bound, and the resource that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections at most.
    pub connections: usize,
    /// What runs out first, with its size; `None` if nothing is bounded.
    pub narrowest: Option<(&'static str, u64)>,
}

impl Machine {
    /// Asks the system. Raises the soft descriptor limit to the hard one first, as servers do.
    pub fn read() -> Self {
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
            // Refused (as under some containers): then the soft limit counts, which is read below.
            let _refused = setrlimit(Resource::Nofile, raised);
        }
        Self {
            mappings: number("/proc/sys/vm/max_map_count"),
            threads: number("/proc/sys/kernel/threads-max"),
            pids: control_group_pids(),
            user_processes: getrlimit(Resource::Nproc).current,
            descriptors: getrlimit(Resource::Nofile).current,
        }
    }

    /// The connections that fit, with room to spare, beside so many children.
    pub fn capacity(&self, children: usize) -> Capacity {
        let children = u64::try_from(children).unwrap_or(u64::MAX);
        let spare =
            SPARE_DESCRIPTORS.saturating_add(children.saturating_mul(DESCRIPTORS_PER_CHILD));
        let threads = |count: u64| count.saturating_sub(count / SPARE_PART + SPARE_THREADS);
        let bounds = [
            (
                "vm.max_map_count",
                self.mappings,
                threads(self.mappings.unwrap_or(0) / MAPPINGS_PER_THREAD),
            ),
            ("kernel.threads-max", self.threads, threads(self.threads.unwrap_or(0))),
            ("pids.max", self.pids, threads(self.pids.unwrap_or(0))),
            ("RLIMIT_NPROC", self.user_processes, threads(self.user_processes.unwrap_or(0))),
            (
                "RLIMIT_NOFILE",
                self.descriptors,
                self.descriptors.unwrap_or(0).saturating_sub(spare),
            ),
        ];
        let narrowest = bounds
            .into_iter()
            .filter_map(|(name, size, connections)| Some((name, size?, connections)))
            .min_by_key(|(_, _, connections)| *connections);
        match narrowest {
            None => Capacity { connections: usize::MAX, narrowest: None },
            Some((name, size, connections)) => Capacity {
                // A machine too small for the spare part still gets one connection.
                connections: usize::try_from(connections).unwrap_or(usize::MAX).max(1),
                narrowest: Some((name, size)),
            },
        }
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.narrowest {
            None => f.write_str("no limit of this machine bounds the connections"),
            Some((name, size)) => write!(
                f,
                "this machine carries {} connections: {name} is {size}, and each connection takes \
                 a thread ({MAPPINGS_PER_THREAD} memory mappings) and a descriptor",
                self.connections
            ),
        }
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The smallest `pids.max` from this process's control group (version 2) up to the root.
fn control_group_pids() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut group = std::path::Path::new("/sys/fs/cgroup").join(own.trim_start_matches('/'));
    let mut smallest = None;
    while group.starts_with("/sys/fs/cgroup") {
        let bound = number(&group.join("pids.max").to_string_lossy());
        smallest = smallest.into_iter().chain(bound).min();
        if !group.pop() {
            break;
        }
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNBOUNDED: Machine = Machine {
        mappings: None,
        threads: None,
        pids: None,
        user_processes: None,
        descriptors: None,
    };

    #[track_caller]
    fn check(machine: Machine, connections: usize, narrowest: Option<(&'static str, u64)>) {
        assert_eq!(machine.capacity(0), Capacity { connections, narrowest });
    }

    #[test]
    fn the_narrowest_resource_decides() {
        check(UNBOUNDED, usize::MAX, None);
        let usual = Machine { mappings: Some(65_530), descriptors: Some(20_000), ..UNBOUNDED };
        check(usual, 14_079, Some(("vm.max_map_count", 65_530)));
        let few_files = Machine { descriptors: Some(1_024), ..usual };
        check(few_files, 512, Some(("RLIMIT_NOFILE", 1_024)));
        assert_eq!(few_files.capacity(32).connections, 512 - 5 * 32);
        assert_eq!(few_files.capacity(1_000).connections, 1);
        let container = Machine { pids: Some(512), ..usual };
        check(container, 192, Some(("pids.max", 512)));
        let tiny = Machine { pids: Some(64), ..usual };
        check(tiny, 1, Some(("pids.max", 64)));
    }

    #[test]
    fn this_machine_can_be_read_and_explains_itself() {
        let capacity = Machine::read().capacity(32);
        assert!(capacity.connections >= 1);
        let (name, size) = capacity.narrowest.unwrap();
        let text = capacity.to_string();
        assert!(text.contains(name) && text.contains(&size.to_string()), "{text}");
    }
}
