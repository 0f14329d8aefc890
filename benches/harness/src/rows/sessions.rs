//! Row 8: whether work with one session, or one page of them, depends on how many there are.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench::{Bench, Row, Sample};
use crate::client::conn::{Conn, Scratch};
use crate::client::opening::open_all;
use crate::client::poller::Poller;
use crate::load::{echo::Echo, given, paced, settle};
use crate::servers::Contender::{self, Gateway};
use crate::servers::{Server, Setup};
use crate::target;

const FEW: usize = 100;
const PAGE: usize = 200;
const MANY: usize = 10_000;
const IN_FLIGHT: usize = 16;

pub(crate) fn run(bench: &Bench, row: &mut Row) -> Result<()> {
    row.alternate(bench, &[Gateway], |contender| measure(bench, contender))?;
    row.at_most(
        "a page of 200 at 10,000 / at 200",
        1.2,
        (Gateway, "list CPU µs at 10,000"),
        (Gateway, "list CPU µs at 200"),
    );
    row.at_most(
        "one changed session at 10,000 / at 100",
        1.2,
        (Gateway, "usage CPU µs at 10,000"),
        (Gateway, "usage CPU µs at 100"),
    );
    Ok(())
}

fn measure(bench: &Bench, contender: Contender) -> Result<Sample> {
    let server = bench.start(contender, &Setup::default())?;
    let agent = target::agent(0);
    let mut agents = open_all(&server.target, 1, 1, |_| &agent)?;
    let grow = |agents: &mut [Conn], from: usize, to: usize| {
        given::run(&mut agents[0], IN_FLIGHT, (from..to).map(target::session_update))
    };
    let usage = |agents: &mut [Conn]| {
        settle(agents, Duration::from_millis(300), Duration::from_secs(3))?;
        cpu_per_request(bench, &server, agents, &target::session_usage(50))
    };
    grow(&mut agents, 0, FEW)?;
    let usage_at_few = usage(&mut agents)?;
    grow(&mut agents, FEW, PAGE)?;
    let (list_at_page, p50_at_page) = page(bench, &server)?;
    let (tick_at_page, bytes_at_page) = tick(&server, &mut agents)?;
    grow(&mut agents, PAGE, MANY)?;
    let usage_at_many = usage(&mut agents)?;
    let (list_at_many, p50_at_many) = page(bench, &server)?;
    let (tick_at_many, bytes_at_many) = tick(&server, &mut agents)?;
    Ok(Sample::default()
        .put("list CPU µs at 200", list_at_page)
        .put("list CPU µs at 10,000", list_at_many)
        .put("list p50 µs at 200", p50_at_page)
        .put("list p50 µs at 10,000", p50_at_many)
        .put("usage CPU µs at 100", usage_at_few)
        .put("usage CPU µs at 10,000", usage_at_many)
        .put("tick ms after a change at 200", tick_at_page)
        .put("tick ms after a change at 10,000", tick_at_many)
        .put("tick KiB at 200", bytes_at_page)
        .put("tick KiB at 10,000", bytes_at_many))
}

/// The server's CPU microseconds for each of these requests, 16 in flight on one connection.
fn cpu_per_request(
    bench: &Bench,
    server: &Server,
    conns: &mut [Conn],
    request: &[u8],
) -> Result<f64> {
    let mut echo = Echo::start(conns, request, IN_FLIGHT)?;
    echo.run(bench.seconds(0.5))?;
    let (echoed, cpu) = server.measured(|| echo.run(bench.seconds(2.0)))?;
    echo.finish(IN_FLIGHT as u64)?;
    Ok(cpu.as_secs_f64() * 1e6 / echoed.answers.max(1) as f64)
}

/// A page of sessions: its CPU time, and its round trip when nothing else happens.
fn page(bench: &Bench, server: &Server) -> Result<(f64, f64)> {
    let operator = server.target.operator();
    let mut conns = open_all(&server.target, 1, 1, |_| &operator)?;
    settle(&mut conns, Duration::from_millis(300), Duration::from_secs(3))?;
    let list = target::sessions_list(PAGE);
    let cpu = cpu_per_request(bench, server, &mut conns, &list)?;
    let (time, interval) = (bench.seconds(1.0), Duration::from_millis(5));
    let (p50, _) = paced::run(&mut conns[0], &list, interval, time)?.p50_p99();
    Ok((cpu, p50))
}

/// From one report about a session until an operator has the tick with it, in milliseconds, and
/// how large that tick is, in KiB.
fn tick(server: &Server, agents: &mut [Conn]) -> Result<(f64, f64)> {
    const TICK: &[u8] = b"{\"type\":\"event\",\"event\":\"tick\"";
    const PATIENCE: Duration = Duration::from_secs(10);
    let operator = server.target.operator();
    let mut conns = open_all(&server.target, 1, 1, |_| &operator)?;
    settle(&mut conns, Duration::from_millis(700), Duration::from_secs(5))?;
    let conn = conns.first_mut().context("no operator")?;
    let (mut poller, mut scratch) = (Poller::new()?, Scratch::new());
    poller.add(&*conn, 0)?;
    let start = Instant::now();
    given::run(&mut agents[0], 1, [target::session_usage(50)])?;
    let mut bytes = 0;
    while bytes == 0 {
        ensure!(start.elapsed() < PATIENCE, "no tick within {PATIENCE:?}");
        let _ready = poller.wait(Duration::from_millis(100))?.count();
        conn.receive(&mut scratch, |text| {
            if text.starts_with(TICK) {
                bytes = text.len();
            }
        })?;
    }
    Ok((start.elapsed().as_secs_f64() * 1e3, bytes as f64 / 1024.0))
}
