//! The tables: which there are, and how a change is applied to them.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | number: `schema`, `cursors_reserved`, `trimmed_through`, `synced` |
//! | `journal` | cursor | see `codec` |
//! | `devices` | device id | `DeviceRecord` as JSON |
//! | `tokens` | SHA-256 of the token | `TokenRecord` as JSON |
//! | `answers` | `["user","method","key"]` as JSON | `AnswerRecord` as JSON |
//! | `sessions` | session key | `Session` as JSON |
//! | `agents` | agent's name | `AgentStatus` as JSON |
//! | `cron_jobs` | job id | `CronJob` as JSON |
//! | `cron_runs` | job id, number | `CronRun` as JSON |
//! | `runs` | run id | `RunRecord` as JSON |
//! | `messages` | message id | `ChatMessage` as JSON |
//! | `approvals` | approval id | `Approval` as JSON |
//! | `allowed` | allowed id | `AllowedCommand` as JSON |
//! | `spawns` | spawn id | `SpawnRecord` as JSON |
//! | `probe` | name | filler; see `worker` |
//!
//! Owns no thread and no file: it is given a transaction. Called by `worker` and `database`; `load`
//! reads everything back.

use redb::{
    Key, ReadTransaction, ReadableTable, Table, TableDefinition, TableHandle, Value,
    WriteTransaction,
};
use serde::Serialize;

use super::backup::BackupError;
use super::codec;
use super::error::StoreError;
use crate::base::ids::Cursor;
use crate::hub::records::{AnswerKey, Change, DeviceRecord};
use crate::protocol::log_entry::LogRecord;

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
pub(super) const DEVICES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("devices");
/// The table that a restore leaves out.
pub(super) const TOKENS_NAME: &str = "tokens";
pub(super) const TOKENS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new(TOKENS_NAME);
pub(super) const ANSWERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("answers");
pub(super) const SESSIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sessions");
pub(super) const AGENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("agents");
pub(super) const CRON_JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("cron_jobs");
pub(super) const CRON_RUNS: TableDefinition<'_, (&str, u64), &[u8]> =
    TableDefinition::new("cron_runs");
pub(super) const RUNS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("runs");
pub(super) const MESSAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");
pub(super) const APPROVALS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("approvals");
pub(super) const ALLOWED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("allowed");
pub(super) const SPAWNS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("spawns");
const PROBE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("probe");

pub(super) const CURSORS_RESERVED: &str = "cursors_reserved";
pub(super) const TRIMMED_THROUGH: &str = "trimmed_through";
const SYNCED: &str = "synced";

/// Creates the tables that are missing, so that reading need not ask which exist.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(META)?;
    transaction.open_table(JOURNAL)?;
    transaction.open_table(DEVICES)?;
    transaction.open_table(TOKENS)?;
    transaction.open_table(ANSWERS)?;
    add_sessions(transaction)?;
    add_work(transaction)?;
    transaction.open_table(PROBE)?;
    Ok(())
}

/// From schema version 1 to 2: sessions and agents.
pub(super) fn add_sessions(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(SESSIONS)?;
    transaction.open_table(AGENTS)?;
    Ok(())
}

/// From schema version 2 to 3: agents at work.
pub(super) fn add_work(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(RUNS)?;
    transaction.open_table(MESSAGES)?;
    transaction.open_table(APPROVALS)?;
    transaction.open_table(ALLOWED)?;
    transaction.open_table(SPAWNS)?;
    transaction.open_table(CRON_JOBS)?;
    transaction.open_table(CRON_RUNS)?;
    Ok(())
}

/// Applies the changes in order.
pub(super) fn apply(transaction: &WriteTransaction, changes: &[Change]) -> Result<(), StoreError> {
    let mut tables = Tables::of(transaction);
    changes.iter().try_for_each(|change| tables.apply(change))
}

/// Writes a number that no one reads: a durable commit makes earlier, unsynced ones durable, and
/// one without any change need not reach the disk.
pub(super) fn mark_synced(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(META)?;
    let count = meta.get(SYNCED)?.map_or(0, |count| count.value());
    meta.insert(SYNCED, count.wrapping_add(1))?;
    Ok(())
}

