//! Reading everything back, which is what a start waits for.
//!
//! Does not judge what the records say, only that each can be read. Called at the opening of a
//! store, and by a restore to see that a start would take what it wrote.

use std::mem::take;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, Builder};

use crossbeam_channel::{Receiver, Sender, bounded};
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

/// What is decoded at once: some hundred entries, which both threads have in their caches.
const BATCH_BYTES: usize = 64 * 1024;
/// Some 7 MiB, for a moment. Reading takes less time than decoding: what is read ahead lets the
/// reader go on with the other tables meanwhile.
const BATCHES_WAITING_MAX: usize = 96;

/// Reads everything. Errors name table and key of a record that cannot be read.
///
/// The journal is most of what there is: this thread decodes it while another one reads it, and
/// then the rest. Not the other way round: what is made here stays, and only the first thread's
/// memory grows by more than a page at a time. (Two that read are slower than one, because the
/// library's page cache has one lock.)
pub(super) fn load(database: &Database) -> Result<DurableState, StoreError> {
    let transaction = database.begin_read()?;
    let (batches, read) = bounded(BATCHES_WAITING_MAX);
    thread::scope(|scope| {
        let reader = Builder::new().name("reader".to_owned());
        let reader = reader.spawn_scoped(scope, || {
            read_journal(&transaction.open_table(JOURNAL)?, batches)?;
            load_but_journal(&transaction)
        });
        let reader = reader.map_err(StoreError::Thread)?;
        let journal = decode(read);
        // A panic there is one here.
        let state = reader.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(DurableState { journal: journal?, ..state })
    })
}

fn load_but_journal(transaction: &ReadTransaction) -> Result<DurableState, StoreError> {
    let meta = transaction.open_table(META)?;
    let cursor = |name| -> Result<Cursor, StoreError> {
        Ok(Cursor(meta.get(name)?.map_or(0, |value| value.value())))
    };
    Ok(DurableState {
        cursors_reserved: cursor(CURSORS_RESERVED)?,
        trimmed_through: cursor(TRIMMED_THROUGH)?,
        journal: Vec::new(),
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

/// Journal entries as they are on disk, one behind the other.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// The cursor of each, and where it ends.
    ends: Vec<(u64, usize)>,
}

/// Hands out the whole journal, oldest first; ends early if nobody takes it any more.
fn read_journal(
    table: &impl ReadableTable<u64, &'static [u8]>,
    batches: Sender<Batch>,
) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    for entry in table.iter()? {
        let (cursor, bytes) = entry?;
        if batch.ends.is_empty() {
            batch.bytes.reserve_exact(BATCH_BYTES + BATCH_BYTES / 8);
        }
        batch.bytes.extend_from_slice(bytes.value());
        batch.ends.push((cursor.value(), batch.bytes.len()));
        if batch.bytes.len() >= BATCH_BYTES && batches.send(take(&mut batch)).is_err() {
            return Ok(());
        }
    }
    // Whoever decodes has an error to tell, if this is not taken.
    drop(batches.send(batch));
    Ok(())
}

/// Decodes until no more comes.
fn decode(batches: Receiver<Batch>) -> Result<Vec<Arc<LogRecord>>, StoreError> {
    let mut decoder = Decoder::default();
    let mut journal = Vec::new();
    for Batch { bytes, ends } in batches {
        let mut start = 0;
        for (cursor, end) in ends {
            let entry = bytes.get(start..end).unwrap_or_default();
            start = end;
            let record =
                decoder.decode(Cursor(cursor), entry).map_err(|problem| StoreError::Corrupt {
                    table: "journal",
                    key: cursor.to_string(),
                    problem: problem.to_owned(),
                })?;
            journal.push(Arc::new(record));
        }
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
