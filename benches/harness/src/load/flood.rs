//! One agent that reports as fast as the gateway reads, heedless of answers, on a thread of its
//! own until it is told to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::client::conn::{Conn, Scratch};
use crate::client::opening::{is_response, is_success};
use crate::client::poller::Poller;

/// How much is handed to the socket at a time.
const WRITE_BYTES: usize = 64 * 1024;

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flooded {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
}

/// A flood that goes on until it is ended; dropping it ends it, too.
pub(crate) struct Flood {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Flooded>>>,
}

impl Flood {
    pub(crate) fn start(mut conn: Conn, request: &[u8]) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let burst = request.repeat(WRITE_BYTES.div_ceil(request.len()));
        let seen = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || run(&mut conn, &burst, &seen));
        Self { is_over, thread: Some(thread) }
    }

    /// Ends it, and says what became of the reports.
    pub(crate) fn end(mut self) -> Result<Flooded> {
        self.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a flood ends once")?;
        thread.join().unwrap_or_else(|_| bail!("the flood panicked"))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn run(conn: &mut Conn, burst: &[u8], is_over: &AtomicBool) -> Result<Flooded> {
    let mut poller = Poller::new()?;
    poller.add(&*conn, 0)?;
    poller.watch_writable(&*conn, 0, true)?;
    let mut scratch = Scratch::new();
    let mut flooded = Flooded::default();
    while !is_over.load(Ordering::Relaxed) {
        let _ready = poller.wait(Duration::from_millis(100))?.count();
        if conn.has_unsent() {
            conn.flush()?;
        }
        if !conn.has_unsent() {
            conn.send(burst)?;
        }
        let is_alive = conn.receive(&mut scratch, |text| {
            flooded.accepted += u64::from(is_success(text));
            flooded.refused += u64::from(is_response(text) && !is_success(text));
        })?;
        ensure!(is_alive, "the flooding agent was closed by the server");
    }
    Ok(flooded)
}
