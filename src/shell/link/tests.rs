//! What `link` promises.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::base::ids::Cursor;
use crate::shell::admission::{Admission, AdmissionLimits};
use crate::shell::flusher::FlusherThread;

/// A link over a socket pair, and its peer's end.
pub(in crate::shell) struct Pair {
    pub(in crate::shell) link: Arc<Link>,
    peer: UnixStream,
    _flusher: FlusherThread,
}

pub(in crate::shell) fn pair(backlog_bytes_max: usize) -> Pair {
    let (ours, peer) = UnixStream::pair().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let flusher = FlusherThread::start().unwrap();
    let admission = Admission::new(AdmissionLimits {
        connections: 1,
        connections_per_address: 1,
        preauth_connections: 1,
        preauth_connections_per_address: 1,
    });
    let setup = LinkSetup {
        flusher: flusher.handle(),
        backlog_total: Budget::new(1 << 30),
        gap_frame: |gap| frame::text(&format!("gap of {}", gap.dropped)),
        epoch: clock::instant(),
        metrics: Arc::default(),
    };
    let slot = admission.admit(None).unwrap();
    let link = Link::new(ConnId(1), ours.into(), Arc::new(setup), slot, backlog_bytes_max);
    link.upgrade(Bytes::new());
    Pair { link, peer, _flusher: flusher }
}

fn request() -> InProgress {
    InProgress { id: RequestId::new("r"), method: 0, since: clock::instant(), bytes: 0 }
}

impl Pair {
    fn queue(&self, text: &str, class: Class) {
        self.link.queue(Outgoing { bytes: frame::text(text), class });
    }

    /// Everything up to the end, as texts; a close frame as its code and text.
    fn read_to_end(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        self.peer.read_to_end(&mut bytes).unwrap();
        frames(&bytes)
    }
}

/// The payloads of unmasked frames.
fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while let [first, short, rest @ ..] = bytes {
        let (len, rest) = match short {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (
                usize::try_from(u64::from_be_bytes(rest[..8].try_into().unwrap())).unwrap(),
                &rest[8..],
            ),
            short => (usize::from(*short), rest),
        };
        let (payload, rest) = rest.split_at(len);
        frames.push(match first {
            0x88 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                format!("close {code} {}", String::from_utf8_lossy(&payload[2..]))
            }
            _ => String::from_utf8_lossy(payload).into_owned(),
        });
        bytes = rest;
    }
    frames
}

#[test]
fn what_is_queued_is_written_in_one_flush_and_ends_with_the_close() {
    let mut pair = pair(1 << 20);
    pair.queue("reply", Class::Reply);
    pair.queue("event", Class::Stream { log_cursor: None });
    pair.queue("control", Class::Control);
    pair.link.flush();
    assert_eq!(pair.link.queued_bytes(), 0);
    pair.queue("refusal", Class::Reply);
    assert!(pair.link.close(CloseReason::ErrorBudgetSpent));
    assert!(!pair.link.close(CloseReason::Bug));
    pair.queue("late", Class::Reply);
    pair.link.flush();
    assert_eq!(pair.link.closing(), Some(CloseReason::ErrorBudgetSpent));
    assert_eq!(
        pair.read_to_end(),
        ["control", "reply", "event", "refusal", "close 1008 too many errors"]
    );
}

#[test]
fn the_flusher_finishes_what_the_kernel_did_not_take() {
    let mut pair = pair(64 << 20);
    let long = "x".repeat(1 << 20);
    for _ in 0..8 {
        pair.queue(&long, Class::Reply);
    }
    pair.link.flush();
    assert!(pair.link.queued_bytes() > 0, "a socket pair holds less than this");
    pair.link.close(CloseReason::ServerStopping);
    let frames = pair.read_to_end();
    assert_eq!(frames.len(), 9);
    assert!(frames[..8].iter().all(|frame| *frame == long));
    assert_eq!(frames[8], "close 1012 service restart");
}

#[test]
fn a_peer_that_stops_reading_sees_the_gap_when_it_recovers() {
    let mut pair = pair(200_000);
    let event = "e".repeat(1_000);
    for cursor in 0..2_000 {
        pair.queue(&event, Class::Stream { log_cursor: Some(Cursor(cursor)) });
        pair.link.flush();
    }
    assert!(pair.link.queued_bytes() <= 200_000);
    // Nothing new comes: draining alone must tell the gap. Its frame is the last.
    let mut bytes = Vec::new();
    let mut chunk = [0; 65_536];
    while !bytes.windows(6).any(|window| window == b"gap of") {
        let read = pair.peer.read(&mut chunk).unwrap();
        bytes.extend_from_slice(&chunk[..read]);
    }
    let frames = frames(&bytes);
    let dropped: usize = frames.last().unwrap().strip_prefix("gap of ").unwrap().parse().unwrap();
    assert_eq!(frames.len() - 1 + dropped, 2_000);
    assert!(pair.link.closing().is_none());
}

#[test]
fn replies_that_cannot_be_delivered_end_the_link_after_the_grace() {
    let mut pair = pair(1 << 20);
    let reply = "r".repeat(100_000);
    while !pair.link.is_closing() {
        pair.queue(&reply, Class::Reply);
        pair.link.flush();
    }
    assert_eq!(pair.link.closing(), Some(CloseReason::SlowConsumer));
    let started = clock::instant();
    // The peer reads nothing until the flusher has given up.
    let mut hung_up = [PollFd::new(&pair.peer, PollFlags::empty())];
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(poll(&mut hung_up, Some(&patience)), Ok(1));
    assert!(started.elapsed() >= CLOSE_GRACE / 2);
    let mut bytes = Vec::new();
    pair.peer.read_to_end(&mut bytes).unwrap();
    assert!(!bytes.is_empty());
}

