//! What the gateway tells the launcher, and what it hears back, over one socket.
//!
//! Both ends are the same binary, so the form may change with any version. The gateway sends the
//! length, the instructions as JSON, later one byte [`GO`]; the end of file means: exit. With the
//! first byte comes, where there is one, the descriptor that becomes the program's stdin.
//! The launcher answers nothing until it was told to go: then [`READY`], and at once the end of
//! file, because the socket closes when the program takes over; or [`FAILED`] and a text.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::base::limits::INSTRUCTIONS_BYTES_MAX;

/// Become the program.
pub(super) const GO: u8 = b'G';
/// Everything is prepared; what follows is the program.
pub(super) const READY: u8 = b'R';
/// It cannot become the program; why is the rest.
pub(super) const FAILED: u8 = b'F';

/// All that the launcher knows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Instructions {
    /// Who must be its parent: it exits when that has gone.
    pub(super) gateway: u32,
    pub(super) program: OsString,
    pub(super) argv0: String,
    pub(super) args: Vec<String>,
    pub(super) cwd: OsString,
    /// All of the program's environment.
    pub(super) env: Vec<(OsString, OsString)>,
    /// Variables that were asked for by name, so that a user's own do not replace them.
    pub(super) env_asked: Vec<String>,
    pub(super) run_as: Option<String>,
    /// Whether a descriptor for stdin comes along.
    pub(super) stdin: bool,
    /// The soft limit of open files that the gateway was started with.
    pub(super) open_files: Option<u64>,
}

impl Instructions {
    /// The length and the text. An error says what cannot be told.
    pub(super) fn encode(&self) -> Result<Vec<u8>, String> {
        let text = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        let length =
            u32::try_from(text.len()).ok().filter(|length| *length <= INSTRUCTIONS_BYTES_MAX);
        let Some(length) = length else {
            return Err(format!("arguments and environment take {} bytes", text.len()));
        };
        let mut encoded = length.to_le_bytes().to_vec();
        encoded.extend(text);
        Ok(encoded)
    }
}
