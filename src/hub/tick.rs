//! Ticks: when the state of the sessions is shown to everyone (`docs/protocol.md`, "Heartbeat").
//!
//! One broadcast for all peers, because its encoding is shared: at least every `TICK_INTERVAL`,
//! and soon after sessions changed, but never closer together than the configured delay.
//! Owns the timing and the snapshot, not the sessions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::limits::TICK_INTERVAL;
use crate::base::time::Moment;
use crate::protocol::event::{Event, TickSnapshot};

/// See the module.
pub(super) struct Ticks {
    delay: Duration,
    last: Option<Instant>,
    changed: bool,
    sessions_json: Arc<str>,
}

impl Ticks {
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, last: None, changed: false, sessions_json: Arc::from("[]") }
    }

    /// The tick that tells one peer the state as it is now.
    pub(super) fn snapshot(&self, now: Moment) -> Event {
        Event::Tick(Arc::new(TickSnapshot {
            ts: now.unix_ms,
            sessions_json: Arc::clone(&self.sessions_json),
            total: 0,
            truncated: false,
        }))
    }

    /// Someone is there to hear ticks, who has just been told the state.
    pub(super) fn started(&mut self, now: Instant) {
        self.last.get_or_insert(now);
    }

    /// Nobody is there any more: an empty gateway does not wake up for nothing.
    pub(super) fn stopped(&mut self) {
        self.last = None;
        self.changed = false;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let wait = if self.changed { self.delay } else { TICK_INTERVAL };
        self.last.map(|last| last + wait)
    }

    /// The tick to broadcast, if one is due.
    pub(super) fn due(&mut self, now: Moment) -> Option<Event> {
        if self.deadline()? > now.at {
            return None;
        }
        self.last = Some(now.at);
        self.changed = false;
        Some(self.snapshot(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tick clock that runs since second 0, and the seconds at which it is due until 100.
    #[track_caller]
    fn check(changes: &[u64], expected: &[u64]) {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let start = Moment { at: Instant::now(), unix_ms: 0 };
        let mut ticks = Ticks::new(Duration::from_secs(1));
        ticks.started(start.at);
        let mut seen = Vec::new();
        for second in 0..100 {
            if changes.contains(&second) {
                ticks.changed = true;
            }
            if ticks.due(start.after(Duration::from_secs(second))).is_some() {
                seen.push(second);
            }
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn ticks_come_every_interval_and_sooner_after_a_change_but_never_too_close() {
        check(&[], &[30, 60, 90]);
        check(&[10], &[10, 40, 70]);
        check(&[10, 11, 12], &[10, 11, 12, 42, 72]);
    }

    #[test]
    fn nobody_to_hear_means_no_deadline() {
        let mut ticks = Ticks::new(Duration::from_secs(1));
        assert_eq!(ticks.deadline(), None);
        ticks.stopped();
        assert_eq!(ticks.deadline(), None);
    }
}
