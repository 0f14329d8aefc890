//! What a child writes: split into lines, made readable, held to a rate.
//!
//! Owns bytes and counts, no descriptor. Called by `child` with what it has read.

use std::time::{Duration, Instant};

use crate::base::limits::{
    CHILD_OUTPUT_BATCH_BYTES_MAX, OUTPUT_LINE_BYTES_MAX, OUTPUT_LINE_OVERHEAD_BYTES,
};
use crate::base::time::Moment;
use crate::hub::child::OutputLine;
use crate::protocol::output_line::{self, OutputContext, OutputStream};

/// How much one child may write: a second's worth at once, and then as fast as it comes back.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: u64,
    left: u64,
    since: Instant,
    /// Nothing is taken before this moment.
    suppressed_until: Option<Instant>,
}

impl Allowance {
    /// A full one.
    pub(super) fn new(per_second: u64, now: Instant) -> Self {
        let per_second = per_second.max(1);
        Self { per_second, left: per_second, since: now, suppressed_until: None }
    }

    /// When lines are taken again, while they are suppressed.
    pub(super) fn suppressed_until(&self) -> Option<Instant> {
        self.suppressed_until
    }

    /// Whether a line of so many bytes is taken. Once one is not, none is until half of the
    /// allowance is back, so that gaps are few and not every other line.
    fn takes(&mut self, bytes: usize, now: Instant) -> bool {
        if self.is_suppressed(now) {
            return false;
        }
        let elapsed = now.saturating_duration_since(self.since);
        let back = elapsed.as_nanos().saturating_mul(u128::from(self.per_second)) / 1_000_000_000;
        if back > 0 {
            let back = u64::try_from(back).unwrap_or(u64::MAX);
            self.left = self.left.saturating_add(back).min(self.per_second);
            self.since = now;
        }
        let cost = u64::try_from(bytes + OUTPUT_LINE_OVERHEAD_BYTES).unwrap_or(u64::MAX);
        // A line that is longer than all of it passes when all of it is there.
        let cost = cost.min(self.per_second);
        if cost <= self.left {
            self.left -= cost;
            return true;
        }
        let missing = (self.per_second / 2).max(cost).saturating_sub(self.left);
        let wait = u128::from(missing) * 1_000_000_000 / u128::from(self.per_second);
        let wait = Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
        self.suppressed_until = Some(now + wait.max(Duration::from_millis(1)));
        false
    }

    fn is_suppressed(&mut self, now: Instant) -> bool {
        if self.suppressed_until.is_some_and(|until| until <= now) {
            self.suppressed_until = None;
        }
        self.suppressed_until.is_some()
    }
}

/// The lines of one stream.
#[derive(Debug)]
pub(super) struct Lines {
    stream: OutputStream,
    /// A line whose end has not come.
    partial: Vec<u8>,
    /// Whether `partial` goes on a line of which a piece was taken already.
    goes_on: bool,
    suppressed_lines: u64,
    suppressed_bytes: u64,
}

/// Lines on their way to the hub.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<OutputLine>,
    bytes: usize,
}

/// What lines are read with.
pub(super) struct Taking<'a> {
    pub(super) context: &'a OutputContext,
    pub(super) allowance: &'a mut Allowance,
    pub(super) now: Moment,
    /// Takes a batch that is full.
    pub(super) full: &'a mut dyn FnMut(Vec<OutputLine>),
    pub(super) batch: Batch,
}

impl Taking<'_> {
    fn push(&mut self, line: OutputLine, bytes: usize) {
        let bytes = bytes + OUTPUT_LINE_OVERHEAD_BYTES;
        if self.batch.bytes + bytes > CHILD_OUTPUT_BATCH_BYTES_MAX {
            self.finish();
        }
        self.batch.lines.push(line);
        self.batch.bytes += bytes;
    }

    /// Hands over what is there.
    pub(super) fn finish(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.lines.is_empty() {
            (self.full)(batch.lines);
        }
    }
}

impl Lines {
    /// Nothing read yet.
    pub(super) fn new(stream: OutputStream) -> Self {
        let partial = Vec::new();
        Self { stream, partial, goes_on: false, suppressed_lines: 0, suppressed_bytes: 0 }
    }

