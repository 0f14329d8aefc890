//! The writing side of one connection, bounded in bytes.
//!
//! Owns the socket, the queue of unsealed frames and the TLS state. Whoever has something for a
//! peer queues it and flushes: the bytes go straight into the socket, and what the kernel does
//! not take is finished by the flusher. Nobody ever waits for a peer here.
//! Does not read (but decrypts for the reader, as one TLS state serves both ways), and does not
//! know what is in the frames. Called by the connection's thread, fan-out and the flusher.
//!
//! Two locks, never held across a wait: the queue's (to push and to take, some nanoseconds) and
//! the writer's (sealing and system calls, some microseconds), taken in the order writer, queue.
//! So fan-out never waits for somebody's system call: if the writer is busy, its holder looks at
//! the queue again before it goes.

mod queue;
mod writer;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::Shutdown;
use rustls::ServerConfig;

use crate::base::close_reason::CloseReason;
use crate::base::ids::{ConnId, RequestId};
use crate::base::limits::{
    APPEND_BYTES_IN_PROGRESS_MAX, CLOSE_GRACE, FLUSH_BYTES_MAX, REQUESTS_IN_PROGRESS_MAX,
};
use crate::protocol::event::LogGap;
use crate::shell::admission::Slot;
use crate::shell::budget::Budget;
use crate::shell::clock;
use crate::shell::flusher::Flusher;
use crate::shell::metrics::Metrics;
use crate::wire::frame;

pub use queue::{Class, Outgoing, StateKind};
use queue::{Left, Pushed, Queue};
use writer::{Step, Writer};

/// What all links share.
#[derive(Debug)]
pub struct LinkSetup {
    /// Finishes what a kernel buffer did not take, and enforces the grace of closing links.
    pub flusher: Arc<Flusher>,
    /// Bytes that wait for all peers together.
    pub backlog_total: Arc<Budget>,
    /// Encodes a `log.gap` event as a whole frame.
    pub gap_frame: fn(LogGap) -> Bytes,
    /// What [`Link::heard`] counts from.
    pub epoch: Instant,
    /// Counts what is sent and what is dropped.
    pub metrics: Arc<Metrics>,
}

/// The writing side of one connection.
#[derive(Debug)]
pub struct Link {
    conn: ConnId,
    socket: OwnedFd,
    me: Weak<Self>,
    setup: Arc<LinkSetup>,
    slot: Slot,
    opened: Instant,
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
    /// Whether frames may be sent: before, a close is a mere end of the stream.
    is_upgraded: AtomicBool,
    is_closing: AtomicBool,
    /// Until when the peer has time, once the link is closing.
    grace_until: OnceLock<Instant>,
    heard_ms: AtomicU64,
    /// The connection's thread waits for us and does not read.
    is_deaf: AtomicBool,
    credits: Mutex<Credits>,
    credit_returned: Condvar,
}

#[derive(Debug, Default)]
struct Credits {
    in_progress: u32,
    /// Of those that count, see [`InProgress::bytes`].
    bytes: usize,
    /// As many, for their durations.
    requests: Vec<InProgress>,
    is_waiting: bool,
    is_closing: bool,
}

/// A request that was not answered yet.
#[derive(Clone, Debug)]
pub struct InProgress {
    /// Its id.
    pub id: RequestId,
    /// Its method's place in `protocol::methods::names`.
    pub method: usize,
    /// When it arrived.
    pub since: Instant,
    /// How long it is, if it counts against `APPEND_BYTES_IN_PROGRESS_MAX`; else 0.
    pub bytes: usize,
}

impl Credits {
    /// Whether a request of so many counted bytes may begin.
    fn allow(&self, bytes: usize) -> bool {
        let fits_alone = bytes == 0 || self.bytes == 0;
        self.in_progress < REQUESTS_IN_PROGRESS_MAX
            && (fits_alone || self.bytes + bytes <= APPEND_BYTES_IN_PROGRESS_MAX)
    }
}

