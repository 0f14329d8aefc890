//! Reading everything back, which is what a start waits for.
//!
//! Does not judge what the records say, only that each can be read. Called at the opening of a
//! store, and by a restore to see that a start would take what it wrote.

use std::ops::RangeBounds;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, Builder};

use redb::{Database, Key, ReadTransaction, ReadableDatabase, ReadableTable};
use serde::de::DeserializeOwned;

use super::codec::Decoder;
use super::error::StoreError;
use super::tables::{
    AGENTS, ALLOWED, ANSWERS, APPROVALS, CRON_JOBS, CRON_RUNS, CURSORS_RESERVED, DEVICES, JOURNAL,
    MESSAGES, META, RUNS, SESSIONS, SPAWNS, TOKENS, TRIMMED_THROUGH,
};
use crate::base::ids::Cursor;
use crate::hub::records::DurableState;
use crate::protocol::log_entry::LogRecord;

/// Reads everything. Errors name table and key of a record that cannot be read.
///
/// The newer half of the journal, which is most of what there is, is read by a second thread.
pub(super) fn load(database: &Database) -> Result<DurableState, StoreError> {
    let transaction = database.begin_read()?;
    let middle = middle(&transaction.open_table(JOURNAL)?)?;
    let load_newer = || {
        let transaction = database.begin_read()?;
        load_journal(&transaction.open_table(JOURNAL)?, middle..)
    };
    thread::scope(|scope| {
        let loader = Builder::new().name("loader".to_owned()).spawn_scoped(scope, load_newer);
        let mut state = load_but_newer(&transaction, middle)?;
        state.journal.extend(match loader {
            // A panic of the library there is one here.
            Ok(loader) => loader.join().unwrap_or_else(|panic| resume_unwind(panic))?,
            // There is no thread to be had, and time enough without it.
            Err(_) => load_newer()?,
        });
        Ok(state)
    })
}

/// Everything but the journal from `middle` on.
fn load_but_newer(transaction: &ReadTransaction, middle: u64) -> Result<DurableState, StoreError> {
    let meta = transaction.open_table(META)?;
    let cursor = |name| -> Result<Cursor, StoreError> {
        Ok(Cursor(meta.get(name)?.map_or(0, |value| value.value())))
    };
    Ok(DurableState {
        cursors_reserved: cursor(CURSORS_RESERVED)?,
        trimmed_through: cursor(TRIMMED_THROUGH)?,
        journal: load_journal(&transaction.open_table(JOURNAL)?, ..middle)?,
        devices: load_json("devices", &transaction.open_table(DEVICES)?, |id| id.to_owned())?,
        tokens: load_json("tokens", &transaction.open_table(TOKENS)?, hex)?,
        answers: load_json("answers", &transaction.open_table(ANSWERS)?, |key| key.to_owned())?,
        sessions: load_json("sessions", &transaction.open_table(SESSIONS)?, |key| key.to_owned())?,
        agents: load_json("agents", &transaction.open_table(AGENTS)?, |name| name.to_owned())?,
        cron_jobs: load_json("cron_jobs", &transaction.open_table(CRON_JOBS)?, |id| id.to_owned())?,
        cron_runs: load_json(
            "cron_runs",
            &transaction.open_table(CRON_RUNS)?,
            |(id, number): (&str, u64)| format!("{id} {number}"),
        )?,
        runs: load_json("runs", &transaction.open_table(RUNS)?, |id| id.to_owned())?,
        messages: load_json("messages", &transaction.open_table(MESSAGES)?, |id| id.to_string())?,
        approvals: load_json("approvals", &transaction.open_table(APPROVALS)?, |id| id.to_owned())?,
        allowed: load_json("allowed", &transaction.open_table(ALLOWED)?, |id| id.to_owned())?,
        spawns: load_json("spawns", &transaction.open_table(SPAWNS)?, |id| id.to_owned())?,
    })
}

/// A cursor about in the middle of the journal's.
fn middle(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<u64, StoreError> {
    let first = table.first()?.map_or(0, |(cursor, _)| cursor.value());
    let last = table.last()?.map_or(0, |(cursor, _)| cursor.value());
    Ok(u64::midpoint(first, last))
}

fn load_journal(
    table: &impl ReadableTable<u64, &'static [u8]>,
    cursors: impl RangeBounds<u64>,
) -> Result<Vec<Arc<LogRecord>>, StoreError> {
    let mut decoder = Decoder::default();
    let mut journal = Vec::new();
    for entry in table.range(cursors)? {
        let (cursor, bytes) = entry?;
        let cursor = cursor.value();
        let record = decoder.decode(Cursor(cursor), bytes.value()).map_err(|problem| {
            StoreError::Corrupt {
                table: "journal",
                key: cursor.to_string(),
                problem: problem.to_owned(),
            }
        })?;
        journal.push(Arc::new(record));
    }
    Ok(journal)
}

fn load_json<K: Key + 'static, R: DeserializeOwned>(
    name: &'static str,
    table: &impl ReadableTable<K, &'static [u8]>,
    show: impl Fn(K::SelfType<'_>) -> String,
) -> Result<Vec<R>, StoreError> {
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (key, bytes) = entry?;
        let record = serde_json::from_slice(bytes.value()).map_err(|error| {
            StoreError::Corrupt { table: name, key: show(key.value()), problem: error.to_string() }
        })?;
        records.push(record);
    }
    Ok(records)
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
