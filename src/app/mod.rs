//! Arguments, configuration, assembly, diagnostics.
//!
//! Owns what a person types and reads. Called by `main` with the arguments; what it returns is
//! the exit code.

mod announce;
pub mod args;
pub mod check;
mod client;
pub mod config;
pub mod error;
mod metrics;
mod reload;
mod server;
mod upkeep;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use self::args::{Args, Command, HELP};
use self::config::{Config, Environment};
use self::error::StartError;
use crate::base::limits::CONSOLE_GRACE;
use crate::shell::children::launcher;
use crate::shell::{console, diagnostics};

/// Runs the program: 0 for a clean end, 1 for a failure at run time, 2 for wrong usage or
/// configuration. A client's subcommand has some more (`client::failure`).
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<_> = args.into_iter().collect();
    if args.get(1).is_some_and(|word| word == launcher::ARGUMENT) {
        return launcher::run();
    }
    if let Some(code) = client::run(&args) {
        return code;
    }
    match try_run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when there is no thread for it.
            let _unsaid = console::write(io::stderr(), format!("{}\n", error.report()));
            error.exit_code()
        }
    }
}

fn try_run(args: impl IntoIterator<Item = OsString>) -> Result<(), StartError> {
    let args = Args::parse(args)?;
    match args.command {
        Command::Help => print(HELP),
        Command::Version => print(concat!("openclaw-gateway ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Check => {
            let config = Config::load(&args, &environment())?;
            let found = check::check(&config)?;
            for warning in config.warnings().iter().chain(&found) {
                let _closed = writeln!(io::stderr(), "warning: {warning}");
            }
            print("the configuration is good\n")
        }
        Command::Serve => {
            let config = Config::load(&args, &environment())?;
            let diagnostics =
                diagnostics::install(config.log_level, config.log_format.resolve())
                    .map_err(|source| StartError::Io { what: "cannot log".to_owned(), source })?;
            for warning in config.warnings() {
                log::warn!("{warning}");
            }
            let served = server::serve(&config, &args, &diagnostics);
            diagnostics.flush(CONSOLE_GRACE);
            served
        }
    }
}

/// Prints to stdout; a reader that has gone has what it wanted.
fn print(text: &str) -> Result<(), StartError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(StartError::Io { what: "cannot write to stdout".to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn environment() -> Environment {
    Environment::read(|name| std::env::var_os(name))
}