/// How TLS stands after some bytes were decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsState {
    /// The handshake goes on.
    Handshaking,
    /// Data may come.
    Open,
    /// The peer said that no more comes.
    ClosedByPeer,
}

impl Link {
    /// A link over a connected, blocking stream socket, for whose peer so many bytes may wait.
    pub fn new(
        conn: ConnId,
        socket: OwnedFd,
        setup: Arc<LinkSetup>,
        slot: Slot,
        backlog_bytes_max: usize,
    ) -> Arc<Self> {
        let permit = setup.backlog_total.permit();
        let queue = Queue::new(backlog_bytes_max, setup.gap_frame, permit);
        let opened = clock::instant();
        let heard_ms = millis_since(setup.epoch, opened);
        Arc::new_cyclic(|me| Self {
            conn,
            socket,
            me: Weak::clone(me),
            setup,
            slot,
            opened,
            queue: Mutex::new(queue),
            writer: Mutex::default(),
            is_upgraded: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            grace_until: OnceLock::new(),
            heard_ms: AtomicU64::new(heard_ms),
            is_deaf: AtomicBool::new(false),
            credits: Mutex::default(),
            credit_returned: Condvar::new(),
        })
    }

    /// Whose link it is.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// When it came to be.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Queues a frame; never writes and never waits. Call [`Link::flush`] after a burst. Frames
    /// queued once the link is closing are dropped. A response or control frame over the limit
    /// closes the link as a slow consumer.
    pub fn queue(&self, frame: Outgoing) {
        match self.lock_queue().push(frame) {
            Pushed::Queued => return,
            Pushed::Dropped if self.is_closing() => return,
            Pushed::Dropped => return self.setup.metrics.events_dropped.add(1),
            Pushed::Overflow => {}
        }
        self.close(CloseReason::SlowConsumer);
    }

    /// Queues the answer to a WebSocket ping; under a backlog only some and the newest are kept.
    pub fn queue_pong(&self, payload: &[u8]) {
        let pong = frame::pong(payload);
        self.lock_queue().push_pong(pong);
    }

