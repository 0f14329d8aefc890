//! Counters and histograms out of relaxed atomics.
//!
//! Each can be written by any thread at any time without waiting. Readers may see a sum that is
//! one observation ahead of its buckets, which no rate over time can tell. `prometheus-client`
//! has its own, which take a lock for every observation and every label; here a message costs
//! one addition.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::ids::ConnId;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds so many.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Shards of a [`ShardedCounter`]: more than there are cores on most machines.
const SHARDS: usize = 16;

/// A counter that many threads add to all the time: each has a cache line that it shares with
/// few others.
#[derive(Debug, Default)]
pub struct ShardedCounter([Shard; SHARDS]);

/// Two cache lines apart, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Counter);

impl ShardedCounter {
    /// Adds so many on behalf of this connection.
    pub fn add(&self, conn: ConnId, count: u64) {
        let shard = usize::try_from(conn.0 % SHARDS as u64).unwrap_or_default();
        if let Some(Shard(counter)) = self.0.get(shard) {
            counter.add(count);
        }
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|Shard(counter)| counter.get()).sum()
    }
}

/// One counter for each of some names that are known from the start, and one for all others.
#[derive(Debug)]
pub struct Counters {
    names: &'static [&'static str],
    counts: Vec<Counter>,
    others: Counter,
}

impl Counters {
    /// All zero.
    pub fn new(names: &'static [&'static str]) -> Self {
        Self {
            names,
            counts: names.iter().map(|_| Counter::default()).collect(),
            others: Counter::default(),
        }
    }

    /// Adds one to this name's. Compares names one by one: not for every message.
    pub fn add(&self, name: &str) {
        let position = self.names.iter().position(|known| *known == name);
        position.and_then(|at| self.counts.get(at)).unwrap_or(&self.others).add(1);
    }

    /// Every name with its sum, `other` last.
    pub fn get(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let known = self.names.iter().copied().zip(self.counts.iter().map(Counter::get));
        known.chain([("other", self.others.get())])
    }
}

/// How often a value fell between which bounds.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds, ascending, in the unit that is observed.
    bounds: &'static [u64],
    /// What the page divides by.
    per_unit: f64,
    /// One for each bound, and one for what is beyond them.
    buckets: Vec<Counter>,
    sum: Counter,
}

/// A histogram at one moment.
#[derive(Debug, PartialEq)]
pub(super) struct Snapshot {
    /// Of all values.
    pub(super) sum: f64,
    /// How many values.
    pub(super) count: u64,
    /// Upper bounds, the last of them infinite, with the values that fell below each and above
    /// the one before.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Of durations; bounds in nanoseconds, shown in seconds.
    pub fn of_seconds(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1e9)
    }

    /// Of numbers.
    pub fn of_numbers(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1.0)
    }

    fn new(bounds: &'static [u64], per_unit: f64) -> Self {
        let buckets = (0..=bounds.len()).map(|_| Counter::default()).collect();
        Self { bounds, per_unit, buckets, sum: Counter::default() }
    }

    /// A duration was measured.
    pub fn observe(&self, duration: Duration) {
        self.observe_number(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A number was measured.
    pub fn observe_number(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.add(1);
            self.sum.add(value);
        }
    }

    /// Whether nothing was measured yet.
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.get() == 0)
    }

    /// What was measured so far.
    #[expect(clippy::cast_precision_loss, reason = "the page's numbers are floating point")]
    pub(super) fn snapshot(&self) -> Snapshot {
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / self.per_unit);
        let counts = self.buckets.iter().map(Counter::get);
        let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        Snapshot {
            sum: self.sum.get() as f64 / self.per_unit,
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::of_seconds(&[1_000_000, 1_000_000_000]);
        for nanos in [0, 1_000_000, 1_000_001, 1_000_000_000, 1_000_000_001] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let seen = histogram.snapshot();
        assert_eq!(seen.buckets, [(0.001, 2), (1.0, 2), (f64::INFINITY, 1)]);
        assert_eq!(seen.count, 5);
        assert!((seen.sum - 2.002_000_002).abs() < 1e-9, "{seen:?}");
    }

    #[test]
    fn names_that_nobody_knows_share_one_counter() {
        let counters = Counters::new(&["a", "b"]);
        for name in ["b", "c", "b", "d", ""] {
            counters.add(name);
        }
        assert_eq!(counters.get().collect::<Vec<_>>(), [("a", 0), ("b", 2), ("other", 3)]);
    }

    #[test]
    fn shards_add_up() {
        let counter = ShardedCounter::default();
        (0..100).for_each(|conn| counter.add(ConnId(conn), conn));
        assert_eq!(counter.get(), 4_950);
    }
}
