//! The benchmark: starts the gateway and its yardsticks on loopback, drives them, and writes
//! `report.md`, `report.json` and plots. `make bench` and `make bench-quick` run it; what its
//! numbers mean is in `docs/performance.md`.

mod bench;
mod client;
mod load;
mod process;
mod report;
mod rows;
mod servers;
mod stats;
mod stop;
mod target;
mod temp_dir;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use bench::{Bench, Row};
use servers::Places;

/// What was typed.
struct Arguments {
    bench: Bench,
    rows: Vec<u32>,
    out: PathBuf,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut typed = std::env::args_os().skip(1);
    let first = (typed.next(), typed.next());
    if let (Some(option), Some(file)) = &first
        && option == load::writer::OPTION
    {
        load::writer::run(file.as_ref())?;
        return Ok(ExitCode::SUCCESS);
    }
    stop::install()?;
    if let (Some(option), Some(file)) = &first
        && option == "--render"
    {
        print!("{}", report::render(file.as_ref())?);
        return Ok(ExitCode::SUCCESS);
    }
    let arguments = arguments()?;
    std::fs::create_dir_all(&arguments.out)?;
    raise_descriptor_limit()?;
    let mut measured = Vec::new();
    for entry in rows::ALL.iter().filter(|entry| arguments.rows.contains(&entry.number)) {
        eprintln!("row {}: {}", entry.number, entry.title);
        let start = Instant::now();
        let mut row = Row::new(entry.number, entry.title);
        if let Err(error) = (entry.run)(&arguments.bench, &mut row) {
            eprintln!("  row {} failed: {error:#}", entry.number);
            row.failure = Some(format!("{error:#}"));
        }
        eprintln!("  row {} took {:.0} s", entry.number, start.elapsed().as_secs_f64());
        measured.push(row);
        if stop::is_asked() {
            break;
        }
    }
    report::write(&arguments.out, &arguments.bench, &measured)?;
    eprintln!("the report is {}", arguments.out.join("report.md").display());
    let is_whole = measured.iter().all(|row| row.failure.is_none());
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Row 7 holds 10,000 sockets; the servers inherit what is allowed here.
fn raise_descriptor_limit() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("RLIMIT_NOFILE")
}

fn arguments() -> Result<Arguments> {
    use lexopt::prelude::{Long, ValueExt};
    let mut places = [const { None::<PathBuf> }; 5];
    let names = ["gateway", "floor", "node", "reference", "out"];
    let mut runs = None;
    let mut is_quick = false;
    let mut rows: Vec<u32> = rows::ALL.iter().map(|entry| entry.number).collect();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => is_quick = true,
            Long("runs") => runs = Some(parser.value()?.parse()?),
            Long("rows") => {
                let list = parser.value()?.string()?;
                rows = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            Long(name) => match names.iter().position(|known| *known == name) {
                Some(index) => places[index] = Some(parser.value()?.into()),
                None => bail!("unknown option --{name}"),
            },
            other => return Err(other.unexpected().into()),
        }
    }
    let [gateway, floor, node, reference, out] = places;
    let out = out.context("--out is missing")?;
    let places = Places {
        gateway: gateway.context("--gateway is missing")?,
        floor: floor.context("--floor is missing")?,
        node,
        reference,
        scratch: out.join("state"),
        broken: Mutex::default(),
    };
    let runs = runs.unwrap_or(if is_quick { 3 } else { 5 });
    Ok(Arguments { bench: Bench { places, runs, is_quick }, rows, out })
}
