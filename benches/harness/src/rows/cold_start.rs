//! Row 10: from starting the program to the first completed handshake.

use std::path::Path;

use anyhow::Result;

use crate::bench::{Bench, Row, Sample};
use crate::client::opening::open_all;
use crate::load::given;
use crate::servers::Contender::{self, Floor, Gateway, Reference};
use crate::servers::Setup;
use crate::target;
use crate::temp_dir::TempDir;

const SESSIONS: usize = 10_000;
const ENTRIES: usize = 100_000;
const BATCH: usize = 100;
const IN_FLIGHT: usize = 32;

const EMPTY: &str = "start ms";
const FULL: &str = "start ms with state";

pub(crate) fn run(bench: &Bench, row: &mut Row) -> Result<()> {
    let dir = TempDir::new(&bench.places.scratch)?;
    let full = dir.path().join("state");
    prepare(bench, &full)?;
    row.alternate(bench, &[Gateway, Floor, Reference], |contender| {
        let empty = start(bench, contender, &Setup::default())?;
        let sample = Sample::default().put(EMPTY, empty);
        if contender != Gateway {
            return Ok(sample);
        }
        let setup = Setup { state_dir: Some(full.clone()), ..Setup::default() };
        Ok(sample.put(FULL, start(bench, contender, &setup)?))
    })?;
    row.at_most("empty / T", 5.0, (Gateway, EMPTY), (Floor, EMPTY));
    row.at_most("empty / O", 0.02, (Gateway, EMPTY), (Reference, EMPTY));
    row.at_most("with state / T", 40.0, (Gateway, FULL), (Floor, EMPTY));
    Ok(())
}

/// Milliseconds.
fn start(bench: &Bench, contender: Contender, setup: &Setup) -> Result<f64> {
    let server = bench.start(contender, setup)?;
    let operator = server.target.operator();
    let _conns = open_all(&server.target, 1, 1, |_| &operator)?;
    Ok(server.process.since.elapsed().as_secs_f64() * 1e3)
}

/// Makes the state through the gateway itself, as its agents would.
fn prepare(bench: &Bench, state_dir: &Path) -> Result<()> {
    let setup = Setup { state_dir: Some(state_dir.to_owned()), ..Setup::default() };
    let server = bench.start(Gateway, &setup)?;
    let agent = target::agent(0);
    let mut agents = open_all(&server.target, 1, 1, |_| &agent)?;
    given::run(&mut agents[0], IN_FLIGHT, (0..SESSIONS).map(target::session_update))?;
    let batch = target::append(BATCH);
    given::run(&mut agents[0], IN_FLIGHT, std::iter::repeat_n(batch, ENTRIES / BATCH))
}
