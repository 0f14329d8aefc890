//! Full handshakes as fast as they go: a closed loop of `at_once` connections that each begin
//! again as soon as the hello is there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::client::conn::Scratch;
use crate::client::frames;
use crate::client::opening::{Identity, Opening};
use crate::client::poller::Poller;
use crate::target::Target;

/// What was counted.
pub(crate) struct Shaken {
    pub(crate) handshakes: u64,
    /// How many of them took up an earlier TLS session.
    pub(crate) resumed: u64,
    pub(crate) time: Duration,
}

/// Shakes hands for this long. `identity` says who comes in which slot, and for which time there.
pub(crate) fn run(
    target: &Target,
    at_once: usize,
    time: Duration,
    mut identity: impl FnMut(usize) -> Identity,
) -> Result<Shaken> {
    let mut poller = Poller::new()?;
    let mut scratch = Scratch::new();
    let close = frames::frame(frames::CLOSE, &1000_u16.to_be_bytes());
    let mut number = 0;
    let mut slots: Vec<(Opening, Identity)> = Vec::new();
    for index in 0..at_once {
        let opening = Opening::start(target, number)?;
        number += 1;
        poller.add(opening.conn(), index)?;
        slots.push((opening, identity(index)));
    }
    let start = Instant::now();
    let (mut handshakes, mut resumed) = (0, 0);
    while start.elapsed() < time {
        let ready: Vec<_> = poller.wait(Duration::from_millis(100))?.collect();
        for index in ready {
            let (opening, who) = &mut slots[index];
            if !opening.step(&mut scratch, who).context("handshake")? {
                continue;
            }
            handshakes += 1;
            resumed += u64::from(opening.conn().is_resumed());
            let opening = Opening::start(target, number)?;
            number += 1;
            poller.add(opening.conn(), index)?;
            let (done, _) = std::mem::replace(&mut slots[index], (opening, identity(index)));
            // A frame, then the end of the stream: the server need not wait for anything.
            done.into_conn().send(&close)?;
        }
    }
    Ok(Shaken { handshakes, resumed, time: start.elapsed() })
}
