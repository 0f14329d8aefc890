//! Row 9: reports that are answered when they are on disk, held against how fast this disk is.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bench::{Bench, Row, Sample};
use crate::client::opening::open_all;
use crate::load::{echo::Echo, settle};
use crate::servers::{Contender, Setup};
use crate::stop;
use crate::target;
use crate::temp_dir::TempDir;

const CONNECTIONS: usize = 8;
const IN_FLIGHT: usize = 16;
const BATCH: usize = 100;
/// What is appended and synced to know the disk: as many bytes as one entry has.
const APPENDED_BYTES: usize = 250;

const SYNCS: &str = "fdatasync per s";
const ONE: &str = "entries per s, one each";
const MANY: &str = "entries per s, 100 each";

pub(crate) fn run(bench: &Bench, row: &mut Row) -> Result<()> {
    use Contender::Gateway;
    row.alternate(bench, &[Gateway], |contender| {
        let syncs = syncs_per_second(&bench.places.scratch, bench.seconds(2.0))?;
        let server = bench.start(contender, &Setup::default())?;
        let agents: Vec<_> = (0..CONNECTIONS).map(|number| target::agent(number as u8)).collect();
        let mut conns = open_all(&server.target, CONNECTIONS, 1, |index| &agents[index])?;
        settle(&mut conns, Duration::from_millis(300), Duration::from_secs(3))?;
        let mut reports = |entries: usize| -> Result<(f64, f64)> {
            let mut echo = Echo::start(&mut conns, &target::append(entries), IN_FLIGHT)?;
            echo.run(bench.warm_up(contender))?;
            let (echoed, cpu) = server.measured(|| echo.run(bench.seconds(4.0)))?;
            echo.finish((CONNECTIONS * IN_FLIGHT) as u64)?;
            let entries = (echoed.answers * entries as u64) as f64;
            Ok((entries / echoed.time.as_secs_f64(), cpu.as_secs_f64() * 1e6 / entries))
        };
        let (one, one_cpu) = reports(1)?;
        let (many, many_cpu) = reports(BATCH)?;
        Ok(Sample::default()
            .put(SYNCS, syncs)
            .put(ONE, one)
            .put("CPU µs", one_cpu)
            .put(MANY, many)
            .put("CPU µs, 100 each", many_cpu))
    })?;
    row.at_least("entries / fdatasync", 8.0, (Gateway, ONE), (Gateway, SYNCS));
    row.at_least("in batches / one each", 3.0, (Gateway, MANY), (Gateway, ONE));
    Ok(())
}

/// How often this file system makes an append durable, one after the other.
fn syncs_per_second(scratch: &Path, time: Duration) -> Result<f64> {
    let dir = TempDir::new(scratch)?;
    let mut file = File::create(dir.path().join("appended"))?;
    let start = Instant::now();
    let mut syncs = 0_u32;
    while start.elapsed() < time {
        stop::check()?;
        file.write_all(&[b'x'; APPENDED_BYTES])?;
        rustix::fs::fdatasync(&file)?;
        syncs += 1;
    }
    Ok(f64::from(syncs) / start.elapsed().as_secs_f64())
}
