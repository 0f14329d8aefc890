//! The thread through which everything passes that the hub emits for connections, in hub order.
//!
//! It takes what is waiting, encodes each broadcast once per stream, queues frames on links, and
//! then gives each link that got something one write: no wake-up per delivery, one write per burst.
//! Owns the streams and their numbering. It never waits for a link: a writer that is busy rechecks
//! its queue, and what a kernel buffer does not take is the flusher's.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::Builder;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::close_reason::CloseReason;
use crate::base::ids::{ConnId, RequestId};
use crate::base::limits::{FANOUT_BATCHES_MAX, FLUSH_BYTES_MAX};
use crate::protocol::error::ProtocolError;
use crate::protocol::event::{Event, EventText, LogGap, View};
use crate::protocol::frame::{write_failure, write_refusal};
use crate::protocol::hello::{Hello, write_hello};
use crate::protocol::reply::{Reply, write_reply};
use crate::protocol::request::LogFilter;
use crate::protocol::scope::ScopeSet;
use crate::shell::clock;
use crate::shell::link::{Class, Link, Outgoing, StateKind};
use crate::shell::metrics::Metrics;
use crate::shell::peer::{Peer, Verdict};
use crate::wire::frame::{self, TextFrame};

/// Jobs done before the links that they touched are written. A larger burst is sliced, so that
/// a response behind it is not held up: 256 events of 300 bytes are 77 KB per receiver.
const SLICE_JOBS_MAX: usize = 256;

/// One thing for the fan-out thread to do.
#[derive(Debug)]
pub enum Job {
    /// Tell a peer's thread that it is in, and send the hello.
    Admit(Arc<Peer>, Box<Hello>),
    /// Send the error, then close.
    Refuse(Arc<Peer>, Box<ProtocolError>, CloseReason),
    /// Answer a request.
    Respond(Arc<Peer>, RequestId, Result<Reply, Box<ProtocolError>>),
    /// Answer a request that was answered before.
    RespondAgain(Arc<Peer>, RequestId, Reply),
    /// An event for one peer.
    Send(Arc<Peer>, Event),
    /// An event for everyone whose scopes cover it.
    Broadcast(Event),
    /// Receive only these log entries from here on; `None`: everything again.
    Narrow(Arc<Peer>, Option<LogFilter>),
    /// A WebSocket ping.
    Ping(Arc<Peer>),
    /// Close after what was queued before.
    Close(Arc<Peer>, CloseReason),
    /// The connection is gone.
    Forget(ConnId),
}

/// Starts the thread, which ends when the sender is dropped and everything was handed to links.
pub fn start(metrics: Arc<Metrics>) -> io::Result<Sender<Vec<Job>>> {
    let (sender, jobs) = bounded(FANOUT_BATCHES_MAX);
    let fanout = Fanout { metrics, ..Fanout::default() };
    Builder::new().name("fanout".to_owned()).spawn(move || fanout.run(&jobs))?;
    Ok(sender)
}

/// Which stream a connection receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum StreamKey {
    /// The one of all who hold these event scopes: three scopes, so at most eight streams.
    Shared(ScopeSet),
    /// One of its own, because it narrowed what it receives.
    Own(ConnId),
}

/// The peers that receive the same events, with one numbering.
#[derive(Debug, Default)]
struct Stream {
    scopes: ScopeSet,
    /// Which log entries belong to it; `None` is all.
    filter: Option<LogFilter>,
    seq: u64,
    members: Vec<Arc<Link>>,
    /// Whether the members were given frames in this slice.
    touched: bool,
}

/// The fan-out thread's state.
#[derive(Debug, Default)]
struct Fanout {
    streams: HashMap<StreamKey, Stream>,
    /// Which stream a connection is in.
    places: HashMap<ConnId, StreamKey>,
    /// Single links that were given frames in this slice; one may stand here more than once.
    touched: Vec<Arc<Link>>,
    metrics: Arc<Metrics>,
}

