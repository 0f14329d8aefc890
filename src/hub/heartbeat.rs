//! Heartbeats: who is due to be looked at, and what silence means
//! (`docs/protocol.md`, "Heartbeat").
//!
//! Owns the deadlines, ordered, so that the due ones among 10,000 are found at once; peers that
//! were admitted at different times are due at different times. When a peer was last heard is
//! known to its connection's thread alone, so the hub asks for it (`Effect::MeasureSilence`)
//! only when someone is due, and then for those, too, who are due in a moment: threads wake once
//! for all of them. Does not close anything: it returns what the silence calls for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::base::ids::ConnId;
use crate::base::limits::{HEARTBEAT_EARLY_MAX, HEARTBEAT_EARLY_PART};
use crate::hub::policy::HeartbeatPolicy;

struct Pulse {
    due: Instant,
    /// Pings sent since the peer was last heard.
    unanswered: u32,
    pinged_at: Option<Instant>,
}

/// What a measured silence calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The peer is alive, or not ours.
    Nothing,
    /// Ping it.
    Ping,
    /// It left so many pings unanswered: close it.
    Dead { unanswered: u32 },
}

/// See the module.
pub(super) struct Heartbeats {
    policy: HeartbeatPolicy,
    /// How much before its time a peer may be looked at, together with others.
    early: Duration,
    pulses: BTreeMap<ConnId, Pulse>,
    order: BTreeSet<(Instant, ConnId)>,
}

impl Heartbeats {
    pub(super) fn new(policy: HeartbeatPolicy) -> Self {
        let early = HEARTBEAT_EARLY_MAX.min(policy.interval / HEARTBEAT_EARLY_PART);
        Self { policy, early, pulses: BTreeMap::new(), order: BTreeSet::new() }
    }

    pub(super) fn admitted(&mut self, now: Instant, conn: ConnId) {
        self.removed(conn);
        let due = now + self.policy.interval;
        self.pulses.insert(conn, Pulse { due, unanswered: 0, pinged_at: None });
        self.order.insert((due, conn));
    }

    pub(super) fn removed(&mut self, conn: ConnId) {
        if let Some(pulse) = self.pulses.remove(&conn) {
            self.order.remove(&(pulse.due, conn));
        }
    }

    /// A pong arrived: the peer is alive now, and need not be looked at for an interval.
    pub(super) fn ponged(&mut self, now: Instant, conn: ConnId) {
        if let Some(pulse) = self.pulses.get_mut(&conn) {
            pulse.unanswered = 0;
            reschedule(&mut self.order, pulse, conn, now + self.policy.interval);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Whose silence is to be measured. Should no measurement follow, they are due again after
    /// another interval.
    pub(super) fn due(&mut self, now: Instant) -> Vec<ConnId> {
        let mut due = Vec::new();
        if self.deadline().is_none_or(|first| first > now) {
            return due;
        }
        while let Some((at, conn)) = self.order.first().copied()
            && at <= now + self.early
        {
            self.order.pop_first();
            if let Some(pulse) = self.pulses.get_mut(&conn) {
                pulse.due = now + self.policy.interval;
                self.order.insert((pulse.due, conn));
                due.push(conn);
            }
        }
        due
    }

    /// Judges one peer by when it was last heard. Whatever it sent after a ping answers it.
    pub(super) fn measured(&mut self, now: Instant, conn: ConnId, heard: Instant) -> Verdict {
        let Some(pulse) = self.pulses.get_mut(&conn) else { return Verdict::Nothing };
        if pulse.pinged_at.is_some_and(|pinged_at| heard >= pinged_at) {
            pulse.unanswered = 0;
        }
        let silent_until = heard + self.policy.interval;
        if now + self.early < silent_until {
            pulse.unanswered = 0;
            reschedule(&mut self.order, pulse, conn, silent_until);
            return Verdict::Nothing;
        }
        if pulse.unanswered >= self.policy.missed_max {
            let unanswered = pulse.unanswered;
            self.removed(conn);
            return Verdict::Dead { unanswered };
        }
        pulse.unanswered += 1;
        pulse.pinged_at = Some(now);
        reschedule(&mut self.order, pulse, conn, now + self.policy.interval);
        Verdict::Ping
    }

    pub(super) fn len(&self) -> usize {
        self.pulses.len()
    }
}

fn reschedule(
    order: &mut BTreeSet<(Instant, ConnId)>,
    pulse: &mut Pulse,
    conn: ConnId,
    due: Instant,
) {
    order.remove(&(pulse.due, conn));
    pulse.due = due;
    order.insert((due, conn));
}
