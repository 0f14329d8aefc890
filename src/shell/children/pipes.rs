//! The ends of a child's pipes that are ours: never waited for, bounded in what one turn takes.
//!
//! Called by `child`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, ioctl_fionbio, read, write};

/// What one try brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many bytes.
    Some(usize),
    /// Nothing now; the kernel says when.
    Later,
    /// Nothing any more.
    End,
}

/// Makes our end return instead of wait. The other end stays as programs expect it.
pub(super) fn set_nonblocking(end: impl AsFd) -> io::Result<()> {
    Ok(ioctl_fionbio(end, true)?)
}

/// Reads once.
pub(super) fn read_some(end: &OwnedFd, into: &mut [u8]) -> Progress {
    progress(read(end, into))
}

/// What a child is to be told, and how much of it was.
#[derive(Debug)]
pub(super) struct Outgoing {
    end: OwnedFd,
    text: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// Nothing is sent yet.
    pub(super) fn new(end: OwnedFd, text: Vec<u8>) -> Self {
        Self { end, text, sent: 0 }
    }

    /// Where it goes.
    pub(super) fn end(&self) -> &OwnedFd {
        &self.end
    }

    /// Adds to the end of it.
    pub(super) fn push(&mut self, byte: u8) {
        self.text.push(byte);
    }

    /// Whether everything is sent.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.text.len()
    }

    /// Sends what the kernel takes. `End`: nobody reads it any more.
    pub(super) fn send(&mut self) -> Progress {
        let before = self.sent;
        while !self.is_sent() {
            match progress(write(&self.end, &self.text[self.sent..])) {
                Progress::Some(bytes) => self.sent += bytes,
                Progress::Later => break,
                Progress::End => return Progress::End,
            }
        }
        if self.is_sent() {
            (self.text, self.sent) = (Vec::new(), 0);
        }
        Progress::Some(self.sent.saturating_sub(before))
    }
}

fn progress(result: Result<usize, Errno>) -> Progress {
    match result {
        Ok(0) => Progress::End,
        Ok(bytes) => Progress::Some(bytes),
        Err(Errno::AGAIN | Errno::INTR) => Progress::Later,
        // Of a pipe or a socket: the other end is gone.
        Err(_) => Progress::End,
    }
}
