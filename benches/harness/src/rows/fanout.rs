//! Rows 4, 5 and 6: entries that one agent reports, delivered to many operators.

use anyhow::Result;

use crate::bench::{Bench, Row, Sample};
use crate::load::fanout::Fanout;
use crate::servers::Contender::{self, Floor, Gateway, GatewayTls, Node, Reference};
use crate::servers::Setup;

const CPU: &str = "CPU µs";
const RATE: &str = "per s";
const P99: &str = "p99 µs";

pub(crate) fn one_at_a_time(bench: &Bench, row: &mut Row) -> Result<()> {
    row.alternate(bench, &[Gateway, GatewayTls, Floor, Node, Reference], |contender| {
        measure(bench, contender, 100, 1)
    })?;
    row.at_most("C / T", 1.3, (Gateway, CPU), (Floor, CPU));
    row.at_most("C / N", 0.85, (Gateway, CPU), (Node, CPU));
    row.at_most("p99 / N", 1.0, (Gateway, P99), (Node, P99));
    row.at_most("TLS C / plain", 1.4, (GatewayTls, CPU), (Gateway, CPU));
    Ok(())
}

pub(crate) fn bursts(bench: &Bench, row: &mut Row) -> Result<()> {
    for (window, plain, tls) in [(16, 4.0, 3.5), (64, 8.0, 7.0)] {
        row.part(format!("{window} under way"));
        row.alternate(bench, &[Gateway, GatewayTls, Floor, Node], |contender| {
            measure(bench, contender, 100, window)
        })?;
        row.at_least("R / N", plain, (Gateway, RATE), (Node, RATE));
        row.at_least("TLS R / N", tls, (GatewayTls, RATE), (Node, RATE));
    }
    Ok(())
}

pub(crate) fn to_a_thousand(bench: &Bench, row: &mut Row) -> Result<()> {
    row.alternate(bench, &[Gateway, Floor, Node], |contender| measure(bench, contender, 1_000, 1))?;
    row.at_least("R / N", 1.1, (Gateway, RATE), (Node, RATE));
    row.at_most("p99 / N", 1.0, (Gateway, P99), (Node, P99));
    Ok(())
}

fn measure(bench: &Bench, contender: Contender, receivers: usize, window: usize) -> Result<Sample> {
    let server = bench.start(contender, &Setup::default())?;
    let mut fanout = Fanout::open(&server.target, receivers, window)?;
    fanout.run(bench.warm_up(contender))?;
    let (mut delivered, cpu) = server.measured(|| fanout.run(bench.seconds(2.0)))?;
    let (p50, p99) = delivered.latencies.p50_p99();
    Ok(Sample::default()
        .rate(delivered.deliveries, delivered.time)
        .per_unit(cpu, delivered.deliveries)
        .put("p50 µs", p50)
        .put(P99, p99))
}
