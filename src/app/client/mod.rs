//! The command-line client: the same binary, on the other side of the wire.
//!
//! Owns the subcommands, one file each, and the connection that they share; `failure` owns the
//! exit codes. Knows nothing of the hub: it sees what every client sees (`docs/protocol.md`).
//! Called by `app::run` before the gateway's own arguments are looked at.

mod call;
mod connection;
mod devices;
mod dial;
mod failure;
mod identity;
mod login;
mod options;
mod report;
mod screen;
mod sessions;
mod status;
mod tail;
mod target;
mod trust;
mod when;
mod words;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use self::failure::Failure;
use self::options::Surroundings;
use self::words::Words;

/// A subcommand.
struct Subcommand {
    name: &'static str,
    help: &'static str,
    run: fn(Words, &Surroundings) -> Result<(), Failure>,
}

const SUBCOMMANDS: [Subcommand; 6] = [
    Subcommand { name: "call", help: include_str!("help/call.txt"), run: call::run },
    Subcommand { name: "tail", help: include_str!("help/tail.txt"), run: tail::run },
    Subcommand { name: "report", help: include_str!("help/report.txt"), run: report::run },
    Subcommand { name: "sessions", help: include_str!("help/sessions.txt"), run: sessions::run },
    Subcommand { name: "status", help: include_str!("help/status.txt"), run: status::run },
    Subcommand { name: "devices", help: include_str!("help/devices.txt"), run: devices::run },
];

/// What every subcommand's help ends with.
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
    stdout.write_all(b"\n")?;
    stdout.write_all(COMMON_HELP.as_bytes())?;
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
