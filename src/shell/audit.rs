//! The audit file: one JSON object a line of who was let in, who was not, and what was decided.
//!
//! Whoever has something to record leaves it in a bounded queue; one thread writes. It never waits
//! for the file: a queue that is full, or a file that takes nothing, costs lines, which are counted,
//! told in the diagnostics and told in the file as soon as it takes lines again. Where the
//! configuration says so, nobody but the owner is let in until then ([`Audit::refuses`]).
//! Whoever can cause lines without end could fill the disk with them, so the file never takes the
//! last of it.
//! Called by the hub thread and connection threads (through `shell::refusals`), and by `app`.

mod file;
mod line;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::base::limits::{AUDIT_FINISH_GRACE, AUDIT_LINES_WAITING_MAX, AUDIT_RETRY};
use crate::hub::audit::AuditEvent;
use crate::shell::clock;

pub use file::{open, usable};

/// What is recorded, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSetup {
    /// `audit.logFile`
    pub file: PathBuf,
    /// `audit.events`: their [`bits`](crate::hub::audit::AuditKind::bit) together.
    pub events: u32,
    /// `audit.onFailure = "refuse"`
    pub refuses: bool,
}

/// The way to the thread that writes. The default records nothing.
#[derive(Clone, Debug, Default)]
pub struct Audit(Option<Handle>);

#[derive(Clone, Debug)]
struct Handle {
    orders: Sender<Order>,
    state: Arc<State>,
}

/// What is shared with the thread.
#[derive(Debug)]
struct State {
    events: AtomicU32,
    refuses: AtomicBool,
    /// Whether lines are being lost.
    failing: AtomicBool,
    /// Lines that were lost since the file last took one.
    lost: AtomicU64,
    /// All that were lost.
    lost_ever: AtomicU64,
}

impl State {
    /// One line fewer.
    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.lost_ever.fetch_add(1, Ordering::Relaxed);
        if !self.failing.swap(true, Ordering::Relaxed) {
            log::error!("Audit lines are being lost");
        }
    }
}

#[derive(Debug)]
enum Order {
    Record {
        event: Box<AuditEvent>,
        unix_ms: u64,
    },
    /// The file may have another name now.
    Reopen,
    /// Everything before this is to be written and synced; then the sender is dropped.
    Finish(Sender<()>),
}

impl Audit {
    /// Starts the thread, `audit`.
    ///
    /// # Errors
    /// The file cannot be opened and `refuses` is set, or there is no thread. Without `refuses`, a
    /// file that cannot be opened is reported, and tried again.
    pub fn start(setup: &AuditSetup) -> io::Result<Self> {
        let path = setup.file.clone();
        Self::start_with(setup, move || open(&path))
    }

    fn start_with<W: Sink>(
        setup: &AuditSetup,
        mut open: impl FnMut() -> io::Result<W> + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, inbox) = bounded(AUDIT_LINES_WAITING_MAX);
        let state = Arc::new(State {
            events: setup.events.into(),
            refuses: setup.refuses.into(),
            failing: false.into(),
            lost: 0.into(),
            lost_ever: 0.into(),
        });
        let file = match open() {
            Ok(file) if file.has_room() => Some(file),
            // Nobody is let in before it has, where that is asked for.
            Ok(_) => {
                log::error!(cause = file::no_room().to_string().as_str(); "Audit file takes no lines");
                state.failing.store(true, Ordering::Relaxed);
                None
            }
            Err(error) if setup.refuses => return Err(error),
            Err(error) => {
                log::error!(cause = error.to_string().as_str(); "Audit file cannot be opened");
                state.failing.store(true, Ordering::Relaxed);
                None
            }
        };
        let writer = Writer { open, file, state: Arc::clone(&state), is_torn: false };
        thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&inbox))?;
        Ok(Self(Some(Handle { orders, state })))
    }

    /// Records an event, if it is among those that are recorded. Waits for nothing.
    pub fn record(&self, event: AuditEvent) {
        let Some(Handle { orders, state }) = &self.0 else { return };
        if state.events.load(Ordering::Relaxed) & event.kind.bit() == 0 {
            return;
        }
        let order = Order::Record { event: Box::new(event), unix_ms: clock::moment().unix_ms };
        if orders.try_send(order).is_err() {
            state.lose();
        }
    }

    /// Whether nobody may be let in, because it could not be recorded.
    pub fn refuses(&self) -> bool {
        self.0.as_ref().is_some_and(|Handle { state, .. }| {
            state.refuses.load(Ordering::Relaxed) && state.failing.load(Ordering::Relaxed)
        })
    }

    /// Lines that could not be written since the start.
    pub fn lines_lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |handle| handle.state.lost_ever.load(Ordering::Relaxed))
    }

    /// Opens the file anew, after what was recorded so far: it may have been renamed.
    pub fn reopen(&self) {
        if let Some(Handle { orders, state }) = &self.0
            && orders.try_send(Order::Reopen).is_err()
        {
            // Lines wait behind a file that takes none; it is opened anew when it is tried again.
            state.failing.store(true, Ordering::Relaxed);
        }
    }

    /// Records these events from now on, and refuses or not.
    pub fn set(&self, events: u32, refuses: bool) {
        if let Some(Handle { state, .. }) = &self.0 {
            state.events.store(events, Ordering::Relaxed);
            state.refuses.store(refuses, Ordering::Relaxed);
        }
    }

    /// Waits until everything so far is written, no longer than `AUDIT_FINISH_GRACE`.
    pub fn finish(&self) {
        let Some(Handle { orders, .. }) = &self.0 else { return };
        let (written, done) = bounded(0);
        if orders.send_timeout(Order::Finish(written), AUDIT_FINISH_GRACE).is_ok() {
            // Either way there is nothing more to do; nothing is ever sent.
            let _nothing = done.recv_timeout(AUDIT_FINISH_GRACE);
        }
    }
}

