//! Opening the database, first and again, and keeping the library's panics from spreading.
//!
//! Owns where the bytes come from: the file in the state directory, or, in tests, a backend that
//! fails on demand. Called by the store at the start and by `worker` to recover.

use std::any::Any;
use std::cell::Cell;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Builder, Database, StorageBackend};
use rustix::fs::Advice;

use super::error::StoreError;
use super::file::DatabaseFile;
use super::schema;
use crate::base::limits::STORE_CACHE_BYTES_MAX;
use crate::shell::state_dir::StateDir;

/// The database in the state directory.
pub(super) const FILE: &str = "gateway.redb";

/// Opens the database anew each time it is asked to. Holds what must outlive the database, which
/// is the state directory's lock.
pub(super) struct Opener {
    source: Source,
    /// Whether the last opening believed pages that it did not check.
    has_believed: Cell<bool>,
    /// The file that was opened last: its device and inode.
    opened: Cell<Option<(u64, u64)>>,
}

enum Source {
    Directory(StateDir),
    Other(Box<dyn Fn() -> Result<Database, StoreError> + Send>),
}

impl Opener {
    /// Opens the file in the state directory.
    pub(super) fn file(directory: StateDir) -> Self {
        Self::new(Source::Directory(directory))
    }

    /// Opens whatever the function returns.
    pub(super) fn backend<B: StorageBackend>(
        backend: impl Fn() -> io::Result<B> + Send + 'static,
    ) -> Self {
        let opening = move || {
            let failed = |source| StoreError::File { path: FILE.into(), source };
            open(backend().map_err(failed)?, Check::Pages)
        };
        Self::new(Source::Other(Box::new(opening)))
    }

    fn new(source: Source) -> Self {
        Self { source, has_believed: Cell::new(false), opened: Cell::new(None) }
    }

    /// A gateway that left in order saw no failure, and wrote its database to the end: where the
    /// file is the one that it left, untouched, its pages are believed. Else, and at every later
    /// opening, each page is asked of the disk and held against its checksum.
    pub(super) fn open(&self) -> Result<Database, StoreError> {
        let directory = match &self.source {
            Source::Directory(directory) => directory,
            Source::Other(opening) => return opening(),
        };
        let file = directory.open_file(FILE).map_err(|e| failed(directory, FILE, e))?;
        let found = file.metadata().map_err(|e| failed(directory, FILE, e))?;
        let is_as_left = directory.take_order().is_some_and(|left| left == identity(&found));
        self.has_believed.set(is_as_left);
        self.opened.set(Some((found.dev(), found.ino())));
        if is_as_left {
            return open(DatabaseFile::new(file), Check::Records);
        }
        forget_cached(&file, directory, FILE);
        open(DatabaseFile::new(file), Check::Pages)
    }

    /// Whether the last opening believed pages that it did not check. The next one checks them.
    pub(super) fn has_believed(&self) -> bool {
        self.has_believed.get()
    }

    /// Notes that the database, which is closed, was opened and loaded and has not failed since:
    /// the next gateway may believe its pages.
    pub(super) fn leave_in_order(&self) {
        let Source::Directory(directory) = &self.source else { return };
        let path = directory.path().join(FILE);
        match fs::metadata(&path) {
            // Another file that was put there meanwhile is none of ours.
            Ok(found) if self.opened.get() == Some((found.dev(), found.ino())) => {
                directory.mark_order(&identity(&found));
            }
            Ok(_) => log::warn!("{} is not the file that was opened", path.display()),
            Err(error) => log::debug!("cannot look at {}: {error}", path.display()),
        }
    }
}

/// Which file it is and when it was last changed, in one line: another one, one that was put
/// there, or one that somebody wrote to has another.
pub(super) fn identity(file: &Metadata) -> String {
    format!(
        "inode {} of {}, {} bytes, written {}.{:09}, changed {}.{:09}",
        file.ino(),
        file.dev(),
        file.len(),
        file.mtime(),
        file.mtime_nsec(),
        file.ctime(),
        file.ctime_nsec(),
    )
}

/// Opens, or creates, the file of this name in the state directory, and checks all of it.
pub(super) fn open_in(directory: &StateDir, name: &str) -> Result<Database, StoreError> {
    open(open_backend(directory, name)?, Check::Pages)
}

/// Creates the file of this name in the state directory, without a table in it.
pub(super) fn create_in(directory: &StateDir, name: &str) -> Result<Database, StoreError> {
    let file = open_backend(directory, name)?;
    Ok(Builder::new().set_cache_size(STORE_CACHE_BYTES_MAX).create_with_backend(file)?)
}

fn open_backend(directory: &StateDir, name: &str) -> Result<DatabaseFile, StoreError> {
    let file = directory.open_file(name).map_err(|e| failed(directory, name, e))?;
    forget_cached(&file, directory, name);
    Ok(DatabaseFile::new(file))
}

/// After a failed fsync the kernel may keep pages that it no longer intends to write: read back
/// they look stored, and after a power cut they are not. Dropping the file's clean pages makes an
/// opening, and its repair, see what the disk has. Advice can be ignored without harm where there
/// was no failure.
fn forget_cached(file: &File, directory: &StateDir, name: &str) {
    if let Err(error) = rustix::fs::fadvise(file, 0, None, Advice::DontNeed) {
        let path = directory.path().join(name);
        log::debug!("cannot drop cached pages of {}: {error}", path.display());
    }
}

fn failed(directory: &StateDir, name: &str, source: io::Error) -> StoreError {
    StoreError::File { path: directory.path().join(name), source }
}

/// What an opening makes sure of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// That every record can be read, which loading does. No page is read for more than that.
    Records,
    /// Every page's checksum, too: reads the whole file once more.
    Pages,
}

fn open(backend: impl StorageBackend, check: Check) -> Result<Database, StoreError> {
    guard(|| {
        let database = Builder::new()
            .set_cache_size(STORE_CACHE_BYTES_MAX)
            .set_check_integrity_on_open(check == Check::Pages)
            .create_with_backend(backend)?;
        schema::migrate(&database, schema::STEPS)?;
        Ok(database)
    })
}

/// Calls the database library; a panic in it becomes an error.
///
/// It may panic over a file that something else has written to. The value it worked on is dropped
/// by the caller, as after any other error.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(StoreError::Panicked(panic_text(&*panic))))
}

/// Drops or closes the database, and says whether that went well; errors and panics on the way out
/// change nothing any more.
pub(super) fn discard(database: Database) -> bool {
    let closed = guard(|| Ok(database.close()?));
    if let Err(error) = &closed {
        log::debug!("database did not close cleanly: {error}");
    }
    closed.is_ok()
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
