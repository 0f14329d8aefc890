//! The kinds of load. Each drives one server for a given time and returns what it counted.

pub(crate) mod echo;
pub(crate) mod fanout;
pub(crate) mod flood;
pub(crate) mod given;
pub(crate) mod handshakes;
pub(crate) mod paced;
pub(crate) mod writer;

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::conn::{Conn, Scratch};
use crate::client::poller::Poller;

/// Reads and forgets whatever connections still have, until all were silent for `quiet`: ticks
/// and presence of the opening are then no part of the measurement.
pub(crate) fn settle(conns: &mut [Conn], quiet: Duration, longest: Duration) -> Result<()> {
    let mut poller = Poller::new()?;
    let mut scratch = Scratch::new();
    for (index, conn) in conns.iter().enumerate() {
        poller.add(conn, index)?;
    }
    let end = Instant::now() + longest;
    let mut last = Instant::now();
    while last.elapsed() < quiet && Instant::now() < end {
        let ready: Vec<_> = poller.wait(quiet)?.collect();
        for index in ready {
            let is_alive = conns[index].receive(&mut scratch, |_| last = Instant::now())?;
            anyhow::ensure!(is_alive, "connection {index} was closed by the server");
        }
    }
    Ok(())
}
