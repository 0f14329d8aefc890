//! Why the store cannot be opened, or a commit cannot be written.

use std::path::PathBuf;
use std::{fmt, io};

use crate::shell::state_dir::StateDirError;

/// A failure of the store. At the start a person must fix it; later it is reported to the hub,
/// and the store recovers by itself.
#[derive(Debug)]
pub enum StoreError {
    /// The directory cannot be used.
    Directory(StateDirError),
    /// The database file cannot be opened.
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread that reads the database cannot be started.
    Thread(io::Error),
    /// The database refused an operation.
    Database(redb::Error),
    /// A record cannot be read. Nothing is deleted or skipped: a person decides.
    Corrupt {
        /// The table.
        table: &'static str,
        /// The record's key, readable.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The database was written by a newer gateway.
    NewerSchema {
        /// The version in the file.
        found: u64,
        /// The newest version that this gateway knows.
        known: u64,
    },
    /// A record cannot be encoded. Our bug, but not one to die of.
    Encode(serde_json::Error),
    /// The database library panicked; the text is its message.
    Panicked(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::File { path, .. } => write!(f, "cannot open {}", path.display()),
            Self::Thread(_) => f.write_str("cannot start a thread to read the store"),
            Self::Database(error) => write!(f, "store failed: {error}"),
            Self::Corrupt { table, key, problem } => {
                write!(
                    f,
                    "corrupt record in table {table}, key {key}: {problem}; \
                     restore the state directory from a copy, or move it away to start empty"
                )
            }
            Self::NewerSchema { found, known } => write!(
                f,
                "the store has schema version {found}, this gateway knows up to {known}; \
                 run the newer gateway, or give this one another state directory"
            ),
            Self::Encode(error) => write!(f, "cannot encode a record: {error}"),
            Self::Panicked(message) => write!(f, "database library failed: {message}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Directory(error) => error.source(),
            Self::File { source, .. } | Self::Thread(source) => Some(source),
            // The database's message is part of ours: the hub sees the text alone.
            Self::Database(_) | Self::Encode(_) => None,
            Self::Corrupt { .. } | Self::NewerSchema { .. } | Self::Panicked(_) => None,
        }
    }
}

impl From<StateDirError> for StoreError {
    fn from(error: StateDirError) -> Self {
        Self::Directory(error)
    }
}

macro_rules! from_redb {
    ($($kind:ident),*) => {$(
        impl From<redb::$kind> for StoreError {
            fn from(error: redb::$kind) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}
from_redb!(
    CommitError,
    DatabaseError,
    SetDurabilityError,
    StorageError,
    TableError,
    TransactionError
);
