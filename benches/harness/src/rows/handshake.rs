//! Row 3: how many clients can arrive, from TCP to the hello.

use anyhow::Result;

use crate::bench::{Bench, Row, Sample};
use crate::client::opening::Identity;
use crate::load::handshakes;
use crate::servers::Contender::{self, Floor, Gateway, GatewayTls, Node, Reference};
use crate::servers::{Server, Setup};
use crate::target::Target;
use crate::tls::resuming;

const AT_ONCE: usize = 16;
const RATE: &str = "per s";

pub(crate) fn run(bench: &Bench, row: &mut Row) -> Result<()> {
    row.alternate(bench, &[Gateway, GatewayTls, Floor, Node, Reference], |contender| {
        approved(bench, contender, Target::clone)
    })?;
    row.at_least("R / T", 0.8, (Gateway, RATE), (Floor, RATE));
    row.at_least("R / O", 10.0, (Gateway, RATE), (Reference, RATE));
    row.part("TLS sessions resumed".to_owned());
    row.alternate(bench, &[GatewayTls], |contender| {
        approved(bench, contender, |target| Target {
            tls: target.tls.as_ref().map(|client| resuming(client)),
            ..target.clone()
        })
    })?;
    row.part("first registration, durable".to_owned());
    row.alternate(bench, &[Gateway], |contender| {
        let server = bench.start(contender, &Setup::default())?;
        let mut number = 0_u32;
        // Every device is new, so there is nothing to warm up with; the table holds 10,000.
        let fresh = |_| {
            number += 1;
            let mut seed = [9; 32];
            seed[..4].copy_from_slice(&number.to_le_bytes());
            Identity::operator(openclaw_gateway::protocol::device_key::DeviceKey::from_seed(&seed))
        };
        let time = bench.seconds(1.0);
        shake(&server, || handshakes::run(&server.target, AT_ONCE, time, fresh))
    })
}

fn approved(
    bench: &Bench,
    contender: Contender,
    aim: impl Fn(&Target) -> Target,
) -> Result<Sample> {
    let server = bench.start(contender, &Setup::default())?;
    let target = aim(&server.target);
    let devices: Vec<_> = (0..AT_ONCE).map(|slot| target.signing_operator(slot as u8)).collect();
    let run = |time| handshakes::run(&target, AT_ONCE, time, |slot| devices[slot].clone());
    run(bench.warm_up(contender))?;
    shake(&server, || run(bench.seconds(2.0)))
}

fn shake(server: &Server, work: impl FnOnce() -> Result<handshakes::Shaken>) -> Result<Sample> {
    let (shaken, cpu) = server.measured(work)?;
    let sample = Sample::default();
    let sample = sample.rate(shaken.handshakes, shaken.time).per_unit(cpu, shaken.handshakes);
    if server.target.tls.is_none() {
        return Ok(sample);
    }
    Ok(sample.put("% resumed", shaken.resumed as f64 * 100.0 / shaken.handshakes.max(1) as f64))
}
