//! What the gateway asks of the kernel for its own process. Called by `app::server` at the start.

use std::io;

use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior};

/// Keeps programs of the same user, such as children, from reading the gateway's memory, where
/// every secret is. Also: no core dumps, and of `/proc/PID` the sensitive half is root's.
pub fn hide_memory() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// The soft limit of open files; `None` is no limit. The gateway raises its own, and children get
/// the one that it was started with.
pub fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
