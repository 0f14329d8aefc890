//! What waits for one peer: two lanes of whole, unsealed frames. Pure.
//!
//! Decides what overtakes, what is replaced, what is dropped, and when a gap is told. Does not
//! write, lock or wait. Called by [`super::Link`] under its queue lock, which is held for these
//! few lines only.
//!
//! ```text
//! control lane   pongs, pings, answers to `ping`, frame errors      goes first
//! ordered lane   responses and events, in the hub's order           goes second
//! close frame    once, when both lanes are empty                    goes last
//! ```

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::close_reason::CloseReason;
use crate::base::ids::Cursor;
use crate::base::limits::{BACKLOG_BYTES_UNCOUNTED, PONGS_QUEUED_MAX};
use crate::protocol::event::LogGap;
use crate::shell::budget::Permit;

/// Room kept in an empty lane, so that a delivery to a peer that keeps up allocates nothing.
const FRAMES_KEPT: usize = 4;

/// A frame for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// One whole, encoded WebSocket frame (or HTTP answer).
    pub bytes: Bytes,
    /// How it is treated when the peer is slow.
    pub class: Class,
}

/// How a frame is treated when the peer is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Overtakes everything else; counts as a response.
    Control,
    /// Keeps its place; when responses alone are over the limit, the link closes.
    Reply,
    /// Keeps its place; over the limit it is dropped and becomes part of a gap.
    Stream {
        /// The journal position, if this is a `log` event.
        log_cursor: Option<Cursor>,
    },
    /// Replaces an older one of its kind that still waits, and takes its place at the end.
    State(StateKind),
}

/// The events of which only the newest matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// `tick`
    Tick,
    /// `presence`
    Presence,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Queued,
    /// It was dropped: part of a gap, or the link is closing.
    Dropped,
    /// It cannot wait: the peer is to be closed as a slow consumer. The frame is gone.
    Overflow,
}

/// What remains after frames were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// More frames.
    Frames,
    /// Nothing for now.
    Nothing,
    /// Nothing for ever: what was taken ends the writing side. Said once.
    End,
}

/// The queue of one link.
#[derive(Debug)]
pub(crate) struct Queue {
    control: VecDeque<Bytes>,
    pongs: u32,
    newest_pong: Option<Bytes>,
    ordered: VecDeque<Outgoing>,
    /// Whether a frame of this kind is in `ordered`; at most one is.
    state_waits: [bool; 2],
    bytes: usize,
    /// The part of `bytes` in the control lane and in responses: what is never dropped.
    owed: usize,
    bytes_max: usize,
    gap: LogGap,
    gap_frame: fn(LogGap) -> Bytes,
    closing: Option<CloseReason>,
    close_frame: Option<Bytes>,
    /// `Left::End` was said.
    is_end_taken: bool,
    /// The part of `bytes` over `BACKLOG_BYTES_UNCOUNTED`, held of the budget of all links.
    permit: Permit,
}

impl Queue {
    pub(crate) fn new(bytes_max: usize, gap_frame: fn(LogGap) -> Bytes, permit: Permit) -> Self {
        Self {
            control: VecDeque::new(),
            pongs: 0,
            newest_pong: None,
            ordered: VecDeque::new(),
            state_waits: [false; 2],
            bytes: 0,
            owed: 0,
            bytes_max,
            gap: LogGap::default(),
            gap_frame,
            closing: None,
            close_frame: None,
            is_end_taken: false,
            permit,
        }
    }

    /// Bytes that wait, in both lanes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a writer would find something to do.
    pub(crate) fn has_work(&self) -> bool {
        self.has_frames() || (self.closing.is_some() && !self.is_end_taken)
    }

    fn has_frames(&self) -> bool {
        !(self.control.is_empty() && self.ordered.is_empty())
            || self.newest_pong.is_some()
            || self.close_frame.is_some()
            || self.is_gap_due()
    }

    /// Why the link closes, once it does.
    pub(crate) fn closing(&self) -> Option<&CloseReason> {
        self.closing.as_ref()
    }

    /// Queues a frame, or drops it as its class says.
    pub(crate) fn push(&mut self, frame: Outgoing) -> Pushed {
        if self.closing.is_some() {
            return Pushed::Dropped;
        }
        match frame.class {
            Class::Control => {
                if !self.may_owe(frame.bytes.len()) {
                    return Pushed::Overflow;
                }
                self.bytes += frame.bytes.len();
                self.owed += frame.bytes.len();
                self.control.push_back(frame.bytes);
            }
            Class::Reply => {
                if !self.may_owe(frame.bytes.len()) {
                    return Pushed::Overflow;
                }
                self.owed += frame.bytes.len();
                self.append(frame);
            }
            Class::Stream { log_cursor } => {
                self.tell_gap_if_recovered();
                if self.gap.dropped > 0 || !self.fits(frame.bytes.len()) {
                    self.widen_gap(log_cursor);
                    return Pushed::Dropped;
                }
                self.append(frame);
            }
            Class::State(kind) => {
                self.remove_state(kind);
                self.append(frame);
                self.state_waits[kind as usize] = true;
            }
        }
        self.count();
        Pushed::Queued
    }

    /// Queues the answer to a ping. Of many pings only some and the newest are answered.
    pub(crate) fn push_pong(&mut self, frame: Bytes) {
        if self.closing.is_some() {
            return;
        }
        if self.pongs < PONGS_QUEUED_MAX {
            self.pongs += 1;
            self.bytes += frame.len();
            self.owed += frame.len();
            self.control.push_back(frame);
        } else {
            let replaced = self.newest_pong.as_ref().map_or(0, Bytes::len);
            self.bytes = self.bytes - replaced + frame.len();
            self.owed = self.owed - replaced + frame.len();
            self.newest_pong = Some(frame);
        }
    }

