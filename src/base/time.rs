//! Time as an argument: the two clocks read once, together, by `shell::clock`.

use std::time::{Duration, Instant};

/// One moment on both clocks. Deadlines use `at`; whatever a peer or a disk sees uses `unix_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The monotonic clock.
    pub at: Instant,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl Moment {
    /// The moment `duration` later, on both clocks.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self { at: self.at + duration, unix_ms: self.unix_ms.saturating_add(millis) }
    }
}