    /// Writes what is queued, as far as the kernel takes it at once; the flusher does the rest.
    /// If another thread is writing, it writes this too.
    pub fn flush(&self) {
        loop {
            let is_open = match self.writer.try_lock() {
                Ok(mut writer) => self.drain(&mut writer),
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(_)) => return self.abort(CloseReason::Bug),
            };
            // Somebody may have queued while the lock was held, and left it to us. The queue lock
            // orders this: whoever queues after this look finds the writer lock free.
            if !is_open || !self.lock_queue().has_work() {
                return;
            }
        }
    }

    /// Starts the end of the connection: what `reason` lets through is still sent, then the close
    /// frame, then the writing side is shut down; the peer has `CLOSE_GRACE` from now. The first
    /// call wins; false if the link was closing already.
    pub fn close(&self, reason: CloseReason) -> bool {
        let close_frame = if self.is_upgraded.load(Ordering::Acquire) {
            reason.code().map(|code| frame::close(code, &reason.text()))
        } else {
            None
        };
        if !self.lock_queue().close(reason, close_frame) {
            return false;
        }
        self.is_closing.store(true, Ordering::Release);
        self.lock_credits().is_closing = true;
        self.credit_returned.notify_all();
        let until = *self.grace_until.get_or_init(|| clock::instant() + CLOSE_GRACE);
        self.setup.flusher.end_at(until, self.conn, &self.me);
        self.flush();
        true
    }

    /// Why the link closes, once it does.
    pub fn closing(&self) -> Option<CloseReason> {
        if !self.is_closing() {
            return None;
        }
        self.lock_queue().closing().cloned()
    }

    /// Whether the link is closing. Costs one load.
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Notes that the peer was heard.
    pub fn heard(&self, at: Instant) {
        self.heard_ms.store(millis_since(self.setup.epoch, at), Ordering::Relaxed);
    }

    /// When the peer was last heard, to the millisecond. Now, while it is us who does not listen.
    pub fn last_heard(&self) -> Instant {
        if self.is_deaf.load(Ordering::Relaxed) {
            return clock::instant();
        }
        self.setup.epoch + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    /// Runs `wait`, in which the connection's thread waits for us and does not read: the silence
    /// meanwhile is not the peer's.
    pub fn without_reading<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.is_deaf.store(true, Ordering::Relaxed);
        let waited = wait();
        // The peer's silence counts from here.
        self.heard(clock::instant());
        self.is_deaf.store(false, Ordering::Relaxed);
        waited
    }

    /// Takes one of `REQUESTS_IN_PROGRESS_MAX` credits for a request that goes to the hub, and its
    /// share of `APPEND_BYTES_IN_PROGRESS_MAX`. While there is no room this blocks the connection's
    /// thread, so that the next request waits in its socket. False once the link is closing.
    pub fn begin_request(&self, request: InProgress) -> bool {
        let mut credits = self.lock_credits();
        if !credits.allow(request.bytes) && !credits.is_closing {
            drop(credits);
            // What this thread has queued (pongs, say) must not wait with it.
            self.flush();
            credits = self.without_reading(|| self.wait_for_credit(request.bytes));
        }
        if credits.is_closing {
            return false;
        }
        credits.in_progress += 1;
        credits.bytes += request.bytes;
        credits.requests.push(request);
        true
    }

    fn wait_for_credit(&self, bytes: usize) -> MutexGuard<'_, Credits> {
        let mut credits = self.lock_credits();
        while !credits.allow(bytes) && !credits.is_closing {
            credits.is_waiting = true;
            credits = self.credit_returned.wait(credits).unwrap_or_else(PoisonError::into_inner);
        }
        credits.is_waiting = false;
        credits
    }

    /// Returns a credit: the response to the request with this id is queued. Tells when that
    /// request began.
    pub fn end_request(&self, id: &RequestId) -> Option<InProgress> {
        let mut credits = self.lock_credits();
        credits.in_progress = credits.in_progress.saturating_sub(1);
        let place = credits.requests.iter().position(|request| request.id == *id);
        let ended = place.map(|place| credits.requests.swap_remove(place));
        credits.bytes -= ended.as_ref().map_or(0, |ended| ended.bytes);
        // Waking is a system call even if nobody waits.
        if credits.is_waiting {
            drop(credits);
            self.credit_returned.notify_one();
        }
        ended
    }

    /// Bytes that wait for this peer.
    pub fn queued_bytes(&self) -> usize {
        self.lock_queue().bytes()
    }

    /// Releases the place that the connection took among those not yet authenticated.
    pub fn authenticated(&self) {
        self.slot.authenticated();
    }

    /// The connection's place among all connections.
    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// The socket, for the reader.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket alone, where there was no thread for the connection.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Queues the answer to the upgrade; from here on frames may be sent.
    pub(crate) fn upgrade(&self, answer: Bytes) {
        self.queue(Outgoing { bytes: answer, class: Class::Reply });
        self.is_upgraded.store(true, Ordering::Release);
    }

    /// Makes everything from here on TLS. Call before anything was queued.
    pub(crate) fn start_tls(&self, config: &Arc<ServerConfig>) -> Result<(), rustls::Error> {
        self.lock_writer().start_tls(config)
    }

    /// Decrypts some of `cipher`, appending to `plain`, and advances past what was used. Little
    /// at a time, so that fan-out gets in between. Flush afterwards: TLS may have to answer.
    pub(crate) fn decrypt(
        &self,
        cipher: &mut &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<TlsState, rustls::Error> {
        let mut writer = self.lock_writer();
        let Some(tls) = writer.tls.as_mut() else { return Ok(TlsState::ClosedByPeer) };
        let failed = |_| rustls::Error::General("TLS buffer full".to_owned());
        let used = tls.read_tls(cipher).map_err(failed)?;
        let state = tls.process_new_packets()?;
        let arrived = state.plaintext_bytes_to_read();
        if arrived > 0 {
            plain.reserve(arrived);
            let mut reader = tls.reader();
            while let Ok(chunk @ [_, ..]) = std::io::BufRead::fill_buf(&mut reader) {
                plain.extend_from_slice(chunk);
                let used = chunk.len();
                std::io::BufRead::consume(&mut reader, used);
            }
        }
        Ok(if state.peer_has_closed() || used == 0 {
            TlsState::ClosedByPeer
        } else if tls.is_handshaking() {
            TlsState::Handshaking
        } else {
            TlsState::Open
        })
    }

    /// The socket takes bytes again. Called by the flusher.
    pub(crate) fn resume(&self) {
        match self.writer.lock() {
            Ok(mut writer) => writer.is_blocked = false,
            Err(_) => return self.abort(CloseReason::Bug),
        }
        self.flush();
    }

    /// Ends both directions now: the grace is over, or the state is not to be trusted. The reader
    /// wakes and ends the connection. A link that was closing keeps its reason.
    pub(crate) fn abort(&self, reason: CloseReason) {
        self.is_closing.store(true, Ordering::Release);
        {
            let mut queue = self.lock_queue();
            queue.close(reason, None);
            queue.clear();
        }
        self.lock_credits().is_closing = true;
        self.credit_returned.notify_all();
        // Fails only if the peer was faster.
        let _already_gone = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// The connection's thread ends: nothing is written any more, and its place is free. The
    /// descriptor goes with the last reference.
    pub(crate) fn retire(&self) {
        self.setup.flusher.forget(self.grace_until.get().copied(), self.conn);
        self.abort(CloseReason::Vanished);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        *writer = Writer::over();
        drop(writer);
        self.slot.release();
    }

    /// Writes until the queue is empty, the kernel is full, or it is the flusher's turn. Whether
    /// the caller may go on when more is queued.
    fn drain(&self, writer: &mut Writer) -> bool {
        if writer.is_blocked || writer.is_over {
            return false;
        }
        writer.written = 0;
        let mut left = Left::Frames;
        while !writer.is_ending {
            if writer.taken.is_empty() {
                let (frames_max, bytes_max) = writer.burst();
                left = self.lock_queue().take(&mut writer.taken, frames_max, bytes_max);
                writer.is_ending = left == Left::End;
                let messages = writer.taken.iter().filter(|taken| frame::is_text(taken)).count();
                if messages > 0 {
                    self.setup.metrics.messages_sent.add(self.conn, messages as u64);
                }
            }
            match writer.write(self.socket.as_fd()) {
                Step::Written if left != Left::Frames => break,
                Step::Written if writer.written < FLUSH_BYTES_MAX => {}
                Step::Written | Step::Blocked => return self.leave_to_flusher(writer),
                Step::Broken(error) => return self.broken(writer, error),
            }
        }
        if writer.is_ending {
            match writer.finish(self.socket.as_fd()) {
                Step::Written => {}
                Step::Blocked => return self.leave_to_flusher(writer),
                Step::Broken(error) => return self.broken(writer, error),
            }
        }
        !writer.is_over
    }

    fn leave_to_flusher(&self, writer: &mut Writer) -> bool {
        writer.is_blocked = true;
        if self
            .setup
            .flusher
            .resume_when_writable(self.socket.as_fd(), self.conn, &self.me)
            .is_err()
        {
            return self.broken(writer, Errno::NOMEM);
        }
        false
    }

    /// The socket takes nothing any more: wake the reader, which ends the connection.
    fn broken(&self, writer: &mut Writer, error: Errno) -> bool {
        writer.is_over = true;
        writer.taken.clear();
        let is_peer = matches!(error, Errno::PIPE | Errno::CONNRESET | Errno::TIMEDOUT);
        let reason = if is_peer { CloseReason::Vanished } else { CloseReason::SocketFailed };
        self.abort(reason);
        false
    }

    /// A panic under the queue lock would leave a queue that is whole, if not in order: its
    /// owner's panic closes the link anyway.
    fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_credits(&self) -> MutexGuard<'_, Credits> {
        self.credits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis_since(epoch: Instant, at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(epoch).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests;
