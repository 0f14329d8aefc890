//! The only place that reads the clocks; everything below `shell` gets time as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::time::Moment;

/// Both clocks, read together. A wall clock before 1970 reads as 0.
pub fn moment() -> Moment {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that others ask")]
    let (at, wall) = (Instant::now(), SystemTime::now());
    let since_epoch = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { at, unix_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX) }
}

/// The monotonic clock alone.
pub fn instant() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that others ask")]
    Instant::now()
}
