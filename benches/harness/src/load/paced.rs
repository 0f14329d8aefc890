//! Round trips of one connection at a fixed pace: an open loop.
//!
//! Each request has an intended moment. A request that could not be sent then because the one
//! before it was still unanswered is counted from its intended moment, so a stall shows in all
//! the requests that it delayed. One that was late because the generator itself woke up late is
//! counted from when it was sent: that delay is not the server's.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::client::conn::{Conn, Scratch};
use crate::client::opening::is_response;
use crate::stats::Latencies;
use crate::stop;

/// Sends `request` every `interval` for `time`, and measures until its answer.
pub(crate) fn run(
    conn: &mut Conn,
    request: &[u8],
    interval: Duration,
    time: Duration,
) -> Result<Latencies> {
    let mut scratch = Scratch::new();
    let mut latencies = Latencies::default();
    let start = Instant::now();
    let mut intended = start;
    while intended.duration_since(start) < time {
        stop::check()?;
        let was_stalled = Instant::now() > intended + interval;
        wait_until(conn, &mut scratch, intended)?;
        let from = if was_stalled { intended } else { Instant::now() };
        conn.send(request)?;
        let mut answered = false;
        while !answered {
            wait(conn, None)?;
            let is_alive = conn.receive(&mut scratch, |text| answered |= is_response(text))?;
            ensure!(is_alive, "closed by the server");
        }
        latencies.push(from.elapsed());
        intended += interval;
    }
    Ok(latencies)
}

/// Waits for a moment, reading what comes meanwhile.
fn wait_until(conn: &mut Conn, scratch: &mut Scratch, moment: Instant) -> Result<()> {
    loop {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        if wait(conn, Some(left))? {
            ensure!(conn.receive(scratch, |_| {})?, "closed by the server");
        }
    }
}

/// Whether something can be read; at most a second passes.
fn wait(conn: &Conn, longest: Option<Duration>) -> Result<bool> {
    let longest = longest.unwrap_or(Duration::from_millis(999)).min(Duration::from_millis(999));
    let timeout = Timespec { tv_sec: 0, tv_nsec: longest.subsec_nanos().into() };
    let mut fds = [PollFd::new(conn, PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
