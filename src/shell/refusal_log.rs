//! Which of the things that strangers can cause are reported one by one: the first ones of an
//! address at once, the others of the same minute as numbers, by reason (`docs/protocol.md`,
//! "Refusals" and "Audit").
//!
//! So a peer that hammers the door fills no disk. Bounded: when the table is full, further
//! addresses share one summary, and so do further reasons of one address. Writes nothing itself.
//! Called by `shell::refusals`.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::net::IpAddr;
use std::time::Instant;

use crate::base::limits::{REFUSAL_REASONS_MAX, REFUSAL_SUMMARIES_MAX, REFUSAL_SUMMARY_INTERVAL};

/// What stands for the reasons of an address that found no place.
const OTHER: &str = "other";

/// See the module.
#[derive(Debug)]
pub(super) struct RefusalLog {
    /// How many of one address and minute are reported one by one.
    whole_max: u32,
    /// What each address did in its minute.
    seen: BTreeMap<IpAddr, Seen>,
    /// When each address is summarised: they all wait equally long.
    order: VecDeque<(Instant, IpAddr)>,
    /// Refusals of addresses that found no place.
    others: Reasons,
}

#[derive(Debug, Default)]
struct Seen {
    /// Refusals that were reported one by one.
    whole: u32,
    /// Those that were not.
    unreported: Reasons,
}

/// How often each reason was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reasons(BTreeMap<String, u64>);

impl Reasons {
    fn add(&mut self, reason: &str) {
        let is_known = self.0.contains_key(reason) || self.0.len() < REFUSAL_REASONS_MAX;
        let name = if is_known { reason } else { OTHER };
        *self.0.entry(name.to_owned()).or_default() += 1;
    }

    /// All of them.
    pub(super) fn count(&self) -> u64 {
        self.0.values().sum()
    }
}

/// `AUTH_TOKEN_MISMATCH 3, DEVICE_IDENTITY_REQUIRED 1`
impl std::fmt::Display for Reasons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (reason, count)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{reason} {count}")?;
        }
        Ok(())
    }
}

/// Refusals that are reported as numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// Whose; `None` for those that found no place of their own.
    pub(super) address: Option<IpAddr>,
    /// Why, and how many.
    pub(super) reasons: Reasons,
}

impl RefusalLog {
    /// Reports so many of one address and minute one by one.
    pub(super) fn new(whole_max: u32) -> Self {
        let (seen, order) = (BTreeMap::new(), VecDeque::new());
        Self { whole_max, seen, order, others: Reasons::default() }
    }

    /// Counts a refusal; returns whether to report it by itself.
    pub(super) fn refused(&mut self, now: Instant, address: IpAddr, reason: &str) -> bool {
        if let Some(seen) = self.seen.get_mut(&address) {
            if seen.whole < self.whole_max {
                seen.whole += 1;
                return true;
            }
            seen.unreported.add(reason);
            return false;
        }
        if self.order.len() >= REFUSAL_SUMMARIES_MAX {
            self.others.add(reason);
            return false;
        }
        self.seen.insert(address, Seen { whole: 1, ..Seen::default() });
        self.order.push_back((now + REFUSAL_SUMMARY_INTERVAL, address));
        true
    }

    /// The summaries that are due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Summary> {
        let mut summaries = Vec::new();
        while let Some((_, address)) = self.order.pop_front_if(|(due, _)| *due <= now) {
            summaries.extend(self.summary(address));
        }
        if self.order.len() < REFUSAL_SUMMARIES_MAX {
            summaries.extend(self.summary_of_others());
        }
        summaries
    }

    /// All summaries, due or not.
    pub(super) fn drain(&mut self) -> Vec<Summary> {
        let order = mem::take(&mut self.order);
        let mut summaries: Vec<_> =
            order.into_iter().filter_map(|(_, address)| self.summary(address)).collect();
        summaries.extend(self.summary_of_others());
        summaries
    }

    fn summary(&mut self, address: IpAddr) -> Option<Summary> {
        let reasons = self.seen.remove(&address)?.unreported;
        (reasons.count() > 0).then_some(Summary { address: Some(address), reasons })
    }

    fn summary_of_others(&mut self) -> Option<Summary> {
        let reasons = mem::take(&mut self.others);
        (reasons.count() > 0).then_some(Summary { address: None, reasons })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::clock;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn shown(summaries: &[Summary]) -> Vec<String> {
        let line = |summary: &Summary| match summary.address {
            Some(address) => format!("{address}: {}", summary.reasons),
            None => format!("others: {}", summary.reasons),
        };
        summaries.iter().map(line).collect()
    }

    #[test]
    fn the_first_refusal_of_an_address_is_reported_and_the_rest_of_its_minute_counted_by_reason() {
        let (mut log, now) = (RefusalLog::new(1), clock::instant());
        assert!(log.refused(now, address(1), "A"));
        for reason in ["A", "B", "A"] {
            assert!(!log.refused(now, address(1), reason));
        }
        assert!(log.refused(now, address(2), "A"), "each address has its own");
        assert_eq!(log.due(now), []);
        let later = now + REFUSAL_SUMMARY_INTERVAL;
        assert_eq!(shown(&log.due(later)), ["0.0.0.1: A 2, B 1"]);
        assert!(log.refused(later, address(1), "A"), "a new minute has begun");
        assert_eq!(log.drain(), [], "nothing is left to say");
    }

    #[test]
    fn as_many_as_may_are_reported_one_by_one() {
        let (mut log, now) = (RefusalLog::new(2), clock::instant());
        let reported: Vec<_> = (0..4).map(|_| log.refused(now, address(1), "A")).collect();
        assert_eq!(reported, [true, true, false, false]);
        assert_eq!(shown(&log.due(now + REFUSAL_SUMMARY_INTERVAL)), ["0.0.0.1: A 2"]);
    }

    #[test]
    fn a_full_table_counts_who_finds_no_place_and_one_address_has_so_many_reasons() {
        let (mut log, now) = (RefusalLog::new(1), clock::instant());
        for number in 0..REFUSAL_SUMMARIES_MAX as u32 {
            assert!(log.refused(now, address(number), "A"));
        }
        assert!(!log.refused(now, address(u32::MAX), "A"));
        for number in 0..REFUSAL_REASONS_MAX + 5 {
            log.refused(now, address(0), &format!("R{number:03}"));
        }
        let summaries = shown(&log.drain());
        assert_eq!(summaries.len(), 2, "{summaries:?}");
        assert!(summaries[0].contains("other 5"), "{summaries:?}");
        assert_eq!(summaries[1], "others: A 1");
        assert!(log.seen.is_empty() && log.order.is_empty());
    }
}
