//! Failed proofs per client address, and the lock-out (`docs/protocol.md`, "Rate limit").
//!
//! Counts each kind of credential apart, so that a success resets only its own, and locks on
//! their sum. Bounded: under pressure the address that would be forgotten first makes room, but
//! never one that is locked out. Knows nothing of what a proof is. Called by `admission`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::base::limits::{RATE_LIMIT_ADDRESSES_MAX, RATE_LIMIT_ATTEMPTS_MAX};
use crate::hub::policy::RateLimitPolicy;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// A device's signature.
    Signature,
    /// `auth.token` as a shared secret.
    Token,
    /// `auth.password`
    Password,
    /// A device token.
    DeviceToken,
    /// A pairing code.
    PairingCode,
}

struct Record {
    failures: Vec<(Instant, Credential)>,
    locked_until: Option<Instant>,
    /// When nothing of it matters any more.
    forget_at: Instant,
}

/// The table.
pub(super) struct RateLimiter {
    policy: RateLimitPolicy,
    records: BTreeMap<IpAddr, Record>,
    /// The records that are not locked, by when they are forgotten.
    unlocked: BTreeSet<(Instant, IpAddr)>,
    /// Those that are.
    locked: BTreeSet<(Instant, IpAddr)>,
}

impl RateLimiter {
    pub(super) fn new(policy: RateLimitPolicy) -> Self {
        Self {
            policy,
            records: BTreeMap::new(),
            unlocked: BTreeSet::new(),
            locked: BTreeSet::new(),
        }
    }

    /// Counts by this policy from now on; a lock-out that has begun is as long as it was.
    pub(super) fn set_policy(&mut self, policy: RateLimitPolicy) {
        self.policy = policy;
    }

