//! Who may hold a connection: counts of all connections, per address, and of those not yet
//! authenticated.
//!
//! Owns the counts. Does not know sockets or why someone is authenticated. Asked by the listener
//! before a thread exists, and again by the connection when the address behind a trusted proxy is
//! known.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What there may be at once.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// Connections that are not authenticated yet.
    pub preauth_connections: usize,
    /// The same from one address.
    pub preauth_connections_per_address: usize,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// All places are taken.
    Connections,
    /// All places of this address are taken.
    Address,
    /// All places before authentication are taken.
    Preauth,
    /// All of this address's places before authentication are taken.
    PreauthAddress,
    /// The operating system gives no thread.
    Thread,
}

impl Refusal {
    /// Every [`Refusal::name`] there is.
    pub const NAMES: &[&str] = &[
        "connections",
        "connections_per_address",
        "preauth_connections",
        "preauth_connections_per_address",
        "threads",
    ];

    /// A short stable name, for diagnostics and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Address => "connections_per_address",
            Self::Preauth => "preauth_connections",
            Self::PreauthAddress => "preauth_connections_per_address",
            Self::Thread => "threads",
        }
    }
}

/// The counts.
#[derive(Debug)]
pub struct Admission {
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    limits: AdmissionLimits,
    all: Held,
    /// Bounded by the number of connections: an address without any is removed.
    by_address: HashMap<IpAddr, Held>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    connections: usize,
    preauth: usize,
}

/// One connection's place; given back on drop, or before.
#[derive(Debug)]
pub struct Slot {
    admission: Arc<Admission>,
    place: Mutex<Option<Place>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    address: Option<IpAddr>,
    is_preauth: bool,
}

impl Admission {
    /// Nobody is here yet.
    pub fn new(limits: AdmissionLimits) -> Arc<Self> {
        let (all, by_address) = (Held::default(), HashMap::new());
        Arc::new(Self { counts: Mutex::new(Counts { limits, all, by_address }) })
    }

    /// Other limits from now on; who is here stays.
    pub fn set(&self, limits: AdmissionLimits) {
        self.lock().limits = limits;
    }

    /// A place for a new connection. Without an address (it comes from a trusted proxy, and the
    /// client's is not known yet) only the totals count, until [`Slot::assign`].
    pub fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Slot, Refusal> {
        let mut counts = self.lock();
        if counts.all.connections >= counts.limits.connections {
            return Err(Refusal::Connections);
        }
        if counts.all.preauth >= counts.limits.preauth_connections {
            return Err(Refusal::Preauth);
        }
        if let Some(address) = address {
            counts.count_address(address)?;
        }
        counts.all.connections += 1;
        counts.all.preauth += 1;
        let place = Mutex::new(Some(Place { address, is_preauth: true }));
        Ok(Slot { admission: Arc::clone(self), place })
    }

    /// Connections at the moment.
    pub fn connections(&self) -> usize {
        self.lock().all.connections
    }

    /// Connections not authenticated yet, at the moment.
    pub fn preauth_connections(&self) -> usize {
        self.lock().all.preauth
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing under this lock can panic half-way.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn count_address(&mut self, address: IpAddr) -> Result<(), Refusal> {
        let held = self.by_address.get(&address).copied().unwrap_or_default();
        if held.connections >= self.limits.connections_per_address {
            return Err(Refusal::Address);
        }
        if held.preauth >= self.limits.preauth_connections_per_address {
            return Err(Refusal::PreauthAddress);
        }
        let held = self.by_address.entry(address).or_default();
        held.connections += 1;
        held.preauth += 1;
        Ok(())
    }
}

impl Slot {
    /// The connection comes from this client, behind a proxy. Does nothing if the address was
    /// known at the start.
    pub fn assign(&self, address: IpAddr) -> Result<(), Refusal> {
        let mut place = self.lock();
        if let Some(place @ Place { address: None, is_preauth: true }) = place.as_mut() {
            self.admission.lock().count_address(address)?;
            place.address = Some(address);
        }
        Ok(())
    }

    /// The connection is authenticated: its place before authentication is free.
    pub fn authenticated(&self) {
        let mut place = self.lock();
        let Some(place) = place.as_mut() else { return };
        if !std::mem::replace(&mut place.is_preauth, false) {
            return;
        }
        let mut counts = self.admission.lock();
        counts.all.preauth -= 1;
        if let Some(held) = place.address.and_then(|address| counts.by_address.get_mut(&address)) {
            held.preauth -= 1;
        }
    }

    /// The connection is over. Further calls do nothing.
    pub fn release(&self) {
        self.authenticated();
        let Some(place) = self.lock().take() else { return };
        let mut counts = self.admission.lock();
        counts.all.connections -= 1;
        let Some(address) = place.address else { return };
        if let Some(held) = counts.by_address.get_mut(&address) {
            held.connections -= 1;
            if held.connections == 0 {
                counts.by_address.remove(&address);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AdmissionLimits = AdmissionLimits {
        connections: 4,
        connections_per_address: 3,
        preauth_connections: 3,
        preauth_connections_per_address: 2,
    };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[track_caller]
    fn check(admission: &Arc<Admission>, from: Option<IpAddr>, expected: Refusal) {
        assert_eq!(admission.admit(from).err(), Some(expected));
    }

    #[test]
    fn each_limit_refuses_by_its_own_name() {
        let admission = Admission::new(LIMITS);
        let one = admission.admit(Some(address(1))).unwrap();
        let two = admission.admit(Some(address(1))).unwrap();
        check(&admission, Some(address(1)), Refusal::PreauthAddress);
        one.authenticated();
        one.authenticated();
        two.authenticated();
        let three = admission.admit(Some(address(1))).unwrap();
        check(&admission, Some(address(1)), Refusal::Address);
        let four = admission.admit(Some(address(2))).unwrap();
        check(&admission, Some(address(3)), Refusal::Connections);
        drop((two, three));
        assert_eq!((admission.connections(), admission.preauth_connections()), (2, 1));
        let five = admission.admit(None).unwrap();
        let six = admission.admit(None).unwrap();
        drop(one);
        check(&admission, None, Refusal::Preauth);
        drop((four, five, six));
        assert_eq!((admission.connections(), admission.preauth_connections()), (0, 0));
        assert!(admission.lock().by_address.is_empty());
    }

    #[test]
    fn a_client_behind_a_proxy_counts_once_its_address_is_known() {
        let admission = Admission::new(LIMITS);
        let one = admission.admit(None).unwrap();
        let two = admission.admit(None).unwrap();
        let three = admission.admit(None).unwrap();
        assert_eq!(one.assign(address(1)), Ok(()));
        assert_eq!(two.assign(address(1)), Ok(()));
        assert_eq!(three.assign(address(1)), Err(Refusal::PreauthAddress));
        drop((one, two, three));
        assert!(admission.lock().by_address.is_empty());
    }
}
