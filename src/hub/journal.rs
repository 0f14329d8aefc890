//! The journal in memory: the newest log entries, ordered by cursor, bounded in entries and bytes.
//!
//! Hands out cursors, never beyond the durably reserved block and never one twice. Does not write
//! to disk (`commits`) and does not check what an entry says (`protocol::log_entry`). Called by
//! the verbs `logs.append` and `logs.tail`.
//!
//! ```text
//!   oldest kept              next            reserved          requested
//!   ───●───●──●─●───●───●──●───┼─────────────────┼─────────────────┼───▶ cursors
//!      entries (with gaps)      may be given now   asked of the store
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::ids::Cursor;
use crate::base::limits::CURSOR_BLOCK;
use crate::protocol::log_entry::{LogDraft, LogRecord};
use crate::protocol::reply::LogsPage;
use crate::protocol::request::LogsTail;

/// What an entry costs beside its text: the record, its place and its share of the allocator.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// What an entry costs in memory, which is what `journalBytes` bounds.
pub(super) fn entry_bytes(draft: &LogDraft) -> usize {
    draft.body.len() + ENTRY_OVERHEAD_BYTES
}

/// See the module.
pub(super) struct Journal {
    entries: VecDeque<Arc<LogRecord>>,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
    /// The next cursor.
    next: u64,
    /// Cursors below this one may be given: the reservation is on disk.
    reserved: u64,
    /// What the store was last asked to reserve.
    requested: u64,
    /// The newest entry that was trimmed; 0 when none was.
    trimmed_through: u64,
    /// Whether the disk still holds entries that were trimmed here.
    trim_unsaved: bool,
}

impl Journal {
    /// Takes what was on disk, oldest first. Cursors go on from what the disk has reserved.
    pub(super) fn new(
        entries: Vec<Arc<LogRecord>>,
        cursors_reserved: Cursor,
        trimmed_through: Cursor,
        entries_max: usize,
        bytes_max: usize,
    ) -> Self {
        let bytes = entries.iter().map(|record| entry_bytes(&record.draft)).sum();
        let after_last = entries.last().map_or(0, |record| record.cursor.0 + 1);
        let next = cursors_reserved.0.max(after_last).max(1);
        let mut journal = Self {
            entries: entries.into(),
            bytes,
            entries_max: entries_max.max(1),
            bytes_max,
            next,
            reserved: next,
            requested: next,
            trimmed_through: trimmed_through.0,
            trim_unsaved: false,
        };
        journal.trim();
        journal
    }

    /// Whether so many cursors may be given now.
    pub(super) fn has_cursors(&self, count: usize) -> bool {
        self.next + count as u64 <= self.reserved
    }

    /// The reservation to ask of the store, when half of the last block asked for is used.
    pub(super) fn wanted_reservation(&mut self) -> Option<Cursor> {
        if self.requested.saturating_sub(self.next) > CURSOR_BLOCK / 2 {
            return None;
        }
        self.requested = self.requested.max(self.next) + CURSOR_BLOCK;
        Some(Cursor(self.requested))
    }

    /// The reservation is on disk.
    pub(super) fn reservation_stored(&mut self, cursor: Cursor) {
        self.reserved = self.reserved.max(cursor.0);
    }

    /// The reservation is not on disk; the next one that is wanted starts from what is.
    pub(super) fn reservation_failed(&mut self) {
        self.requested = self.reserved;
    }

    /// Appends an entry. The caller has asked `has_cursors`.
    pub(super) fn append(&mut self, draft: LogDraft) -> Arc<LogRecord> {
        assert!(self.next < self.reserved, "cursors are given only below the durable reservation");
        let record = Arc::new(LogRecord { cursor: Cursor(self.next), draft });
        self.next += 1;
        self.bytes += entry_bytes(&record.draft);
        self.entries.push_back(Arc::clone(&record));
        self.trim();
        record
    }

    /// Keeps so many from now on.
    pub(super) fn set_limits(&mut self, entries_max: usize, bytes_max: usize) {
        self.entries_max = entries_max.max(1);
        self.bytes_max = bytes_max;
        self.trim();
    }

    fn trim(&mut self) {
        // The newest entry stays, however long it is: it was accepted.
        while self.entries.len() > 1
            && (self.entries.len() > self.entries_max || self.bytes > self.bytes_max)
            && let Some(record) = self.entries.pop_front()
        {
            self.bytes -= entry_bytes(&record.draft);
            self.trimmed_through = record.cursor.0;
            self.trim_unsaved = true;
        }
    }

