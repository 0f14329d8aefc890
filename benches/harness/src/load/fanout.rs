//! One producer, many receivers: reports become broadcasts, with at most `window` of them not
//! yet delivered to everyone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::conn::{Conn, Scratch};
use crate::client::opening::open_all;
use crate::client::poller::Poller;
use crate::stats::Latencies;
use crate::target::Target;

/// Handshakes at a time while the receivers are opened.
const OPENING_AT_ONCE: usize = 32;

/// What was counted.
pub(crate) struct Delivered {
    pub(crate) deliveries: u64,
    pub(crate) time: Duration,
    /// From sending a report to each of its deliveries.
    pub(crate) latencies: Latencies,
}

/// The receivers and, as the last of the connections, the producer.
pub(crate) struct Fanout {
    conns: Vec<Conn>,
    poller: Poller,
    scratch: Scratch,
    report: Vec<u8>,
    event: &'static [u8],
    window: usize,
    /// How many broadcasts each receiver has seen.
    seen: Vec<u64>,
    /// The broadcasts that are under way, oldest first: when sent, and for how many receivers.
    under_way: VecDeque<(Instant, usize)>,
    completed: u64,
}

impl Fanout {
    /// Opens everything and waits until it is quiet.
    pub(crate) fn open(target: &Target, receivers: usize, window: usize) -> Result<Self> {
        let (operator, producer) = (target.operator(), target.producer());
        let mut conns = open_all(target, receivers + 1, OPENING_AT_ONCE, |index| {
            if index < receivers { &operator } else { &producer }
        })?;
        super::settle(&mut conns, Duration::from_millis(700), Duration::from_secs(8))?;
        let poller = Poller::new()?;
        for (index, conn) in conns.iter().enumerate() {
            poller.add(conn, index)?;
        }
        Ok(Self {
            conns,
            poller,
            scratch: Scratch::new(),
            report: target.report(),
            event: target.event(),
            window,
            seen: vec![0; receivers],
            under_way: VecDeque::new(),
            completed: 0,
        })
    }

    /// Keeps the window full for this long. Call it once to warm up and again to measure.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Delivered> {
        let start = Instant::now();
        let mut latencies = Latencies::default();
        self.fill()?;
        while start.elapsed() < time {
            self.turn(&mut latencies)?;
            self.fill()?;
        }
        Ok(Delivered { deliveries: latencies.len() as u64, time: start.elapsed(), latencies })
    }

    fn fill(&mut self) -> Result<()> {
        let free = self.window - self.under_way.len();
        if free == 0 {
            return Ok(());
        }
        let now = Instant::now();
        self.under_way.extend(std::iter::repeat_n((now, self.seen.len()), free));
        let reports = self.report.repeat(free);
        if let Some(producer) = self.conns.last_mut() {
            producer.send(&reports)?;
            ensure!(!producer.has_unsent(), "the server does not read the reports");
        }
        Ok(())
    }

    fn turn(&mut self, latencies: &mut Latencies) -> Result<()> {
        let ready: Vec<_> = self.poller.wait(Duration::from_millis(100))?.collect();
        for index in ready {
            let mut events = 0;
            let event = self.event;
            let mut refused = None;
            let is_alive = self.conns[index].receive(&mut self.scratch, |text| {
                events += usize::from(text.starts_with(event));
                if text.starts_with(b"{\"type\":\"res\"") && is_refusal(text) {
                    refused = Some(String::from_utf8_lossy(text).into_owned());
                }
            })?;
            ensure!(is_alive, "connection {index} was closed by the server");
            ensure!(refused.is_none(), "a report was refused: {refused:?}");
            let now = Instant::now();
            let Some(seen) = self.seen.get_mut(index) else { continue };
            for _ in 0..events {
                let place = usize::try_from(*seen - self.completed)?;
                *seen += 1;
                let Some((sent, missing)) = self.under_way.get_mut(place) else {
                    anyhow::bail!("receiver {index} got a broadcast that was not sent");
                };
                *missing -= 1;
                latencies.push(now.duration_since(*sent));
                while self.under_way.front().is_some_and(|(_, missing)| *missing == 0) {
                    self.under_way.pop_front();
                    self.completed += 1;
                }
            }
        }
        Ok(())
    }
}

fn is_refusal(text: &[u8]) -> bool {
    text.windows(10).take(64).any(|part| part == b"\"ok\":false")
}
