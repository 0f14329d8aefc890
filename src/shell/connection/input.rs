//! The bytes that arrive for one connection: one read at a time, decrypted little by little.
//!
//! Owns the read buffers, which exist only between a wait and the next. Does not interpret what
//! it reads. Called by [`super::Connection`].

use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::base::close_reason::CloseReason;
use crate::base::limits::{READ_BYTES_MAX, READ_BYTES_MIN};
use crate::shell::clock;
use crate::shell::flusher::timespec;
use crate::shell::link::{Link, TlsState};

/// What a read brought.
pub(super) enum Received {
    /// Bytes; see [`Input::next_chunk`].
    Bytes,
    /// Nothing until the deadline.
    Nothing,
    /// The stream is over.
    End(CloseReason),
}

/// The reading side's buffers.
pub(super) struct Input {
    /// As read; `used` of it are decrypted or moved to `plain`.
    raw: Vec<u8>,
    used: usize,
    /// The chunk at hand, in clear.
    pub(super) plain: Vec<u8>,
    read_bytes: usize,
    tls: Option<TlsState>,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { raw: Vec::new(), used: 0, plain: Vec::new(), read_bytes: READ_BYTES_MIN, tls: None }
    }

    pub(super) fn set_tls(&mut self) {
        self.tls = Some(TlsState::Handshaking);
    }

    pub(super) fn is_tls_open(&self) -> bool {
        self.tls == Some(TlsState::Open)
    }

    pub(super) fn first_byte(&self) -> Option<u8> {
        self.raw.first().copied()
    }

    /// Reads once, when something is there to read: waits for it, until `deadline` if there is
    /// one. No buffer is held meanwhile but one on the stack.
    ///
    /// Without a deadline that is one system call for what comes one at a time, and for a stream
    /// that keeps this thread busy. The buffer grows while reads fill it, and starts small again
    /// when they do not.
    pub(super) fn receive(&mut self, link: &Link, deadline: Option<Instant>) -> Received {
        self.raw = Vec::new();
        self.used = 0;
        self.plain = Vec::new();
        let socket = link.socket();
        loop {
            let received = match deadline {
                Some(deadline) if !is_readable_by(socket, deadline) => return Received::Nothing,
                Some(_) => self.receive_at_once(socket),
                None if self.read_bytes > READ_BYTES_MIN => self.receive_at_once(socket),
                None => self.receive_waiting(socket),
            };
            return match received {
                Ok(0) => Received::End(CloseReason::Vanished),
                Ok(read) => {
                    self.read_bytes = if read == self.read_bytes {
                        (read * 4).min(READ_BYTES_MAX)
                    } else if read < READ_BYTES_MIN {
                        READ_BYTES_MIN
                    } else {
                        self.read_bytes
                    };
                    Received::Bytes
                }
                Err(Errno::AGAIN) => {
                    self.raw = Vec::new();
                    self.read_bytes = READ_BYTES_MIN;
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::CONNRESET | Errno::TIMEDOUT | Errno::PIPE) => {
                    Received::End(CloseReason::Vanished)
                }
                Err(_) => Received::End(CloseReason::SocketFailed),
            };
        }
    }

    /// Reads what is there, or fails with `EAGAIN`.
    fn receive_at_once(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        self.raw.reserve_exact(self.read_bytes);
        recv(socket, spare_capacity(&mut self.raw), RecvFlags::DONTWAIT).map(|(read, _)| read)
    }

    /// Waits in the read itself, with a buffer that costs nothing: a page or two of the stack that
    /// the handshake has used.
    fn receive_waiting(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        let mut buffer = [const { MaybeUninit::uninit() }; READ_BYTES_MIN];
        let ((read, _), _) = recv(socket, &mut buffer, RecvFlags::empty())?;
        self.raw.extend_from_slice(read);
        Ok(read.len())
    }

    /// Puts the next of what was read into `plain`, in clear. False when there is no more; the
    /// error is how the stream ended.
    pub(super) fn next_chunk(&mut self, link: &Link) -> Result<bool, CloseReason> {
        self.plain.clear();
        let Some(state) = &mut self.tls else {
            if self.used > 0 || self.raw.is_empty() {
                return Ok(false);
            }
            self.used = self.raw.len();
            std::mem::swap(&mut self.raw, &mut self.plain);
            return Ok(true);
        };
        let mut cipher = self.raw.get(self.used..).unwrap_or_default();
        while !cipher.is_empty() {
            *state = match link.decrypt(&mut cipher, &mut self.plain) {
                Ok(state) => state,
                Err(_) => return Err(CloseReason::TlsFailed),
            };
            self.used = self.raw.len() - cipher.len();
            if !self.plain.is_empty() {
                return Ok(true);
            }
            if *state == TlsState::ClosedByPeer {
                return Err(CloseReason::Vanished);
            }
        }
        Ok(false)
    }

    /// Forgets what was read; how many bytes it was.
    pub(super) fn discard(&mut self) -> usize {
        let discarded = self.raw.len();
        self.raw.clear();
        discarded
    }
}

/// Waits until the socket has something to read, or is over, or `deadline` has passed (false).
fn is_readable_by(socket: BorrowedFd<'_>, deadline: Instant) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    loop {
        let now = clock::instant();
        if deadline <= now {
            return false;
        }
        match poll(&mut fds, Some(&timespec(deadline, now))) {
            Ok(0) | Err(Errno::INTR) => {}
            // Any error of the socket shows itself at the read.
            Ok(_) | Err(_) => return true,
        }
    }
}
