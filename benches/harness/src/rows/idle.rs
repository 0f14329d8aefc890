//! Row 7: what connections cost that do nothing.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bench::{Bench, Row, Sample};
use crate::client::conn::Conn;
use crate::client::opening::open_all;
use crate::load::settle;
use crate::servers::Contender::{Floor, Gateway, GatewayTls};
use crate::servers::{Server, Setup};

const AT_ONCE: usize = 64;
const STEPS: [(usize, &str); 3] = [
    (1_000, "KiB per connection at 1,000"),
    (5_000, "KiB per connection at 5,000"),
    (10_000, "KiB per connection"),
];
const EMPTY: &str = "MiB at 0";
const OPENED: &str = "s to open 10,000";
const IDLE: &str = "% of a core";

pub(crate) fn run(bench: &Bench, row: &mut Row) -> Result<()> {
    if bench.is_quick {
        row.runs_max = 1;
    }
    // Idling is long and steady: the first run of each is enough.
    let mut idled = vec![Floor];
    row.alternate(bench, &[Gateway, GatewayTls, Floor], |contender| {
        let is_first = !idled.contains(&contender);
        idled.push(contender);
        let time = is_first.then(|| bench.seconds(90.0));
        measure(&bench.start(contender, &Setup::default())?, time)
    })?;
    let kib = STEPS[2].1;
    let beyond: Vec<_> = row
        .values((GatewayTls, kib))
        .iter()
        .zip(row.values((Floor, kib)))
        .map(|(tls, floor)| tls - floor)
        .collect();
    let values = row.values((Gateway, EMPTY));
    row.check("RSS at 0", true, 10.0, "MiB", values);
    row.at_most("KiB per connection / T", 1.0, (Gateway, kib), (Floor, kib));
    row.check("TLS per connection beyond T", true, 24.0, "KiB", beyond);
    for (name, contender) in [("idle CPU", Gateway), ("idle CPU, TLS", GatewayTls)] {
        let values = row.values((contender, IDLE));
        row.check(name, true, 1.5, "% of a core", values);
    }
    row.at_most("time to open / T", 2.0, (Gateway, OPENED), (Floor, OPENED));
    Ok(())
}

fn measure(server: &Server, idle_time: Option<Duration>) -> Result<Sample> {
    let operator = server.target.operator();
    let empty = server.process.rss_kib()?;
    let mut sample = Sample::default().put(EMPTY, empty / 1024.0);
    let mut conns: Vec<Conn> = Vec::new();
    let mut opening = Duration::ZERO;
    for (count, name) in STEPS {
        let start = Instant::now();
        conns.extend(open_all(&server.target, count - conns.len(), AT_ONCE, |_| &operator)?);
        opening += start.elapsed();
        settle(&mut conns, Duration::from_millis(700), Duration::from_secs(10))?;
        sample = sample.put(name, (server.process.rss_kib()? - empty) / count as f64);
    }
    sample = sample.put(OPENED, opening.as_secs_f64());
    let Some(time) = idle_time else { return Ok(sample) };
    // Nothing is sent but the answers to the server's own pings.
    let (took, cpu) = server.measured(|| {
        let start = Instant::now();
        settle(&mut conns, time, time)?;
        Ok(start.elapsed())
    })?;
    Ok(sample.put(IDLE, cpu.as_secs_f64() / took.as_secs_f64() * 100.0))
}
