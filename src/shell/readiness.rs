//! What is told about the gateway without asking the hub: whether it is ready, and its counts.
//!
//! Written by the hub thread and its watchdog, read by connection threads. Decides nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::protocol::reply::Status;
use crate::shell::clock;

/// Counts are at most this old while the hub is busy.
pub const STATUS_AGE_MAX: Duration = Duration::from_millis(250);

/// Readiness and counts.
#[derive(Debug)]
pub struct Readiness {
    started: Instant,
    state: Mutex<State>,
    decided: Condvar,
    /// Inputs that the hub has handled.
    progress: AtomicU64,
}

#[derive(Debug)]
struct State {
    is_starting: bool,
    /// Why writes are refused, if they are.
    not_ready: Option<&'static str>,
    is_draining: bool,
    /// The hub handles no inputs.
    is_stuck: bool,
    status: Status,
}

impl Readiness {
    /// Not ready: `starting`.
    pub fn new(started: Instant) -> Self {
        let state = State {
            is_starting: true,
            not_ready: Some("starting"),
            is_draining: false,
            is_stuck: false,
            status: Status::default(),
        };
        Self {
            started,
            state: Mutex::new(state),
            decided: Condvar::new(),
            progress: AtomicU64::new(0),
        }
    }

    /// Ready, or why not.
    pub fn set(&self, ready: Result<(), &'static str>) {
        let mut state = self.lock();
        state.not_ready = ready.err();
        state.is_starting = false;
        drop(state);
        self.decided.notify_all();
    }

    /// Waits until the hub has said for the first time whether it is ready: the first commit of a
    /// start has ended, well or not. At most until `deadline`.
    pub fn wait_for_start(&self, deadline: Instant) {
        let mut state = self.lock();
        while state.is_starting {
            let left = deadline.saturating_duration_since(clock::instant());
            if left.is_zero() {
                return;
            }
            state =
                self.decided.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether [`Readiness::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.lock().is_draining
    }

    /// From now on not ready, whatever the store says: `draining`.
    pub fn drain(&self) {
        self.lock().is_draining = true;
    }

    /// Why the gateway is not ready, if it is not.
    pub fn not_ready(&self) -> Option<&'static str> {
        let state = self.lock();
        if state.is_draining {
            Some("draining")
        } else if state.is_stuck {
            Some("the hub makes no progress")
        } else {
            state.not_ready
        }
    }

    /// The hub has handled an input.
    pub fn progressed(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// How many inputs the hub has handled.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// While the hub makes no progress, the gateway is not ready.
    pub fn set_stuck(&self, is_stuck: bool) {
        self.lock().is_stuck = is_stuck;
    }

    /// Takes over the hub's counts.
    pub fn set_status(&self, status: Status) {
        self.lock().status = status;
    }

    /// The counts as last set, with the uptime of now.
    pub fn status(&self) -> Status {
        let uptime = clock::instant().saturating_duration_since(self.started);
        let uptime_ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
        Status { uptime_ms, ..self.lock().status.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
