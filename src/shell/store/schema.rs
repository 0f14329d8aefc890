//! The schema version: which one this gateway writes, and how an older database becomes it.
//!
//! A migration step turns version N into N + 1 within one transaction together with the new
//! number, so a crash between steps leaves a database of one version or the next.
//! Called by `database` at every opening.

use redb::{Database, ReadTransaction, ReadableDatabase, TableHandle, WriteTransaction};

use super::error::StoreError;
use super::tables;

/// Turns the tables of one version into those of the next.
pub(super) type Step = fn(&WriteTransaction) -> Result<(), StoreError>;

/// `STEPS[n]` turns version `n + 1` into `n + 2`.
pub(super) const STEPS: &[Step] = &[tables::add_sessions, tables::add_work];

const SCHEMA: &str = "schema";

/// Brings the database to the newest version that `steps` lead to: an empty one is created at it,
/// an older one goes step by step, a newer one is refused.
pub(super) fn migrate(database: &Database, steps: &[Step]) -> Result<(), StoreError> {
    let known = steps.len() as u64 + 1;
    let Some(found) = version(database)? else {
        let transaction = database.begin_write()?;
        tables::create(&transaction)?;
        set_version(&transaction, known)?;
        return Ok(transaction.commit()?);
    };
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    let done = usize::try_from(found.saturating_sub(1)).unwrap_or(usize::MAX);
    for (number, step) in (found.saturating_add(1)..).zip(steps.iter().skip(done)) {
        let transaction = database.begin_write()?;
        step(&transaction)?;
        set_version(&transaction, number)?;
        transaction.commit()?;
        log::info!("store migrated to schema version {number}");
    }
    Ok(())
}

/// The version in the database; `None` when there is nothing in it at all.
fn version(database: &Database) -> Result<Option<u64>, StoreError> {
    found_version(&database.begin_read()?)
}

/// The version that a snapshot has; an empty one has the newest.
pub(super) fn version_in(transaction: &ReadTransaction) -> Result<u64, StoreError> {
    Ok(found_version(transaction)?.unwrap_or_else(newest))
}

fn found_version(transaction: &ReadTransaction) -> Result<Option<u64>, StoreError> {
    let tables: Vec<_> = transaction.list_tables()?.collect();
    if tables.is_empty() {
        return Ok(None);
    }
    let missing = |problem: &str| StoreError::Corrupt {
        table: "meta",
        key: SCHEMA.to_owned(),
        problem: problem.to_owned(),
    };
    if !tables.iter().any(|table| table.name() == "meta") {
        return Err(missing("no such table: this is not a gateway's database"));
    }
    let version = transaction.open_table(tables::META)?.get(SCHEMA)?.map(|found| found.value());
    match version {
        Some(0) | None => Err(missing("no schema version")),
        found => Ok(found),
    }
}

/// The newest version that this gateway knows.
pub(super) fn newest() -> u64 {
    STEPS.len() as u64 + 1
}

pub(super) fn set_version(transaction: &WriteTransaction, version: u64) -> Result<(), StoreError> {
    transaction.open_table(tables::META)?.insert(SCHEMA, version)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{ReadableTable, TableDefinition};

    use super::super::load;
    use super::*;

    const TRACE: TableDefinition<'_, u64, u64> = TableDefinition::new("trace");

    fn leave_trace(transaction: &WriteTransaction) -> Result<(), StoreError> {
        let mut trace = transaction.open_table(TRACE)?;
        let next = trace.iter()?.count() as u64;
        trace.insert(next, next)?;
        Ok(())
    }

    fn fails(_: &WriteTransaction) -> Result<(), StoreError> {
        Err(StoreError::Panicked("step failed".to_owned()))
    }

    fn database() -> Database {
        Database::builder().create_with_backend(InMemoryBackend::new()).unwrap()
    }

    fn traces(database: &Database) -> usize {
        let Ok(trace) = database.begin_read().unwrap().open_table(TRACE) else { return 0 };
        trace.iter().unwrap().count()
    }

    #[test]
    fn empty_database_starts_at_the_newest_version() {
        let database = database();
        migrate(&database, &[leave_trace, leave_trace]).unwrap();
        assert_eq!(version(&database).unwrap(), Some(3));
        assert_eq!(traces(&database), 0);
    }

    #[test]
    fn older_database_takes_exactly_the_steps_it_lacks() {
        let database = database();
        migrate(&database, &[]).unwrap();
        assert_eq!(version(&database).unwrap(), Some(1));
        migrate(&database, &[leave_trace]).unwrap();
        assert_eq!((version(&database).unwrap(), traces(&database)), (Some(2), 1));
        migrate(&database, &[leave_trace, leave_trace, leave_trace]).unwrap();
        assert_eq!((version(&database).unwrap(), traces(&database)), (Some(4), 3));
    }

    #[test]
    fn database_of_the_first_version_gets_the_tables_that_came_later() {
        let database = database();
        migrate(&database, &[]).unwrap();
        let transaction = database.begin_write().unwrap();
        for table in ["sessions", "agents", "runs", "approvals", "allowed", "spawns"] {
            transaction.delete_table(TableDefinition::<&str, &[u8]>::new(table)).unwrap();
        }
        transaction.delete_table(TableDefinition::<u64, &[u8]>::new("messages")).unwrap();
        transaction.commit().unwrap();
        migrate(&database, STEPS).unwrap();
        load::load(&database).unwrap();
    }

    #[test]
    fn failed_step_leaves_the_version_before_it() {
        let database = database();
        migrate(&database, &[]).unwrap();
        migrate(&database, &[leave_trace, fails]).unwrap_err();
        assert_eq!((version(&database).unwrap(), traces(&database)), (Some(2), 1));
    }

    #[test]
    fn newer_database_is_refused_with_both_versions_named() {
        let database = database();
        migrate(&database, &[leave_trace as Step; 6]).unwrap();
        let error = migrate(&database, STEPS).unwrap_err().to_string();
        assert!(error.contains("schema version 7, this gateway knows up to 3"), "{error}");
    }

    #[test]
    fn database_of_something_else_is_refused() {
        let database = database();
        let transaction = database.begin_write().unwrap();
        leave_trace(&transaction).unwrap();
        transaction.commit().unwrap();
        let error = migrate(&database, STEPS).unwrap_err().to_string();
        assert!(error.contains("not a gateway's database"), "{error}");
    }
}
