//! `reload`: has the gateway on this machine read its configuration again, and tells what came of
//! it.

use std::io::{self, Write as _};

use super::{local, state_dir_typed};
use crate::app::client::failure::Failure;
use crate::app::client::options::Surroundings;
use crate::app::client::words::Words;
use crate::base::limits::RELOAD_PATIENCE;
use crate::shell::service::RELOAD_PATH;

pub(in crate::app) fn run(words: Words, _around: &Surroundings) -> Result<(), Failure> {
    let state_dir = state_dir_typed(words)?;
    let shown = state_dir.display();
    // The gateway gives up first.
    match local::get(&state_dir, RELOAD_PATH, 2 * RELOAD_PATIENCE) {
        Ok(Some(answer)) if answer.status == 200 => {
            Ok(writeln!(io::stdout(), "{}", answer.text())?)
        }
        Ok(Some(answer)) => Err(Failure::Local(answer.text())),
        Ok(None) => Err(Failure::Local(format!("no gateway runs on {shown}"))),
        Err(error) => Err(Failure::Local(format!("the gateway on {shown} is silent: {error}"))),
    }
}
