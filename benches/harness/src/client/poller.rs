//! Which connections have something to read: epoll, level-triggered.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::stop;

/// How long one wait lasts at most, so that Ctrl-C is noticed.
const WAIT_MAX: Duration = Duration::from_millis(200);
const EVENTS_MAX: usize = 1_024;

/// Sockets by index.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub(crate) fn new() -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("epoll_create")?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Watches a socket; dropping the socket ends that.
    pub(crate) fn add(&self, socket: impl AsFd, index: usize) -> Result<()> {
        let data = EventData::new_u64(index as u64);
        epoll::add(&self.epoll, socket, data, EventFlags::IN).context("epoll_ctl")
    }

    /// Watches it no longer.
    pub(crate) fn remove(&self, socket: impl AsFd) -> Result<()> {
        epoll::delete(&self.epoll, socket).context("epoll_ctl")
    }

    /// Whether to report also that the socket takes more.
    pub(crate) fn watch_writable(&self, socket: impl AsFd, index: usize, on: bool) -> Result<()> {
        let flags = if on { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        epoll::modify(&self.epoll, socket, EventData::new_u64(index as u64), flags)
            .context("epoll_ctl")
    }

    /// The indexes that are ready, perhaps none: it waits for `timeout`, or less.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<impl Iterator<Item = usize>> {
        stop::check()?;
        let timeout = timeout.min(WAIT_MAX);
        let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll_wait"),
        }
        Ok(self.events.iter().map(|event| usize::try_from(event.data.u64()).unwrap_or(usize::MAX)))
    }
}
