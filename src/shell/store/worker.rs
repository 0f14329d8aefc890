//! The store thread: one commit at a time, and the way back after a failure.
//!
//! ```text
//!            write fails: Failed(ticket)
//!  healthy ------------------------------> failed --+ retry fails: wait twice as long
//!     ^                                      |  ^---+
//!     +--------------------------------------+
//!        reopen, replay, probe: Recovered
//! ```
//!
//! After one I/O error the database library refuses everything (and must: after a failed fsync
//! nobody knows what the disk has), so recovery means closing and opening anew. While failed,
//! every commit is refused at once; none waits for the disk to come back.
//!
//! Owns the database and, with `durability = "relaxed"`, the changes that are answered but not
//! synced: a recovery replays them, so that memory and disk agree again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, never, select};
use redb::{Database, ReadableDatabase};

use super::database::{Opener, discard, guard};
use super::error::StoreError;
use super::{Commit, Durability, Snapshot, SnapshotRequest, StoreReport, tables};
use crate::base::ids::Ticket;
use crate::base::limits::CRON_PAYLOAD_BYTES_MAX;
use crate::base::limits::{
    STORE_PROBE_BYTES, STORE_RETRY_FIRST, STORE_RETRY_MAX, STORE_SYNC_INTERVAL,
    STORE_UNSYNCED_BYTES_MAX,
};
use crate::hub::records::Change;
use crate::shell::clock;
use crate::shell::metrics::Metrics;

/// What the thread works with.
pub(super) struct Worker<R> {
    report: R,
    durability: Durability,
    // A database in it is closed before the opener gives up the directory's lock.
    state: State,
    opener: Opener,
    /// Fires when the state has something to do that no commit asks for.
    timer: Receiver<Instant>,
    unsynced: Unsynced,
    metrics: Arc<Metrics>,
}

enum State {
    Healthy(Database),
    Failed { error: String, retry: Duration },
}

/// Changes that were answered but may not survive a power cut.
#[derive(Default)]
struct Unsynced {
    changes: Vec<Change>,
    bytes: usize,
    /// The first commit among them.
    first: Option<Ticket>,
}