    /// Takes what was read.
    pub(super) fn take(&mut self, mut bytes: &[u8], taking: &mut Taking<'_>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.partial.is_empty() && !self.goes_on && line.len() <= OUTPUT_LINE_BYTES_MAX {
                self.take_line(line, taking);
            } else {
                self.extend(line, taking);
                self.end_line(taking);
            }
            bytes = rest;
        }
        self.extend(bytes, taking);
    }

    /// The stream is at its end: an unfinished line is one, and what was suppressed is said.
    pub(super) fn end(&mut self, taking: &mut Taking<'_>) {
        if !self.partial.is_empty() {
            self.end_line(taking);
        }
        self.say_suppressed(taking);
    }

    /// Says what was suppressed, if lines are taken again.
    pub(super) fn recover(&mut self, taking: &mut Taking<'_>) {
        if !taking.allowance.is_suppressed(taking.now.at) {
            self.say_suppressed(taking);
        }
    }

    /// Adds to the unfinished line, and takes pieces of it that have the greatest size.
    fn extend(&mut self, mut bytes: &[u8], taking: &mut Taking<'_>) {
        while self.partial.len() + bytes.len() > OUTPUT_LINE_BYTES_MAX {
            let (head, rest) = bytes.split_at(OUTPUT_LINE_BYTES_MAX - self.partial.len());
            self.partial.extend_from_slice(head);
            bytes = rest;
            let whole = whole_characters(&self.partial);
            let rest = self.partial.split_off(whole);
            let piece = std::mem::replace(&mut self.partial, rest);
            self.take_line(&piece, taking);
            self.goes_on = true;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn end_line(&mut self, taking: &mut Taking<'_>) {
        let line = std::mem::take(&mut self.partial);
        // The pieces before were all of it.
        if !(line.is_empty() && self.goes_on) {
            self.take_line(&line, taking);
        }
        self.goes_on = false;
    }

    fn take_line(&mut self, line: &[u8], taking: &mut Taking<'_>) {
        if !taking.allowance.takes(line.len(), taking.now.at) {
            self.suppressed_lines += 1;
            self.suppressed_bytes += u64::try_from(line.len()).unwrap_or(u64::MAX);
            return;
        }
        self.say_suppressed(taking);
        let text = readable(line);
        let mut text = &*text;
        // Only text with escapes has become longer than a line may be.
        loop {
            let (piece, rest) = text.split_at(text.floor_char_boundary(OUTPUT_LINE_BYTES_MAX));
            let unix_ms = taking.now.unix_ms;
            let content = output_line::read(piece, self.stream, taking.context, unix_ms);
            taking.push(OutputLine { stream: self.stream, content }, piece.len());
            text = rest;
            if text.is_empty() {
                return;
            }
        }
    }

    fn say_suppressed(&mut self, taking: &mut Taking<'_>) {
        let lines = std::mem::take(&mut self.suppressed_lines);
        let bytes = std::mem::take(&mut self.suppressed_bytes);
        if lines > 0 {
            let unix_ms = taking.now.unix_ms;
            let content =
                output_line::suppressed(lines, bytes, self.stream, taking.context, unix_ms);
            taking.push(OutputLine { stream: self.stream, content }, 0);
        }
    }
}

/// Where the last whole character ends: a cut within one would make it unreadable. Bytes that are
/// no UTF-8 at all are cut anywhere.
fn whole_characters(bytes: &[u8]) -> usize {
    // A character has at most four bytes, so a cut one is among the last three.
    let tail = bytes.len().saturating_sub(3)..bytes.len();
    let cut = tail.rev().find(|at| bytes[*at] & 0xC0 != 0x80);
    match cut.map(|at| (at, std::str::from_utf8(&bytes[at..]))) {
        Some((at, Err(error))) if error.error_len().is_none() => at,
        _ => bytes.len(),
    }
}

/// The text, with bytes that are no UTF-8 as `\xff`.
fn readable(line: &[u8]) -> std::borrow::Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(line) {
        return text.into();
    }
    let mut text = String::with_capacity(line.len() + 16);
    for chunk in line.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text.into()
}
