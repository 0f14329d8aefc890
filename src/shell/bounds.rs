//! What connections may take: the limits, which a reload may change, and the counts under them.
//!
//! Owns both together, so that a new limit bounds what is counted already. What is over a limit
//! that was lowered stays, and nothing new comes until there is room again. A connection keeps the
//! limits of its own that it began with. The port has one of these, the control socket another,
//! so that strangers cannot take the owner's place. Built by `app`, changed by its reload.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::base::limits::CONTROL_CONNECTIONS_MAX;
use crate::shell::admission::{Admission, AdmissionLimits};
use crate::shell::budget::Budget;

/// The configured limits of connections; built by `app` from `[gateway.limits]`.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// From accept to upgrade, and again from there to the end of the `connect`.
    pub handshake: Duration,
    /// Connections not authenticated yet.
    pub preauth_connections: usize,
    /// The same from one address.
    pub preauth_connections_per_address: usize,
    /// The longest message before authentication. The one after it is what the hello says.
    pub preauth_bytes: usize,
    /// What waits for one peer.
    pub backlog_bytes: usize,
    /// Unfinished messages and unhandled requests of all peers together.
    pub inbound_bytes_total: usize,
    /// What waits for all peers together.
    pub backlog_bytes_total: usize,
}

impl ConnectionLimits {
    /// The same for the control socket, beside the port's: its own places, room for one message of
    /// the greatest size, and a backlog for each.
    pub fn of_owner(self, message_bytes_max: usize) -> Self {
        let all = CONTROL_CONNECTIONS_MAX;
        Self {
            connections: all,
            connections_per_address: all,
            preauth_connections: all,
            preauth_connections_per_address: all,
            inbound_bytes_total: message_bytes_max,
            backlog_bytes_total: all.saturating_mul(self.backlog_bytes),
            ..self
        }
    }

    fn of_admission(&self) -> AdmissionLimits {
        AdmissionLimits {
            connections: self.connections,
            connections_per_address: self.connections_per_address,
            preauth_connections: self.preauth_connections,
            preauth_connections_per_address: self.preauth_connections_per_address,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Bounds {
    limits: RwLock<ConnectionLimits>,
    admission: Arc<Admission>,
    inbound: Arc<Budget>,
    backlog: Arc<Budget>,
}

impl Bounds {
    /// Nothing is taken yet.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            admission: Admission::new(limits.of_admission()),
            inbound: Budget::new(limits.inbound_bytes_total),
            backlog: Budget::new(limits.backlog_bytes_total),
            limits: RwLock::new(limits),
        })
    }

    /// The limits of the moment: each connection asks once.
    pub fn limits(&self) -> ConnectionLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other limits from now on.
    pub fn set(&self, limits: ConnectionLimits) {
        self.admission.set(limits.of_admission());
        self.inbound.set_max(limits.inbound_bytes_total);
        self.backlog.set_max(limits.backlog_bytes_total);
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// The places.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Bytes of unfinished messages, and of large requests that the hub has not handled.
    pub fn inbound(&self) -> &Arc<Budget> {
        &self.inbound
    }

    /// Bytes that wait for peers, as far as counted.
    pub fn backlog(&self) -> &Arc<Budget> {
        &self.backlog
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::admission::Refusal;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        connections: 2,
        connections_per_address: 2,
        handshake: Duration::from_secs(1),
        preauth_connections: 2,
        preauth_connections_per_address: 2,
        preauth_bytes: 1,
        backlog_bytes: 1,
        inbound_bytes_total: 10,
        backlog_bytes_total: 10,
    };

    #[test]
    fn what_is_over_a_lowered_limit_stays_and_nothing_new_comes_until_there_is_room() {
        let bounds = Bounds::new(LIMITS);
        let (one, two) =
            (bounds.admission().admit(None).unwrap(), bounds.admission().admit(None).unwrap());
        let mut held = bounds.inbound().permit();
        assert!(held.resize(10));
        bounds.set(ConnectionLimits { connections: 1, inbound_bytes_total: 4, ..LIMITS });
        assert_eq!(bounds.admission().admit(None).err(), Some(Refusal::Connections));
        drop(one);
        assert_eq!(bounds.admission().admit(None).err(), Some(Refusal::Connections));
        drop(two);
        assert!(bounds.admission().admit(None).is_ok());
        let mut more = bounds.inbound().permit();
        assert!(!more.resize(1) && held.resize(3) && more.resize(1) && !more.resize(2));
        bounds.set(LIMITS);
        assert!(more.resize(7));
        assert_eq!((bounds.inbound().used(), bounds.limits().connections), (10, 2));
    }
}
