//! Row 1: what one round trip costs when nothing else happens, on one core for both ends.

use std::time::Duration;

use anyhow::Result;

use crate::bench::{Bench, Row, Sample};
use crate::client::opening::open_all;
use crate::load::{paced, settle};
use crate::process::pin_this_thread;
use crate::servers::{Contender, Setup};

/// A pace at which the slowest contender still keeps up.
const INTERVAL: Duration = Duration::from_millis(1);

pub(crate) fn run(bench: &Bench, row: &mut Row) -> Result<()> {
    use Contender::{Floor, Gateway, Reference};
    row.alternate(bench, &[Gateway, Floor, Reference], |contender| {
        let server = bench.start(contender, &Setup { pin: Some(0), ..Setup::default() })?;
        let target = &server.target;
        // A thread of its own, so that the rest of the run keeps all cores.
        std::thread::scope(|scope| {
            let measured = scope.spawn(|| {
                pin_this_thread(0)?;
                let operator = target.operator();
                let mut conns = open_all(target, 1, 1, |_| &operator)?;
                settle(&mut conns, Duration::from_millis(300), Duration::from_secs(3))?;
                let ping = target.ping();
                paced::run(&mut conns[0], &ping, INTERVAL, bench.warm_up(contender))?;
                let time = bench.seconds(2.0);
                let (mut latencies, cpu) =
                    server.measured(|| paced::run(&mut conns[0], &ping, INTERVAL, time))?;
                let count = latencies.len() as u64;
                let (p50, p99) = latencies.p50_p99();
                Ok(Sample::default().put("p50 µs", p50).put("p99 µs", p99).per_unit(cpu, count))
            });
            measured.join().unwrap_or_else(|_| anyhow::bail!("the measuring thread panicked"))
        })
    })?;
    row.at_most("p50 / T", 1.15, (Gateway, "p50 µs"), (Floor, "p50 µs"));
    row.at_most("p99 / T", 1.3, (Gateway, "p99 µs"), (Floor, "p99 µs"));
    row.at_most("p50 / O", 0.75, (Gateway, "p50 µs"), (Reference, "p50 µs"));
    Ok(())
}