impl Fanout {
    /// Runs until the hub thread drops its sender and everything was handed to the links.
    fn run(mut self, jobs: &Receiver<Vec<Job>>) {
        while let Ok(batch) = jobs.recv() {
            let mut done = 0;
            let mut next = Some(batch);
            while let Some(batch) = next {
                for job in batch {
                    self.perform(job);
                    done += 1;
                    if done >= SLICE_JOBS_MAX {
                        self.flush();
                        done = 0;
                    }
                }
                next = jobs.try_recv().ok();
            }
            self.flush();
        }
    }

    /// One write for every link that was given something.
    fn flush(&mut self) {
        for link in self.touched.drain(..) {
            link.flush();
        }
        for stream in self.streams.values_mut() {
            if std::mem::take(&mut stream.touched) {
                stream.members.iter().for_each(|link| link.flush());
            }
        }
    }

    fn queue(&mut self, link: &Arc<Link>, bytes: Bytes, class: Class) {
        link.queue(Outgoing { bytes, class });
        if link.queued_bytes() >= FLUSH_BYTES_MAX {
            // A peer that asked for many pages at once is not slow before it was given one.
            link.flush();
        }
        self.touched.push(Arc::clone(link));
    }

    fn perform(&mut self, job: Job) {
        match job {
            Job::Admit(peer, hello) => self.admit(&peer, &hello),
            Job::Refuse(peer, error, reason) => {
                let id = peer.connect_id.as_str();
                let bytes = TextFrame::build(512, |out| write_refusal(out, id, &error));
                peer.link.queue(Outgoing { bytes, class: Class::Reply });
                peer.decide(Verdict::Refused);
                peer.link.close(reason);
            }
            Job::Respond(peer, id, result) => {
                let bytes = TextFrame::build(256, |out| match &result {
                    Ok(reply) => write_reply(out, id.as_str(), reply),
                    Err(error) => write_failure(out, id.as_str(), error),
                });
                self.queue(&peer.link, bytes, Class::Reply);
                self.answered(&peer.link, &id, result.err().as_deref());
            }
            Job::RespondAgain(peer, id, reply) => {
                let bytes = TextFrame::build(256, |out| write_reply(out, id.as_str(), &reply));
                self.queue(&peer.link, bytes, Class::Reply);
            }
            Job::Send(peer, event) => {
                let stream = self.places.get(&peer.link.conn()).and_then(|at| self.streams.get(at));
                let view = stream.map_or(View::Bare, |stream| View::of(stream.scopes));
                let bytes = TextFrame::build(256, |out| event.write(out, view, None));
                self.queue(&peer.link, bytes, class_of(&event));
            }
            Job::Broadcast(event) => self.broadcast(&event),
            Job::Narrow(peer, filter) => self.narrow(&peer, filter),
            Job::Ping(peer) => {
                let bytes = frame::ping(&peer.ping_payload());
                self.queue(&peer.link, bytes, Class::Control);
            }
            Job::Close(peer, reason) => {
                peer.link.close(reason);
            }
            Job::Forget(conn) => {
                self.leave(conn);
            }
        }
    }

    /// An answer is in its peer's queue.
    fn answered(&self, link: &Link, id: &RequestId, error: Option<&ProtocolError>) {
        if let Some(error) = error {
            self.metrics.request_errors.add(error.code.as_str());
        }
        if let Some(request) = link.end_request(id)
            && let Some(durations) = self.metrics.requests.get(request.method)
        {
            durations.observe(clock::instant().saturating_duration_since(request.since));
        }
    }

    fn admit(&mut self, peer: &Arc<Peer>, hello: &Hello) {
        let bytes = TextFrame::build(2048, |out| write_hello(out, hello));
        peer.keep_answer(&bytes);
        // The thread must know its grant before the peer can know that it has one.
        let grant = Arc::new(hello.grant.clone());
        let message_bytes_max = hello.message_bytes_max;
        peer.decide(Verdict::Admitted { grant, message_bytes_max });
        peer.link.authenticated();
        let since = peer.link.opened();
        self.metrics.handshakes.observe(clock::instant().saturating_duration_since(since));
        self.queue(&peer.link, bytes, Class::Reply);
        let scopes = hello.grant.scopes.implied().intersection(EVENT_SCOPES);
        self.join(StreamKey::Shared(scopes), scopes, &peer.link);
    }

