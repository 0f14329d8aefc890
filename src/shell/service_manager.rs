//! What the service manager is told: ready, reloading, stopping, alive.
//!
//! Speaks systemd's notification protocol (`sd_notify(3)`) where `NOTIFY_SOCKET` names a socket, and
//! does nothing anywhere else. Owns whether and how often the manager wants to hear that we live.
//! Decides nothing: whoever calls knows what is true. Called by the main thread.

use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};

/// A manager that waits for a sign of life gets this many of them in its time, so that one that
/// comes late on a busy machine does not end us.
const SIGNS_PER_TIMEOUT: u32 = 3;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct ServiceManager {
    sign_interval: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub fn from_environment() -> Self {
        let timeout = watchdog_enabled().filter(|timeout| !timeout.is_zero());
        Self { sign_interval: timeout.map(|timeout| timeout / SIGNS_PER_TIMEOUT) }
    }

    /// How often it wants a sign of life; `None` if never.
    pub fn sign_interval(&self) -> Option<Duration> {
        self.sign_interval
    }

    /// The gateway listens and takes reports; `status` says where, for people.
    pub fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is being read again; [`ServiceManager::ready`] says when that is over.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => {
                tell(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]);
            }
            Err(error) => log::warn!("no monotonic clock for the service manager: {error}"),
        }
    }

    /// The gateway has begun to stop.
    pub fn stopping(&self, status: &str) {
        tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// One line for people about how things are.
    pub fn status(&self, status: &str) {
        tell(&[NotifyState::Status(status)]);
    }

    /// A sign of life. Only for a caller that has seen progress.
    pub fn alive(&self) {
        tell(&[NotifyState::Watchdog]);
    }
}

/// A manager that cannot be told is no reason to stop: it will end us if it needs to know.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        log::warn!("cannot tell the service manager: {error}");
    }
}
