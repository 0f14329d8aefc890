//! Row 11: what other peers notice of one that sends as fast as it can.

use std::time::Duration;

use anyhow::Result;

use crate::bench::{Bench, Row, Sample};
use crate::client::conn::Conn;
use crate::client::opening::open_all;
use crate::load::{flood::Flood, given, paced, settle, writer::Writer};
use crate::servers::Contender::{self, Gateway};
use crate::servers::{Server, Setup};
use crate::target;
use crate::temp_dir::TempDir;

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
    if bench.is_quick {
        row.runs_max = 1;
    }
    let floods = [
        ("reports of one entry", Source::Reports(1)),
        ("reports of 100 entries", Source::Reports(BATCH)),
        ("a program that writes 100 MB/s", Source::Program),
    ];
    for (title, source) in floods {
        row.part(title.to_owned());
        row.alternate(bench, &[Gateway], |contender| measure(bench, contender, source))?;
        row.at_most("p99 / idle p99", 3.0, (Gateway, AGENT), (Gateway, IDLE));
        row.at_most("p99 / idle p99, hearing it", 3.0, (Gateway, OPERATOR), (Gateway, IDLE));
        let values = row.values((Gateway, GROWTH));
        row.check("RSS grows by", true, 16.0, "MiB", values);
    }
    Ok(())
}

/// What there is too much of.
#[derive(Clone, Copy)]
enum Source {
    /// An agent's `logs.append`, each of so many entries.
    Reports(usize),
    /// The output of a program that the gateway has started.
    Program,
}

fn measure(bench: &Bench, contender: Contender, source: Source) -> Result<Sample> {
    let server =
        bench.start(contender, &Setup { config: Writer::config()?, ..Setup::default() })?;
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
    let notes = TempDir::new(&bench.places.scratch)?;
    let flood = match source {
        Source::Reports(entries) => {
            Running::Reports(Flood::start(flooder, &target::append(entries)), entries)
        }
        Source::Program => {
            let operator = server.target.operator();
            let mut starter = open_all(&server.target, 1, 1, |_| &operator)?;
            Running::Program(Writer::start(&mut starter[0], notes.path())?)
        }
    };
    ping(&server, &mut agents[0], bench.seconds(1.0))?;
    let (p50, p99) = ping(&server, &mut agents[0], time)?;
    let operator = server.target.operator();
    let mut operators = open_all(&server.target, 1, 1, |_| &operator)?;
    let (_, p99_hearing) = ping(&server, &mut operators[0], time)?;
    let grown = server.process.rss_kib()? - before;
    let sample = Sample::default()
        .put("idle p50 µs", p50_idle)
        .put(IDLE, p99_idle)
        .put("p50 µs", p50)
        .put(AGENT, p99)
        .put(OPERATOR, p99_hearing)
        .put(GROWTH, grown / 1024.0);
    match flood {
        Running::Reports(flood, entries) => {
            let flooded = flood.end()?;
            let seconds = (time * 2 + bench.seconds(1.0)).as_secs_f64();
            let rate = |count: u64| (count * entries as u64) as f64 / seconds;
            Ok(sample
                .put("entries accepted per s", rate(flooded.accepted))
                .put("entries refused per s", rate(flooded.refused)))
        }
        Running::Program(writer) => Ok(sample.put("MB written per s", writer.rate()?)),
    }
}

/// A flood that goes on.
enum Running {
    Reports(Flood, usize),
    Program(Writer),
}

fn ping(server: &Server, conn: &mut Conn, time: Duration) -> Result<(f64, f64)> {
    Ok(paced::run(conn, &server.target.ping(), INTERVAL, time)?.p50_p99())
}