impl<R: Fn(StoreReport)> Worker<R> {
    pub(super) fn new(
        opener: Opener,
        database: Database,
        how: Durability,
        report: R,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            opener,
            report,
            durability: how,
            state: State::Healthy(database),
            timer: never(),
            unsynced: Unsynced::default(),
            metrics,
        }
    }

    /// Works until every sender of commits is gone and what they sent is done; then syncs and
    /// closes.
    pub(super) fn run(
        mut self,
        commits: &Receiver<Commit>,
        mut snapshots: Receiver<SnapshotRequest>,
    ) {
        loop {
            select! {
                recv(commits) -> commit => match commit {
                    Ok(commit) => self.commit(commit, commits),
                    Err(_) => break,
                },
                recv(snapshots) -> request => match request {
                    // Whoever asked may have stopped waiting.
                    Ok(request) => drop(request.try_send(self.snapshot())),
                    Err(_) => snapshots = never(),
                },
                recv(self.timer) -> _ => self.act(commits),
            }
        }
        self.finish();
    }

    /// What is committed now. Later commits do not change it.
    fn snapshot(&self) -> Result<Snapshot, String> {
        match &self.state {
            State::Failed { error, .. } => Err(format!("the store has failed: {error}")),
            State::Healthy(database) => guard(|| Ok(Snapshot::new(database.begin_read()?)))
                .map_err(|error| error.to_string()),
        }
    }

    fn commit(&mut self, commit: Commit, commits: &Receiver<Commit>) {
        let ticket = commit.ticket;
        let began = clock::instant();
        let synced = self.durability == Durability::Full || commit.changes.iter().any(needs_sync);
        let written = match &self.state {
            State::Failed { error, .. } => {
                let error = error.clone();
                (self.report)(StoreReport::Failed { ticket, error });
                return;
            }
            State::Healthy(database) => guard(|| write(database, &commit.changes, synced)),
        };
        match written {
            Ok(()) => {
                self.metrics.commits.observe(clock::instant().saturating_duration_since(began));
                self.metrics.commit_changes.observe_number(commit.changes.len() as u64);
                if synced {
                    // A synced commit takes every earlier one to the disk with it.
                    self.unsynced = Unsynced::default();
                    self.timer = never();
                } else {
                    self.remember(commit);
                }
                (self.report)(StoreReport::Stored(ticket));
                if self.unsynced.bytes > STORE_UNSYNCED_BYTES_MAX {
                    self.act(commits);
                }
            }
            Err(error) => self.fail(ticket, &error, commits),
        }
    }

    /// The timer fired, or need not be waited for.
    fn act(&mut self, commits: &Receiver<Commit>) {
        self.timer = never();
        match &self.state {
            State::Healthy(database) => match guard(|| sync(database)) {
                Ok(()) => self.unsynced = Unsynced::default(),
                Err(error) => {
                    let first = self.unsynced.first.unwrap_or_default();
                    self.fail(first, &error, commits);
                }
            },
            State::Failed { retry, .. } => {
                let retry = *retry;
                self.recover(retry, commits);
            }
        }
    }

    fn remember(&mut self, commit: Commit) {
        if self.unsynced.first.is_none() {
            self.unsynced.first = Some(commit.ticket);
            self.timer = after(STORE_SYNC_INTERVAL);
        }
        self.unsynced.bytes += commit.changes.iter().map(size).sum::<usize>();
        self.unsynced.changes.extend(commit.changes);
    }

    fn fail(&mut self, ticket: Ticket, error: &StoreError, commits: &Receiver<Commit>) {
        let text = error.to_string();
        self.metrics.commits_failed.add(1);
        log::error!("store failed, reports are refused until it recovers: {text}");
        let failed = State::Failed { error: text.clone(), retry: STORE_RETRY_FIRST };
        if let State::Healthy(database) = std::mem::replace(&mut self.state, failed) {
            discard(database);
        }
        self.timer = after(STORE_RETRY_FIRST);
        (self.report)(StoreReport::Failed { ticket, error: text });
        self.refuse_waiting(commits);
    }

    fn recover(&mut self, retry: Duration, commits: &Receiver<Commit>) {
        match self.reopen() {
            Ok(database) => {
                self.unsynced = Unsynced::default();
                // Sent before the hub knew of the failure; it counts them as failed.
                self.refuse_waiting(commits);
                self.state = State::Healthy(database);
                log::warn!("store recovered");
                (self.report)(StoreReport::Recovered);
            }
            Err(error) => {
                log::debug!("store has not recovered: {error}");
                let retry = (retry * 2).min(STORE_RETRY_MAX);
                self.state = State::Failed { error: error.to_string(), retry };
                self.timer = after(retry);
            }
        }
    }

    /// Opens the database again and proves that it takes durable commits of a useful size.
    fn reopen(&self) -> Result<Database, StoreError> {
        let database = self.opener.open()?;
        let proof = guard(|| {
            write(&database, &self.unsynced.changes, true)?;
            for filler in [[0xA5; STORE_PROBE_BYTES].as_slice(), &[]] {
                let transaction = database.begin_write()?;
                tables::probe(&transaction, filler)?;
                transaction.commit()?;
            }
            Ok(())
        });
        match proof {
            Ok(()) => Ok(database),
            Err(error) => {
                discard(database);
                Err(error)
            }
        }
    }

    fn refuse_waiting(&self, commits: &Receiver<Commit>) {
        let State::Failed { error, .. } = &self.state else { return };
        for commit in commits.try_iter() {
            (self.report)(StoreReport::Failed { ticket: commit.ticket, error: error.clone() });
        }
    }

    fn finish(self) {
        let database = match self.state {
            State::Healthy(database) => database,
            State::Failed { .. } if self.unsynced.changes.is_empty() => return,
            State::Failed { .. } => match self.reopen() {
                Ok(database) => return close(database, &self.opener),
                Err(error) => {
                    log::error!("the last commits are not on disk: {error}");
                    return;
                }
            },
        };
        if self.unsynced.first.is_some()
            && let Err(error) = guard(|| sync(&database))
        {
            log::error!("the last commits may not be on disk: {error}");
            discard(database);
            return;
        }
        close(database, &self.opener);
    }
}

