//! Arguments, configuration, assembly, diagnostics.

pub mod args;
pub mod check;
pub mod config;
pub mod error;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program.
pub fn run(_args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::SUCCESS
}
