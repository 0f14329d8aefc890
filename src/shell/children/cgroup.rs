//! Control groups (version 2): one for each child, below the gateway's own, where that is ours to
//! divide.
//!
//! A process cannot leave its group without the right to write to another one, so the kernel finds
//! what `/proc` does not. Owns paths and the small files below them; decides nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::base::ids::SpawnId;
use crate::base::limits::CONTROL_GROUPS_MAX;

/// Where control groups are shown; marks are relative to it.
const ROOT: &str = "/sys/fs/cgroup";

/// What the names of our groups begin with.
const PREFIX: &str = "openclaw-";

/// The gateway's own group, in which it can make others.
#[derive(Clone, Debug)]
pub(super) struct ControlGroups {
    own: PathBuf,
}

impl ControlGroups {
    /// `None` if there is no group of our own that we may divide and end as a whole: no version 2,
    /// no right to write, a kernel before 5.14, or the root group, which is everybody's.
    pub(super) fn find() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let own = mount_point(&mounts)?.join(own.trim_start_matches('/'));
        if !own.starts_with(ROOT) || !own.join("cgroup.kill").exists() {
            return None;
        }
        let probe = own.join(format!("{PREFIX}probe-{}", std::process::id()));
        fs::create_dir(&probe).ok()?;
        let is_writable = fs::OpenOptions::new().write(true).open(probe.join("cgroup.procs"));
        fs::remove_dir(&probe).ok()?;
        is_writable.ok().map(|_| Self { own })
    }

    /// Makes a group for a child and moves it there; `None` if that fails, and the child is found
    /// without.
    pub(super) fn make_for(&self, spawn: &SpawnId, pid: Pid) -> Option<PathBuf> {
        let group = self.own.join(format!("{PREFIX}{spawn}"));
        let made = fs::create_dir(&group).and_then(|()| {
            fs::write(group.join("cgroup.procs"), pid.as_raw_nonzero().to_string())
                .inspect_err(|_| remove(&group))
        });
        match made {
            Ok(()) => Some(group),
            Err(error) => {
                log::warn!("no control group for {spawn}: {error}");
                None
            }
        }
    }

    /// A group as its marks name it.
    pub(super) fn mark(group: &Path) -> Option<String> {
        group.strip_prefix(ROOT).ok()?.to_str().map(str::to_owned)
    }

    /// The group that marks name, if it is one of ours and exists.
    pub(super) fn marked(mark: &str, spawn: &SpawnId) -> Option<PathBuf> {
        let group = Path::new(ROOT).join(mark);
        let is_ours = group.file_name()?.to_str()? == format!("{PREFIX}{spawn}");
        let is_below = !mark.starts_with('/')
            && !Path::new(mark).components().any(|part| part.as_os_str() == "..");
        (is_ours && is_below && group.is_dir()).then_some(group)
    }
}

/// Where version 2 is mounted (`proc_pid_mountinfo(5)`).
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        tail.starts_with("cgroup2 ").then(|| head.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// The processes in a group and in those that were made below it.
pub(super) fn processes(group: &Path) -> Vec<Pid> {
    let read = |group: &PathBuf| fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let texts: Vec<_> = with_those_below(group).iter().map(read).collect();
    texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// A group and those below it, each before its own.
fn with_those_below(group: &Path) -> Vec<PathBuf> {
    let mut groups = vec![group.to_owned()];
    let mut looked_at = 0;
    while let Some(group) = groups.get(looked_at) {
        let entries = fs::read_dir(group).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let room = CONTROL_GROUPS_MAX - groups.len();
        let below: Vec<_> = below.take(room).map(|entry| entry.path()).collect();
        groups.extend(below);
        looked_at += 1;
    }
    groups
}

/// Kills every process in a group at once, also those that are being forked.
pub(super) fn kill(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.kill"), "1")
}

/// Removes a group that is empty, with those that were made below it.
pub(super) fn remove(group: &Path) {
    for group in with_those_below(group).iter().rev() {
        if let Err(error) = fs::remove_dir(group)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("cannot remove the control group {}: {error}", group.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_version_2_is_found_among_the_others() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n\
                      31 30 0:27 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point("garbage\n"), None);
    }

    #[test]
    fn a_mark_that_is_not_ours_names_no_group() {
        let spawn = SpawnId::new("sp-1");
        for mark in ["", "/", "../..", "system.slice", "/etc/openclaw-sp-1", "../openclaw-sp-1"] {
            assert_eq!(ControlGroups::marked(mark, &spawn), None, "{mark}");
        }
    }
}