#[test]
fn many_threads_may_queue_and_flush_and_no_frame_is_left_or_reordered() {
    const THREADS: usize = 4;
    const FRAMES: usize = 5_000;
    let mut pair = pair(64 << 20);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let link = &pair.link;
            scope.spawn(move || {
                for number in 0..FRAMES {
                    let bytes = frame::text(&format!("{thread} {number}"));
                    link.queue(Outgoing { bytes, class: Class::Reply });
                    link.flush();
                }
            });
        }
        let mut bytes = Vec::new();
        let mut chunk = [0; 65_536];
        while frames_whole(&bytes) < THREADS * FRAMES {
            let read = pair.peer.read(&mut chunk).unwrap();
            bytes.extend_from_slice(&chunk[..read]);
        }
        let mut next = [0; THREADS];
        for frame in frames(&bytes) {
            let (thread, number) = frame.split_once(' ').unwrap();
            let next = &mut next[thread.parse::<usize>().unwrap()];
            assert_eq!(number.parse::<usize>().unwrap(), *next);
            *next += 1;
        }
        assert_eq!(next, [FRAMES; THREADS]);
    });
    pair.link.close(CloseReason::ServerStopping);
    assert_eq!(pair.read_to_end(), ["close 1012 service restart"]);
}

/// How many short frames are whole.
fn frames_whole(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let [_, len, rest @ ..] = bytes {
        let Some(rest) = rest.get(usize::from(*len)..) else { break };
        bytes = rest;
        count += 1;
    }
    count
}

#[test]
fn credits_run_out_return_and_end_with_the_link() {
    let pair = pair(1 << 20);
    for _ in 0..REQUESTS_IN_PROGRESS_MAX {
        assert!(pair.link.begin_request(request()));
    }
    thread::scope(|scope| {
        let blocked = scope.spawn(|| pair.link.begin_request(request()));
        let ended = pair.link.end_request(&request().id);
        assert_eq!(ended.map(|ended| ended.id), Some(request().id));
        assert!(blocked.join().unwrap(), "the returned credit is taken");
        let blocked = scope.spawn(|| pair.link.begin_request(request()));
        pair.link.close(CloseReason::ServerStopping);
        assert!(!blocked.join().unwrap(), "a closing link takes no request");
    });
    assert!(!pair.link.begin_request(request()));
}

#[test]
fn long_appends_wait_for_each_other_and_nothing_else_does() {
    let pair = pair(1 << 20);
    let append = |id: &str, bytes| InProgress { id: RequestId::new(id), bytes, ..request() };
    let half = APPEND_BYTES_IN_PROGRESS_MAX / 2;
    assert!(pair.link.begin_request(append("half", half)));
    assert!(pair.link.begin_request(append("other", half)));
    assert!(pair.link.begin_request(request()), "what does not count goes on");
    thread::scope(|scope| {
        let blocked = scope.spawn(|| pair.link.begin_request(append("one more", half)));
        while !pair.link.lock_credits().is_waiting && !blocked.is_finished() {
            thread::yield_now();
        }
        assert!(!blocked.is_finished(), "there is no room");
        pair.link.end_request(&RequestId::new("half"));
        assert!(blocked.join().unwrap(), "there is room again");
    });
    pair.link.end_request(&RequestId::new("other"));
    pair.link.end_request(&RequestId::new("one more"));
    assert!(pair.link.begin_request(append("long", half * 5)), "one alone may be longer");
}

#[test]
fn a_peer_that_is_gone_ends_the_link_as_vanished() {
    let Pair { link, peer, _flusher } = pair(1 << 20);
    drop(peer);
    link.queue(Outgoing { bytes: frame::text("x"), class: Class::Reply });
    link.flush();
    assert_eq!(link.closing(), Some(CloseReason::Vanished));
    assert_eq!(link.queued_bytes(), 0);
}

#[test]
fn a_poisoned_writer_ends_this_link_only() {
    let pair = pair(1 << 20);
    thread::scope(|scope| {
        let panicking = scope.spawn(|| {
            let _held = pair.link.writer.lock().unwrap();
            std::panic::resume_unwind(Box::new("under the lock"));
        });
        assert!(panicking.join().is_err());
    });
    pair.link.flush();
    assert_eq!(pair.link.closing(), Some(CloseReason::Bug));
    pair.link.retire();
}

#[test]
fn hearing_is_kept_to_the_millisecond() {
    let pair = pair(1);
    let at = clock::instant() + Duration::from_micros(7_654_321);
    pair.link.heard(at);
    assert!(at - pair.link.last_heard() < Duration::from_millis(1));
}

#[test]
fn peer_is_not_silent_while_its_thread_waits_for_a_credit() {
    let pair = pair(1 << 20);
    let past = clock::instant();
    for _ in 0..REQUESTS_IN_PROGRESS_MAX {
        assert!(pair.link.begin_request(request()));
    }
    let reader = {
        let link = Arc::clone(&pair.link);
        thread::Builder::new().spawn(move || link.begin_request(request())).unwrap()
    };
    while !pair.link.lock_credits().is_waiting {
        thread::yield_now();
    }
    pair.link.heard(past);
    let before = clock::instant();
    assert!(pair.link.last_heard() >= before, "we do not listen");
    pair.link.end_request(&request().id);
    assert!(reader.join().unwrap());
    assert!(pair.link.last_heard() + Duration::from_millis(1) >= before, "silent from here on");
    pair.link.heard(past);
    assert!(pair.link.last_heard() <= past, "we listen again");
}
