//! Child processes: starts them, reads what they write, signals them, reaps them, and ends what
//! they leave behind. Performs `ChildOrder`s and tells `ChildNews`; decides nothing.
//!
//! One thread, `reaper`, owns every child: it alone starts, signals and reaps, so that a number
//! that was reaped is never signalled. It must live as long as its children, because the kernel's
//! parent-death signal follows the thread that started a child. It waits in `epoll` and, when the
//! hub's inbox is full, for the hub; never for a disk or another process. What may wait for those
//! (looking for a program, for processes in `/proc`) is done by a few `helper` threads.
//!
//! Called by `app::server`; the hub thread sends the orders.

mod cgroup;
mod child;
mod find;
mod helpers;
mod instructions;
mod launch;
pub mod launcher;
mod orphans;
mod output;
mod pipes;
mod proc;
mod reaper;
mod search;
mod streams;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Sender, TrySendError, bounded};
use rustix::event::{EventfdFlags, eventfd};

use self::reaper::Reaper;
use crate::base::limits::{CHILD_ORDERS_MAX, FIND_ORDERS_MAX};
use crate::hub::child::{ChildNews, ChildOrder, NotFound};

/// Where the gateway's news of children go. May wait; an error means that nobody listens any more.
pub type Tell = Box<dyn FnMut(ChildNews) -> Result<(), Unheard> + Send>;

/// Nobody listens to the news any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unheard;

/// What every launch needs.
#[derive(Clone, Debug)]
pub struct ChildrenSetup {
    /// The binary that is the launcher when its argument is [`launcher::ARGUMENT`].
    pub launcher: PathBuf,
    /// Where children reach the gateway.
    pub gateway_url: String,
    /// The soft limit of open files that children get.
    pub open_files: Option<u64>,
    /// Whether to look for a control group of our own and give each child one below it.
    pub control_groups: bool,
}

impl ChildrenSetup {
    /// For children that are launched by this very binary, also after it was replaced on the disk.
    pub fn own(gateway_url: String, open_files: Option<u64>) -> Self {
        let launcher = PathBuf::from("/proc/self/exe");
        Self { launcher, gateway_url, open_files, control_groups: true }
    }
}

/// The hub thread's side. When it is dropped, every child that is left is killed.
#[derive(Debug)]
pub struct Children {
    orders: Option<Sender<Box<ChildOrder>>>,
    wake: Arc<OwnedFd>,
}

/// Why an order was not taken.
#[derive(Debug)]
pub enum NotTaken {
    /// Too many wait to be found; the answer to this one's `Resolve`.
    Busy(ChildNews),
    /// The orders that wait are as many as there may ever be.
    Full,
}

/// The running thread.
#[derive(Debug)]
pub struct ChildrenThread(JoinHandle<()>);

/// Starts the threads. `broken` is called after a panic, which the panic hook has reported: the
/// children die with the thread, and nothing more is told of them.
pub fn start(
    setup: ChildrenSetup,
    tell: Tell,
    broken: impl FnOnce() + Send + 'static,
) -> io::Result<(Children, ChildrenThread)> {
    let (orders, ordered) = bounded(CHILD_ORDERS_MAX);
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let reaper = Reaper::new(setup, tell, ordered, Arc::clone(&wake))?;
    let thread = Builder::new().name("reaper".to_owned()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(|| reaper.run())).is_err() {
            broken();
        }
    })?;
    Ok((Children { orders: Some(orders), wake }, ChildrenThread(thread)))
}

impl Children {
    /// Hands over an order. Never waits.
    pub fn order(&self, order: Box<ChildOrder>) -> Result<(), NotTaken> {
        let Some(orders) = &self.orders else { return Ok(()) };
        // Other orders are bounded by the places there are, so there is always room for them.
        if let ChildOrder::Resolve(asked) = &*order
            && orders.len() >= FIND_ORDERS_MAX
        {
            let problem = "the gateway is busy starting programs".to_owned();
            let outcome = Err(NotFound::CannotStart(problem));
            let spawn = asked.spawn.clone();
            return Err(NotTaken::Busy(ChildNews::Resolved { spawn, outcome }));
        }
        match orders.try_send(order) {
            Ok(()) => wake_up(&self.wake),
            Err(TrySendError::Full(_)) => return Err(NotTaken::Full),
            // The thread has panicked, and the process is about to end.
            Err(TrySendError::Disconnected(_)) => {}
        }
        Ok(())
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.orders = None;
        wake_up(&self.wake);
    }
}

impl ChildrenThread {
    /// Waits until the last child is reaped, or given up. Bounded by `CHILDREN_END_GRACE`, once
    /// [`Children`] is dropped.
    pub fn join(self) {
        // Its panic has been reported by the panic hook.
        let _reported = self.0.join();
    }
}

fn wake_up(wake: &OwnedFd) {
    // Full means that it is awake already.
    let _awake = rustix::io::write(wake, &1_u64.to_ne_bytes());
}

/// A sentence for an operator: what failed and why.
fn sentence(what: impl fmt::Display) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// A variable of this process.
fn own_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
