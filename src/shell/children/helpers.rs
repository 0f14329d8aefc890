//! A few threads for work that may wait for a disk or another process.
//!
//! They exist from the start on, because a machine that is out of threads must still be able to end
//! its children. One that is stuck stays so; whoever asked has a deadline of its own. Owns the queue
//! of what waits. Called by `reaper`.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use crate::base::limits::HELPER_WORK_MAX;

/// Something to do; what comes of it, it hands over itself.
pub(super) type Work = Box<dyn FnOnce() + Send>;

/// The way to the threads, which end when it is dropped and their work is done.
#[derive(Debug)]
pub(super) struct Helpers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Work>,
    is_closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Helpers {
    /// Starts the threads, all of one name.
    pub(super) fn start(name: &str, threads: usize) -> io::Result<Self> {
        let helpers = Self(Arc::default());
        for _ in 0..threads {
            let shared = Arc::clone(&helpers.0);
            Builder::new().name(name.to_owned()).spawn(move || shared.run())?;
        }
        Ok(helpers)
    }

    /// Leaves work to the next thread that is free. Never waits. Where too much is waiting already,
    /// which threads that are stuck lead to, it is dropped.
    pub(super) fn hand_over(&self, work: Work) {
        let mut queue = self.0.lock();
        if queue.waiting.len() < HELPER_WORK_MAX {
            queue.waiting.push_back(work);
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut queue = self.lock();
            let work = loop {
                match queue.waiting.pop_front() {
                    Some(work) => break work,
                    None if queue.is_closed => return,
                    None => {
                        queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(queue);
            work();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under this lock can be half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
