//! Both streams of a child, from the pipe to the hub.
//!
//! Owns our ends, the allowance that they share, and whether their end was told. Called by `child`.

use std::os::fd::OwnedFd;
use std::time::Instant;

use super::output::{Allowance, Batch, Lines, Taking};
use super::pipes::{Progress, read_some};
use crate::base::ids::SpawnId;
use crate::base::time::Moment;
use crate::hub::child::ChildNews;
use crate::protocol::output_line::{OutputContext, OutputStream};

/// The streams of one child.
#[derive(Debug)]
pub(super) struct Streams {
    spawn: SpawnId,
    context: OutputContext,
    allowance: Allowance,
    stdout: Stream,
    stderr: Stream,
    is_end_told: bool,
}

#[derive(Debug)]
struct Stream {
    end: Option<OwnedFd>,
    lines: Lines,
}

impl Streams {
    /// Nothing is read yet.
    pub(super) fn new(
        spawn: SpawnId,
        context: OutputContext,
        per_second: u64,
        (stdout, stderr): (OwnedFd, OwnedFd),
        now: Instant,
    ) -> Self {
        let stream = |end, stream| Stream { end: Some(end), lines: Lines::new(stream) };
        Self {
            spawn,
            context,
            allowance: Allowance::new(per_second, now),
            stdout: stream(stdout, OutputStream::Stdout),
            stderr: stream(stderr, OutputStream::Stderr),
            is_end_told: false,
        }
    }

    /// Our end, while it is open.
    pub(super) fn end(&self, stream: OutputStream) -> Option<&OwnedFd> {
        match stream {
            OutputStream::Stdout => self.stdout.end.as_ref(),
            OutputStream::Stderr => self.stderr.end.as_ref(),
        }
    }

    /// Whether `OutputEnded` was told.
    pub(super) fn is_end_told(&self) -> bool {
        self.is_end_told
    }

    /// When `recover` is due.
    pub(super) fn suppressed_until(&self) -> Option<Instant> {
        self.allowance.suppressed_until()
    }

    /// Reads once: what is left is read in the next turn, so that no child holds up another.
    pub(super) fn read(
        &mut self,
        stream: OutputStream,
        buffer: &mut [u8],
        now: Moment,
        say: &mut dyn FnMut(ChildNews),
    ) {
        let source = self.source(stream);
        let Some(end) = &source.end else { return };
        match read_some(end, buffer) {
            Progress::Some(bytes) => {
                self.with_lines(stream, now, say, |lines, taking| {
                    lines.take(&buffer[..bytes], taking);
                });
            }
            Progress::Later => {}
            Progress::End => {
                source.end = None;
                self.with_lines(stream, now, say, Lines::end);
                self.tell_end(say);
            }
        }
    }

    /// Says what was suppressed, as lines are taken again.
    pub(super) fn recover(&mut self, now: Moment, say: &mut dyn FnMut(ChildNews)) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            self.with_lines(stream, now, say, Lines::recover);
        }
    }

    /// Reads no more, whoever may still write.
    pub(super) fn close(&mut self, now: Moment, say: &mut dyn FnMut(ChildNews)) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            if self.source(stream).end.take().is_some() {
                self.with_lines(stream, now, say, Lines::end);
            }
        }
        self.tell_end(say);
    }

    /// The child has not begun, and there is nobody to tell.
    pub(super) fn forget(&mut self) {
        (self.stdout.end, self.stderr.end, self.is_end_told) = (None, None, true);
    }

    fn tell_end(&mut self, say: &mut dyn FnMut(ChildNews)) {
        let is_at_end = self.stdout.end.is_none() && self.stderr.end.is_none();
        if is_at_end && !std::mem::replace(&mut self.is_end_told, true) {
            say(ChildNews::OutputEnded(self.spawn.clone()));
        }
    }

    fn source(&mut self, stream: OutputStream) -> &mut Stream {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }

    fn with_lines(
        &mut self,
        stream: OutputStream,
        now: Moment,
        say: &mut dyn FnMut(ChildNews),
        work: impl FnOnce(&mut Lines, &mut Taking<'_>),
    ) {
        let Self { spawn, context, allowance, stdout, stderr, .. } = self;
        let lines = match stream {
            OutputStream::Stdout => &mut stdout.lines,
            OutputStream::Stderr => &mut stderr.lines,
        };
        let mut full = |lines| say(ChildNews::Output { spawn: spawn.clone(), lines });
        let batch = Batch::default();
        let mut taking = Taking { context, allowance, now, full: &mut full, batch };
        work(lines, &mut taking);
        taking.finish();
    }
}
