//! The bytes that arrive for one connection: one read at a time, decrypted little by little.
//!
//! Owns the read buffers, which exist only between a wait and the next. Does not interpret what
//! it reads. Called by [`super::Connection`].

use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::base::close_reason::CloseReason;
use crate::base::limits::{READ_BYTES_MAX, READ_BYTES_MIN};
use crate::shell::clock;
use crate::shell::flusher::timespec;
use crate::shell::link::{Link, TlsState};

/// What a read brought.
pub(super) enum Received {
    /// Bytes; see [`Input::next_chunk`].
    Bytes,
    /// Nothing yet.
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

    /// Gives the buffers back and waits until the socket has something to read, or is over, or
    /// `deadline` has passed (false).
    pub(super) fn wait(&mut self, link: &Link, deadline: Option<Instant>) -> bool {
        self.raw = Vec::new();
        self.plain = Vec::new();
        let socket = link.socket();
        let mut fds = [PollFd::new(&socket, PollFlags::IN)];
        loop {
            let timeout = match deadline {
                None => None,
                Some(deadline) => {
                    let now = clock::instant();
                    if deadline <= now {
                        return false;
                    }
                    Some(timespec(deadline, now))
                }
            };
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                // Any error of the socket shows itself at the read.
                Ok(_) | Err(_) => return true,
            }
        }
    }

    /// Reads once. The buffer grows while reads fill it, and starts small again when they do not.
    pub(super) fn receive(&mut self, link: &Link) -> Received {
        self.raw.clear();
        self.used = 0;
        self.raw.reserve_exact(self.read_bytes);
        match rustix::io::read(link.socket(), spare_capacity(&mut self.raw)) {
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
            Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
            Err(Errno::CONNRESET | Errno::TIMEDOUT | Errno::PIPE) => {
                Received::End(CloseReason::Vanished)
            }
            Err(_) => Received::End(CloseReason::SocketFailed),
        }
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
