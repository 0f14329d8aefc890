//! What was taken from a link's queue, and the way from there into the socket: directly, or
//! sealed by TLS.
//!
//! Owns the frames that can no longer be dropped or overtaken, the TLS state and the end of the
//! writing side. Never waits: a full socket is an answer. Does not decide what is sent.
//! Called by [`super::Link`] under its writer lock.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown};
use rustls::{ServerConfig, ServerConnection};

use crate::base::limits::{SEAL_BYTES_MAX, WRITE_FRAMES_MAX};

/// Room kept when nothing waits.
const FRAMES_KEPT: usize = 4;

/// How a step of writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Everything taken is in the kernel.
    Written,
    /// The kernel takes no more for now.
    Blocked,
    /// The socket is broken; the error says whether by the peer.
    Broken(Errno),
}

/// The writing side's state under the writer lock.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) tls: Option<Box<ServerConnection>>,
    /// Frames on their way, the first of them from `offset` on.
    pub(super) taken: VecDeque<Bytes>,
    offset: usize,
    /// The flusher waits for the socket.
    pub(super) is_blocked: bool,
    /// Nothing is taken any more; after the last byte the writing side ends.
    pub(super) is_ending: bool,
    /// Nothing can be written any more: shut down, or broken.
    pub(super) is_over: bool,
    /// Bytes handed to the kernel since the caller last set it to 0.
    pub(super) written: usize,
}

impl Writer {
    /// A writer that writes nothing any more.
    pub(super) fn over() -> Self {
        Self { is_over: true, ..Self::default() }
    }

    /// Makes everything from here on TLS.
    pub(super) fn start_tls(&mut self, config: &Arc<ServerConfig>) -> Result<(), rustls::Error> {
        self.tls = Some(Box::new(ServerConnection::new(Arc::clone(config))?));
        Ok(())
    }

    /// How many frames and bytes to take from the queue at once.
    pub(super) fn burst(&self) -> (usize, usize) {
        let bytes =
            if self.tls.is_some() { SEAL_BYTES_MAX } else { crate::base::limits::WRITE_BYTES_MAX };
        (WRITE_FRAMES_MAX, bytes)
    }

    /// Writes what was taken, and what TLS itself has to say.
    pub(super) fn write(&mut self, socket: BorrowedFd<'_>) -> Step {
        let step = match self.tls.take() {
            None => self.write_plain(socket),
            Some(mut tls) => {
                let step = self.write_sealed(&mut tls, socket);
                self.tls = Some(tls);
                step
            }
        };
        if self.taken.is_empty() {
            self.taken.shrink_to(FRAMES_KEPT);
        }
        step
    }

    /// Ends the writing side after the last byte: `close_notify`, then FIN.
    pub(super) fn finish(&mut self, socket: BorrowedFd<'_>) -> Step {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        let step = self.write(socket);
        if step == Step::Written {
            self.is_over = true;
            // Only an end that came from elsewhere makes this fail.
            let _already_gone = rustix::net::shutdown(socket, Shutdown::Write);
        }
        step
    }

    fn write_plain(&mut self, socket: BorrowedFd<'_>) -> Step {
        while !self.taken.is_empty() {
            let sent = if self.taken.len() == 1 {
                send(socket, self.taken[0].get(self.offset..).unwrap_or_default())
            } else {
                let mut slices = [IoSlice::new(&[]); WRITE_FRAMES_MAX];
                let count = self.slices(&mut slices, usize::MAX);
                send_vectored(socket, &slices[..count])
            };
            match sent {
                Ok(sent) => self.advance(sent),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Step::Blocked,
                Err(error) => return Step::Broken(error),
            }
        }
        Step::Written
    }

    fn write_sealed(&mut self, tls: &mut ServerConnection, socket: BorrowedFd<'_>) -> Step {
        loop {
            while tls.wants_write() {
                let mut sink = SocketSink { socket, written: &mut self.written };
                match tls.write_tls(&mut sink) {
                    Ok(_) => {}
                    Err(error) => match Errno::from_io_error(&error) {
                        Some(Errno::INTR) => {}
                        Some(Errno::AGAIN) => return Step::Blocked,
                        other => return Step::Broken(other.unwrap_or(Errno::IO)),
                    },
                }
            }
            if self.taken.is_empty() {
                return Step::Written;
            }
            // Only now, with nothing sealed pending: what is sealed can no longer be overtaken,
            // and rustls' own buffer limit would cut a frame in half.
            let mut slices = [IoSlice::new(&[]); WRITE_FRAMES_MAX];
            let count = self.slices(&mut slices, SEAL_BYTES_MAX);
            match tls.writer().write_vectored(&slices[..count]) {
                Ok(0) | Err(_) => return Step::Broken(Errno::IO),
                Ok(sealed) => self.skip(sealed),
            }
        }
    }

    /// Points `slices` at the next bytes, at most `bytes_max`; returns how many are used.
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>], bytes_max: usize) -> usize {
        let mut offset = self.offset;
        let mut room = bytes_max;
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.taken) {
            if room == 0 {
                break;
            }
            let rest = frame.get(offset..).unwrap_or_default();
            let part = rest.get(..room).unwrap_or(rest);
            *slice = IoSlice::new(part);
            room -= part.len();
            offset = 0;
            count += 1;
        }
        count
    }

    fn advance(&mut self, sent: usize) {
        self.written += sent;
        self.skip(sent);
    }

    /// Forgets the next `bytes` bytes.
    fn skip(&mut self, bytes: usize) {
        self.offset += bytes;
        while let Some(first) = self.taken.front() {
            if self.offset < first.len() {
                return;
            }
            self.offset -= first.len();
            self.taken.pop_front();
        }
    }
}

/// The socket as rustls writes to it. `MSG_NOSIGNAL`, so that a peer that is gone is an error
/// here also in a process that does not ignore SIGPIPE.
struct SocketSink<'a> {
    socket: BorrowedFd<'a>,
    written: &'a mut usize,
}

impl Write for SocketSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = send(self.socket, bytes)?;
        *self.written += sent;
        Ok(sent)
    }
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = match slices {
            [single] => send(self.socket, single)?,
            slices => send_vectored(self.socket, slices)?,
        };
        *self.written += sent;
        Ok(sent)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How everything is sent. The socket itself is blocking, for its reader; nobody ever waits to
/// write.
const AT_ONCE: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    rustix::net::send(socket.as_fd(), bytes, AT_ONCE)
}

fn send_vectored(socket: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let mut nothing = SendAncillaryBuffer::default();
    rustix::net::sendmsg(socket.as_fd(), slices, &mut nothing, AT_ONCE)
}
