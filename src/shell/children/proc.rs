//! Processes as `/proc` shows them.
//!
//! Owns the reading and the parsing, and decides nothing. Reading `/proc/PID/stat` never waits;
//! reading `/proc/PID/environ` may, for a process that is stuck, so only `search` does it.

use std::fs::{self, File};
use std::io::{self, Read};

use rustix::process::Pid;

use crate::base::limits::{ENVIRON_BYTES_MAX, PROC_STAT_BYTES_MAX};

/// What identifies a process until the next boot: a number alone is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ProcessId {
    pub(super) pid: Pid,
    /// Field 22 of its `stat`, in clock ticks since the boot.
    pub(super) start_time: u64,
}

/// One process at one moment (`proc_pid_stat(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) id: ProcessId,
    /// Its parent's number, 0 for none that can be seen.
    pub(super) parent: i32,
    /// Its group's number.
    pub(super) group: i32,
    /// Whether any of its threads still runs.
    pub(super) is_alive: bool,
}

/// Reads `/proc/PID/stat`; `None` if there is no such process.
pub(super) fn read(pid: Pid) -> Option<Process> {
    let mut text = Vec::with_capacity(512);
    let file = File::open(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    file.take(PROC_STAT_BYTES_MAX).read_to_end(&mut text).ok()?;
    parse(&text)
}

/// The name is in parentheses and may hold anything, also spaces and parentheses: what follows its
/// last one is numbers.
fn parse(stat: &[u8]) -> Option<Process> {
    let stat = String::from_utf8_lossy(stat);
    let (head, rest) = stat.rsplit_once(')')?;
    let pid = head.split(' ').next()?.parse().ok().and_then(Pid::from_raw)?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    // Fields are numbered from 1, and the third is the first after the name.
    let field = |number: usize| fields.get(number - 3).copied();
    let threads: u64 = field(20)?.parse().ok()?;
    // A process whose first thread has ended looks like a zombie while others of it run.
    let is_alive = !matches!(field(3)?, "Z" | "X" | "x") || threads > 1;
    Some(Process {
        id: ProcessId { pid, start_time: field(22)?.parse().ok()? },
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        is_alive,
    })
}

/// Every process that can be seen. One that starts or ends meanwhile may be missing.
pub(super) fn all() -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        processes.extend(pid.and_then(Pid::from_raw).and_then(read));
    }
    Ok(processes)
}

/// What a process was given in this variable when its program began; nothing if it is not ours to
/// ask. May wait for a process that is stuck.
pub(super) fn variable(pid: Pid, name: &str) -> Option<Vec<u8>> {
    let file = File::open(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    let mut environ = Vec::new();
    // What was read before an error counts.
    let _partly = file.take(ENVIRON_BYTES_MAX).read_to_end(&mut environ);
    let mut variables = environ.split(|byte| *byte == 0);
    variables
        .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .map(<[u8]>::to_vec)
}

/// This boot's name.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The children of one thread of this process, as the kernel lists them: of its first thread these
/// are the adopted ones. `None` where the kernel has no such list.
pub(super) fn children_of_thread(thread: Pid) -> Option<Vec<Pid>> {
    let thread = thread.as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/children")).ok()?;
    Some(text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stat: &str, expected: Option<(i32, i32, i32, u64, bool)>) {
        let shown = parse(stat.as_bytes()).map(|process| {
            let ProcessId { pid, start_time } = process.id;
            let pid = pid.as_raw_nonzero().get();
            (pid, process.parent, process.group, start_time, process.is_alive)
        });
        assert_eq!(shown, expected, "{stat}");
    }

    #[test]
    fn a_name_may_hold_anything() {
        let rest = "1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        for name in ["sh", "a b", "a) Z 9 9", "((", "\u{fffd}\n)"] {
            check(&format!("42 ({name}) S {rest}"), Some((42, 1, 2, 4711, true)));
        }
        check(&format!("42 (sh) Z {rest}"), Some((42, 1, 2, 4711, false)));
        let two_threads = rest.replace("20 0 1 0 4711", "20 0 2 0 4711");
        check(&format!("42 (sh) Z {two_threads}"), Some((42, 1, 2, 4711, true)));
        check("42 (sh) S 1 2 3", None);
        check("42", None);
        check("", None);
    }

    #[test]
    fn this_process_can_be_read() {
        let own = read(rustix::process::getpid()).unwrap();
        assert!(own.is_alive && own.id.start_time > 0);
        assert!(all().unwrap().iter().any(|process| process.id == own.id));
        assert!(!boot_id().unwrap().is_empty());
    }
}
