//! Requests and their answers as fast as they go: a closed loop of connections, each with a
//! number of requests in flight.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::conn::{Conn, Scratch};
use crate::client::opening::{is_response, is_success};
use crate::client::poller::Poller;

/// What was counted.
pub(crate) struct Echoed {
    pub(crate) answers: u64,
    pub(crate) time: Duration,
}

/// The connections of one closed loop.
pub(crate) struct Echo<'a> {
    conns: &'a mut [Conn],
    poller: Poller,
    scratch: Scratch,
    /// `in_flight` requests, one after the other, so that a burst is one write.
    burst: Vec<u8>,
    request_bytes: usize,
}

impl<'a> Echo<'a> {
    /// Sends the first `in_flight` requests of each connection.
    pub(crate) fn start(conns: &'a mut [Conn], request: &[u8], in_flight: usize) -> Result<Self> {
        let poller = Poller::new()?;
        let burst = request.repeat(in_flight);
        for (index, conn) in conns.iter_mut().enumerate() {
            poller.add(&*conn, index)?;
            conn.send(&burst)?;
        }
        Ok(Self { conns, poller, scratch: Scratch::new(), burst, request_bytes: request.len() })
    }

    /// Answers each answer with a request for this long.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Echoed> {
        let start = Instant::now();
        let mut answers = 0;
        while start.elapsed() < time {
            answers += self.turn(true)?;
        }
        Ok(Echoed { answers, time: start.elapsed() })
    }

    /// Waits until every request is answered.
    pub(crate) fn finish(mut self, mut outstanding: u64) -> Result<()> {
        while outstanding > 0 {
            outstanding = outstanding.saturating_sub(self.turn(false)?);
        }
        Ok(())
    }

    fn turn(&mut self, goes_on: bool) -> Result<u64> {
        let mut answers = 0;
        let ready: Vec<_> = self.poller.wait(Duration::from_millis(100))?.collect();
        for index in ready {
            let conn = &mut self.conns[index];
            let mut arrived = 0;
            let mut refused = None;
            let is_alive = conn.receive(&mut self.scratch, |text| {
                if is_success(text) {
                    arrived += 1;
                } else if is_response(text) {
                    refused = Some(String::from_utf8_lossy(text).into_owned());
                }
            })?;
            ensure!(is_alive, "connection {index} was closed by the server");
            ensure!(refused.is_none(), "a request was refused: {refused:?}");
            if conn.has_unsent() {
                conn.flush()?;
            }
            if goes_on && arrived > 0 {
                conn.send(&self.burst[..arrived * self.request_bytes])?;
                self.poller.watch_writable(&*conn, index, conn.has_unsent())?;
            }
            answers += arrived as u64;
        }
        Ok(answers)
    }
}
