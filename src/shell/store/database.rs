//! Opening the database, first and again, and keeping the library's panics from spreading.
//!
//! Owns where the bytes come from: the file in the state directory, or, in tests, a backend that
//! fails on demand. Called by the store at the start and by `worker` to recover.

use std::any::Any;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Builder, Database, StorageBackend};
use rustix::fs::Advice;

use super::error::StoreError;
use super::file::{self, DatabaseFile};
use super::schema;
use crate::base::limits::STORE_CACHE_BYTES_MAX;
use crate::shell::state_dir::StateDir;

/// The database in the state directory.
pub(super) const FILE: &str = "gateway.redb";

/// Opens the database anew each time it is called. Holds what must outlive the database, which is
/// the state directory's lock.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, StoreError> + Send>;

/// Opens the file in the state directory.
///
/// A gateway that left in order saw no failure, and wrote its database to the end: where the file
/// is the one that it left, untouched, its pages are believed. Else, and at every later opening,
/// each page is asked of the disk and held against its checksum.
pub(super) fn file_opener(directory: StateDir) -> Opener {
    Box::new(move || {
        let file = directory.open_file(FILE).map_err(|e| failed(&directory, FILE, e))?;
        let found = file::identity(&file).map_err(|e| failed(&directory, FILE, e))?;
        if directory.take_order().is_some_and(|left| left == found) {
            return open(DatabaseFile::new(file, directory.order_mark()), Check::Records);
        }
        forget_cached(&file, &directory, FILE);
        open(DatabaseFile::new(file, directory.order_mark()), Check::Pages)
    })
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
    Ok(DatabaseFile::new(file, directory.order_mark()))
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

/// Opens whatever the function returns.
pub(super) fn backend_opener<B: StorageBackend>(
    backend: impl Fn() -> io::Result<B> + Send + 'static,
) -> Opener {
    Box::new(move || {
        let backend = backend().map_err(|source| StoreError::File { path: FILE.into(), source })?;
        open(backend, Check::Pages)
    })
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

/// Drops or closes the database; errors and panics on the way out change nothing any more.
pub(super) fn discard(database: Database) {
    if let Err(error) = guard(|| Ok(database.close()?)) {
        log::debug!("database did not close cleanly: {error}");
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
