//! The live connections, so that a stopping process can reach and await all of them.
//!
//! Owns one table, touched when a connection's thread starts and ends and never in between.
//! Does not close anything by itself. Called by the listener and by whoever stops the process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::base::close_reason::CloseReason;
use crate::base::ids::ConnId;
use crate::shell::clock;
use crate::shell::link::Link;

/// The table. Bounded by the limit on connections.
#[derive(Debug, Default)]
pub struct Registry {
    links: Mutex<HashMap<ConnId, Arc<Link>>>,
    emptied: Condvar,
    /// The number of the newest connection.
    last_conn: AtomicU64,
}

/// A connection's entry; removed on drop.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    conn: ConnId,
}

impl Registry {
    /// An empty table.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A name for a new connection, whichever socket it comes from.
    pub fn new_conn(&self) -> ConnId {
        ConnId(self.last_conn.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// How many connections got a name so far.
    pub fn accepted(&self) -> u64 {
        self.last_conn.load(Ordering::Relaxed)
    }

    /// Bytes that wait for all live connections: one short lock after the other.
    pub fn queued_bytes(&self) -> usize {
        self.lock().values().map(|link| link.queued_bytes()).sum()
    }

    /// Enters a link for as long as the registration lives.
    pub fn enter(self: &Arc<Self>, link: &Arc<Link>) -> Registration {
        self.lock().insert(link.conn(), Arc::clone(link));
        Registration { registry: Arc::clone(self), conn: link.conn() }
    }

    /// The link of a live connection.
    pub fn get(&self, conn: ConnId) -> Option<Arc<Link>> {
        self.lock().get(&conn).cloned()
    }

    /// Connections whose thread lives.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no connection's thread lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes every connection that is not closing already.
    pub fn close_all(&self, reason: &CloseReason) {
        // Not under the lock: closing writes.
        let links: Vec<Arc<Link>> = self.lock().values().map(Arc::clone).collect();
        for link in links {
            link.close(reason.clone());
        }
    }

    /// Waits until every connection's thread has ended, at most until `deadline`. False if some
    /// have not.
    pub fn join_all(&self, deadline: Instant) -> bool {
        let mut links = self.lock();
        while !links.is_empty() {
            let left = deadline.saturating_duration_since(clock::instant());
            if left.is_zero() {
                return false;
            }
            links = match self.emptied.wait_timeout(links, left) {
                Ok((links, _)) => links,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnId, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut links = self.registry.lock();
        let link = links.remove(&self.conn);
        let is_empty = links.is_empty();
        drop(links);
        if is_empty {
            self.registry.emptied.notify_all();
        }
        drop(link);
    }
}
