//! Standard input as log entries, one for each line, for as long as it lasts.
//!
//! While no line comes, the connection is listened to, so that the gateway's pings are answered.
//! Lines that come together go in one request; each request has an idempotency key, and after a
//! lost connection it is sent again, so that every line is kept, once. Called by `report`.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use super::members::Members;
use crate::app::client::connection::{Connection, Heard};
use crate::app::client::failure::Failure;
use crate::app::client::login::Login;
use crate::app::client::target::Target;
use crate::base::limits::{
    CLIENT_BACKOFF_SECONDS, CLIENT_LINES_PER_REPORT_MAX, CLIENT_STDIN_BYTES_MAX,
};
use crate::shell::clock;

/// Reports every line of standard input; `entry` holds what all entries have in common.
pub(super) fn report(
    target: &Target,
    login: &Login,
    timeout: Duration,
    entry: &Members,
) -> Result<(), Failure> {
    let stdin = io::stdin();
    let mut input = Lines::open(stdin.as_fd())?;
    // Once in: a wrong address or credential shows before the first line is taken.
    let mut connection = Connection::open(target, login, timeout)?;
    while let Some(lines) = next(&mut input, &mut connection)? {
        let entries = lines.into_iter().map(|line| {
            let mut entry = entry.clone();
            let _no_key = entry.take("idempotencyKey");
            entry.text("message", &line);
            entry.encode()
        });
        let mut params = Members::entries(entries);
        params.text("idempotencyKey", &random_key()?);
        let mut failures = 0;
        while let Err(failure) = connection.ask("logs.append", &params) {
            connection = again(target, login, timeout, failure, &mut failures)?;
        }
    }
    connection.close();
    Ok(())
}

/// A connection after a failure that may pass; gives up on any other.
fn again(
    target: &Target,
    login: &Login,
    timeout: Duration,
    mut failure: Failure,
    failures: &mut usize,
) -> Result<Connection, Failure> {
    loop {
        let is_busy = matches!(&failure, Failure::Refused { error, .. } if error.retryable);
        if !failure.is_transient() && !is_busy {
            return Err(failure);
        }
        let last = CLIENT_BACKOFF_SECONDS.last().copied().unwrap_or_default();
        let wait = CLIENT_BACKOFF_SECONDS.get(*failures).copied().unwrap_or(last);
        *failures += 1;
        let why = failure.report("report");
        let why = why.lines().next().unwrap_or_default();
        let _closed = writeln!(io::stderr(), "{why}; trying again in {wait} s");
        let _woken = crossbeam_channel::after(Duration::from_secs(wait)).recv();
        match Connection::open(target, login, timeout) {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = error,
        }
    }
}

/// The next lines, or `None` at the end of the input.
fn next(
    input: &mut Lines<'_>,
    connection: &mut Connection,
) -> Result<Option<Vec<String>>, Failure> {
    loop {
        let lines = input.take();
        if !lines.is_empty() {
            return Ok(Some(lines));
        }
        if input.ended {
            return Ok(None);
        }
        let watched = connection.socket().wake_when_readable(input.fd);
        watched.map_err(|error| Failure::Local(format!("cannot watch stdin: {error}")))?;
        let heard = connection.hear(clock::instant() + Duration::from_secs(60));
        connection.socket().stop_watching();
        match heard {
            Ok(Heard::Event(_) | Heard::Response(_) | Heard::Nothing) => {}
            // A lost connection is noticed again, and mended, with the next line to report.
            Ok(Heard::Woken) | Err(Failure::Lost(_)) => input.read()?,
            Err(failure) => return Err(failure),
        }
    }
}

fn random_key() -> Result<String, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::Local(format!("no randomness for a key: {error}")))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What was read of standard input and not taken yet; at most one read more than
/// `CLIENT_STDIN_BYTES_MAX`.
struct Lines<'f> {
    fd: BorrowedFd<'f>,
    file: File,
    bytes: Vec<u8>,
    ended: bool,
}

impl<'f> Lines<'f> {
    fn open(fd: BorrowedFd<'f>) -> Result<Self, Failure> {
        let file = fd.try_clone_to_owned().map(File::from);
        let file = file.map_err(|error| Failure::Local(format!("cannot read stdin: {error}")))?;
        Ok(Self { fd, file, bytes: Vec::new(), ended: false })
    }

    /// Reads once, waiting if there is nothing.
    fn read(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; 16 * 1024];
        match self.file.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => self.bytes.extend(buffer.iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Local(format!("cannot read stdin: {error}"))),
        }
        Ok(())
    }

    fn take(&mut self) -> Vec<String> {
        take_lines(&mut self.bytes, self.ended)
    }
}

/// Takes whole lines, at most `CLIENT_LINES_PER_REPORT_MAX`, without their line ends and without
/// empty ones. A line longer than an entry may be is split between characters; the last one needs
/// no line end.
fn take_lines(bytes: &mut Vec<u8>, ended: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut taken = 0;
    while lines.len() < CLIENT_LINES_PER_REPORT_MAX {
        let rest = bytes.get(taken..).unwrap_or_default();
        let newline = rest.iter().take(CLIENT_STDIN_BYTES_MAX + 1).position(|byte| *byte == b'\n');
        let (length, end) = match newline {
            Some(at) => (at, 1),
            None if rest.len() > CLIENT_STDIN_BYTES_MAX => (boundary(rest), 0),
            None if ended && !rest.is_empty() => (rest.len(), 0),
            None => break,
        };
        let line = rest.get(..length).unwrap_or_default();
        let line = line.strip_suffix(b"\r").filter(|_| end == 1).unwrap_or(line);
        if !line.is_empty() {
            lines.push(lossy(line));
        }
        taken += length + end;
    }
    bytes.drain(..taken);
    lines
}

/// Where to cut what is too long: at the greatest size, or a little before, between characters.
fn boundary(rest: &[u8]) -> usize {
    let is_inside = |at: usize| rest.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let cut = CLIENT_STDIN_BYTES_MAX;
    (cut.saturating_sub(3)..=cut).rev().find(|at| !is_inside(*at)).unwrap_or(cut)
}

/// As text; bytes that are none become `?`, which is no longer than what it replaces.
fn lossy(line: &[u8]) -> String {
    match std::str::from_utf8(line) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(line).replace('\u{fffd}', "?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], ended: bool, lines: &[&str], left: &[u8]) {
        let mut bytes = input.to_vec();
        assert_eq!(take_lines(&mut bytes, ended), lines);
        assert_eq!(bytes, left);
    }

    #[test]
    fn whole_lines_are_taken_and_the_rest_waits() {
        check(b"one\ntwo\r\n\nthr", false, &["one", "two"], b"thr");
        check(b"one\nlast", true, &["one", "last"], b"");
        check(b"", true, &[], b"");
        check(b"bad \xff byte\n", false, &["bad ? byte"], b"");
    }

    #[test]
    fn long_lines_are_split_between_characters() {
        let mut bytes = "x".repeat(CLIENT_STDIN_BYTES_MAX - 1).into_bytes();
        bytes.extend("üz\n".bytes());
        let lines = take_lines(&mut bytes, false);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].len(), lines[1].as_str()), (CLIENT_STDIN_BYTES_MAX - 1, "üz"));
    }

    #[test]
    fn a_report_holds_so_many_lines_at_most() {
        let mut bytes = b"x\n".repeat(CLIENT_LINES_PER_REPORT_MAX + 1);
        assert_eq!(take_lines(&mut bytes, false).len(), CLIENT_LINES_PER_REPORT_MAX);
        assert_eq!(bytes, b"x\n");
    }
}
