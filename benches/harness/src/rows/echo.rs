//! Row 2: requests that the connection's own thread answers, as fast as they go.

use anyhow::Result;

use crate::bench::{Bench, Row, Sample};
use crate::client::opening::open_all;
use crate::load::{echo::Echo, settle};
use crate::servers::{Contender, Setup};
use std::time::Duration;

const CONNECTIONS: usize = 8;
const IN_FLIGHT: usize = 16;

pub(crate) fn run(bench: &Bench, row: &mut Row) -> Result<()> {
    use Contender::{Floor, Gateway, GatewayTls, Node, Reference};
    row.alternate(bench, &[Gateway, GatewayTls, Floor, Node, Reference], |contender| {
        let server = bench.start(contender, &Setup::default())?;
        let operator = server.target.operator();
        let mut conns = open_all(&server.target, CONNECTIONS, CONNECTIONS, |_| &operator)?;
        settle(&mut conns, Duration::from_millis(300), Duration::from_secs(3))?;
        let mut echo = Echo::start(&mut conns, &server.target.ping(), IN_FLIGHT)?;
        echo.run(bench.warm_up(contender))?;
        let (echoed, cpu) = server.measured(|| echo.run(bench.seconds(2.0)))?;
        echo.finish((CONNECTIONS * IN_FLIGHT) as u64)?;
        Ok(Sample::default().rate(echoed.answers, echoed.time).per_unit(cpu, echoed.answers))
    })?;
    row.at_least("R / N", 5.0, (Gateway, "per s"), (Node, "per s"));
    row.at_least("R / T", 2.5, (Gateway, "per s"), (Floor, "per s"));
    row.at_least("TLS R / plain", 0.85, (GatewayTls, "per s"), (Gateway, "per s"));
    Ok(())
}
