//! Diagnostics of refused connects: the first of an address at once, the others of the same
//! minute as one number (`docs/protocol.md`, "Refusals").
//!
//! So a peer that hammers the door fills no disk. Bounded: when the table is full, further
//! addresses share one summary. Writes nothing itself. Called by `admission`,
//! and by `shell::refusals` for what never reaches the hub.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use crate::base::limits::{REFUSAL_SUMMARIES_MAX, REFUSAL_SUMMARY_INTERVAL};

/// See the module.
#[derive(Debug, Default)]
pub struct RefusalLog {
    /// Refusals that were not reported one by one.
    unreported: BTreeMap<IpAddr, u64>,
    /// When each address is summarised: they all wait equally long.
    order: VecDeque<(Instant, IpAddr)>,
    /// Refusals of addresses that found no place.
    others: u64,
}

/// Refusals that are reported as a number.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whose; `None` for those that found no place of their own.
    pub address: Option<IpAddr>,
    /// How many.
    pub count: u64,
}

impl RefusalLog {
    /// Counts a refusal; returns whether to report it by itself.
    pub fn refused(&mut self, now: Instant, address: IpAddr) -> bool {
        if let Some(count) = self.unreported.get_mut(&address) {
            *count += 1;
            return false;
        }
        if self.order.len() >= REFUSAL_SUMMARIES_MAX {
            self.others += 1;
            return false;
        }
        self.unreported.insert(address, 0);
        self.order.push_back((now + REFUSAL_SUMMARY_INTERVAL, address));
        true
    }

    /// When the next summary is due, if any.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.order.front().map(|(due, _)| *due)
    }

    /// The summaries that are due.
    pub fn due(&mut self, now: Instant) -> Vec<Summary> {
        let mut summaries = Vec::new();
        while let Some((_, address)) = self.order.pop_front_if(|(due, _)| *due <= now) {
            if let Some(count @ 1..) = self.unreported.remove(&address) {
                summaries.push(Summary { address: Some(address), count });
            }
        }
        if self.order.len() < REFUSAL_SUMMARIES_MAX && self.others > 0 {
            summaries.push(Summary { address: None, count: std::mem::take(&mut self.others) });
        }
        summaries
    }

    /// Addresses that wait for their summary.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}
