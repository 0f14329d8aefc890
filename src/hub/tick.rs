//! Ticks: when the state of the sessions is shown to everyone (`docs/protocol.md`, "Heartbeat").
//!
//! One broadcast for all peers, because its encoding is shared: at least every `TICK_INTERVAL`,
//! and soon after sessions changed, but never closer together than the configured delay.
//! Owns the timing and the snapshot, not the sessions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::limits::TICK_INTERVAL;
use crate::base::time::Moment;
use crate::hub::sessions::Sessions;
use crate::protocol::event::{Event, TickSnapshot};
use crate::protocol::session::SessionRows;

/// See the module.
pub(super) struct Ticks {
    delay: Duration,
    shown_max: usize,
    last: Option<Moment>,
    /// Whether sessions changed since the last tick.
    changed: bool,
    shown: Shown,
}

/// The sessions as they were last put together.
#[derive(Default)]
struct Shown {
    rows: Arc<SessionRows>,
    total: usize,
    at: Option<Instant>,
    outdated: bool,
}

impl Ticks {
    pub(super) fn new(delay: Duration, shown_max: usize) -> Self {
        let shown = Shown { outdated: true, ..Shown::default() };
        Self { delay, shown_max, last: None, changed: false, shown }
    }

    /// Waits for so long, and shows so many, from now on.
    pub(super) fn set_limits(&mut self, delay: Duration, shown_max: usize) {
        self.shown.outdated |= shown_max != self.shown_max;
        self.delay = delay;
        self.shown_max = shown_max;
    }

    /// The sessions changed.
    pub(super) fn changed(&mut self) {
        self.changed = true;
        self.shown.outdated = true;
    }

    /// The tick that tells one peer the state as it is now. In a rush of arrivals and changes it
    /// is as old as the delay at most, so that it costs one list and not one each; a tick with the
    /// rest is then due anyway.
    pub(super) fn snapshot(&mut self, now: Moment, sessions: &Sessions) -> Event {
        let old = self.shown.at.is_none_or(|at| now.at.duration_since(at) >= self.delay);
        if self.shown.outdated && old {
            self.put_together(now, sessions);
        }
        self.event(now)
    }

    fn put_together(&mut self, now: Moment, sessions: &Sessions) {
        let rows = Arc::new(SessionRows::new(now.unix_ms, sessions.newest(self.shown_max)));
        self.shown = Shown { rows, total: sessions.len(), at: Some(now.at), outdated: false };
    }

    fn event(&self, now: Moment) -> Event {
        Event::Tick(Arc::new(TickSnapshot {
            ts: now.unix_ms,
            sessions: Arc::clone(&self.shown.rows),
            total: self.shown.total,
            truncated: self.shown.rows.sessions().len() < self.shown.total,
        }))
    }

    /// Someone is there to hear ticks, who has just been told the state.
    pub(super) fn started(&mut self, now: Moment) {
        self.last.get_or_insert(now);
    }

    /// Nobody is there any more: an empty gateway does not wake up for nothing.
    pub(super) fn stopped(&mut self) {
        self.last = None;
    }

    /// When everybody was last told, Unix milliseconds; `None` while nobody is there.
    pub(super) fn last_unix_ms(&self) -> Option<u64> {
        self.last.map(|last| last.unix_ms)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let wait = if self.changed { self.delay } else { TICK_INTERVAL };
        self.last.map(|last| last.at + wait)
    }

    /// The tick to broadcast, if one is due. The rows are put together anew even when nothing
    /// was reported, because sessions also end by falling silent.
    pub(super) fn due(&mut self, now: Moment, sessions: &Sessions) -> Option<Event> {
        if self.deadline()? > now.at {
            return None;
        }
        self.last = Some(now);
        self.changed = false;
        self.put_together(now, sessions);
        Some(self.event(now))
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
        let mut ticks = Ticks::new(Duration::from_secs(1), 10);
        ticks.started(start);
        let sessions = Sessions::new(1);
        let mut seen = Vec::new();
        for second in 0..100 {
            if changes.contains(&second) {
                ticks.changed();
            }
            if ticks.due(start.after(Duration::from_secs(second)), &sessions).is_some() {
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
        let mut ticks = Ticks::new(Duration::from_secs(1), 10);
        assert_eq!(ticks.deadline(), None);
        ticks.stopped();
        assert_eq!(ticks.deadline(), None);
    }
}
