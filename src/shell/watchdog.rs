//! Notices a hub that makes no progress.
//!
//! Gives the hub something to do at every look, and sees at the next whether it has done anything.
//! Owns what it saw last; tells `readiness` and diagnostics, and ends nothing: a hub that comes
//! back has lost nothing. Called by the main thread, every `WATCHDOG_INTERVAL`, and as often as a
//! service manager wants a sign of life.

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::hub::input::Input;
use crate::shell::hub_thread::Inbound;
use crate::shell::readiness::Readiness;

/// See the module.
#[derive(Debug)]
pub struct Watchdog {
    inbox: Sender<Inbound>,
    readiness: Arc<Readiness>,
    /// The progress at the last look; `None` before the first.
    seen: Option<u64>,
    /// The progress when it was last asked for.
    asked: Option<u64>,
    is_stuck: bool,
}

impl Watchdog {
    /// Watches the hub behind this inbox.
    pub fn new(inbox: Sender<Inbound>, readiness: Arc<Readiness>) -> Self {
        Self { inbox, readiness, seen: None, asked: None, is_stuck: false }
    }

    /// Looks, and never waits. An inbox without room is work enough.
    pub fn look(&mut self) {
        let progress = self.readiness.progress();
        let is_stuck = self.seen == Some(progress);
        if is_stuck != self.is_stuck {
            self.is_stuck = is_stuck;
            self.readiness.set_stuck(is_stuck);
            if is_stuck {
                log::error!("the hub makes no progress; this is a bug");
            } else {
                log::warn!("the hub makes progress again");
            }
        }
        self.seen = Some(progress);
        self.nudge();
    }

    /// Whether the hub has handled anything since this was last asked, with something to do for the
    /// next time. Never waits.
    pub fn has_progressed(&mut self) -> bool {
        let progress = self.readiness.progress();
        let has_progressed = self.asked != Some(progress);
        self.asked = Some(progress);
        self.nudge();
        has_progressed
    }

    fn nudge(&self) {
        let _work_enough = self.inbox.try_send(Inbound::Input(Input::Tick));
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::shell::clock;

    #[test]
    fn hub_that_handles_nothing_between_two_looks_is_not_ready_until_it_does() {
        let (inbox, hub) = bounded(1);
        let readiness = Arc::new(Readiness::new(clock::instant()));
        readiness.set(Ok(()));
        let mut watchdog = Watchdog::new(inbox, Arc::clone(&readiness));
        let mut check = |handles: bool, expected: Option<&str>| {
            watchdog.look();
            assert_eq!(readiness.not_ready(), expected);
            if handles {
                assert!(matches!(hub.try_recv(), Ok(Inbound::Input(Input::Tick))));
                readiness.progressed();
            }
        };
        check(true, None);
        check(true, None);
        check(false, None);
        check(false, Some("the hub makes no progress"));
        check(true, Some("the hub makes no progress"));
        check(true, None);
    }

    #[test]
    fn progress_is_what_happened_since_the_last_question() {
        let (inbox, _hub) = bounded(1);
        let readiness = Arc::new(Readiness::new(clock::instant()));
        let mut watchdog = Watchdog::new(inbox, Arc::clone(&readiness));
        assert!(watchdog.has_progressed(), "nothing is known against it yet");
        assert!(!watchdog.has_progressed());
        readiness.progressed();
        assert!(watchdog.has_progressed());
        assert!(!watchdog.has_progressed(), "an inbox without room changes nothing");
    }
}
