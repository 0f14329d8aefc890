//! The command-line client: the same binary, on the other side of the wire.
//!
//! Owns the subcommands, one file each, and the connection that they share; `failure` owns the
//! exit codes. Knows nothing of the hub: it sees what every client sees (`docs/protocol.md`). The
//! subcommands about a gateway's files are in the table, too; they live in `upkeep`.
//! Called by `app::run` before the gateway's own arguments are looked at.

mod call;
mod connection;
mod devices;
mod dial;
pub(super) mod failure;
mod identity;
mod login;
pub(super) mod options;
mod report;
pub(super) mod screen;
mod sessions;
mod status;
mod tail;
mod target;
mod trust;
mod when;
pub(super) mod words;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use self::failure::Failure;
use self::options::Surroundings;
use self::words::Words;
use super::upkeep;

/// A subcommand.
struct Subcommand {
    name: &'static str,
    help: &'static str,
    /// What its help ends with.
    common: &'static str,
    run: Run,
}

const SUBCOMMANDS: [Subcommand; 11] = [
    online("call", include_str!("help/call.txt"), call::run),
    online("tail", include_str!("help/tail.txt"), tail::run),
    online("report", include_str!("help/report.txt"), report::run),
    online("sessions", include_str!("help/sessions.txt"), sessions::run),
    online("status", include_str!("help/status.txt"), status::run),
    online("devices", include_str!("help/devices.txt"), devices::run),
    at_home("backup", include_str!("help/backup.txt"), upkeep::backup::run),
    at_home("restore", include_str!("help/restore.txt"), upkeep::restore::run),
    at_home("doctor", include_str!("help/doctor.txt"), upkeep::doctor::run),
    at_home("health", include_str!("help/health.txt"), upkeep::health::run),
    at_home("reload", include_str!("help/reload.txt"), upkeep::reload::run),
];

type Run = fn(Words, &Surroundings) -> Result<(), Failure>;

/// A subcommand that talks to a gateway, with the options that all of these have.
const fn online(name: &'static str, help: &'static str, run: Run) -> Subcommand {
    Subcommand { name, help, common: COMMON_HELP, run }
}

/// A subcommand about the files of a gateway on this machine; its help is whole.
const fn at_home(name: &'static str, help: &'static str, run: Run) -> Subcommand {
    Subcommand { name, help, common: "", run }
}

/// What the help of those ends with that talk to a gateway.
const COMMON_HELP: &str = include_str!("help/common.txt");

/// The names of the subcommands.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SUBCOMMANDS.iter().map(|subcommand| subcommand.name)
}

/// Runs the subcommand that the first argument after the program's name names; `None` if it names
/// none.
pub(super) fn run(args: &[OsString]) -> Option<ExitCode> {
    let (name, words) = args.get(1..)?.split_first()?;
    let subcommand = SUBCOMMANDS.iter().find(|subcommand| name == subcommand.name)?;
    let is_help = |word: &&OsString| *word == "--help" || *word == "-h";
    let before_end = words.iter().take_while(|word| *word != "--");
    let result = match before_end.clone().find(is_help) {
        Some(_) => print_help(subcommand),
        None => (subcommand.run)(Words::new(words.to_vec()), &Surroundings::read()),
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell when stderr is closed.
            let _closed = io::stderr().write_all(failure.report(subcommand.name).as_bytes());
            failure.exit_code()
        }
    })
}

fn print_help(subcommand: &Subcommand) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(subcommand.help.as_bytes())?;
    if !subcommand.common.is_empty() {
        stdout.write_all(b"\n")?;
        stdout.write_all(subcommand.common.as_bytes())?;
    }
    stdout.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_help_names_the_options_of_all() {
        for option in options::NAMES {
            assert!(COMMON_HELP.contains(&format!("--{option}")), "{option}");
        }
    }
}
