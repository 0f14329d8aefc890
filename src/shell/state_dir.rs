//! The state directory: private to its owner, used by one gateway at a time.
//!
//! Owns the directory's mode (0700), the mode of the files in it (0600) and the lock file.
//! Knows nothing of what is stored. Called by `shell::store` at the start, and by `app::check`,
//! which asks whether a start would succeed without leaving anything behind.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fmt, fs};

use rustix::fs::Access;

/// Whoever holds a lock on this file owns the directory. It holds the holder's process id, and
/// once the holder has left in order its mark instead.
const LOCK_FILE: &str = "gateway.lock";

/// Nobody but the owner may look in.
const DIRECTORY_MODE: u32 = 0o700;
/// Nobody but the owner may read or write.
const FILE_MODE: u32 = 0o600;
/// What group and others could have.
const FOREIGN_BITS: u32 = 0o077;

/// What the lock file holds of a holder that has left in order begins like this.
const ORDER: &str = "left in order: ";

/// A process id is at most ten digits, a mark some 120 bytes; what else the file may hold is not
/// ours.
const LOCK_FILE_BYTES_MAX: u64 = 256;

/// A state directory that this process owns until the value is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Held for its lock. The kernel releases it when the process ends, however it ends.
    lock: File,
    left_in_order: Mutex<Option<String>>,
}

impl StateDir {
    /// Creates the directory if it is missing, makes it private, and locks it.
    ///
    /// A directory or file that others could read is repaired, with a warning in the diagnostics.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let failed = |action: &'static str| {
            move |source| StateDirError::Io { action, path: path.to_owned(), source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)
            .map_err(failed("create state directory"))?;
        make_private(path, DIRECTORY_MODE).map_err(failed("make state directory private"))?;
        let (lock, left_in_order) = lock(path)?;
        // Of the directory's name in its parent. A root has none and needs no sync.
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(parent).map_err(failed("sync parent of state directory"))?;
        }
        let left_in_order = Mutex::new(left_in_order);
        Ok(Self { path: path.to_owned(), lock, left_in_order })
    }

    /// What the holder before us noted when it left in order, if it did. Says so once: what we do
    /// since is our own.
    pub fn take_order(&self) -> Option<String> {
        self.left_in_order.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes for whoever comes next that everything in the directory is in order, written and
    /// synced, with one line by which to tell whether it was changed since. Call this last.
    pub fn mark_order(&self, line: &str) {
        // Without the mark the next start is slower, and nothing else.
        if let Err(error) = rewrite(&self.lock, &format!("{ORDER}{line}")) {
            log::debug!("cannot mark the lock file: {error}");
        }
    }

    /// Opens a file in the directory for reading and writing, created if it is missing.
    ///
    /// Its name is on disk when this returns: what is synced into the file can be found again.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        let file = open_private(&self.path.join(name))?;
        sync_directory(&self.path)?;
        Ok(file)
    }

    /// Puts the names in the directory on disk.
    pub fn sync(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }

    /// The file whose lock is held.
    pub fn lock_path(&self) -> PathBuf {
        self.path.join(LOCK_FILE)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether [`StateDir::open`] would find a directory it can write to, or a place to create one.
///
/// Creates nothing and does not take the lock: a running gateway is no error here.
pub fn check(path: &Path) -> Result<(), StateDirError> {
    let failed = |source| StateDirError::Io {
        action: "write to state directory",
        path: path.to_owned(),
        source,
    };
    let absolute = std::path::absolute(path).map_err(failed)?;
    let existing = absolute.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&absolute);
    if !existing.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK).map_err(|e| failed(e.into()))
}

