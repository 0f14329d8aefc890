//! A number of bytes shared by all connections, and permits on it.
//!
//! Owns one counter. Never waits: what does not fit is refused, and the caller decides what that
//! means. Called by connections (unfinished messages) and links (backlogs).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that all connections together may hold.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: AtomicUsize,
}

impl Budget {
    /// A budget of `max` bytes, all of them free.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max: max.into() })
    }

    /// Bytes held at the moment.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// So many bytes from now on; what is held stays held.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Whether nothing is left.
    pub fn is_spent(&self) -> bool {
        self.used() >= self.max.load(Ordering::Relaxed)
    }

    /// A permit on nothing yet.
    pub fn permit(self: &Arc<Self>) -> Permit {
        Permit { budget: Arc::clone(self), held: 0 }
    }

    fn try_take(&self, bytes: usize) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        self.used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= max)
            })
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes held of a [`Budget`]; given back on drop.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    held: usize,
}

impl Permit {
    /// Holds `bytes` from now on. False, and nothing changes, if the budget has not that much.
    #[must_use]
    pub fn resize(&mut self, bytes: usize) -> bool {
        if bytes > self.held {
            if !self.budget.try_take(bytes - self.held) {
                return false;
            }
        } else if bytes < self.held {
            self.budget.give_back(self.held - bytes);
        }
        self.held = bytes;
        true
    }

    /// Holds `bytes` from now on, even if the budget has not that much.
    pub fn overdraw(&mut self, bytes: usize) {
        if bytes > self.held {
            self.budget.used.fetch_add(bytes - self.held, Ordering::Relaxed);
            self.held = bytes;
        } else {
            // Giving back cannot be refused.
            let _given_back = self.resize(bytes);
        }
    }

    /// Whether the whole budget is held by someone.
    pub fn is_budget_spent(&self) -> bool {
        self.budget.is_spent()
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.held
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.held > 0 {
            self.budget.give_back(self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_never_exceed_the_budget_and_return_on_drop() {
        let budget = Budget::new(100);
        let mut first = budget.permit();
        let mut second = budget.permit();
        assert!(first.resize(60));
        assert!(!second.resize(41));
        assert_eq!((second.held(), budget.used()), (0, 60));
        assert!(first.resize(10) && second.resize(90));
        assert!(budget.is_spent());
        drop(second);
        assert_eq!(budget.used(), 10);
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