    /// The newest entry that the disk may forget, when it may still hold it.
    pub(super) fn take_trim(&mut self) -> Option<Cursor> {
        if !std::mem::take(&mut self.trim_unsaved) {
            return None;
        }
        Some(Cursor(self.trimmed_through))
    }

    /// The trim is not on disk.
    pub(super) fn trim_failed(&mut self) {
        self.trim_unsaved = true;
    }

    /// Forgets every entry from this cursor on: they did not become durable. Their cursors are
    /// not given again, since live events have shown them. Returns the newest of them.
    pub(super) fn forget_from(&mut self, cursor: Cursor) -> Cursor {
        while let Some(record) = self.entries.back()
            && record.cursor >= cursor
        {
            self.bytes -= entry_bytes(&record.draft);
            self.entries.pop_back();
        }
        Cursor(self.next - 1)
    }

    /// Answers `logs.tail`. Costs what it returns plus a binary search, without a filter.
    pub(super) fn tail(&self, ask: &LogsTail) -> LogsPage {
        match ask.cursor {
            None => self.newest(ask, self.entries.len()),
            Some(cursor) => self.after(cursor, ask, self.entries.len()),
        }
    }

    /// The same of the entries after the one cursor, up to and with the other.
    pub(super) fn tail_between(
        &self,
        ask: &LogsTail,
        after: Cursor,
        through: Option<Cursor>,
    ) -> LogsPage {
        let end = through.map_or(self.entries.len(), |through| {
            self.entries.partition_point(|record| record.cursor <= through)
        });
        match ask.cursor {
            Some(cursor) => self.after(cursor.max(after), ask, end),
            None => {
                let mut page = self.newest(ask, end);
                page.entries.retain(|record| record.cursor > after);
                page
            }
        }
    }

    /// The newest of the entries before the one with this index.
    fn newest(&self, ask: &LogsTail, end: usize) -> LogsPage {
        let mut room = Room::of(ask);
        let mut entries: Vec<Arc<LogRecord>> = self
            .entries
            .range(..end)
            .rev()
            .filter(|record| ask.filter.matches(&record.draft))
            .take_while(|record| room.takes(&record.draft))
            .cloned()
            .collect();
        entries.reverse();
        LogsPage { entries, cursor: self.last(), truncated: false, reset: false }
    }

    fn after(&self, asked: Cursor, ask: &LogsTail, end: usize) -> LogsPage {
        let from_the_future = asked.0 >= self.next;
        let reset = from_the_future || asked.0 < self.trimmed_through;
        // A cursor that is not ours tells nothing of what its holder has seen.
        let start = if from_the_future { Cursor(0) } else { asked };
        let index = self.entries.partition_point(|record| record.cursor <= start);
        let mut room = Room::of(ask);
        let mut entries = Vec::new();
        let mut truncated = false;
        for record in self.entries.range(index.min(end)..end) {
            if !ask.filter.matches(&record.draft) {
                continue;
            }
            if !room.takes(&record.draft) {
                truncated = true;
                break;
            }
            entries.push(Arc::clone(record));
        }
        let cursor = match entries.last() {
            Some(record) if truncated => record.cursor,
            // Everything after `start` was looked at.
            _ => self.last().max(start),
        };
        LogsPage { entries, cursor, truncated, reset }
    }

    /// The newest entry kept, else the newest cursor given.
    pub(super) fn last(&self) -> Cursor {
        self.entries.back().map_or(Cursor(self.next - 1), |record| record.cursor)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What an entry's id, cursor and punctuation add to a page.
const PAGE_ENTRY_BYTES: usize = 64;

/// What is left of a page's limits.
struct Room {
    entries: usize,
    bytes: usize,
    empty: bool,
}

impl Room {
    fn of(ask: &LogsTail) -> Self {
        Self { entries: ask.limit, bytes: ask.bytes_max, empty: true }
    }

    /// Whether this entry still fits; the first always does.
    fn takes(&mut self, draft: &LogDraft) -> bool {
        // Each entry stands in the answer twice: as an object, and as a line to read.
        let bytes = 2 * draft.body.len() + PAGE_ENTRY_BYTES;
        if !self.empty && (self.entries == 0 || bytes > self.bytes) {
            return false;
        }
        self.empty = false;
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}
