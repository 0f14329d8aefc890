//! Opening the database, first and again, and keeping the library's panics from spreading.
//!
//! Owns where the bytes come from: the file in the state directory, or, in tests, a backend that
//! fails on demand. Called by the store at the start and by `worker` to recover.

use std::any::Any;
use std::io;
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

/// Opens the database anew each time it is called. Holds what must outlive the database, which is
/// the state directory's lock.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, StoreError> + Send>;

/// Opens the file in the state directory.
pub(super) fn file_opener(directory: StateDir) -> Opener {
    Box::new(move || open_in(&directory, FILE))
}

/// Opens, or creates, the file of this name in the state directory.
pub(super) fn open_in(directory: &StateDir, name: &str) -> Result<Database, StoreError> {
    open(open_backend(directory, name)?)
}

/// Creates the file of this name in the state directory, without a table in it.
pub(super) fn create_in(directory: &StateDir, name: &str) -> Result<Database, StoreError> {
    let file = open_backend(directory, name)?;
    Ok(Builder::new().set_cache_size(STORE_CACHE_BYTES_MAX).create_with_backend(file)?)
}

fn open_backend(directory: &StateDir, name: &str) -> Result<DatabaseFile, StoreError> {
    let path = || directory.path().join(name);
    let failed = |source| StoreError::File { path: path(), source };
    let file = directory.open_file(name).map_err(failed)?;
    // After a failed fsync the kernel may keep pages that it no longer intends to write: read
    // back they look stored, and after a power cut they are not. Dropping the file's clean
    // pages makes this opening, and its repair, see what the disk has. A gateway that left in
    // order saw no such failure, and reading everything from the disk is most of a start.
    // Advice can be ignored without harm where there was no failure.
    if !directory.take_order()
        && let Err(error) = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)
    {
        log::debug!("cannot drop cached pages of {}: {error}", path().display());
    }
    Ok(DatabaseFile::new(file, directory.order_mark()))
}

/// Opens whatever the function returns.
pub(super) fn backend_opener<B: StorageBackend>(
    backend: impl Fn() -> io::Result<B> + Send + 'static,
) -> Opener {
    Box::new(move || {
        let backend = backend().map_err(|source| StoreError::File { path: FILE.into(), source })?;
        open(backend)
    })
}

fn open(backend: impl StorageBackend) -> Result<Database, StoreError> {
    guard(|| {
        let database = Builder::new()
            .set_cache_size(STORE_CACHE_BYTES_MAX)
            .set_check_integrity_on_open(true)
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
