//! The calling side of a connection: a socket to a gateway that never waits without a deadline.
//!
//! Owns the socket and its waiting; knows nothing of TLS, WebSocket or what is said. The socket is
//! non-blocking and waits in `poll(2)`, so that a deadline holds for a peer that sends one byte a
//! second, and so that the caller can be woken by a second descriptor.
//! Called by the command-line client.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::shell::clock;

/// A stream socket with a deadline for whatever it is asked to do next.
///
/// A read that would wait past the deadline fails with `TimedOut`; one that the watched descriptor
/// ended fails with `WouldBlock`. Neither loses anything.
#[derive(Debug)]
pub struct Socket {
    inner: Inner,
    deadline: Instant,
    watch: Option<(OwnedFd, PollFlags)>,
}

#[derive(Debug)]
enum Inner {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to the first address of this host that answers before the deadline. Looking the
    /// name up is the system's affair and takes its own time.
    pub fn connect_tcp(host: &str, port: u16, deadline: Instant) -> io::Result<Self> {
        let mut failure = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for address in (host, port).to_socket_addrs()? {
            let left = deadline.saturating_duration_since(clock::instant());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    socket.set_nonblocking(true)?;
                    return Ok(Self { inner: Inner::Tcp(socket), deadline, watch: None });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Connects to a socket in the file system.
    pub fn connect_unix(path: &Path, deadline: Instant) -> io::Result<Self> {
        let socket = match UnixStream::connect(path) {
            // Longer than `sun_path` takes (108 bytes): by way of the open directory, as the
            // gateway listens there.
            Err(error) if error.kind() == ErrorKind::InvalidInput => through_directory(path)?,
            connected => connected?,
        };
        socket.set_nonblocking(true)?;
        Ok(Self { inner: Inner::Unix(socket), deadline, watch: None })
    }

    /// Until when reads and writes from now on may wait.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// From now on a read that waits also ends when this descriptor can be read.
    pub fn wake_when_readable(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.watch = Some((fd.try_clone_to_owned()?, PollFlags::IN));
        Ok(())
    }

    /// From now on a read that waits also ends when nobody reads what is written here.
    pub fn wake_when_unread(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // Errors and hang-ups are reported without being asked for.
        self.watch = Some((fd.try_clone_to_owned()?, PollFlags::empty()));
        Ok(())
    }

    /// Reads no longer end for the sake of another descriptor.
    pub fn stop_watching(&mut self) {
        self.watch = None;
    }

    /// Waits for the socket, or, when reading, for the watched descriptor.
    fn wait(&self, wanted: PollFlags) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(clock::instant());
        let timeout = timespec(left)?;
        let fd = match &self.inner {
            Inner::Tcp(socket) => socket.as_fd(),
            Inner::Unix(socket) => socket.as_fd(),
        };
        let own = PollFd::from_borrowed_fd(fd, wanted);
        let reading = wanted.contains(PollFlags::IN);
        let mut fds = vec![own];
        if let Some((watched, flags)) = self.watch.as_ref().filter(|_| reading) {
            fds.push(PollFd::new(watched, *flags));
        }
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => Err(ErrorKind::TimedOut.into()),
            Ok(_) if fds.first().is_some_and(|own| own.revents().is_empty()) => {
                Err(ErrorKind::WouldBlock.into())
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn through_directory(path: &Path) -> io::Result<UnixStream> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    let directory = File::open(parent)?;
    let by_descriptor = format!("/proc/self/fd/{}", directory.as_raw_fd());
    UnixStream::connect(Path::new(&by_descriptor).join(name))
}

/// `TimedOut` for no time at all: then there is nothing to wait for.
fn timespec(left: Duration) -> io::Result<Timespec> {
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Timespec::try_from(left).map_err(|_| io::Error::from(ErrorKind::InvalidInput))
}

/// Tries, waits, and tries again until it works or the wait ends otherwise.
macro_rules! patiently {
    ($socket:expr, $flags:expr, $stream:ident => $try:expr) => {
        loop {
            let tried = match &mut $socket.inner {
                Inner::Tcp($stream) => $try,
                Inner::Unix($stream) => $try,
            };
            match tried {
                Err(error) if error.kind() == ErrorKind::WouldBlock => $socket.wait($flags)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    };
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        patiently!(self, PollFlags::IN, stream => stream.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        patiently!(self, PollFlags::OUT, stream => stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What was written still arrives; a failure means that the peer is gone already.
        let _gone = match &self.inner {
            Inner::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Inner::Unix(socket) => socket.shutdown(Shutdown::Write),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn soon(ms: u64) -> Instant {
        clock::instant() + Duration::from_millis(ms)
    }

    fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = Socket::connect_tcp("127.0.0.1", port, soon(20_000)).unwrap();
        (socket, listener.accept().unwrap().0)
    }

    #[test]
    fn a_read_ends_at_its_deadline_and_loses_nothing() {
        let (mut socket, mut peer) = pair();
        let mut buffer = [0; 8];
        socket.set_deadline(soon(10));
        assert_eq!(socket.read(&mut buffer).unwrap_err().kind(), ErrorKind::TimedOut);
        peer.write_all(b"late").unwrap();
        socket.set_deadline(soon(20_000));
        assert_eq!(socket.read(&mut buffer).unwrap(), 4);
    }

    #[test]
    fn a_write_that_nobody_takes_ends_at_its_deadline() {
        let (mut socket, _peer) = pair();
        socket.set_deadline(soon(200));
        let chunk = [0; 64 * 1024];
        let error = (0..1_000).find_map(|_| socket.write_all(&chunk).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_watched_descriptor_wakes_a_read() {
        let (mut socket, _peer) = pair();
        let (mut writer, reader) = UnixStream::pair().unwrap();
        socket.wake_when_readable(reader.as_fd()).unwrap();
        writer.write_all(b"x").unwrap();
        socket.set_deadline(soon(20_000));
        let error = socket.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_reader_that_went_away_wakes_a_read() {
        let (mut socket, _peer) = pair();
        let (reader, writer) = io::pipe().unwrap();
        socket.wake_when_unread(writer.as_fd()).unwrap();
        drop(reader);
        socket.set_deadline(soon(20_000));
        let error = socket.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}
