//! Durable state: commits in, reports out, on a thread of their own.
//!
//! Owns the database file and who may use it. Does not decide what is kept or when commits are
//! grouped: the hub does, and it keeps everything in memory, so nothing is read after the start.
//! Called by `app` (opening) and `shell::hub_thread` (commits). A `Stored` report means: on disk
//! and synced, unless the durability is relaxed.

mod backup;
pub mod codec;
mod database;
mod error;
mod file;
mod load;
mod restore;
mod schema;
mod tables;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Sender, bounded};
use redb::{Database, StorageBackend};

pub use self::backup::{BackupError, Contents, Snapshot, verify};
use self::database::{Opener, guard};
pub use self::error::StoreError;
pub use self::restore::{Restored, restore, snapshot_at_rest};
use self::worker::Worker;
use crate::base::ids::Ticket;
use crate::base::limits::{
    STORE_COMMITS_WAITING_MAX, STORE_SNAPSHOT_WAIT, STORE_SNAPSHOTS_WAITING_MAX,
};
use crate::hub::records::{Change, DurableState};
use crate::shell::metrics::Metrics;
use crate::shell::state_dir::StateDir;

/// `gateway.durability`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Every commit is synced before it is reported.
    Full,
    /// Commits of journal entries, sessions, agents and remembered answers are reported at once and synced within a
    /// second: a power cut or a crash loses at most that, a clean stop nothing. Other commits are
    /// synced as with `Full`.
    Relaxed,
}

/// An open store whose thread does not run yet.
pub struct Store {
    // Closed before the opener gives up the directory's lock: fields go in this order.
    database: Database,
    opener: Opener,
    durability: Durability,
    metrics: Arc<Metrics>,
}

/// What became of commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreReport {
    /// This commit is on disk.
    Stored(Ticket),
    /// This commit, and every one sent after it until `Recovered`, is not on disk.
    ///
    /// Repeated for each of them. With relaxed durability it can name a commit that was reported
    /// as stored: its changes are kept, and written again by the recovery.
    Failed {
        /// The commit.
        ticket: Ticket,
        /// Why, for diagnostics.
        error: String,
    },
    /// The store takes commits again; none is in flight.
    Recovered,
}

/// Takes commits for the store thread.
#[derive(Debug)]
pub struct StoreHandle {
    commits: Sender<Commit>,
    snapshots: SnapshotSource,
    thread: JoinHandle<()>,
}

/// Takes snapshots of a store that runs.
#[derive(Clone, Debug)]
pub struct SnapshotSource {
    requests: Sender<SnapshotRequest>,
}

/// Where a snapshot goes, or why there is none.
type SnapshotRequest = Sender<Result<Snapshot, String>>;

impl SnapshotSource {
    /// What the database holds now, or why that cannot be had. Waits for the commit that runs.
    pub fn take(&self) -> Result<Snapshot, String> {
        let (answer, answered) = bounded(1);
        let busy = "the store is busy; try again";
        self.requests.try_send(answer).map_err(|_| busy.to_owned())?;
        answered.recv_timeout(STORE_SNAPSHOT_WAIT).unwrap_or_else(|_| Err(busy.to_owned()))
    }
}

/// There is no room for another commit, or the thread is gone. Counts as a failed commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
struct Commit {
    ticket: Ticket,
    changes: Vec<Change>,
}

impl Store {
    /// Locks the state directory, opens or creates the database in it, migrates an older schema
    /// and reads everything.
    pub fn open(
        directory: &Path,
        durability: Durability,
    ) -> Result<(Self, DurableState), StoreError> {
        Self::open_from(Opener::file(StateDir::open(directory)?), durability)
    }

    /// The same over another backend, which the function opens anew at every recovery.
    ///
    /// For tests that make a disk fail; there is no configuration that leads here.
    pub fn open_with_backend<B: StorageBackend>(
        backend: impl Fn() -> io::Result<B> + Send + 'static,
        durability: Durability,
    ) -> Result<(Self, DurableState), StoreError> {
        Self::open_from(Opener::backend(backend), durability)
    }

    fn open_from(
        opener: Opener,
        durability: Durability,
    ) -> Result<(Self, DurableState), StoreError> {
        let (database, state) = match open_and_load(&opener) {
            Err(error) if opener.has_believed() => {
                log::warn!("{error}; opening the database again, with every page checked");
                open_and_load(&opener)?
            }
            opened => opened?,
        };
        Ok((Self { database, opener, durability, metrics: Arc::default() }, state))
    }

    /// Measures commits there from now on.
    #[must_use]
    pub fn measured_by(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Starts the thread, `store`. It calls `report` once for each commit, in order.
    pub fn start(self, report: impl Fn(StoreReport) + Send + 'static) -> io::Result<StoreHandle> {
        let (commits, inbox) = bounded(STORE_COMMITS_WAITING_MAX);
        let (requests, snapshots) = bounded(STORE_SNAPSHOTS_WAITING_MAX);
        let worker = Worker::new(self.opener, self.database, self.durability, report, self.metrics);
        let thread =
            Builder::new().name("store".to_owned()).spawn(move || worker.run(&inbox, snapshots))?;
        Ok(StoreHandle { commits, snapshots: SnapshotSource { requests }, thread })
    }
}

fn open_and_load(opener: &Opener) -> Result<(Database, DurableState), StoreError> {
    let database = opener.open()?;
    let state = guard(|| load::load(&database))?;
    Ok((database, state))
}

impl StoreHandle {
    /// Hands a commit over. Never waits.
    pub fn commit(&self, ticket: Ticket, changes: Vec<Change>) -> Result<(), Full> {
        self.commits.try_send(Commit { ticket, changes }).map_err(|_| Full)
    }

    /// Where snapshots are taken.
    pub fn snapshots(&self) -> SnapshotSource {
        self.snapshots.clone()
    }

    /// Finishes and reports what was handed over, syncs, closes the database and releases the
    /// directory. Waits for all of that.
    pub fn stop(self) {
        drop(self.commits);
        if self.thread.join().is_err() {
            log::error!("the store thread panicked");
        }
    }
}
