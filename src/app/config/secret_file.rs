//! Secrets in files: read at the start and on reload, refused when every user of the machine could
//! read them too.
//!
//! Called by `config`, for `tokenFile` and `passwordFile`, and by `app::check` for the private key.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::values::{Rule, TOKEN};
use crate::base::limits::SECRET_FILE_BYTES_MAX;
use crate::base::secret::Secret;

/// May be read by those who are neither the owner nor in the group. The group may read: that is
/// how secrets are handed to services.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Reads a secret, which must not be empty. One line end at the end is not part of it. The error says what to do.
pub(super) fn read(path: &Path, (allowed, parse): Rule<Secret>) -> Result<Secret, String> {
    let bytes = read_private(path, SECRET_FILE_BYTES_MAX)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("{} does not hold UTF-8 text", path.display()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        // Perhaps it is being written: then a reload must not withdraw the secret.
        return Err(format!("{} is empty", path.display()));
    }
    parse(text).ok_or_else(|| format!("{} must hold {allowed}", path.display()))
}

/// Reads a shared secret by the rule of `gateway.auth.token`: for the command-line
/// client's `--token-file`.
pub(crate) fn read_token(path: &Path) -> Result<Secret, String> {
    read(path, TOKEN)
}

/// Reads a file that others must not be able to read.
pub(crate) fn read_private(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let failed = |error: io::Error| format!("cannot read {shown}: {error}");
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if metadata.mode() & READABLE_BY_OTHERS != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(format!("{shown} is world-readable (mode {mode:04o}); chmod o-r {shown}"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("{shown} is over {bytes_max} bytes"));
    }
    Ok(bytes)
}
