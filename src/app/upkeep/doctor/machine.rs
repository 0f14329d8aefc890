//! The machine: what it carries, how much room it has, what time it thinks it is.

use std::path::Path;

use super::Finding;
use crate::app::config::Config;
use crate::app::server::connection_limits;
use crate::base::limits::{CLOCK_MIN_MS, DISK_FAIL_BYTES, DISK_WARN_BYTES};
use crate::base::time::utc;
use crate::shell::capacity::Machine;

/// The configured connections against the limits that this command runs under.
pub(super) fn connections(config: &Config) -> Finding {
    const SUBJECT: &str = "connections";
    let capacity = Machine::read().capacity(config.spawn.concurrent_max);
    match connection_limits(config, &capacity) {
        Ok(limits) => {
            let text = format!("at most {}; {capacity}", limits.connections);
            Finding::ok(SUBJECT, text)
        }
        Err(error) => Finding::fail(
            SUBJECT,
            error.to_string(),
            "lower gateway.limits.connections, or raise the limit (in the unit: LimitNOFILE, \
             TasksMax); a service may have other limits than this shell",
        ),
    }
}

/// Room where the state is.
pub(super) fn disk(state_dir: &Path) -> Finding {
    const SUBJECT: &str = "disk";
    let absolute = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
    let existing = absolute.ancestors().find(|path| path.exists()).unwrap_or(&absolute);
    let found = match rustix::fs::statvfs(existing) {
        Ok(found) => found,
        Err(error) => {
            let text = format!("cannot ask for the space at {}: {error}", existing.display());
            return Finding::warn(SUBJECT, text, "see with df whether its file system is there");
        }
    };
    // Some file systems have no fixed number of files.
    let has_files = found.f_files == 0 || found.f_favail > 0;
    space(&existing.display().to_string(), found.f_bavail * found.f_frsize, has_files)
}

fn space(place: &str, free: u64, has_files: bool) -> Finding {
    const SUBJECT: &str = "disk";
    const MIB: u64 = 1024 * 1024;
    let text = format!("{} MiB free at {place}", free / MIB);
    let advice = "make room, or move gateway.stateDir; without room reports are refused";
    if !has_files {
        return Finding::fail(SUBJECT, format!("no room for another file at {place}"), advice);
    }
    match free {
        free if free < DISK_FAIL_BYTES => Finding::fail(SUBJECT, text, advice),
        free if free < DISK_WARN_BYTES => Finding::warn(SUBJECT, text, advice),
        _ => Finding::ok(SUBJECT, text),
    }
}

/// Devices sign with their own time, which may differ from ours by two minutes.
pub(super) fn clock(now_ms: u64) -> Finding {
    const SUBJECT: &str = "clock";
    let text = format!("it is {}", utc(now_ms));
    if now_ms < CLOCK_MIN_MS {
        let advice = "set the clock: signatures and certificates are judged by it";
        return Finding::fail(SUBJECT, format!("{text}, which is in the past"), advice);
    }
    match Path::new("/run/systemd/timesync/synchronized").exists() {
        true => Finding::ok(SUBJECT, format!("{text}, kept right by systemd-timesyncd")),
        false => Finding::ok(SUBJECT, format!("{text}; compare: devices may be two minutes off")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn little_room_is_warned_of_and_none_fails() {
        assert_eq!(space("/", DISK_WARN_BYTES, true).level, Level::Ok);
        assert_eq!(space("/", DISK_WARN_BYTES - 1, true).level, Level::Warn);
        assert_eq!(space("/", DISK_FAIL_BYTES - 1, true).level, Level::Fail);
        assert_eq!(space("/", u64::MAX, false).level, Level::Fail);
    }

    #[test]
    fn clock_that_is_in_the_past_fails() {
        assert_eq!(clock(0).level, Level::Fail);
        assert_eq!(clock(CLOCK_MIN_MS).level, Level::Ok);
    }
}
