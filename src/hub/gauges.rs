//! How much there is of everything, for metrics: counts that cost nothing to read.
//!
//! Called by `shell::hub_thread` after each of its turns.

use crate::hub::Hub;
use crate::protocol::cron::RunStatus;
use crate::protocol::run::RunState;
use crate::protocol::spawn::SpawnStatus;

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Admitted operators.
    pub operators: usize,
    /// Admitted agents.
    pub agents: usize,
    /// Sessions.
    pub sessions: usize,
    /// Log entries.
    pub journal_entries: usize,
    /// Their bytes, as `journalBytes` counts them.
    pub journal_bytes: usize,
    /// Devices, approved or revoked.
    pub devices: usize,
    /// Devices that wait for approval.
    pub pairings: usize,
    /// Spawns that wait for a place.
    pub spawns_queued: usize,
    /// Spawns that have one: from the launcher's start until nothing of the program is left.
    pub spawns_running: usize,
    /// Spawns that have ended since the start.
    pub spawns_ended: Tally<SpawnStatus>,
    /// Runs that have not ended.
    pub runs_open: usize,
    /// Runs that have ended since the start.
    pub runs_ended: Tally<RunState>,
    /// Jobs.
    pub cron_jobs: usize,
    /// Runs of jobs that start or go on.
    pub cron_running: usize,
    /// Occurrences of jobs that ran or did not since the start.
    pub cron_ended: Tally<RunStatus>,
}

/// The ways in which things end.
pub trait Outcome: Copy + PartialEq + 'static {
    /// Every one, at most [`OUTCOMES_MAX`].
    const ALL: &'static [Self];

    /// Its name on the metrics page.
    fn name(self) -> &'static str;
}

/// The most ways in which one kind of thing ends.
pub const OUTCOMES_MAX: usize = 5;

impl Outcome for SpawnStatus {
    const ALL: &'static [Self] =
        &[Self::Completed, Self::Failed, Self::Cancelled, Self::Timeout, Self::Lost];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Outcome for RunState {
    const ALL: &'static [Self] = &[Self::Final, Self::Error, Self::Aborted];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

/// The first two ran, the others did not.
impl Outcome for RunStatus {
    const ALL: &'static [Self] = &[Self::Ok, Self::Error, Self::Skipped, Self::Missed];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

/// How many ended in which way; only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally<K> {
    counts: [u64; OUTCOMES_MAX],
    of: std::marker::PhantomData<K>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self { counts: [0; OUTCOMES_MAX], of: std::marker::PhantomData }
    }
}

impl<K: Outcome> Tally<K> {
    /// So many more ended in this way.
    pub(super) fn add(&mut self, outcome: K, count: u64) {
        let place = K::ALL.iter().position(|known| *known == outcome);
        if let Some(sum) = place.and_then(|place| self.counts.get_mut(place)) {
            *sum = sum.saturating_add(count);
        }
    }

    /// The sums, in the order of [`Outcome::ALL`].
    pub fn counts(&self) -> impl Iterator<Item = (K, u64)> {
        K::ALL.iter().copied().zip(self.counts)
    }
}

impl Hub {
    /// The counts as they are now; no loop, no allocation.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            operators: self.clients.operators(),
            agents: self.clients.agents(),
            sessions: self.sessions.len(),
            journal_entries: self.journal.len(),
            journal_bytes: self.journal.bytes(),
            devices: self.devices.len(),
            pairings: self.pairings.len(),
            spawns_queued: self.spawns.queued(),
            spawns_running: self.spawns.placed(),
            spawns_ended: self.spawns.outcomes,
            runs_open: self.runs.open_count(),
            runs_ended: self.runs.outcomes,
            cron_jobs: self.cron.jobs.len(),
            cron_running: self.cron.running(),
            cron_ended: self.cron.outcomes,
        }
    }
}
