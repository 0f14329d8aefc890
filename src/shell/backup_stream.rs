//! A backup over the control socket: one answer without end, written as the database is read.
//!
//! `GET /backup` is answered with the bytes of `store::backup`, which say themselves whether they
//! are whole, so no length is announced. The database is read and written out by the connection's
//! own thread, from a snapshot: neither commits nor other peers wait for it. Owns the waiting for
//! the reader. Called by the owner's service; the port does not know this path.

use std::io::{self, ErrorKind, Write};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;

use crate::base::limits::{BACKUP_STALL_MAX, BACKUP_TIME_MAX};
use crate::shell::clock;
use crate::shell::store::SnapshotSource;
use crate::wire::http::HttpResponse;

/// Where the backup is.
pub const BACKUP_PATH: &str = "/backup";

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\
    Content-Type: application/octet-stream\r\nCache-Control: no-store\r\n\r\n";

/// Bytes that are collected before they are written.
const CHUNK_BYTES: usize = 64 * 1024;

/// Takes a snapshot and writes it to the socket, or why there is none.
pub(crate) fn answer(snapshots: &SnapshotSource, socket: BorrowedFd<'_>) {
    let now = clock::moment();
    let mut out = Patient { socket, deadline: now.at + BACKUP_TIME_MAX };
    let written = match snapshots.take() {
        Err(why) => out.write_all(&HttpResponse::text(503, &why).encode(false)),
        Ok(snapshot) => out.write_all(HEAD).and_then(|()| {
            let buffered = io::BufWriter::with_capacity(CHUNK_BYTES, &mut out);
            snapshot.write(buffered, now.unix_ms).map(drop).map_err(io::Error::other)
        }),
    };
    // The reader sees that the end is missing.
    if let Err(error) = written {
        log::warn!("a backup was not finished: {error}");
    }
}

/// A socket that waits for its reader, but not for ever.
struct Patient<'s> {
    socket: BorrowedFd<'s>,
    deadline: Instant,
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            match rustix::net::send(self.socket, bytes, flags) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => self.wait()?,
                done => return Ok(done?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Patient<'_> {
    fn wait(&self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(clock::instant()).min(BACKUP_STALL_MAX);
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds = [PollFd::from_borrowed_fd(self.socket, PollFlags::OUT)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => Err(ErrorKind::TimedOut.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