    /// Starts closing: `frame` goes out after the responses (and events, if the reason flushes
    /// them). False if the link is closing already.
    pub(crate) fn close(&mut self, reason: CloseReason, frame: Option<Bytes>) -> bool {
        if self.closing.is_some() {
            return false;
        }
        if !reason.flushes_events() {
            let bytes = &mut self.bytes;
            self.ordered.retain(|waiting| match waiting.class {
                Class::Control | Class::Reply => true,
                Class::Stream { .. } | Class::State(_) => {
                    *bytes -= waiting.bytes.len();
                    false
                }
            });
            self.state_waits = [false; 2];
            self.gap = LogGap::default();
        }
        self.bytes += frame.as_ref().map_or(0, Bytes::len);
        self.close_frame = frame;
        self.closing = Some(reason);
        true
    }

    /// Forgets everything that waits; nobody will write it.
    pub(crate) fn clear(&mut self) {
        self.control = VecDeque::new();
        self.newest_pong = None;
        self.ordered = VecDeque::new();
        self.close_frame = None;
        self.gap = LogGap::default();
        self.bytes = 0;
        self.owed = 0;
        self.is_end_taken = true;
        self.count();
    }

    /// Moves frames into `taken`, in the order they are to be written, until it has
    /// `frames_max` frames or at least `bytes_max` bytes.
    pub(crate) fn take(
        &mut self,
        taken: &mut VecDeque<Bytes>,
        frames_max: usize,
        bytes_max: usize,
    ) -> Left {
        let mut bytes = 0;
        while taken.len() < frames_max && bytes < bytes_max {
            let Some(frame) = self.pop() else { break };
            bytes += frame.len();
            taken.push_back(frame);
        }
        self.count();
        if self.has_frames() {
            return Left::Frames;
        }
        self.control.shrink_to(FRAMES_KEPT);
        self.ordered.shrink_to(FRAMES_KEPT);
        if self.closing.is_some() && !self.is_end_taken {
            self.is_end_taken = true;
            return Left::End;
        }
        Left::Nothing
    }

    /// Adjusts what this link holds of the budget of all links. A rise is not refused here but by
    /// [`Queue::fits`] for the next frame, so that the total is overdrawn by one frame at most
    /// per link.
    fn count(&mut self) {
        let counted = self.bytes.saturating_sub(BACKLOG_BYTES_UNCOUNTED);
        if counted != self.permit.held() {
            self.permit.overdraw(counted);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        self.tell_gap_if_recovered();
        let control = self.control.pop_front().or_else(|| self.newest_pong.take());
        let frame = if let Some(frame) = control {
            self.owed -= frame.len();
            frame
        } else if let Some(frame) = self.ordered.pop_front() {
            match frame.class {
                Class::State(kind) => self.state_waits[kind as usize] = false,
                Class::Control | Class::Reply => self.owed -= frame.bytes.len(),
                Class::Stream { .. } => {}
            }
            frame.bytes
        } else {
            self.close_frame.take()?
        };
        self.bytes -= frame.len();
        if self.control.is_empty() {
            self.pongs = 0;
        }
        Some(frame)
    }

    fn append(&mut self, frame: Outgoing) {
        self.bytes += frame.bytes.len();
        self.ordered.push_back(frame);
    }

    fn fits(&self, bytes: usize) -> bool {
        let sum = self.bytes.saturating_add(bytes);
        sum <= self.bytes_max && (sum <= BACKLOG_BYTES_UNCOUNTED || !self.permit.is_budget_spent())
    }

    /// Whether a response may wait beside those that do. Events that wait are no reason to refuse
    /// one, and one that is longer than the limit may wait alone: a limit below the length of a
    /// page must not make the page unreadable. Nor may other peers' backlogs: while they spend the
    /// budget of all links, one response at a time still passes.
    fn may_owe(&self, bytes: usize) -> bool {
        let sum = self.owed.saturating_add(bytes);
        let is_total_spent = sum > BACKLOG_BYTES_UNCOUNTED && self.permit.is_budget_spent();
        self.owed == 0 || (sum <= self.bytes_max && !is_total_spent)
    }

    fn remove_state(&mut self, kind: StateKind) {
        if !self.state_waits[kind as usize] {
            return;
        }
        let older = self.ordered.iter().rposition(|waiting| waiting.class == Class::State(kind));
        if let Some(older) = older.and_then(|index| self.ordered.remove(index)) {
            self.bytes -= older.bytes.len();
        }
    }

    fn widen_gap(&mut self, log_cursor: Option<Cursor>) {
        self.gap.dropped += 1;
        if let Some(cursor) = log_cursor {
            let before = Cursor(cursor.0.saturating_sub(1));
            self.gap.from_cursor.get_or_insert(before);
            self.gap.to_cursor = Some(cursor);
        }
    }

    /// A peer has recovered when half of its limit is free: so that a gap is told once and not
    /// at every event of a peer that is just too slow.
    fn is_gap_due(&self) -> bool {
        self.gap.dropped > 0
            && self.bytes < self.bytes_max.div_ceil(2)
            && (self.bytes < BACKLOG_BYTES_UNCOUNTED / 2 || !self.permit.is_budget_spent())
    }

    fn tell_gap_if_recovered(&mut self) {
        if self.is_gap_due() {
            let bytes = (self.gap_frame)(std::mem::take(&mut self.gap));
            self.append(Outgoing { bytes, class: Class::Stream { log_cursor: None } });
        }
    }
}

#[cfg(test)]
mod tests;
