//! Puts a backup in the place of the database.
//!
//! Owns the order that makes it safe: the backup is read to its end before anything is touched, the
//! new database is complete and synced before it takes the name, and the old one keeps a name
//! beside it. A crash at any moment leaves the one or the other. Called by `app` with no gateway
//! running on the directory: the lock sees to that.
//!
//! What a backup must not bring back: device tokens, because one that was revoked since would be
//! good again; devices that were revoked since; and cursors that were given since.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase};

use super::backup::{self, BackupError, Contents};
use super::error::StoreError;
use super::{database, load, schema, tables};
use crate::base::ids::Cursor;
use crate::base::limits::CURSORS_PER_SECOND_MAX;
use crate::hub::records::{DeviceRecord, DeviceState};
use crate::shell::state_dir::StateDir;

/// The new database until it is complete.
const NEW_FILE: &str = "gateway.redb.restoring";

/// What a restore did.
#[derive(Debug)]
pub struct Restored {
    /// What the backup held.
    pub contents: Contents,
    /// Where the database that was there is now, if there was one.
    pub kept: Option<PathBuf>,
    /// Why nothing of that one could be carried over, if nothing could.
    pub unreadable: Option<String>,
    /// Devices that stay revoked although the backup knows them otherwise, or not at all.
    pub revoked: usize,
    /// Device tokens of the backup that are no longer good.
    pub tokens: usize,
}

/// What must survive from the database that is replaced.
#[derive(Default)]
struct Before {
    cursors_reserved: Cursor,
    revoked: Vec<DeviceRecord>,
}

/// Restores a backup into the state directory; `now_ms` is Unix milliseconds.
///
/// The database that is there gets the name `gateway.redb.before-restore-` with the time.
pub fn restore(state_dir: &Path, file: &mut File, now_ms: u64) -> Result<Restored, BackupError> {
    let contents = backup::verify(BufReader::new(&mut *file))?;
    if contents.schema > schema::newest() {
        let known = schema::newest();
        return Err(StoreError::NewerSchema { found: contents.schema, known }.into());
    }
    file.rewind()?;

    let directory = StateDir::open(state_dir)?;
    let old = state_dir.join(database::FILE);
    let (before, unreadable) = match old.try_exists()? {
        false => (Before::default(), None),
        true => match database::guard(|| before(&directory)) {
            Ok(before) => (before, None),
            Err(error) => (Before::default(), Some(BackupError::from(error).to_string())),
        },
    };
    let new = state_dir.join(NEW_FILE);
    let written = write_new(&directory, file, &before, now_ms)
        .and_then(|counts| Ok((counts, swap(&directory, &new, &old, now_ms)?)));
    match written {
        Ok(((revoked, tokens), kept)) => {
            Ok(Restored { contents, kept, unreadable, revoked, tokens })
        }
        Err(error) => {
            // It may not exist yet; the error is what matters.
            let _absent = fs::remove_file(&new);
            Err(error)
        }
    }
}

fn before(directory: &StateDir) -> Result<Before, StoreError> {
    let database = database::open_in(directory, database::FILE)?;
    let state = load::load(&database)?;
    database.close()?;
    let revoked = state.devices.into_iter().filter(|d| d.state == DeviceState::Revoked);
    Ok(Before { cursors_reserved: state.cursors_reserved, revoked: revoked.collect() })
}

/// Builds the new database under its temporary name. Returns the devices that stay revoked and the
/// tokens that were left out.
fn write_new(
    directory: &StateDir,
    file: &mut File,
    before: &Before,
    now_ms: u64,
) -> Result<(usize, usize), BackupError> {
    match fs::remove_file(directory.path().join(NEW_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut counts = (0, 0);
    let panicked = database::guard(|| {
        let new = database::create_in(directory, NEW_FILE)?;
        Ok(fill(&new, BufReader::new(file), before, now_ms).and_then(|filled| {
            counts = filled;
            schema::migrate(&new, schema::STEPS)?;
            // Whatever a start would refuse is refused now.
            load::load(&new)?;
            new.close()?;
            Ok(())
        }))
    });
    panicked.map_err(BackupError::from)??;
    File::open(directory.path().join(NEW_FILE))?.sync_all()?;
    Ok(counts)
}

fn fill(
    new: &Database,
    from: impl Read,
    before: &Before,
    now_ms: u64,
) -> Result<(usize, usize), BackupError> {
    let transaction = new.begin_write()?;
    tables::create(&transaction)?;
    let mut tokens = 0;
    let contents = backup::read(from, |table, key, value| {
        if table == tables::TOKENS_NAME {
            tokens += 1;
            return Ok(());
        }
        match tables::put_record(&transaction, table, key, value)? {
            true => Ok(()),
            false => Err(BackupError::Damaged("it has a table that this gateway does not know")),
        }
    })?;
    schema::set_version(&transaction, contents.schema)?;
    let revoked = tables::keep_revoked(&transaction, &before.revoked)?;
    // No gateway gives cursors so fast: where the clock is right, these are all new.
    let unused = Cursor((now_ms / 1_000).saturating_mul(CURSORS_PER_SECOND_MAX));
    tables::reserve_at_least(&transaction, unused.max(before.cursors_reserved))?;
    transaction.commit()?;
    Ok((revoked, tokens))
}

/// Gives the new database its name. The old one has two for a moment, and one is always a whole
/// database.
fn swap(
    directory: &StateDir,
    new: &Path,
    old: &Path,
    now_ms: u64,
) -> Result<Option<PathBuf>, BackupError> {
    let mut kept = None;
    if old.try_exists()? {
        let stamp = crate::base::time::utc(now_ms).replace([':', '.'], "-");
        let path = old.with_file_name(format!("{}.before-restore-{stamp}", database::FILE));
        fs::hard_link(old, &path)?;
        kept = Some(path);
    }
    give_to_owner(directory, new)?;
    fs::rename(new, old)?;
    directory.sync()?;
    Ok(kept)
}

/// Root restores for the gateway's user: what it creates is that user's, who owns the directory.
fn give_to_owner(directory: &StateDir, new: &Path) -> Result<(), BackupError> {
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(directory.path())?;
        for file in [new, &directory.lock_path()] {
            std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

/// A snapshot of the database in a directory that no gateway uses, which it locks.
pub fn snapshot_at_rest<T>(
    state_dir: &Path,
    work: impl FnOnce(&backup::Snapshot) -> Result<T, BackupError>,
) -> Result<T, BackupError> {
    let found = state_dir.join(database::FILE);
    if !found.try_exists()? {
        let problem = format!("there is no database {}", found.display());
        return Err(BackupError::Io(std::io::Error::other(problem)));
    }
    let directory = StateDir::open(state_dir)?;
    let database = database::guard(|| database::open_in(&directory, database::FILE))?;
    let done = work(&backup::Snapshot::new(database.begin_read()?));
    database::discard(database);
    done
}