/// What lines go to.
trait Sink: Write + Send + 'static {
    /// Whether a line may be added without taking what is left to others.
    fn has_room(&self) -> bool;

    /// Lets what was written survive a power cut.
    fn sync(&self) -> io::Result<()>;
}

impl Sink for std::fs::File {
    fn has_room(&self) -> bool {
        file::has_room(self)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The half that writes.
struct Writer<W, O> {
    open: O,
    /// `None` while it cannot be opened or takes nothing.
    file: Option<W>,
    state: Arc<State>,
    /// Whether the last line may have been cut.
    is_torn: bool,
}

impl<W: Sink, O: FnMut() -> io::Result<W>> Writer<W, O> {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut retry_at = clock::instant() + AUDIT_RETRY;
        loop {
            let order = match self.is_failing() {
                true => orders.recv_deadline(retry_at),
                false => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Record { event, unix_ms }) => self.record(&event, unix_ms),
                Ok(Order::Reopen) => {
                    self.file = None;
                    self.recover();
                }
                Ok(Order::Finish(written)) => {
                    self.recover();
                    if let Some(Err(error)) = self.file.as_ref().map(Sink::sync) {
                        self.failed(&error);
                    }
                    drop(written);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = clock::instant();
            if self.is_failing() && retry_at <= now {
                self.recover();
                retry_at = now + AUDIT_RETRY;
            }
        }
    }

    fn is_failing(&self) -> bool {
        self.file.is_none() || self.state.failing.load(Ordering::Relaxed)
    }

    fn record(&mut self, event: &AuditEvent, unix_ms: u64) {
        if self.file.is_none() || self.write(&line::event(event, unix_ms)).is_err() {
            self.state.lose();
        }
    }

    /// Tries the file again: opened anew if need be, and told how many lines it lacks.
    fn recover(&mut self) {
        if self.file.is_none() {
            match (self.open)() {
                Ok(file) if file.has_room() => self.file = Some(file),
                Ok(_) => return self.failed(&file::no_room()),
                Err(error) => return self.failed(&error),
            }
        }
        if !self.state.failing.load(Ordering::Relaxed) {
            return;
        }
        let lost = self.state.lost.load(Ordering::Relaxed);
        if lost > 0 && self.write(&line::lost(lost, clock::moment().unix_ms)).is_err() {
            return;
        }
        self.state.failing.store(false, Ordering::Relaxed);
        self.state.lost.fetch_sub(lost, Ordering::Relaxed);
        log::warn!(lines = lost; "Audit file takes lines again; so many are missing");
    }

    /// Writes one line, whole; after a failure the next one begins a line of its own.
    fn write(&mut self, line: &str) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if !file.has_room() {
            let error = file::no_room();
            self.failed(&error);
            return Err(error);
        }
        let torn = if self.is_torn { "\n" } else { "" };
        // In one piece, so that a line is there as a whole if the disk takes it.
        let written = file.write_all(format!("{torn}{line}").as_bytes());
        self.is_torn = written.is_err();
        if let Err(error) = &written {
            self.failed(error);
        }
        written
    }

    fn failed(&mut self, error: &io::Error) {
        self.file = None;
        if !self.state.failing.swap(true, Ordering::Relaxed) {
            log::error!(cause = error.to_string().as_str(); "Audit file takes no lines");
        }
    }
}

#[cfg(test)]
mod tests;