/// Puts filler on the disk, or takes it away again.
pub(super) fn probe(transaction: &WriteTransaction, filler: &[u8]) -> Result<(), StoreError> {
    let mut probe = transaction.open_table(PROBE)?;
    if filler.is_empty() {
        probe.remove("filler")?;
    } else {
        probe.insert("filler", filler)?;
    }
    Ok(())
}

/// What [`each_record`] calls: table, key, value.
pub(super) type Visit<'v> = &'v mut dyn FnMut(&str, &[u8], &[u8]) -> Result<(), BackupError>;

/// Hands out every record of every table, but for what says nothing without this very database.
pub(super) fn each_record(from: &ReadTransaction, visit: Visit<'_>) -> Result<(), BackupError> {
    each(from, META, visit)?;
    each(from, JOURNAL, visit)?;
    each(from, DEVICES, visit)?;
    each(from, TOKENS, visit)?;
    each(from, ANSWERS, visit)?;
    each(from, SESSIONS, visit)?;
    each(from, AGENTS, visit)?;
    each(from, CRON_JOBS, visit)?;
    each(from, CRON_RUNS, visit)?;
    each(from, RUNS, visit)?;
    each(from, MESSAGES, visit)?;
    each(from, APPROVALS, visit)?;
    each(from, ALLOWED, visit)?;
    each(from, SPAWNS, visit)
}

fn each<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    table: TableDefinition<'static, K, V>,
    visit: Visit<'_>,
) -> Result<(), BackupError> {
    for entry in from.open_table(table)?.iter()? {
        let (key, value) = entry?;
        let (key, value) = (key.value(), value.value());
        visit(table.name(), K::as_bytes(&key).as_ref(), V::as_bytes(&value).as_ref())?;
    }
    Ok(())
}

/// Puts back what [`each_record`] gave; `false` for a table that there is not. Panics, as the
/// library does, over a key or value that is none of the table's: call it guarded.
pub(super) fn put_record(
    into: &WriteTransaction,
    table: &str,
    key: &[u8],
    value: &[u8],
) -> Result<bool, StoreError> {
    match table {
        "meta" => restore(into, META, key, value),
        "journal" => restore(into, JOURNAL, key, value),
        "devices" => restore(into, DEVICES, key, value),
        TOKENS_NAME => restore(into, TOKENS, key, value),
        "answers" => restore(into, ANSWERS, key, value),
        "sessions" => restore(into, SESSIONS, key, value),
        "agents" => restore(into, AGENTS, key, value),
        "cron_jobs" => restore(into, CRON_JOBS, key, value),
        "cron_runs" => restore(into, CRON_RUNS, key, value),
        "runs" => restore(into, RUNS, key, value),
        "messages" => restore(into, MESSAGES, key, value),
        "approvals" => restore(into, APPROVALS, key, value),
        "allowed" => restore(into, ALLOWED, key, value),
        "spawns" => restore(into, SPAWNS, key, value),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn restore<K: Key + 'static, V: Value + 'static>(
    into: &WriteTransaction,
    table: TableDefinition<'static, K, V>,
    key: &[u8],
    value: &[u8],
) -> Result<(), StoreError> {
    into.open_table(table)?.insert(K::from_bytes(key), V::from_bytes(value))?;
    Ok(())
}

/// Writes these devices, which are revoked, over what is there; returns how many were not so.
pub(super) fn keep_revoked(
    into: &WriteTransaction,
    revoked: &[DeviceRecord],
) -> Result<usize, StoreError> {
    let mut devices = into.open_table(DEVICES)?;
    let mut changed = 0;
    for device in revoked {
        let record = encode(device)?;
        let found = devices.insert(device.id.as_str(), record.as_slice())?;
        changed += usize::from(found.is_none_or(|found| found.value() != record));
    }
    Ok(changed)
}

/// Sees that no cursor below this one is used by later starts.
pub(super) fn reserve_at_least(into: &WriteTransaction, cursor: Cursor) -> Result<(), StoreError> {
    let mut meta = into.open_table(META)?;
    let found = meta.get(CURSORS_RESERVED)?.map_or(0, |found| found.value());
    meta.insert(CURSORS_RESERVED, found.max(cursor.0))?;
    Ok(())
}

/// A table that is opened when it is first needed: most commits touch one or two, and to open all
/// fourteen costs more than what such a commit writes.
struct Lazy<'t, K: Key + 'static, V: Value + 'static> {
    transaction: &'t WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: Option<Table<'t, K, V>>,
}

impl<'t, K: Key + 'static, V: Value + 'static> Lazy<'t, K, V> {
    fn new(transaction: &'t WriteTransaction, definition: TableDefinition<'static, K, V>) -> Self {
        Self { transaction, definition, table: None }
    }

    fn get(&mut self) -> Result<&mut Table<'t, K, V>, StoreError> {
        match &mut self.table {
            Some(table) => Ok(table),
            closed => Ok(closed.insert(self.transaction.open_table(self.definition)?)),
        }
    }
}