/// The locked file, and the mark in it.
fn lock(directory: &Path) -> Result<(File, Option<String>), StateDirError> {
    let path = directory.join(LOCK_FILE);
    let failed = |action: &'static str| {
        let path = path.clone();
        move |source| StateDirError::Io { action, path, source }
    };
    let mut file = open_private(&path).map_err(failed("open lock file"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StateDirError::InUse {
                path: directory.to_owned(),
                holder: read_holder(&mut file),
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
    }
    let mark = read_text(&mut file).and_then(|text| text.strip_prefix(ORDER).map(str::to_owned));
    // The id helps a person, and tells that we did not leave in order if it stays; a full disk must
    // not keep a gateway from starting and saying so.
    if let Err(error) = rewrite(&file, &std::process::id().to_string()) {
        log::warn!("cannot write process id to lock file: {error}");
    }
    Ok((file, mark))
}

/// The process id in the lock file, unless its holder has not written it yet.
fn read_holder(file: &mut File) -> Option<u32> {
    read_text(file)?.parse().ok()
}

/// The line in the lock file, if it can be read.
fn read_text(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.take(LOCK_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text.trim_end().to_owned())
}

/// Replaces what the lock file holds by one line. Where that fails it is empty, or holds part of
/// the line, neither of which is a mark of order that anybody would believe.
fn rewrite(mut file: &File, line: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{line}")
}

fn open_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)?;
    make_private(path, FILE_MODE)?;
    Ok(file)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems have nothing to sync in a directory, and say so like this.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

fn make_private(path: &Path, mode: u32) -> io::Result<()> {
    let found = fs::metadata(path)?.mode() & 0o7777;
    if found & FOREIGN_BITS == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    log::warn!(
        "{} could be opened by others (mode {found:04o}); its mode is now {mode:04o}",
        path.display()
    );
    Ok(())
}

/// Why a state directory cannot be used.
#[derive(Debug)]
pub enum StateDirError {
    /// Another process holds the lock.
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, if it wrote its id.
        holder: Option<u32>,
    },
    /// A system call failed.
    Io {
        /// What was tried, as in "cannot …".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl fmt::Display for StateDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path, holder } => {
                write!(f, "another gateway uses this state directory: {}", path.display())?;
                match holder {
                    Some(pid) => write!(f, " (process {pid})")?,
                    None => write!(f, " (process unknown)")?,
                }
                f.write_str("; stop it, or choose another directory with --state-dir")
            }
            Self::Io { action, path, .. } => write!(f, "cannot {action} {}", path.display()),
        }
    }
}

impl std::error::Error for StateDirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InUse { .. } => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::test_dir::TestDir;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn directory_and_files_are_created_private() {
        let dir = TestDir::new("state-private");
        let path = dir.path().join("deep/state");
        let state = StateDir::open(&path).unwrap();
        state.open_file("data").unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("data")), 0o600);
        assert_eq!(mode(&path.join(LOCK_FILE)), 0o600);
    }

    #[test]
    fn wider_modes_are_repaired() {
        let dir = TestDir::new("state-repair");
        let path = dir.path().join("state");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        fs::write(path.join("data"), b"x").unwrap();
        fs::set_permissions(path.join("data"), Permissions::from_mode(0o644)).unwrap();
        let state = StateDir::open(&path).unwrap();
        state.open_file("data").unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("data")), 0o600);
    }

    #[test]
    fn second_owner_is_told_who_the_first_is() {
        let dir = TestDir::new("state-lock");
        let first = StateDir::open(dir.path()).unwrap();
        let error = StateDir::open(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("another gateway uses this state directory: "), "{error}");
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(first);
        StateDir::open(dir.path()).unwrap();
    }

    #[test]
    fn only_who_leaves_in_order_is_said_to_have_done_so() {
        let dir = TestDir::new("state-order");
        let take = |leave_in_order: bool| {
            let state = StateDir::open(dir.path()).unwrap();
            let order = state.take_order();
            assert_eq!(state.take_order(), None, "what was left in order is not so twice");
            if leave_in_order {
                state.mark_order("as it was");
            }
            order
        };
        assert_eq!(take(false), None, "nobody was there before");
        assert_eq!(take(true), None);
        assert_eq!(take(false).as_deref(), Some("as it was"));
        assert_eq!(take(false), None);
    }

    #[test]
    fn check_looks_but_does_not_touch() {
        let dir = TestDir::new("state-check");
        let path = dir.path().join("a/b");
        check(&path).unwrap();
        assert!(!dir.path().join("a").exists());
        fs::write(dir.path().join("file"), b"").unwrap();
        let error = check(&dir.path().join("file/state")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write to state directory "), "{error}");
        let open = StateDir::open(dir.path()).unwrap();
        check(open.path()).unwrap();
    }
}
