//! What a process holds, read from `/proc`.

use std::fs;

/// Threads, descriptors and memory of one process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Threads.
    pub(crate) threads: u64,
    /// Open descriptors; the gateway keeps them to itself, so only root is told.
    pub(crate) descriptors: Option<u64>,
    /// Resident memory in KiB.
    pub(crate) resident_kib: u64,
}

impl Usage {
    /// Reads it; the process must be alive.
    pub(crate) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count);
        Self {
            threads: field(&status, "Threads:"),
            descriptors: descriptors.map(|count| u64::try_from(count).unwrap()),
            resident_kib: field(&status, "VmRSS:"),
        }
    }
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
