//! Presence: who is here, as operators see it (`docs/protocol.md`, "Events").
//!
//! One line per device, else per instance of a client, else per connection: a peer that reconnects
//! is one line throughout. Owns the lines, their version and the delay of their broadcast; keeps
//! what is shown bounded. Does not know round trips, which `system-presence` adds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::ids::{ConnId, DeviceId, UserName};
use crate::base::limits::{PRESENCE_PEERS_PER_DELAY, PRESENCE_SHOWN_MAX};
use crate::protocol::event::PresenceEntry;

/// What makes two connections the same line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PresenceKey {
    /// A proven device.
    Device(DeviceId),
    /// A user's client by its `client.instanceId`, which is only a claim: hence the user.
    Instance(UserName, String),
    /// Neither.
    Conn(ConnId),
}

struct Line {
    key: PresenceKey,
    entry: PresenceEntry,
    /// The connections behind it, newest last.
    conns: Vec<ConnId>,
}

/// See the module.
pub(super) struct Presence {
    delay: Duration,
    /// By arrival, so that the newest are found without sorting.
    lines: BTreeMap<u64, Line>,
    places: BTreeMap<PresenceKey, u64>,
    keys: BTreeMap<ConnId, PresenceKey>,
    arrivals: u64,
    version: u64,
    /// Departures that no event has told of yet.
    departed: Vec<PresenceEntry>,
    /// When the next event is due, if something changed.
    due: Option<Instant>,
    shown: Shown,
}

/// The newest lines as last put together.
struct Shown {
    entries: Arc<[PresenceEntry]>,
    version: u64,
    at: Option<Instant>,
}

impl Presence {
    pub(super) fn new(delay: Duration) -> Self {
        Self {
            delay,
            lines: BTreeMap::new(),
            places: BTreeMap::new(),
            keys: BTreeMap::new(),
            arrivals: 0,
            version: 0,
            departed: Vec::new(),
            due: None,
            shown: Shown { entries: Arc::from([]), version: 0, at: None },
        }
    }

    /// Waits for so long from now on.
    pub(super) fn set_delay(&mut self, delay: Duration) {
        self.delay = delay;
    }

    /// Someone was admitted.
    pub(super) fn arrived(
        &mut self,
        now: Instant,
        conn: ConnId,
        key: PresenceKey,
        entry: PresenceEntry,
    ) {
        self.keys.insert(conn, key.clone());
        let known = self.places.get(&key).and_then(|place| self.lines.get_mut(place));
        if let Some(line) = known {
            line.entry = entry;
            line.conns.push(conn);
        } else {
            self.arrivals += 1;
            self.places.insert(key.clone(), self.arrivals);
            self.lines.insert(self.arrivals, Line { key, entry, conns: vec![conn] });
        }
        self.changed(now);
    }

    /// A connection ended. Its line goes when it was the last one behind it.
    pub(super) fn left(&mut self, now: Instant, unix_ms: u64, conn: ConnId) {
        let Some(key) = self.keys.remove(&conn) else { return };
        let Some(place) = self.places.get(&key).copied() else { return };
        let Some(line) = self.lines.get_mut(&place) else { return };
        line.conns.retain(|other| *other != conn);
        if !line.conns.is_empty() {
            return;
        }
        self.places.remove(&key);
        if let Some(line) = self.lines.remove(&place)
            && self.departed.len() < PRESENCE_SHOWN_MAX
        {
            let entry =
                PresenceEntry { connected: false, ts: unix_ms, rtt_micros: None, ..line.entry };
            self.departed.push(entry);
        }
        self.changed(now);
    }

    fn changed(&mut self, now: Instant) {
        self.version += 1;
        let crowd = u32::try_from(self.keys.len() / PRESENCE_PEERS_PER_DELAY).unwrap_or(u32::MAX);
        let delay = self.delay.saturating_mul(crowd.saturating_add(1));
        self.due.get_or_insert(now + delay);
    }

    /// Nobody is there to be told.
    pub(super) fn forget_changes(&mut self) {
        self.due = None;
        self.departed.clear();
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// What to broadcast, with its version, if something changed and the delay is over: the newest
    /// lines, and those that left since the last event.
    pub(super) fn due(&mut self, now: Instant) -> Option<(Arc<[PresenceEntry]>, u64)> {
        self.due.take_if(|due| *due <= now)?;
        self.put_together(now);
        if self.departed.is_empty() {
            return Some((Arc::clone(&self.shown.entries), self.version));
        }
        let departed = std::mem::take(&mut self.departed);
        let entries = self.shown.entries.iter().cloned().chain(departed).collect();
        Some((entries, self.version))
    }

    /// The newest lines with their version, for a hello. Exact while all lines fit; in a crowd
    /// as old as the delay at most, so that a rush of arrivals costs one list and not one each.
    pub(super) fn shown(&mut self, now: Instant) -> (Arc<[PresenceEntry]>, u64) {
        let outdated = self.shown.version != self.version;
        let exact = self.lines.len() <= PRESENCE_SHOWN_MAX;
        let old = self.shown.at.is_none_or(|at| now.duration_since(at) >= self.delay);
        if outdated && (exact || old) {
            self.put_together(now);
        }
        (Arc::clone(&self.shown.entries), self.shown.version)
    }

    fn put_together(&mut self, now: Instant) {
        let entries = self.newest(PRESENCE_SHOWN_MAX).map(|(entry, _)| entry.clone()).collect();
        self.shown = Shown { entries, version: self.version, at: Some(now) };
    }

    /// So many of the newest lines, each with the newest connection behind it.
    pub(super) fn newest(
        &self,
        count: usize,
    ) -> impl Iterator<Item = (&PresenceEntry, Option<ConnId>)> {
        let lines = self.lines.values().rev().take(count);
        lines.map(|line| (&line.entry, line.conns.last().copied()))
    }

    pub(super) fn is_consistent(&self) -> bool {
        self.places.len() == self.lines.len()
            && self.lines.iter().all(|(place, line)| self.places.get(&line.key) == Some(place))
            && self.lines.values().map(|line| line.conns.len()).sum::<usize>() == self.keys.len()
    }
}
