//! What the stories are told with: gateways, devices, clients, and a little patience.
//!
//! Owns processes, sockets and temporary directories, and gives them all back on drop.
//! Asserts nothing about the gateway beyond what a helper's name says.

mod cli;
mod client;
mod connect;
mod device;
mod dial;
mod gateway;
mod http;
mod process;
mod rng;
mod selftest;
mod shim;
#[macro_use]
mod skip;
mod temp_dir;
mod tls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub(crate) use cli::Cli;
pub(crate) use client::{Client, Heard, entries};
pub(crate) use connect::{Connect, Refusal};
pub(crate) use device::Device;
pub(crate) use dial::Dial;
pub(crate) use gateway::{Gateway, SECRET, Setup, binary};
pub(crate) use http::{Answer, exchange};
pub(crate) use process::Usage;
pub(crate) use rng::Rng;
pub(crate) use shim::{FsyncShim, HubShim};
pub(crate) use skip::note_skipped;
pub(crate) use temp_dir::TempDir;
pub(crate) use tls::TestTls;

/// How long anything that should happen "at once" may take on a busy machine with two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` gives something, trying every 20 ms; panics after `patience`.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tells other threads that it is over, also when its owner panics.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Our clock in Unix milliseconds, as devices put it into `signedAt`.
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A number from the environment, for scaling a test up or down.
pub(crate) fn number_from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}
