//! One thread that finishes, for all links, what a kernel buffer did not take, and ends the
//! connections whose grace is over.
//!
//! Owns an epoll instance (writable, one-shot) and the deadlines of closing links. Holds links
//! weakly: it keeps none alive. Bounded by the number of links, as each is at most once in either
//! table. Does not read and does not decide why a link closes. Called by [`super::link::Link`].

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;

use crate::base::close_reason::CloseReason;
use crate::base::ids::ConnId;
use crate::shell::clock;
use crate::shell::link::Link;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 256;

/// The epoll token of the wake-up descriptor; connection numbers never reach it.
const WAKE: u64 = u64::MAX;

/// What links ask of the thread.
#[derive(Debug)]
pub struct Flusher {
    epoll: OwnedFd,
    wake: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    blocked: HashMap<ConnId, Weak<Link>>,
    graces: BTreeMap<(Instant, ConnId), Weak<Link>>,
    /// Until when the thread sleeps; `None` is for ever.
    sleeps_until: Option<Instant>,
    is_stopping: bool,
}

/// The running thread; stopped and joined on drop.
#[derive(Debug)]
pub struct FlusherThread {
    flusher: Arc<Flusher>,
    thread: Option<JoinHandle<()>>,
}

impl FlusherThread {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let flusher = Arc::new(Flusher { epoll, wake, state: Mutex::default() });
        let runner = Arc::clone(&flusher);
        let thread =
            thread::Builder::new().name("flusher".to_owned()).spawn(move || runner.run())?;
        Ok(Self { flusher, thread: Some(thread) })
    }

    /// The side that links need.
    pub fn handle(&self) -> Arc<Flusher> {
        Arc::clone(&self.flusher)
    }
}

impl Drop for FlusherThread {
    fn drop(&mut self) {
        self.flusher.lock().is_stopping = true;
        self.flusher.wake();
        if let Some(thread) = self.thread.take() {
            // Its panic has been reported by the panic hook.
            let _reported = thread.join();
        }
    }
}

impl Flusher {
    /// Calls [`Link::resume`] once the socket takes bytes, or is broken.
    pub(crate) fn resume_when_writable(
        &self,
        socket: BorrowedFd<'_>,
        conn: ConnId,
        link: &Weak<Link>,
    ) -> Result<(), Errno> {
        self.lock().blocked.insert(conn, Weak::clone(link));
        let data = epoll::EventData::new_u64(conn.0);
        let flags = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
        match epoll::modify(&self.epoll, socket, data, flags) {
            Err(Errno::NOENT) => epoll::add(&self.epoll, socket, data, flags),
            other => other,
        }
    }

    /// Ends the link at this moment, unless it is forgotten before.
    pub(crate) fn end_at(&self, until: Instant, conn: ConnId, link: &Weak<Link>) {
        let mut state = self.lock();
        state.graces.insert((until, conn), Weak::clone(link));
        if state.sleeps_until.is_none_or(|sleeps_until| until < sleeps_until) {
            state.sleeps_until = Some(until);
            drop(state);
            self.wake();
        }
    }

    /// The link has ended: neither of the above happens any more.
    pub(crate) fn forget(&self, until: Option<Instant>, conn: ConnId) {
        let mut state = self.lock();
        state.blocked.remove(&conn);
        if let Some(until) = until {
            state.graces.remove(&(until, conn));
        }
    }

    fn run(&self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            let timeout = {
                let mut state = self.lock();
                if state.is_stopping {
                    return;
                }
                state.sleeps_until = state.graces.keys().next().map(|(until, _)| *until);
                state.sleeps_until.map(|until| timespec(until, clock::instant()))
            };
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                // The descriptor is ours and the arguments are constant.
                Err(error) => unreachable!("epoll_wait failed: {error}"),
            }
            for event in &events {
                let token = event.data;
                match token.u64() {
                    WAKE => self.drain_wake(),
                    conn => self.resume(ConnId(conn)),
                }
            }
            self.end_expired(clock::instant());
        }
    }

    fn resume(&self, conn: ConnId) {
        let link = self.lock().blocked.remove(&conn);
        if let Some(link) = link.and_then(|link| link.upgrade()) {
            link.resume();
        }
    }

    fn end_expired(&self, now: Instant) {
        loop {
            let expired = {
                let mut state = self.lock();
                match state.graces.first_entry() {
                    Some(entry) if entry.key().0 <= now => entry.remove(),
                    _ => return,
                }
            };
            if let Some(link) = expired.upgrade() {
                link.abort(CloseReason::SocketFailed);
            }
        }
    }

    fn wake(&self) {
        // Full means that it is awake already.
        let _awake = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn drain_wake(&self) {
        let mut count = [0; 8];
        let _counted = rustix::io::read(self.wake.as_fd(), &mut count);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can be half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time from `now` to `until`, not negative. The kernel rounds up.
pub(crate) fn timespec(until: Instant, now: Instant) -> Timespec {
    let left = until.saturating_duration_since(now);
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    }
}
