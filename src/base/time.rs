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
        Self { at: self.at + duration, unix_ms: self.unix_ms.saturating_add(millis(duration)) }
    }
}

/// The latest time that is shown as it is: the latest that a JavaScript `Date` can hold.
pub const UTC_MS_MAX: u64 = 8_640_000_000_000_000;

/// A time as RFC 3339 writes it, in UTC to the millisecond; what is after
/// [`UTC_MS_MAX`] is shown as that.
/// (The one calendar we need; a library for it would be larger than everything that shows time.)
pub fn utc(unix_ms: u64) -> String {
    let unix_ms = unix_ms.min(UTC_MS_MAX);
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Counted from 1 March of the year 0, a leap day is the last day of its year, and 400 years
    // (146,097 days) repeat. 1 January 1970 is day 719,468 of that count.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, months of 31 and 30 days follow each other in a pattern of 153 days per 5.
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let fraction = ms % 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

/// Whole milliseconds, as far as they can be counted.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (1_795_373_022_123, "2026-11-22T18:43:42.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (UTC_MS_MAX, "275760-09-13T00:00:00.000Z"),
        ] {
            assert_eq!(utc(unix_ms), text);
        }
    }
}
