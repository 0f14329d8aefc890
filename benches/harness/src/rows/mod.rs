//! The rows of the table of targets, one file each with one idea.

mod cold_start;
mod durable;
mod echo;
mod fanout;
mod flood;
mod handshake;
mod idle;
mod round_trip;
mod sessions;
mod size;

use anyhow::Result;

use crate::bench::{Bench, Row};

/// One row: its number, what it measures, and how.
pub(crate) struct Entry {
    pub(crate) number: u32,
    pub(crate) title: &'static str,
    pub(crate) run: fn(&Bench, &mut Row) -> Result<()>,
}

/// All rows, in the order of the table.
pub(crate) const ALL: &[Entry] = &[
    Entry { number: 1, title: "Round trip of one connection on one core", run: round_trip::run },
    Entry { number: 2, title: "Requests, 8 connections × 16 in flight", run: echo::run },
    Entry { number: 3, title: "Full handshakes, 16 at once", run: handshake::run },
    Entry { number: 4, title: "Fan-out to 100, one at a time", run: fanout::one_at_a_time },
    Entry { number: 5, title: "Fan-out to 100, bursts", run: fanout::bursts },
    Entry { number: 6, title: "Fan-out to 1,000, one at a time", run: fanout::to_a_thousand },
    Entry { number: 7, title: "Idle connections, up to 10,000", run: idle::run },
    Entry { number: 8, title: "Ten thousand sessions", run: sessions::run },
    Entry { number: 9, title: "Durable reports, 8 connections × 16 in flight", run: durable::run },
    Entry { number: 10, title: "Cold start to the first handshake", run: cold_start::run },
    Entry { number: 11, title: "A peer beside a flood", run: flood::run },
    Entry { number: 12, title: "Size of the binary and of what it is built from", run: size::run },
];