/// Closes a database that is in order.
fn close(database: Database, opener: &Opener) {
    if discard(database) {
        opener.leave_in_order();
    }
}

fn write(database: &Database, changes: &[Change], synced: bool) -> Result<(), StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(match synced {
        true => redb::Durability::Immediate,
        false => redb::Durability::None,
    })?;
    tables::apply(&transaction, changes)?;
    Ok(transaction.commit()?)
}

fn sync(database: &Database) -> Result<(), StoreError> {
    let transaction = database.begin_write()?;
    tables::mark_synced(&transaction)?;
    Ok(transaction.commit()?)
}

/// Whether even relaxed durability waits for the disk: a cursor must never be used twice, a revoked
/// device or a withdrawn permission must not come back, no program may run that a crash would make
/// us forget, and no occurrence of a job may run twice.
fn needs_sync(change: &Change) -> bool {
    match change {
        Change::AppendLog(_)
        | Change::TrimJournal(_)
        | Change::DeleteLogs(..)
        | Change::PutAnswer(_)
        | Change::DeleteAnswer(_)
        | Change::PutSession(_)
        | Change::DeleteSession(_)
        | Change::PutAgent(_)
        | Change::DeleteAgent(_)
        | Change::PutRun(_)
        | Change::DeleteRun(_)
        | Change::PutMessage(_)
        | Change::DeleteMessage(_)
        | Change::PutApproval(_)
        | Change::DeleteApproval(_)
        | Change::PutAllowed(_)
        | Change::DeleteSpawn(_) => false,
        Change::ReserveCursors(_)
        | Change::PutDevice(_)
        | Change::DeleteDevice(_)
        | Change::PutToken(_)
        | Change::DeleteToken(_)
        | Change::PutCronJob(_)
        | Change::DeleteCronJob(_)
        | Change::PutCronRun(_)
        | Change::DeleteCronRun(..)
        | Change::DeleteAllowed(_)
        // No program runs that could be forgotten.
        | Change::PutSpawn(_) => true,
    }
}

/// Roughly what a change holds in memory: the texts that have no small bound, and a flat rest.
fn size(change: &Change) -> usize {
    const FLAT: usize = 512;
    match change {
        Change::AppendLog(record) => record.draft.body.len() + FLAT,
        // Their texts have small bounds, and most are a few words.
        Change::PutSession(_) | Change::PutAgent(_) => 2 * FLAT,
        Change::PutCronJob(_) => CRON_PAYLOAD_BYTES_MAX,
        Change::PutRun(run) => {
            let text = run.end.as_ref().and_then(|end| end.text.as_ref());
            text.map_or(0, |text| text.len()) + 2 * FLAT
        }
        Change::PutApproval(approval) => approval.command.bytes() + FLAT,
        Change::PutAllowed(command) => command.bytes() + FLAT,
        Change::PutMessage(message) => message.content.len() + FLAT,
        // An error and a command may have some KiB, and seldom do.
        Change::PutSpawn(_) => 4 * FLAT,
        Change::ReserveCursors(_)
        | Change::TrimJournal(_)
        | Change::DeleteLogs(..)
        | Change::PutDevice(_)
        | Change::DeleteDevice(_)
        | Change::PutToken(_)
        | Change::DeleteToken(_)
        | Change::PutAnswer(_)
        | Change::DeleteAnswer(_)
        | Change::DeleteSession(_)
        | Change::DeleteAgent(_)
        | Change::DeleteCronJob(_)
        | Change::PutCronRun(_)
        | Change::DeleteCronRun(..)
        | Change::DeleteRun(_)
        | Change::DeleteMessage(_)
        | Change::DeleteApproval(_)
        | Change::DeleteAllowed(_)
        | Change::DeleteSpawn(_) => FLAT,
    }
}
