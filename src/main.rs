//! The `openclaw-gateway` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    openclaw_gateway::app::run(std::env::args_os())
}
