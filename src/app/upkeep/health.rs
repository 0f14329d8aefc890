//! `health`: whether the gateway on this machine takes reports, as an exit code.
//!
//! For health checks of containers and monitors: it needs no credential, no port and no curl.

use std::io::{self, Write as _};

use super::{local, state_dir_typed};
use crate::app::client::failure::Failure;
use crate::app::client::options::Surroundings;
use crate::app::client::words::Words;
use crate::base::limits::HEALTH_PATIENCE;

pub(in crate::app) fn run(words: Words, _around: &Surroundings) -> Result<(), Failure> {
    let state_dir = state_dir_typed(words)?;
    let shown = state_dir.display();
    match local::get(&state_dir, "/readyz", HEALTH_PATIENCE) {
        Ok(Some(answer)) if answer.status == 200 => Ok(io::stdout().write_all(b"ready\n")?),
        Ok(Some(answer)) => Err(Failure::Local(format!("not ready: {}", answer.text()))),
        Ok(None) => Err(Failure::Local(format!("no gateway runs on {shown}"))),
        Err(error) => Err(Failure::Local(format!("the gateway on {shown} is silent: {error}"))),
    }
}