    /// How long this address is still locked out, if it is.
    pub(super) fn locked_for(&self, now: Instant, address: IpAddr) -> Option<Duration> {
        let until = self.records.get(&address)?.locked_until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Counts a failed proof; the one that reaches the limit locks the address out.
    pub(super) fn failed(&mut self, now: Instant, address: IpAddr, credential: Credential) {
        let mut record = match self.take(address) {
            Some(record) if now < record.forget_at => record,
            _ => {
                self.make_room(now);
                if self.records.len() >= RATE_LIMIT_ADDRESSES_MAX {
                    // Every place is locked out, which matters more than one failure.
                    return;
                }
                Record { failures: Vec::new(), locked_until: None, forget_at: now }
            }
        };
        let window = self.policy.window;
        record.failures.retain(|(at, _)| now.duration_since(*at) < window);
        record.failures.push((now, credential));
        let attempts_max = self.policy.attempts_max.clamp(1, RATE_LIMIT_ATTEMPTS_MAX);
        if record.failures.len() >= attempts_max as usize {
            record.failures.clear();
            record.locked_until = Some(now + self.policy.lockout);
        }
        let still_locked = record.locked_until.filter(|until| now < *until);
        record.locked_until = still_locked;
        record.forget_at = still_locked.unwrap_or(now + window);
        self.put(address, record);
    }

    /// Forgets the failures of this credential, and of no other.
    pub(super) fn succeeded(&mut self, address: IpAddr, credential: Credential) {
        let Some(mut record) = self.take(address) else { return };
        record.failures.retain(|(_, failed)| *failed != credential);
        if !record.failures.is_empty() || record.locked_until.is_some() {
            self.put(address, record);
        }
    }

    /// Forgets everything about this address, or about all; returns how many were known.
    pub(super) fn clear(&mut self, address: Option<IpAddr>) -> usize {
        match address {
            Some(address) => usize::from(self.take(address).is_some()),
            None => {
                let known = self.records.len();
                self.records.clear();
                self.unlocked.clear();
                self.locked.clear();
                known
            }
        }
    }

    fn take(&mut self, address: IpAddr) -> Option<Record> {
        let record = self.records.remove(&address)?;
        self.index(&record).remove(&(record.forget_at, address));
        Some(record)
    }

    fn put(&mut self, address: IpAddr, record: Record) {
        self.index(&record).insert((record.forget_at, address));
        self.records.insert(address, record);
    }

    fn index(&mut self, record: &Record) -> &mut BTreeSet<(Instant, IpAddr)> {
        match record.locked_until {
            Some(_) => &mut self.locked,
            None => &mut self.unlocked,
        }
    }

    /// Forgets what no longer matters and, when that is not enough, the next to be forgotten.
    fn make_room(&mut self, now: Instant) {
        for index in [&mut self.unlocked, &mut self.locked] {
            while let Some((forget_at, address)) = index.first().copied()
                && forget_at <= now
            {
                index.pop_first();
                self.records.remove(&address);
            }
        }
        if self.records.len() >= RATE_LIMIT_ADDRESSES_MAX
            && let Some((_, address)) = self.unlocked.pop_first()
        {
            self.records.remove(&address);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const POLICY: RateLimitPolicy = RateLimitPolicy {
        attempts_max: 3,
        window: Duration::from_secs(60),
        lockout: Duration::from_secs(60),
    };

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    fn start() -> Instant {
        Instant::now()
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(number))
    }

    /// Failures at these seconds; whether the address is locked out right after the last.
    #[track_caller]
    fn check(failures: &[u64], locked: bool) {
        let start = start();
        let mut limiter = RateLimiter::new(POLICY);
        let mut last = start;
        for second in failures {
            last = start + Duration::from_secs(*second);
            limiter.failed(last, address(1), Credential::Token);
        }
        assert_eq!(limiter.locked_for(last, address(1)).is_some(), locked, "{failures:?}");
    }

    #[test]
    fn failures_count_within_a_sliding_window_only() {
        check(&[0, 1], false);
        check(&[0, 1, 2], true);
        check(&[0, 30, 59], true);
        check(&[0, 30, 60], false);
        check(&[0, 30, 60, 89], true);
    }

    #[test]
    fn a_lock_out_ends_on_time_and_leaves_no_count_behind() {
        let start = start();
        let mut limiter = RateLimiter::new(POLICY);
        for _ in 0..3 {
            limiter.failed(start, address(1), Credential::Signature);
        }
        let late = start + Duration::from_secs(59);
        assert_eq!(limiter.locked_for(late, address(1)), Some(Duration::from_secs(1)));
        let over = start + Duration::from_secs(60);
        assert_eq!(limiter.locked_for(over, address(1)), None);
        limiter.failed(over, address(1), Credential::Signature);
        assert_eq!(limiter.locked_for(over, address(1)), None);
    }

    #[test]
    fn a_success_resets_its_own_credential_and_no_other() {
        let start = start();
        let mut limiter = RateLimiter::new(POLICY);
        limiter.failed(start, address(1), Credential::Token);
        limiter.failed(start, address(1), Credential::Token);
        limiter.succeeded(address(1), Credential::Signature);
        limiter.failed(start, address(1), Credential::Token);
        assert!(limiter.locked_for(start, address(1)).is_some());
        limiter.failed(start, address(2), Credential::Token);
        limiter.failed(start, address(2), Credential::Token);
        limiter.succeeded(address(2), Credential::Token);
        limiter.failed(start, address(2), Credential::Token);
        assert!(limiter.locked_for(start, address(2)).is_none());
    }

    #[test]
    fn a_success_does_not_lift_a_lock_out() {
        let start = start();
        let mut limiter = RateLimiter::new(POLICY);
        for _ in 0..3 {
            limiter.failed(start, address(1), Credential::Token);
        }
        limiter.succeeded(address(1), Credential::Token);
        assert!(limiter.locked_for(start, address(1)).is_some());
    }

    #[test]
    fn clearing_forgets_one_address_or_all_and_counts_them() {
        let start = start();
        let mut limiter = RateLimiter::new(POLICY);
        for number in 1..=3 {
            for _ in 0..3 {
                limiter.failed(start, address(number), Credential::Token);
            }
        }
        limiter.failed(start, address(4), Credential::Token);
        assert_eq!(limiter.clear(Some(address(9))), 0);
        assert_eq!(limiter.clear(Some(address(1))), 1);
        assert_eq!(limiter.locked_for(start, address(1)), None);
        assert!(limiter.locked_for(start, address(2)).is_some());
        assert_eq!(limiter.clear(None), 3);
        assert_eq!(limiter.locked_for(start, address(2)), None);
        assert!(limiter.len() == 0 && limiter.locked.is_empty() && limiter.unlocked.is_empty());
    }

    #[test]
    fn a_full_table_keeps_its_locked_addresses() {
        let start = start();
        let mut limiter = RateLimiter::new(POLICY);
        for _ in 0..3 {
            limiter.failed(start, address(1), Credential::Token);
        }
        let spray = u32::try_from(RATE_LIMIT_ADDRESSES_MAX).unwrap() * 2;
        for number in 2..spray {
            limiter.failed(start + Duration::from_secs(1), address(number), Credential::Token);
        }
        assert_eq!(limiter.len(), RATE_LIMIT_ADDRESSES_MAX);
        assert!(limiter.locked_for(start + Duration::from_secs(1), address(1)).is_some());
        assert!(limiter.unlocked.len() + limiter.locked.len() == limiter.len());
    }
}
