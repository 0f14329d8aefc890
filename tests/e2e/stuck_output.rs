//! Standard error that nobody reads: the gateway starts, serves and stops all the same.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::kit::{PATIENCE, TempDir, binary, eventually};

/// Killed on drop.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

/// A pipe without room, and its reading end, which must live as long.
fn full_pipe() -> (Stdio, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    for block in [4096, 1] {
        let full =
            std::iter::repeat_with(|| ours.write_all(&vec![b'x'; block])).find_map(Result::err);
        assert_eq!(full.unwrap().kind(), ErrorKind::WouldBlock);
    }
    ours.set_nonblocking(false).unwrap();
    (OwnedFd::from(ours).into(), theirs)
}

#[test]
fn gateway_starts_and_stops_with_a_standard_error_that_nobody_reads() {
    let dir = TempDir::new();
    let (stderr, _unread) = full_pipe();
    let mut command = binary();
    command.arg("--state-dir").arg(dir.path().join("state")).args(["--port", "0"]);
    command.args(["--log-level", "debug"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    let mut gateway = Killed(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(gateway.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let announcement: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(announcement["event"], "listening");

    let pid = Pid::from_raw(i32::try_from(gateway.0.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let status = eventually("the gateway ends", PATIENCE, || gateway.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn failed_start_ends_with_a_standard_error_that_nobody_reads() {
    let (stderr, _unread) = full_pipe();
    let mut command = binary();
    command.arg("--no-such-flag").stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let mut gateway = Killed(command.spawn().unwrap());
    let status = eventually("the program ends", PATIENCE, || gateway.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(2));
}
