//! `restore FILE`: a backup in the place of the gateway's state.
//!
//! Owns what is said about it; `shell::store` owns what is done.

use std::fs::File;
use std::io::{self, Write as _};

use super::{Typed, count};
use crate::app::client::failure::Failure;
use crate::app::client::options::Surroundings;
use crate::app::client::words::Words;
use crate::base::time::utc;
use crate::shell::clock;
use crate::shell::store::{Restored, restore};

pub(in crate::app) fn run(words: Words, _around: &Surroundings) -> Result<(), Failure> {
    let Typed { file, state_dir } = Typed::read(words)?;
    let shown = file.display();
    let cannot =
        |error: &dyn std::fmt::Display| Failure::Local(format!("cannot restore {shown}: {error}"));
    let mut backup = File::open(&file).map_err(|error| cannot(&error))?;
    let restored = restore(&state_dir, &mut backup, clock::moment().unix_ms)
        .map_err(|error| cannot(&error))?;
    let mut text = describe(&restored);
    text.insert_str(0, &format!("restored {} from {shown}\n", state_dir.display()));
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn describe(restored: &Restored) -> String {
    let made = utc(restored.contents.made_at_ms);
    let mut text = format!("  {} records, as of {made}\n", restored.contents.records);
    let tokens = count(restored.tokens, "device token");
    text.push_str(&format!("  {tokens} dropped: devices sign once more, by themselves\n"));
    if restored.revoked > 0 {
        let devices = count(restored.revoked, "device");
        text.push_str(&format!("  {devices} revoked since then stay so\n"));
    }
    if let Some(kept) = &restored.kept {
        text.push_str(&format!("  the state before is kept as {}\n", kept.display()));
    }
    if let Some(why) = &restored.unreadable {
        text.push_str(&format!(
            "  it could not be read ({why}): look through openclaw-gateway devices for some that \
             were revoked since\n"
        ));
    }
    text
}
