//! The bytes of a backup: written from one snapshot, read back only when they are whole.
//!
//! ```text
//! magic     8 bytes   "OCGWBAK\n"
//! version   4 bytes   of this format: 1
//! schema    8 bytes   of the tables, as in `schema`
//! made      8 bytes   Unix milliseconds
//! records, one after the other:
//!   mark    1 byte    1
//!   table   2 bytes   length, then UTF-8
//!   key     4 bytes   length, then bytes as the table has them
//!   value   4 bytes   length, then bytes as the table has them
//! end       1 byte    0
//! count     8 bytes   records
//! length    8 bytes   everything before this field
//! checksum 32 bytes   SHA-256 of everything before this field
//! ```
//!
//! Numbers are little-endian. Nothing follows the checksum. What is cut, damaged or appended to
//! is refused by [`verify`]. Owns no file and no table: `tables` knows both sides of a record.

use std::fmt;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::error::StoreError;
use super::{schema, tables};
use crate::base::limits::BACKUP_FIELD_BYTES_MAX;

const MAGIC: &[u8; 8] = b"OCGWBAK\n";
const VERSION: u32 = 1;
const RECORD: u8 = 1;
const END: u8 = 0;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// When it was made, in Unix milliseconds.
    pub made_at_ms: u64,
    /// The schema version of its tables.
    pub schema: u64,
    /// Records in all.
    pub records: u64,
    /// Its length.
    pub bytes: u64,
}

/// Why a backup cannot be made or used.
#[derive(Debug)]
pub enum BackupError {
    /// Reading or writing failed.
    Io(io::Error),
    /// The store failed.
    Store(StoreError),
    /// The file is not a whole backup; what is wrong with it.
    Damaged(&'static str),
    /// The file is of another format version.
    Version(u32),
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Store(error) => {
                error.fmt(f)?;
                std::error::Error::source(error).map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
            Self::Damaged(what) => write!(f, "not a whole backup: {what}"),
            Self::Version(found) => write!(
                f,
                "a backup of format version {found}; this gateway reads version {VERSION}"
            ),
        }
    }
}

impl std::error::Error for BackupError {}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("it is cut off"),
            _ => Self::Io(error),
        }
    }
}

impl<E: Into<StoreError>> From<E> for BackupError {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// Everything in the database at one moment, while commits go on.
pub struct Snapshot(redb::ReadTransaction);

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

impl Snapshot {
    pub(super) fn new(transaction: redb::ReadTransaction) -> Self {
        Self(transaction)
    }

    /// Writes it as a backup; returns how many records there are.
    pub fn write(&self, out: impl Write, made_at_ms: u64) -> Result<u64, BackupError> {
        let mut out = Hashing::new(out);
        out.put(MAGIC)?;
        out.put(&VERSION.to_le_bytes())?;
        out.put(&schema::version_in(&self.0)?.to_le_bytes())?;
        out.put(&made_at_ms.to_le_bytes())?;
        let mut count = 0_u64;
        tables::each_record(&self.0, &mut |table, key, value| {
            count += 1;
            let table_len = u16::try_from(table.len()).map_err(|_| too_long())?;
            out.put(&[RECORD])?;
            out.put(&table_len.to_le_bytes())?;
            out.put(table.as_bytes())?;
            for field in [key, value] {
                let len = u32::try_from(field.len()).ok().filter(|n| *n <= BACKUP_FIELD_BYTES_MAX);
                out.put(&len.ok_or_else(too_long)?.to_le_bytes())?;
                out.put(field)?;
            }
            Ok(())
        })?;
        out.put(&[END])?;
        out.put(&count.to_le_bytes())?;
        let length = out.count;
        out.put(&length.to_le_bytes())?;
        let checksum = out.hash.finalize();
        out.inner.write_all(&checksum)?;
        out.inner.flush()?;
        Ok(count)
    }
}

fn too_long() -> BackupError {
    BackupError::Io(io::Error::other("a record is too long for a backup"))
}

/// Reads a backup to its end and checks it; the records go to nobody.
pub fn verify(from: impl Read) -> Result<Contents, BackupError> {
    read(from, |_, _, _| Ok(()))
}

/// The same, with every record handed out. That the whole is good is known only at the end.
pub(super) fn read(
    from: impl Read,
    mut record: impl FnMut(&str, &[u8], &[u8]) -> Result<(), BackupError>,
) -> Result<Contents, BackupError> {
    let mut from = Hashing::new(from);
    if from.take::<8>()? != *MAGIC {
        return Err(BackupError::Damaged("it does not begin like one"));
    }
    let version = u32::from_le_bytes(from.take()?);
    if version != VERSION {
        return Err(BackupError::Version(version));
    }
    let schema = u64::from_le_bytes(from.take()?);
    let made_at_ms = u64::from_le_bytes(from.take()?);
    let (mut table, mut key, mut value) = (Vec::new(), Vec::new(), Vec::new());
    let mut count = 0;
    loop {
        match from.take()? {
            [RECORD] => {}
            [END] => break,
            [_] => return Err(BackupError::Damaged("a record begins wrongly")),
        }
        let table_len = u16::from_le_bytes(from.take()?);
        from.fill(u32::from(table_len), &mut table)?;
        for field in [&mut key, &mut value] {
            let len = u32::from_le_bytes(from.take()?);
            from.fill(len, field)?;
        }
        let table = str::from_utf8(&table)
            .map_err(|_| BackupError::Damaged("the name of a table is not UTF-8"))?;
        record(table, &key, &value)?;
        count += 1;
    }
    if u64::from_le_bytes(from.take()?) != count {
        return Err(BackupError::Damaged("it has lost records"));
    }
    let length = from.count;
    if u64::from_le_bytes(from.take()?) != length {
        return Err(BackupError::Damaged("its length is not what it says"));
    }
    let expected = from.hash.clone().finalize();
    if from.take::<32>()?.as_slice() != expected.as_slice() {
        return Err(BackupError::Damaged("its checksum is wrong"));
    }
    let bytes = from.count;
    match from.inner.read(&mut [0])? {
        0 => Ok(Contents { made_at_ms, schema, records: count, bytes }),
        _ => Err(BackupError::Damaged("something follows its end")),
    }
}

/// Counts and hashes what passes.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
    count: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), count: 0 }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.count += bytes.len() as u64;
    }
}

impl<W: Write> Hashing<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pass(bytes);
        self.inner.write_all(bytes)
    }
}

impl<R: Read> Hashing<R> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.pass(&bytes);
        Ok(bytes)
    }

    /// Memory is taken as bytes arrive, not by what the length announces.
    fn fill(&mut self, len: u32, into: &mut Vec<u8>) -> Result<(), BackupError> {
        if len > BACKUP_FIELD_BYTES_MAX {
            return Err(BackupError::Damaged("a record is too long"));
        }
        into.clear();
        if (&mut self.inner).take(u64::from(len)).read_to_end(into)? as u64 != u64::from(len) {
            return Err(BackupError::Damaged("it is cut off"));
        }
        self.pass(into);
        Ok(())
    }
}
