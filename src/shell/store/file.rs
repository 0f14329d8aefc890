//! The database's file, as the database library reads and writes it.
//!
//! Reads ahead where reads follow each other: an opening reads the whole file, page by page and
//! nearly in order, and one system call for each page is most of what it costs. Writes are not
//! held back. Takes no lock of its own: the state directory's covers the file.
//! Called by the library; made by `database`.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::base::limits::{STORE_AHEAD_BYTES, STORE_AHEAD_NEAR_BYTES, STORE_AHEAD_STREAMS};

/// The file, for the library.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    file: File,
    streams: Mutex<Streams>,
}

/// Reads that follow each other, newest first.
#[derive(Debug, Default)]
struct Streams([Stream; STORE_AHEAD_STREAMS]);

#[derive(Debug, Default)]
struct Stream {
    /// Where a read would follow the last one.
    next: u64,
    /// What was read ahead, which begins at `start`.
    bytes: Vec<u8>,
    start: u64,
}

impl DatabaseFile {
    pub(super) fn new(file: File) -> Self {
        Self { file, streams: Mutex::default() }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        // Whoever panicked has left a stream that is whole or is not there.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    /// Copies what was read ahead, if `out` lies in it; else says whether this read follows
    /// another, in which case `self.0[0]` is the stream to read ahead for.
    fn take(&mut self, offset: u64, out: &mut [u8]) -> Taken {
        let end = offset + out.len() as u64;
        let read = self.0.iter().position(|stream| stream.slice(offset, out.len()).is_some());
        let follows = |stream: &Stream| {
            stream.next != 0
                && (stream.next..stream.next + STORE_AHEAD_NEAR_BYTES).contains(&offset)
        };
        let found = read.or_else(|| self.0.iter().position(follows));
        let oldest = self.0.len() - 1;
        self.0[..=found.unwrap_or(oldest)].rotate_right(1);
        let stream = &mut self.0[0];
        stream.next = end;
        if found.is_none() {
            stream.bytes = Vec::new();
            return Taken::Elsewhere;
        }
        match stream.slice(offset, out.len()) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                Taken::Copied
            }
            None => Taken::Follows,
        }
    }
}

/// What reading ahead has for a read.
enum Taken {
    Copied,
    Follows,
    Elsewhere,
}

impl Stream {
    fn slice(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }

    /// Reads ahead from `offset`; fewer bytes where the file ends.
    fn fill(&mut self, file: &File, offset: u64) -> io::Result<()> {
        self.start = offset;
        self.bytes.resize(STORE_AHEAD_BYTES, 0);
        let mut filled = 0;
        while filled < self.bytes.len() {
            match file.read_at(&mut self.bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.bytes = Vec::new();
                    return Err(error);
                }
            }
        }
        self.bytes.truncate(filled);
        Ok(())
    }
}

impl StorageBackend for DatabaseFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if out.len() < STORE_AHEAD_BYTES {
            let mut streams = self.streams();
            match streams.take(offset, out) {
                Taken::Copied => return Ok(()),
                Taken::Elsewhere => {}
                Taken::Follows => {
                    let [stream, ..] = &mut streams.0;
                    stream.fill(&self.file, offset)?;
                    let bytes = stream.slice(offset, out.len()).ok_or(ErrorKind::UnexpectedEof)?;
                    out.copy_from_slice(bytes);
                    return Ok(());
                }
            }
        }
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let set = self.file.set_len(len);
        *self.streams() = Streams::default();
        set
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let written = self.file.write_all_at(data, offset);
        // Also after a failure: nobody knows what of it is there.
        *self.streams() = Streams::default();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::test_dir::TestDir;

    const PAGE: usize = 4096;
    /// More than is read ahead at once, and no multiple of it.
    const PAGES: usize = 3 * STORE_AHEAD_BYTES / PAGE + 7;

    fn filled(dir: &TestDir) -> DatabaseFile {
        let path = dir.path().join("file");
        let pages: Vec<u8> = (0..PAGES).flat_map(|page| [page as u8; PAGE]).collect();
        std::fs::write(&path, pages).unwrap();
        let file = File::options().read(true).write(true).open(path).unwrap();
        DatabaseFile::new(file)
    }

    #[track_caller]
    fn check(file: &DatabaseFile, page: usize, expected: u8) {
        let mut out = [0; PAGE];
        file.read((page * PAGE) as u64, &mut out).unwrap();
        assert_eq!((out[0], out[PAGE - 1]), (expected, expected), "page {page}");
    }

    #[test]
    fn every_page_is_read_as_it_is_in_any_order() {
        let dir = TestDir::new("store-file-order");
        let file = filled(&dir);
        for page in 0..PAGES {
            check(&file, page, page as u8);
        }
        for page in (0..PAGES).rev() {
            check(&file, page, page as u8);
        }
        // Two readers side by side, and a third that jumps about.
        for page in 0..PAGES / 2 {
            check(&file, page, page as u8);
            check(&file, page + PAGES / 2, (page + PAGES / 2) as u8);
            check(&file, page * 37 % PAGES, (page * 37 % PAGES) as u8);
        }
    }

    #[test]
    fn what_is_written_is_read_also_where_something_was_read_ahead() {
        let dir = TestDir::new("store-file-write");
        let file = filled(&dir);
        for page in 0..4 {
            check(&file, page, page as u8);
        }
        file.write((5 * PAGE) as u64, &[200; PAGE]).unwrap();
        check(&file, 4, 4);
        check(&file, 5, 200);
        file.set_len((6 * PAGE) as u64).unwrap();
        let mut out = [0; PAGE];
        let past = file.read((6 * PAGE) as u64, &mut out).unwrap_err();
        assert_eq!(past.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn reads_that_follow_each_other_ask_the_system_once() {
        let dir = TestDir::new("store-file-ahead");
        let file = filled(&dir);
        for page in 1..4 {
            check(&file, page, page as u8);
        }
        // Behind the back of the file: what was read ahead is what is seen.
        file.file.write_all_at(&[201; PAGE], (6 * PAGE) as u64).unwrap();
        check(&file, 6, 6);
    }
}
