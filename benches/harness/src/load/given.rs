//! A given list of requests, each once, with a bounded number in flight: how state is made.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::client::conn::{Conn, Scratch};
use crate::client::opening::{is_response, is_success};
use crate::client::poller::Poller;

/// Sends all of them and waits until each is answered.
pub(crate) fn run(
    conn: &mut Conn,
    in_flight: usize,
    requests: impl IntoIterator<Item = Vec<u8>>,
) -> Result<()> {
    let mut poller = Poller::new()?;
    poller.add(&*conn, 0)?;
    let mut scratch = Scratch::new();
    let mut requests = requests.into_iter();
    let mut outstanding = 0;
    loop {
        for request in requests.by_ref().take(in_flight - outstanding) {
            conn.send(&request)?;
            outstanding += 1;
        }
        if outstanding == 0 {
            return Ok(());
        }
        poller.watch_writable(&*conn, 0, conn.has_unsent())?;
        // A wait that ends with nothing is one that ran into its timeout.
        let _ready = poller.wait(Duration::from_millis(100))?.count();
        conn.flush()?;
        let mut refused = None;
        let is_alive = conn.receive(&mut scratch, |text| {
            outstanding -= usize::from(is_response(text));
            if is_response(text) && !is_success(text) {
                refused = Some(String::from_utf8_lossy(text).into_owned());
            }
        })?;
        ensure!(is_alive, "closed by the server");
        ensure!(refused.is_none(), "a request was refused: {refused:?}");
    }
}
