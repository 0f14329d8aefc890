//! Lines that come again and again: written once, then counted.
//!
//! The first of them is written at once. Its repeats are counted, and when the window ends, one
//! more line tells how many there were. Pure: the moment is an argument.

use std::collections::HashMap;
use std::time::Instant;

use super::line::Line;
use crate::base::limits::{DIAGNOSTIC_REPEAT_WINDOW, DIAGNOSTIC_REPEATS_MAX};

/// The lines of the last window.
#[derive(Default)]
pub(super) struct Repeats {
    lines: HashMap<Line, Repeat>,
}

struct Repeat {
    since: Instant,
    suppressed: u64,
}

impl Repeats {
    /// Whether the line is to be written; otherwise it is counted.
    pub(super) fn admit(&mut self, now: Instant, line: &Line) -> bool {
        if let Some(repeat) = self.lines.get_mut(line) {
            repeat.suppressed += 1;
            return false;
        }
        if self.lines.len() >= DIAGNOSTIC_REPEATS_MAX {
            self.forget_one();
        }
        // Full of lines that do repeat: this one is written, and not watched.
        if self.lines.len() < DIAGNOSTIC_REPEATS_MAX {
            self.lines.insert(line.clone(), Repeat { since: now, suppressed: 0 });
        }
        true
    }

    /// The lines whose window has ended and that were repeated, with how often.
    /// They are watched for another window; the others are forgotten.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Line, u64)> {
        self.take(|repeat| repeat.since + DIAGNOSTIC_REPEAT_WINDOW <= now, now)
    }

    /// The same for all lines, before the end.
    pub(super) fn drain(&mut self, now: Instant) -> Vec<(Line, u64)> {
        self.take(|_| true, now)
    }

    /// When [`Repeats::expire`] is needed next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.lines.values().map(|repeat| repeat.since + DIAGNOSTIC_REPEAT_WINDOW).min()
    }

    fn take(&mut self, is_due: impl Fn(&Repeat) -> bool, now: Instant) -> Vec<(Line, u64)> {
        let mut due = Vec::new();
        self.lines.retain(|line, repeat| {
            if !is_due(repeat) {
                return true;
            }
            if repeat.suppressed == 0 {
                return false;
            }
            due.push((line.clone(), repeat.suppressed));
            *repeat = Repeat { since: now, suppressed: 0 };
            true
        });
        due
    }

    /// Forgets the oldest line that was not repeated.
    fn forget_one(&mut self) {
        let single = self.lines.iter().filter(|(_, repeat)| repeat.suppressed == 0);
        let oldest = single.min_by_key(|(_, repeat)| repeat.since).map(|(line, _)| line.clone());
        if let Some(oldest) = oldest {
            self.lines.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::line::Format;
    use super::*;

    fn line(text: &str) -> Line {
        let args = format_args!("{text}");
        Line::new(Format::Text, &log::Record::builder().args(args).build())
    }

    #[expect(clippy::disallowed_methods, reason = "the test's clock starts somewhere")]
    fn start() -> Instant {
        Instant::now()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn repeats_are_counted_until_the_window_ends() {
        let (mut repeats, t) = (Repeats::default(), start());
        assert!(repeats.admit(t, &line("a")));
        assert!(repeats.admit(t, &line("b")));
        assert!(!repeats.admit(t + seconds(1), &line("a")));
        assert!(!repeats.admit(t + seconds(9), &line("a")));
        assert_eq!(repeats.next_deadline(), Some(t + seconds(10)));
        assert!(repeats.expire(t + seconds(9)).is_empty());
        assert_eq!(repeats.expire(t + seconds(10)), [(line("a"), 2)]);
        // It goes on: counted for another window, while the other line is new again.
        assert!(!repeats.admit(t + seconds(11), &line("a")));
        assert!(repeats.admit(t + seconds(11), &line("b")));
        assert_eq!(repeats.drain(t + seconds(12)), [(line("a"), 1)]);
        // Two quiet windows: forgotten.
        assert!(repeats.expire(t + seconds(40)).is_empty());
        assert!(repeats.admit(t + seconds(41), &line("a")));
    }

    #[test]
    fn table_is_bounded_and_keeps_the_lines_that_repeat() {
        let (mut repeats, t) = (Repeats::default(), start());
        assert!(repeats.admit(t, &line("flood")));
        assert!(!repeats.admit(t, &line("flood")));
        for n in 0..10_000 {
            assert!(repeats.admit(t + Duration::from_millis(n), &line(&n.to_string())));
            assert!(repeats.lines.len() <= DIAGNOSTIC_REPEATS_MAX);
        }
        assert!(!repeats.admit(t, &line("flood")));
    }
}
