//! The store over files, over a disk that fails, and under `kill -9`.

mod backup;
mod crash;
mod disk;
mod faults;
mod files;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};

use super::{Store, StoreHandle, StoreReport};
use crate::base::ids::{Cursor, SessionKey, Ticket};
use crate::hub::records::{Change, DurableState};
use crate::protocol::log_entry::{Level, LogDraft, LogRecord};

/// Far beyond any honest wait; a test that reaches it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A journal entry whose body tells its cursor, so that a mix-up shows.
fn entry(cursor: u64) -> Change {
    Change::AppendLog(Arc::new(LogRecord {
        cursor: Cursor(cursor),
        draft: LogDraft {
            level: Level::Info,
            source: "agent1".into(),
            session: Some(SessionKey::new("agent1:chat")),
            body: body(cursor).into(),
        },
    }))
}

fn body(cursor: u64) -> String {
    format!("\"timestamp\":1709582400000,\"level\":\"info\",\"message\":\"entry {cursor}\"")
}

/// The journal's cursors, after checking that they rise and that each body is its cursor's.
#[track_caller]
fn cursors(state: &DurableState) -> Vec<u64> {
    let mut last = 0;
    for record in &state.journal {
        assert!(record.cursor.0 > last, "{} after {last}", record.cursor.0);
        assert_eq!(*record.draft.body, *body(record.cursor.0));
        last = record.cursor.0;
    }
    state.journal.iter().map(|record| record.cursor.0).collect()
}

/// A running store and its reports.
struct Running {
    handle: StoreHandle,
    reports: Receiver<StoreReport>,
}

impl Running {
    #[expect(clippy::disallowed_methods, reason = "a test's reports are few")]
    fn start(store: Store) -> Self {
        let (sender, reports) = unbounded();
        let handle = store.start(move |report| drop(sender.send(report))).unwrap();
        Self { handle, reports }
    }

    #[track_caller]
    fn next(&self) -> StoreReport {
        self.reports.recv_timeout(PATIENCE).unwrap()
    }

    /// Commits and waits for the report, which is `true` for `Stored`.
    #[track_caller]
    fn commit(&self, ticket: u64, changes: Vec<Change>) -> bool {
        self.handle.commit(Ticket(ticket), changes).unwrap();
        match self.next() {
            StoreReport::Stored(stored) => {
                assert_eq!(stored, Ticket(ticket));
                true
            }
            StoreReport::Failed { ticket: failed, error } => {
                assert_eq!(failed, Ticket(ticket));
                assert!(!error.is_empty());
                false
            }
            StoreReport::Recovered => self.commit_reported(ticket),
        }
    }

    /// As `commit`, when the recovery was reported first.
    #[track_caller]
    fn commit_reported(&self, ticket: u64) -> bool {
        match self.next() {
            StoreReport::Stored(stored) => stored == Ticket(ticket),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn waits_for_recovery(&self) {
        loop {
            match self.next() {
                StoreReport::Recovered => return,
                StoreReport::Failed { .. } => {}
                StoreReport::Stored(ticket) => panic!("stored {ticket:?} before the recovery"),
            }
        }
    }
}

/// A small generator, so that a failing round can be run again by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
