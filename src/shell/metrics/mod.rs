//! What the gateway counts and measures about itself, and the page that shows it.
//!
//! Owns the numbers. Whoever does something counts it here, with one relaxed atomic addition and
//! without a lock; only `page` reads them, on threads of its own. So a scrape never waits for the
//! hub, and the hub never for a scrape. Names and labels are all known at compile time: no peer
//! can add a series. Written by connection threads, links, hub thread, fan-out and store.

mod exposition;
mod instruments;
mod page;
mod process;

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::close_reason::CloseReason;
use crate::hub::gauges::{Gauges, OUTCOMES_MAX, Outcome, Tally};
use crate::protocol::cron::RunStatus;
use crate::protocol::error::ErrorCode;
use crate::protocol::methods;
use crate::protocol::refusal;
use crate::protocol::run::RunState;
use crate::protocol::spawn::SpawnStatus;
use crate::shell::admission::Refusal;
use crate::shell::clock;

pub use exposition::Sources;
pub use instruments::{Counter, Counters, Histogram, ShardedCounter};
pub use page::{MetricsPage, bind};

/// Everything that is counted; see [`exposition`] for what each is called on the page.
#[derive(Debug)]
pub struct Metrics {
    /// When the gateway started, Unix milliseconds.
    pub started_unix_ms: u64,
    /// WebSocket connections that are open, admitted or not.
    pub websockets: AtomicU64,
    /// Text and binary messages that peers sent.
    pub messages_received: ShardedCounter,
    /// Text messages that were handed to the kernel, or to TLS.
    pub messages_sent: ShardedCounter,
    /// Stream events that a slow peer missed.
    pub events_dropped: Counter,
    /// Requests to start a program, refused ones included.
    pub spawn_requests: Counter,
    /// Connects that were refused for what the peer presented, or did not.
    pub auth_failures: Counter,
    /// Refused connects by `details.code`.
    pub connects_refused: Counters,
    /// Connections that there was no room for, by [`Refusal::name`].
    pub turned_away: Counters,
    /// Ended connections by [`CloseReason::name`].
    pub closed: Counters,
    /// Requests that were answered with an error, by its code.
    pub request_errors: Counters,
    /// From the accepted socket to the hello.
    pub handshakes: Histogram,
    /// From a request's arrival to its answer in the peer's queue, by row of the table of methods.
    pub requests: Vec<Histogram>,
    /// Round trips of the gateway's own pings.
    pub round_trips: Histogram,
    /// How long the hub worked before it waited again, or handed on what it had.
    pub hub_turns: Histogram,
    /// How long a commit took, its sync included.
    pub commits: Histogram,
    /// Changes in one commit.
    pub commit_changes: Histogram,
    /// Commits that failed.
    pub commits_failed: Counter,
    hub: HubNumbers,
}

/// The hub's own counts, as it last told them.
#[derive(Debug, Default)]
struct HubNumbers {
    operators: AtomicU64,
    agents: AtomicU64,
    sessions: AtomicU64,
    journal_entries: AtomicU64,
    journal_bytes: AtomicU64,
    devices: AtomicU64,
    pairings: AtomicU64,
    spawns_queued: AtomicU64,
    spawns_running: AtomicU64,
    spawns_ended: Outcomes<SpawnStatus>,
    runs_open: AtomicU64,
    runs_ended: Outcomes<RunState>,
    cron_jobs: AtomicU64,
    cron_running: AtomicU64,
    cron_ended: Outcomes<RunStatus>,
}

/// A [`Tally`] that the page can read at any time.
#[derive(Debug)]
struct Outcomes<K> {
    counts: [AtomicU64; OUTCOMES_MAX],
    of: PhantomData<K>,
}

impl<K> Default for Outcomes<K> {
    fn default() -> Self {
        Self { counts: Default::default(), of: PhantomData }
    }
}

impl<K: Outcome> Outcomes<K> {
    fn set(&self, tally: &Tally<K>) {
        for (number, (_, count)) in self.counts.iter().zip(tally.counts()) {
            number.store(count, Ordering::Relaxed);
        }
    }

    /// Every outcome with its sum.
    fn get(&self) -> impl Iterator<Item = (K, u64)> {
        K::ALL.iter().copied().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started_unix_ms: clock::moment().unix_ms,
            websockets: AtomicU64::new(0),
            messages_received: ShardedCounter::default(),
            messages_sent: ShardedCounter::default(),
            events_dropped: Counter::default(),
            spawn_requests: Counter::default(),
            auth_failures: Counter::default(),
            connects_refused: Counters::new(refusal::DETAIL_CODES),
            turned_away: Counters::new(Refusal::NAMES),
            closed: Counters::new(CloseReason::NAMES),
            request_errors: Counters::new(ErrorCode::NAMES),
            handshakes: Histogram::of_seconds(&SLOW),
            requests: methods::names().map(|_| Histogram::of_seconds(&FAST)).collect(),
            round_trips: Histogram::of_seconds(&SLOW),
            hub_turns: Histogram::of_seconds(&FAST),
            commits: Histogram::of_seconds(&SLOW),
            commit_changes: Histogram::of_numbers(&SIZES),
            commits_failed: Counter::default(),
            hub: HubNumbers::default(),
        }
    }
}

impl Metrics {
    /// A `connect` was refused with this `details.code`.
    pub fn refused(&self, code: &str) {
        self.connects_refused.add(code);
        if refusal::is_failed_authentication(code) {
            self.auth_failures.add(1);
        }
    }

    /// Takes over the hub's counts: called by the hub thread after each of its turns.
    pub fn set_hub(&self, gauges: &Gauges) {
        let set = |number: &AtomicU64, value: usize| {
            number.store(u64::try_from(value).unwrap_or(u64::MAX), Ordering::Relaxed);
        };
        set(&self.hub.operators, gauges.operators);
        set(&self.hub.agents, gauges.agents);
        set(&self.hub.sessions, gauges.sessions);
        set(&self.hub.journal_entries, gauges.journal_entries);
        set(&self.hub.journal_bytes, gauges.journal_bytes);
        set(&self.hub.devices, gauges.devices);
        set(&self.hub.pairings, gauges.pairings);
        set(&self.hub.spawns_queued, gauges.spawns_queued);
        set(&self.hub.spawns_running, gauges.spawns_running);
        set(&self.hub.runs_open, gauges.runs_open);
        set(&self.hub.cron_jobs, gauges.cron_jobs);
        set(&self.hub.cron_running, gauges.cron_running);
        self.hub.spawns_ended.set(&gauges.spawns_ended);
        self.hub.runs_ended.set(&gauges.runs_ended);
        self.hub.cron_ended.set(&gauges.cron_ended);
    }
}

/// Upper bounds in nanoseconds for what happens inside the gateway: 25 µs to 1 s.
const FAST: [u64; 12] = [
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
];

/// Upper bounds in nanoseconds for what a network or a disk takes part in: 500 µs to 10 s.
const SLOW: [u64; 13] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

/// Upper bounds for how many.
const SIZES: [u64; 8] = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384];
