//! What the connection thread, the hub thread and the fan-out thread share of one peer.
//!
//! Owns the link and the verdict on the peer's `connect`. Decides nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::base::ids::RequestId;
use crate::protocol::hello::Grant;
use crate::shell::clock;
use crate::shell::link::Link;

/// How a `connect` was decided.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Not yet.
    Pending,
    /// Let in.
    Admitted {
        /// What it may do.
        grant: Arc<Grant>,
        /// The longest message that it may send, as the hello says it.
        message_bytes_max: usize,
    },
    /// Refused; the response and the close are on their way.
    Refused,
}

/// One peer that has asked to connect.
#[derive(Debug)]
pub struct Peer {
    /// The writing side of its connection.
    pub link: Arc<Link>,
    /// The id of its `connect`, for the answer.
    pub connect_id: RequestId,
    verdict: Mutex<Verdict>,
    decided: Condvar,
    /// The hello as a whole frame, while a repeated `connect` would get it again.
    answer: Mutex<Option<Bytes>>,
    /// How long that is.
    answer_until: Instant,
    /// What heartbeat pings count from.
    since: Instant,
    /// When the last heartbeat ping was sent, in nanoseconds since `since`; 0 is none to answer.
    last_ping: AtomicU64,
}

impl Peer {
    /// A peer whose `connect` is about to be decided, and may be repeated until then.
    pub fn new(link: Arc<Link>, connect_id: RequestId, answer_until: Instant) -> Self {
        Self {
            link,
            connect_id,
            verdict: Mutex::new(Verdict::Pending),
            decided: Condvar::new(),
            answer: Mutex::new(None),
            answer_until,
            since: clock::instant(),
            last_ping: AtomicU64::new(0),
        }
    }

    /// Tells the connection thread. Called once, by the fan-out thread, before the first frame
    /// after the answer is queued.
    pub fn decide(&self, verdict: Verdict) {
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = verdict;
        self.decided.notify_all();
    }

    /// The verdict as it stands.
    pub fn verdict(&self) -> Verdict {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the verdict, at most until `deadline`.
    pub fn wait_for_verdict(&self, deadline: Instant) -> Verdict {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        while matches!(*verdict, Verdict::Pending) {
            let left = deadline.saturating_duration_since(clock::instant());
            if left.is_zero() {
                break;
            }
            verdict =
                self.decided.wait_timeout(verdict, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        verdict.clone()
    }

    /// Keeps the hello for a repeated `connect`, without the room that it was written in.
    pub fn keep_answer(&self, answer: &Bytes) {
        let answer = Bytes::copy_from_slice(answer);
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    /// The hello, if the time for a repeated `connect` is not over.
    pub fn answer(&self, now: Instant) -> Option<Bytes> {
        self.forget_answer(now);
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the hello, if it has had its time. Called for every peer from time to time: its own
    /// thread does not wake for that.
    pub fn forget_answer(&self, now: Instant) {
        if self.answer_until <= now {
            *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Remembers a heartbeat ping and returns its payload.
    pub fn ping_payload(&self) -> [u8; 8] {
        let nanos = self.nanos().max(1);
        self.last_ping.store(nanos, Ordering::Relaxed);
        nanos.to_be_bytes()
    }

    /// The round trip, if `payload` is that of the ping last sent. Answers once per ping.
    pub fn round_trip(&self, payload: &[u8]) -> Option<Duration> {
        let sent = u64::from_be_bytes(payload.try_into().ok()?);
        if sent == 0 {
            return None;
        }
        self.last_ping.compare_exchange(sent, 0, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(Duration::from_nanos(self.nanos().saturating_sub(sent)))
    }

    fn nanos(&self) -> u64 {
        let elapsed = clock::instant().saturating_duration_since(self.since);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::link::tests::pair;

    #[test]
    fn the_hello_is_kept_as_long_as_a_connect_may_be_repeated() {
        let link = Arc::clone(&pair(1).link);
        let until = clock::instant() + Duration::from_secs(3_600);
        let peer = Peer::new(link, RequestId::new("c"), until);
        let just_before = until - Duration::from_nanos(1);
        assert_eq!(peer.answer(just_before), None, "there is none yet");
        peer.keep_answer(&Bytes::from_static(b"hello"));
        peer.forget_answer(just_before);
        assert_eq!(peer.answer(just_before).as_deref(), Some(&b"hello"[..]));
        peer.forget_answer(until);
        assert_eq!(peer.answer(just_before), None);
    }
}