/// A table of JSON records by name.
type Records<'t> = Lazy<'t, &'static str, &'static [u8]>;

struct Tables<'t> {
    meta: Lazy<'t, &'static str, u64>,
    journal: Lazy<'t, u64, &'static [u8]>,
    devices: Records<'t>,
    tokens: Lazy<'t, &'static [u8; 32], &'static [u8]>,
    answers: Records<'t>,
    sessions: Records<'t>,
    agents: Records<'t>,
    cron_jobs: Records<'t>,
    cron_runs: Lazy<'t, (&'static str, u64), &'static [u8]>,
    runs: Records<'t>,
    messages: Lazy<'t, u64, &'static [u8]>,
    approvals: Records<'t>,
    allowed: Records<'t>,
    spawns: Records<'t>,
    /// One buffer for all journal entries of a commit.
    bytes: Vec<u8>,
}

impl<'t> Tables<'t> {
    fn of(transaction: &'t WriteTransaction) -> Self {
        Self {
            meta: Lazy::new(transaction, META),
            journal: Lazy::new(transaction, JOURNAL),
            devices: Lazy::new(transaction, DEVICES),
            tokens: Lazy::new(transaction, TOKENS),
            answers: Lazy::new(transaction, ANSWERS),
            sessions: Lazy::new(transaction, SESSIONS),
            agents: Lazy::new(transaction, AGENTS),
            cron_jobs: Lazy::new(transaction, CRON_JOBS),
            cron_runs: Lazy::new(transaction, CRON_RUNS),
            runs: Lazy::new(transaction, RUNS),
            messages: Lazy::new(transaction, MESSAGES),
            approvals: Lazy::new(transaction, APPROVALS),
            allowed: Lazy::new(transaction, ALLOWED),
            spawns: Lazy::new(transaction, SPAWNS),
            bytes: Vec::new(),
        }
    }

    fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::ReserveCursors(cursor) => {
                self.meta.get()?.insert(CURSORS_RESERVED, cursor.0)?;
            }
            Change::AppendLog(record) => self.append(record)?,
            Change::TrimJournal(cursor) => {
                self.journal.get()?.retain_in(..=cursor.0, |_, _| false)?;
                self.meta.get()?.insert(TRIMMED_THROUGH, cursor.0)?;
            }
            Change::DeleteLogs(first, last) => {
                self.journal.get()?.retain_in(first.0..=last.0, |_, _| false)?;
            }
            Change::PutDevice(device) => put(&mut self.devices, device.id.as_str(), &**device)?,
            Change::DeleteDevice(id) => delete(&mut self.devices, id.as_str())?,
            Change::PutToken(token) => {
                self.tokens.get()?.insert(&token.hash, encode(&**token)?.as_slice())?;
            }
            Change::DeleteToken(hash) => {
                self.tokens.get()?.remove(hash)?;
            }
            Change::PutAnswer(answer) => {
                let key = answer_key(&answer.key)?;
                self.answers.get()?.insert(key.as_str(), encode(&**answer)?.as_slice())?;
            }
            Change::DeleteAnswer(key) => {
                self.answers.get()?.remove(answer_key(key)?.as_str())?;
            }
            Change::PutSession(session) => {
                put(&mut self.sessions, session.key.as_str(), &**session)?
            }
            Change::DeleteSession(key) => delete(&mut self.sessions, key.as_str())?,
            Change::PutAgent(agent) => put(&mut self.agents, agent.name.as_str(), &**agent)?,
            Change::DeleteAgent(name) => delete(&mut self.agents, name.as_str())?,
            Change::PutRun(run) => put(&mut self.runs, run.id.as_str(), &**run)?,
            Change::DeleteRun(id) => delete(&mut self.runs, id.as_str())?,
            Change::PutMessage(message) => {
                self.messages.get()?.insert(message.id, encode(&**message)?.as_slice())?;
            }
            Change::DeleteMessage(id) => {
                self.messages.get()?.remove(id)?;
            }
            Change::PutApproval(approval) => {
                put(&mut self.approvals, approval.id.as_str(), &**approval)?
            }
            Change::DeleteApproval(id) => delete(&mut self.approvals, id.as_str())?,
            Change::PutAllowed(command) => put(&mut self.allowed, command.id.as_str(), &**command)?,
            Change::DeleteAllowed(id) => delete(&mut self.allowed, id.as_str())?,
            Change::PutSpawn(spawn) => put(&mut self.spawns, spawn.id.as_str(), &**spawn)?,
            Change::DeleteSpawn(id) => delete(&mut self.spawns, id.as_str())?,
            Change::PutCronJob(job) => put(&mut self.cron_jobs, job.id.as_str(), &**job)?,
            Change::DeleteCronJob(id) => {
                self.cron_jobs.get()?.remove(id.as_str())?;
                let runs = (id.as_str(), 0)..=(id.as_str(), u64::MAX);
                self.cron_runs.get()?.retain_in(runs, |_, _| false)?;
            }
            Change::PutCronRun(run) => {
                let key = (run.job.as_str(), run.number);
                self.cron_runs.get()?.insert(key, encode(&**run)?.as_slice())?;
            }
            Change::DeleteCronRun(id, number) => {
                self.cron_runs.get()?.remove((id.as_str(), *number))?;
            }
        }
        Ok(())
    }

    fn append(&mut self, record: &LogRecord) -> Result<(), StoreError> {
        if !codec::encode(&record.draft, &mut self.bytes) {
            return Err(StoreError::Corrupt {
                table: "journal",
                key: record.cursor.0.to_string(),
                problem: "source or session is over 4 GiB".to_owned(),
            });
        }
        self.journal.get()?.insert(record.cursor.0, self.bytes.as_slice())?;
        Ok(())
    }
}

/// Inserts or replaces a record.
fn put(table: &mut Records<'_>, key: &str, record: &impl Serialize) -> Result<(), StoreError> {
    table.get()?.insert(key, encode(record)?.as_slice())?;
    Ok(())
}

fn delete(table: &mut Records<'_>, key: &str) -> Result<(), StoreError> {
    table.get()?.remove(key)?;
    Ok(())
}

fn encode(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(StoreError::Encode)
}

/// A JSON array, because each of the three may hold whatever separator one could choose.
fn answer_key(key: &AnswerKey) -> Result<String, StoreError> {
    serde_json::to_string(&(&key.user, &key.method, &key.key)).map_err(StoreError::Encode)
}

#[cfg(test)]
pub(super) mod damage {
    //! Writes records that no gateway would write.

    use redb::Database;

    use super::{JOURNAL, StoreError, TOKENS};

    pub(in super::super) fn journal(database: &Database, key: u64) -> Result<(), StoreError> {
        let transaction = database.begin_write()?;
        transaction.open_table(JOURNAL)?.insert(key, &b"\x01"[..])?;
        Ok(transaction.commit()?)
    }

    pub(in super::super) fn token(database: &Database) -> Result<(), StoreError> {
        let transaction = database.begin_write()?;
        transaction.open_table(TOKENS)?.insert(&[0xAB; 32], &b"{}"[..])?;
        Ok(transaction.commit()?)
    }
}