    fn join(&mut self, key: StreamKey, scopes: ScopeSet, link: &Arc<Link>) {
        self.places.insert(link.conn(), key);
        let stream =
            self.streams.entry(key).or_insert_with(|| Stream { scopes, ..Stream::default() });
        stream.members.push(Arc::clone(link));
    }

    /// Takes a connection out of its stream; returns that stream's scopes and number.
    fn leave(&mut self, conn: ConnId) -> Option<(ScopeSet, u64)> {
        let key = self.places.remove(&conn)?;
        if let StreamKey::Own(_) = key {
            return self.streams.remove(&key).map(|own| (own.scopes, own.seq));
        }
        let stream = self.streams.get_mut(&key)?;
        if let Some(place) = stream.members.iter().position(|link| link.conn() == conn) {
            stream.members.swap_remove(place);
        }
        Some((stream.scopes, stream.seq))
    }

    /// Gives a connection a stream of its own, which goes on with the number of the one before, or
    /// takes it back to the shared one.
    fn narrow(&mut self, peer: &Peer, filter: Option<LogFilter>) {
        let link = &peer.link;
        let Some((scopes, seq)) = self.leave(link.conn()) else { return };
        // What the stream it leaves was given in this slice still has to be written.
        self.touched.push(Arc::clone(link));
        if filter.is_none() {
            return self.join(StreamKey::Shared(scopes), scopes, link);
        }
        let key = StreamKey::Own(link.conn());
        self.join(key, scopes, link);
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.seq = seq;
            stream.filter = filter;
        }
    }

    fn broadcast(&mut self, event: &Event) {
        let audience = event.audience();
        let class = class_of(event);
        let mut encoded: [Option<EventText>; 2] = [None, None];
        for stream in self.streams.values_mut() {
            if !audience.includes(stream.scopes) || stream.members.is_empty() {
                continue;
            }
            if let (Event::Log(record), Some(filter)) = (event, &stream.filter)
                && !filter.matches(&record.draft)
            {
                continue;
            }
            let seq = event.is_stream().then(|| {
                stream.seq += 1;
                stream.seq
            });
            let view = View::of(stream.scopes);
            let [full, bare] = &mut encoded;
            let slot = if view == View::Full { full } else { bare };
            let text = slot.get_or_insert_with(|| EventText::encode(event, view));
            let bytes = TextFrame::build(text.len_max(), |out| text.write(out, seq));
            for link in &stream.members {
                link.queue(Outgoing { bytes: bytes.clone(), class });
            }
            stream.touched = true;
        }
    }
}

/// The scopes that some event needs: what tells one stream from another.
const EVENT_SCOPES: ScopeSet = ScopeSet::READ.union(ScopeSet::APPROVALS).union(ScopeSet::PAIRING);

/// How a link treats an event when it has too many.
fn class_of(event: &Event) -> Class {
    match event {
        Event::Log(record) => Class::Stream { log_cursor: Some(record.cursor) },
        Event::PairRequested(_)
        | Event::PairResolved(_)
        | Event::AgentStatus(_)
        | Event::Cron(_)
        | Event::Chat(_)
        | Event::ChatMessage(_)
        | Event::RunProgress(_)
        | Event::ApprovalRequested(_)
        | Event::ApprovalResolved(_)
        | Event::SpawnResult(_)
        | Event::Published { .. } => Class::Stream { log_cursor: None },
        Event::Tick(_) => Class::State(StateKind::Tick),
        Event::Presence { .. } => Class::State(StateKind::Presence),
        Event::LogGap(_) | Event::Shutdown { .. } | Event::AgentRequest(_) => Class::Reply,
    }
}

/// The `log.gap` event as a whole frame, for a link that starts to deliver again.
pub fn gap_frame(gap: LogGap) -> Bytes {
    TextFrame::build(128, |out| Event::LogGap(gap).write(out, View::Full, None))
}
