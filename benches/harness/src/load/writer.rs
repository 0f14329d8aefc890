//! A program that writes lines at a given rate, as a gateway starts it.
//!
//! It is the benchmark's own binary (`openclaw-bench --write FILE`), so that the rate is even and
//! nothing but the writing costs time. It ends with its pipe.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::given;
use crate::client::conn::Conn;
use crate::client::frames;

/// The option with which the program runs.
pub(crate) const OPTION: &str = "--write";

const BYTES_PER_SECOND: f64 = 100e6;
const LINE: &[u8] = b"a line of a program that talks without end, as long as such lines are here\n";
/// What is written at a time.
const PIECE_BYTES: usize = 100_000;
/// How often it notes how much it has written.
const NOTE_INTERVAL: Duration = Duration::from_millis(100);

/// The program itself: writes until nobody reads, and notes in the file how many bytes that were.
pub(crate) fn run(note: &Path) -> Result<()> {
    let piece = LINE.repeat(PIECE_BYTES / LINE.len());
    let mut out = std::io::stdout().lock();
    let began = Instant::now();
    let mut noted = None::<Instant>;
    for pieces in 1_u64.. {
        let written = pieces * piece.len() as u64;
        let due = Duration::from_secs_f64(written as f64 / BYTES_PER_SECOND);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        if out.write_all(&piece).and_then(|()| out.flush()).is_err() {
            break;
        }
        if noted.is_none_or(|noted| noted.elapsed() >= NOTE_INTERVAL) {
            // Whoever reads it finds a whole number.
            let beside = note.with_extension("new");
            fs::write(&beside, written.to_string())?;
            fs::rename(&beside, note)?;
            noted = Some(Instant::now());
        }
    }
    Ok(())
}

/// The program, while a gateway runs it.
pub(crate) struct Writer {
    note: PathBuf,
    began: Instant,
}

impl Writer {
    /// What a gateway must be told to run it.
    pub(crate) fn config() -> Result<String> {
        let program = std::env::current_exe()?;
        Ok(format!(
            "[gateway.spawn]\nallowedCommands = [{}]\nallowedDirs = [\"/\"]\n",
            json!(program)
        ))
    }

    /// Has a gateway start it, which ends it when it ends itself.
    pub(crate) fn start(operator: &mut Conn, directory: &Path) -> Result<Self> {
        let note = directory.join("written");
        let request = json!({
            "type": "req",
            "id": "w",
            "method": "spawn",
            "params": { "command": std::env::current_exe()?, "args": [OPTION, note] },
        });
        given::run(operator, 1, [frames::text(&request.to_string())])?;
        Ok(Self { note, began: Instant::now() })
    }

    /// How much it has written, in MB (10^6 bytes) for each second.
    pub(crate) fn rate(&self) -> Result<f64> {
        let noted = fs::read_to_string(&self.note).context("the program has written nothing")?;
        Ok(noted.parse::<f64>()? / 1e6 / self.began.elapsed().as_secs_f64())
    }
}
