//! How much there is of everything, for metrics: counts that cost nothing to read.
//!
//! Called by `shell::hub_thread` after each of its turns.

use crate::hub::Hub;

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
        }
    }
}
