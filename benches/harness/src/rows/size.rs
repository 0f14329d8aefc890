//! Row 12: how large the binary is, and of how many crates it is made.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bench::{Bench, Row, Sample};
use crate::servers::Contender::Gateway;
use crate::temp_dir::TempDir;

const SIZE: &str = "MiB, stripped";
const CRATES: &str = "crates";

pub(crate) fn run(bench: &Bench, row: &mut Row) -> Result<()> {
    row.runs_max = 1;
    row.alternate(bench, &[Gateway], |_| {
        let built = mib(&bench.places.gateway)?;
        let dir = TempDir::new(&bench.places.scratch)?;
        let stripped = dir.path().join("stripped");
        output(Command::new("strip").arg("-o").arg(&stripped).arg(&bench.places.gateway))?;
        Ok(Sample::default()
            .put("MiB, as built", built)
            .put(SIZE, mib(&stripped)?)
            .put(CRATES, crates()? as f64))
    })?;
    for (name, target) in [(SIZE, 6.0), (CRATES, 120.0)] {
        let values = row.values((Gateway, name));
        row.check(name, true, target, "", values);
    }
    Ok(())
}

fn mib(file: &Path) -> Result<f64> {
    Ok(std::fs::metadata(file)?.len() as f64 / f64::from(1 << 20))
}

/// The crates that a build for this machine compiles, the gateway itself included.
fn crates() -> Result<usize> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--locked", "--edges", "normal,build", "--prefix", "none"]);
    tree.args(["--format", "{p}"]);
    let listed = output(&mut tree)?;
    // The second time a crate is shown, it is marked.
    let names: BTreeSet<_> = listed
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|l| !l.is_empty())
        .collect();
    Ok(names.len())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
