//! Row 11: what other peers notice of one that sends as fast as it can.

use std::time::Duration;

use anyhow::Result;

use crate::bench::{Bench, Row, Sample};
use crate::client::conn::Conn;
use crate::client::opening::open_all;
use crate::load::{flood::Flood, given, paced, settle};
use crate::servers::Contender::{self, Gateway};
use crate::servers::{Server, Setup};
use crate::target;

/// What is kept of the journal, and a little more: then it grows no further.
const JOURNAL_ENTRIES: usize = 120_000;
const BATCH: usize = 100;
const IN_FLIGHT: usize = 32;
/// How often the other peer asks.
const INTERVAL: Duration = Duration::from_millis(2);

const IDLE: &str = "idle p99 µs";
const AGENT: &str = "p99 µs";
const OPERATOR: &str = "p99 µs of one that hears it all";
const GROWTH: &str = "MiB grown";

pub(crate) fn run(bench: &Bench, row: &mut Row) -> Result<()> {
    for (title, entries) in [("reports of one entry", 1), ("reports of 100 entries", BATCH)] {
        row.part(title.to_owned());
        row.alternate(bench, &[Gateway], |contender| measure(bench, contender, entries))?;
        row.at_most("p99 / idle p99", 3.0, (Gateway, AGENT), (Gateway, IDLE));
        row.at_most("p99 / idle p99, hearing it", 3.0, (Gateway, OPERATOR), (Gateway, IDLE));
        let values = row.values((Gateway, GROWTH));
        row.check("RSS grows by", true, 16.0, "MiB", values);
    }
    Ok(())
}

fn measure(bench: &Bench, contender: Contender, entries: usize) -> Result<Sample> {
    let server = bench.start(contender, &Setup::default())?;
    let (flooding, quiet) = (target::agent(0), target::agent(1));
    let mut flooders = open_all(&server.target, 1, 1, |_| &flooding)?;
    // The journal is kept in memory up to its limit; that it fills is not what is asked here.
    let fill = std::iter::repeat_n(target::append(BATCH), JOURNAL_ENTRIES / BATCH);
    given::run(&mut flooders[0], IN_FLIGHT, fill)?;
    let mut agents = open_all(&server.target, 1, 1, |_| &quiet)?;
    settle(&mut agents, Duration::from_millis(300), Duration::from_secs(3))?;
    let before = server.process.rss_kib()?;
    let time = bench.seconds(4.0);
    let (p50_idle, p99_idle) = ping(&server, &mut agents[0], time)?;
    let Some(flooder) = flooders.pop() else { anyhow::bail!("nobody to flood") };
    let flood = Flood::start(flooder, &target::append(entries));
    ping(&server, &mut agents[0], bench.seconds(1.0))?;
    let (p50, p99) = ping(&server, &mut agents[0], time)?;
    let operator = server.target.operator();
    let mut operators = open_all(&server.target, 1, 1, |_| &operator)?;
    let (_, p99_hearing) = ping(&server, &mut operators[0], time)?;
    let grown = server.process.rss_kib()? - before;
    let flooded = flood.end()?;
    let seconds = (time * 2 + bench.seconds(1.0)).as_secs_f64();
    Ok(Sample::default()
        .put("idle p50 µs", p50_idle)
        .put(IDLE, p99_idle)
        .put("p50 µs", p50)
        .put(AGENT, p99)
        .put(OPERATOR, p99_hearing)
        .put(GROWTH, grown / 1024.0)
        .put("entries accepted per s", (flooded.accepted * entries as u64) as f64 / seconds)
        .put("entries refused per s", (flooded.refused * entries as u64) as f64 / seconds))
}

fn ping(server: &Server, conn: &mut Conn, time: Duration) -> Result<(f64, f64)> {
    Ok(paced::run(conn, &server.target.ping(), INTERVAL, time)?.p50_p99())
}
