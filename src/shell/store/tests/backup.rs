//! Backups in memory: every table is in one, and what is not whole is refused.

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, TableHandle};

use super::super::backup::{BackupError, Snapshot, read, verify};
use super::super::database::guard;
use super::super::{schema, tables};
use super::*;

/// Records that no table takes are worth nothing outside of the database that they are in.
const LEFT_OUT: [&str; 1] = ["probe"];

fn database() -> Database {
    let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
    schema::migrate(&database, schema::STEPS).unwrap();
    database
}

fn backup(database: &Database) -> Vec<u8> {
    let mut bytes = Vec::new();
    Snapshot::new(database.begin_read().unwrap()).write(&mut bytes, 1_709_582_400_000).unwrap();
    bytes
}

#[test]
fn every_table_is_in_a_backup() {
    let database = database();
    let handles = database.begin_read().unwrap();
    let names: Vec<_> = handles.list_tables().unwrap().map(|t| t.name().to_owned()).collect();
    let names: Vec<_> = names.iter().filter(|n| !LEFT_OUT.contains(&n.as_str())).collect();
    for name in &names {
        // A key that is as long as the table's kind of keys; a value that is a number or bytes.
        // The last key is that of a pair: the length of a text, which is empty, and a number.
        let fits = [vec![b'0'; 8], vec![b'0'; 32], vec![0; 9]].iter().any(|key| {
            guard(|| {
                let transaction = database.begin_write()?;
                let known = tables::put_record(&transaction, name, key, &[0; 8])?;
                assert!(known, "put_record does not know the table {name}");
                Ok(transaction.commit()?)
            })
            .is_ok()
        });
        assert!(fits, "{name}");
    }
    let mut found = Vec::new();
    read(backup(&database).as_slice(), |table, _, _| {
        found.push(table.to_owned());
        Ok(())
    })
    .unwrap();
    found.dedup();
    found.sort();
    let mut expected: Vec<_> = names.into_iter().cloned().collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn backup_that_is_cut_damaged_or_appended_to_is_refused() {
    let database = database();
    let transaction = database.begin_write().unwrap();
    let changes: Vec<_> = (1..20).map(entry).collect();
    tables::apply(&transaction, &changes).unwrap();
    transaction.commit().unwrap();
    let whole = backup(&database);
    let contents = verify(whole.as_slice()).unwrap();
    // The entries and the schema version.
    assert_eq!((contents.records, contents.bytes), (20, whole.len() as u64));
    for length in 0..whole.len() {
        assert!(verify(&whole[..length]).is_err(), "cut to {length}");
    }
    for position in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x40;
        // When it was made is not what a restore depends on, and in the checksum like the rest.
        assert!(verify(damaged.as_slice()).is_err(), "damaged at {position}");
    }
    let mut longer = whole;
    longer.push(0);
    let error = verify(longer.as_slice()).unwrap_err();
    assert!(matches!(error, BackupError::Damaged("something follows its end")), "{error}");
}

#[test]
fn length_that_a_damaged_backup_announces_takes_no_memory() {
    let mut bytes = backup(&database());
    // The first record's key: after head (28), mark, length of the table's name and "meta".
    let length = 28 + 1 + 2 + 4;
    bytes[length..length + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = verify(bytes.as_slice()).unwrap_err();
    assert!(matches!(error, BackupError::Damaged("a record is too long")), "{error}");
}
