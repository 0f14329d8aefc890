//! `backup FILE`: the gateway's state as one file, of one moment.
//!
//! Asks the gateway that runs on the state directory, over its control socket; where none runs,
//! reads the database itself. Owns the file until it has its name: written under another, checked
//! as a restore would check it, synced, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::local::CopyError;
use super::{Typed, local};
use crate::app::client::failure::Failure;
use crate::app::client::options::Surroundings;
use crate::app::client::words::Words;
use crate::base::limits::{BACKUP_STALL_MAX, STORE_SNAPSHOT_WAIT};
use crate::base::time::utc;
use crate::shell::backup_stream::BACKUP_PATH;
use crate::shell::clock;
use crate::shell::store::{self, BackupError, Contents};

pub(in crate::app) fn run(words: Words, _around: &Surroundings) -> Result<(), Failure> {
    let Typed { file, state_dir } = Typed::read(words)?;
    let mut partial = Partial::create(&file).map_err(|e| cannot(&file, &e))?;
    copy(&state_dir, &file, &mut partial.file)?;
    let contents = check(&mut partial.file).map_err(|error| cannot(&file, &error))?;
    partial.publish(&file).map_err(|error| cannot(&file, &error))?;
    let (records, bytes) = (contents.records, contents.bytes);
    let made = utc(contents.made_at_ms);
    let text = format!("{}: {records} records, {bytes} bytes, as of {made}\n", file.display());
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn cannot(file: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Local(format!("cannot write the backup {}: {error}", file.display()))
}

/// A backup without its name. Removed on drop, unless it was published.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn create(file: &Path) -> io::Result<Self> {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let path = file.with_file_name(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Self { file: options.open(&path)?, path })
    }

    /// Gives it its name, for good.
    fn publish(self, file: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, file)?;
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        match File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all() {
            // Some file systems have nothing to sync in a directory.
            Err(error) if error.kind() != ErrorKind::InvalidInput => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It has its name already, or nobody wants it.
        let _renamed = fs::remove_file(&self.path);
    }
}

fn check(file: &mut File) -> Result<Contents, BackupError> {
    file.rewind()?;
    store::verify(BufReader::new(file))
}

/// Writes the backup, which will be called `name`: the running gateway's, else from the database at
/// rest.
fn copy(state_dir: &Path, name: &Path, out: &mut File) -> Result<(), Failure> {
    let refused =
        |why: &dyn std::fmt::Display| Failure::Local(format!("the gateway gives no backup: {why}"));
    match local::get(state_dir, BACKUP_PATH, STORE_SNAPSHOT_WAIT * 2) {
        Ok(None) => at_rest(state_dir, out).map_err(|error| cannot(name, &error)),
        Ok(Some(answer)) if answer.status == 200 => {
            answer.copy(out, BACKUP_STALL_MAX).map_err(|error| match error {
                CopyError::Read(error) => refused(&error),
                CopyError::Write(error) => cannot(name, &error),
            })
        }
        Ok(Some(answer)) => Err(refused(&answer.text())),
        Err(error) => Err(refused(&error)),
    }
}

fn at_rest(state_dir: &Path, file: &mut File) -> Result<(), BackupError> {
    store::snapshot_at_rest(state_dir, |snapshot| {
        snapshot.write(BufWriter::new(file), clock::moment().unix_ms).map(drop)
    })
}
