//! The thread that owns the hub: waits for inputs and deadlines, performs effects.
//!
//! It never blocks: every send is a `try_send`, or a send that is selected together with the
//! deadline. While fan-out is behind, it takes no more requests, so that the back-pressure reaches
//! the sockets; commits and deadlines go on.
//! It never parses, encodes, verifies, encrypts or touches a disk.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, select};

use crate::base::ids::ConnId;
use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::hub::input::Input;
use crate::shell::budget::Permit;
use crate::shell::children::{Children, NotTaken};
use crate::shell::clock;
use crate::shell::diagnostics;
use crate::shell::fanout::Job;
use crate::shell::metrics::Metrics;
use crate::shell::peer::Peer;
use crate::shell::readiness::{Readiness, STATUS_AGE_MAX};
use crate::shell::refusals::Refusals;
use crate::shell::store::StoreHandle;

/// Inputs handled before their effects are handed on: long enough to make bursts of a flood,
/// short enough that a lone request waits for at most this many others.
const INPUTS_PER_TURN_MAX: usize = 128;

/// How long the hub sleeps when it has no deadline at all.
const IDLE_WAIT: Duration = Duration::from_secs(3600);

/// What reaches the hub thread.
#[derive(Debug)]
pub enum Inbound {
    /// A `connect`, with the peer that the effects for it go to.
    Connect(Arc<Peer>, Input),
    /// A request, with what it holds of the inbound budget until the hub has handled it.
    Request(Input, Permit),
    /// Anything else.
    Input(Input),
}

/// Who hears of what the hub does, beside peers, disk and children.
#[derive(Clone, Debug)]
pub struct Told {
    /// What HTTP tells.
    pub readiness: Arc<Readiness>,
    /// Counts and durations.
    pub metrics: Arc<Metrics>,
    /// Audit lines, and reports of refused connects.
    pub refusals: Arc<Refusals>,
}

/// The hub and everything its effects reach.
pub struct HubThread {
    hub: Hub,
    inbox: Receiver<Inbound>,
    reports: Receiver<Input>,
    fanout: Sender<Vec<Job>>,
    store: StoreHandle,
    children: Children,
    told: Told,
    /// The peers that have asked to connect and are not gone.
    peers: HashMap<ConnId, Arc<Peer>>,
}

impl HubThread {
    /// Takes `inbox` from connection threads, signals and children, `reports` from the store; gives
    /// jobs to `fanout`, commits to `store` and orders to `children`; tells the rest who else
    /// wants to know.
    pub fn new(
        hub: Hub,
        inbox: Receiver<Inbound>,
        reports: Receiver<Input>,
        fanout: Sender<Vec<Job>>,
        store: StoreHandle,
        children: Children,
        told: Told,
    ) -> Self {
        Self { hub, inbox, reports, fanout, store, children, told, peers: HashMap::new() }
    }

    /// Starts the thread. `ended` is called on it at its end: with the store once the hub says that
    /// everything is closed and committed, with `None` after a panic, which the panic hook has
    /// reported: then nothing that the hub knows is to be trusted.
    pub fn start(self, ended: impl FnOnce(Option<StoreHandle>) + Send + 'static) -> io::Result<()> {
        Builder::new().name("hub".to_owned()).spawn(move || {
            ended(catch_unwind(AssertUnwindSafe(|| self.run())).ok());
        })?;
        Ok(())
    }

    /// Runs until the hub says that everything is closed and committed, and returns the store.
    fn run(mut self) -> StoreHandle {
        let mut effects = Vec::new();
        let mut jobs = Vec::new();
        let mut stopped = false;
        let mut shown = None;
        self.handle(Input::Tick, &mut effects, &mut jobs, &mut stopped);
        loop {
            self.hand_on(&mut jobs);
            if stopped && jobs.is_empty() {
                return self.store;
            }
            let Some(inbound) = self.next_inbound(&mut jobs) else { continue };
            let began = clock::instant();
            self.take(inbound, &mut effects, &mut jobs, &mut stopped);
            // Not while fan-out is behind.
            if jobs.is_empty() || !self.fanout.is_full() {
                for _ in 1..INPUTS_PER_TURN_MAX {
                    let Ok(inbound) = self.inbox.try_recv() else { break };
                    self.take(inbound, &mut effects, &mut jobs, &mut stopped);
                }
                self.show_status(&mut shown);
            }
            self.told.metrics.set_hub(&self.hub.gauges());
            self.told.metrics.hub_turns.observe(clock::instant().saturating_duration_since(began));
        }
    }

    /// Shows the hub's counts to HTTP, not for every request anew.
    fn show_status(&self, shown: &mut Option<Instant>) {
        let now = clock::moment();
        if shown.is_none_or(|at| now.at.saturating_duration_since(at) >= STATUS_AGE_MAX) {
            self.told.readiness.set_status(self.hub.current_status(now));
            *shown = Some(now.at);
        }
    }

    /// Passes the jobs to fan-out if it has room; keeps them otherwise.
    fn hand_on(&self, jobs: &mut Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        match self.fanout.try_send(std::mem::take(jobs)) {
            Ok(()) => {}
            Err(TrySendError::Full(kept)) => *jobs = kept,
            Err(TrySendError::Disconnected(_)) => {
                unreachable!("the fan-out thread lives until the hub thread drops its sender")
            }
        }
    }

    /// Waits for the next thing that wakes the hub. `None` when only jobs were handed on.
    fn next_inbound(&self, jobs: &mut Vec<Job>) -> Option<Inbound> {
        let wait = self.hub.next_deadline().map_or(IDLE_WAIT, until);
        let tick = Inbound::Input(Input::Tick);
        // A closed channel wakes at once; its senders outlive this thread until it is stopped.
        if jobs.is_empty() {
            select! {
                recv(self.reports) -> report => report.ok().map(Inbound::Input),
                recv(self.inbox) -> inbound => inbound.ok(),
                default(wait) => Some(tick),
            }
        } else {
            select! {
                recv(self.reports) -> report => report.ok().map(Inbound::Input),
                // The message is taken only if this arm is chosen.
                send(self.fanout, std::mem::take(jobs)) -> _ => None,
                default(wait) => Some(tick),
            }
        }
    }

    fn take(
        &mut self,
        inbound: Inbound,
        effects: &mut Vec<Effect>,
        jobs: &mut Vec<Job>,
        stopped: &mut bool,
    ) {
        match inbound {
            Inbound::Connect(peer, input) => {
                self.peers.insert(peer.link.conn(), peer);
                self.handle(input, effects, jobs, stopped);
            }
            Inbound::Request(input, _until_handled) => self.handle(input, effects, jobs, stopped),
            Inbound::Input(input) => self.handle(input, effects, jobs, stopped),
        }
    }

    /// Applies one input and performs its effects; measuring silence is answered at once.
    fn handle(
        &mut self,
        input: Input,
        effects: &mut Vec<Effect>,
        jobs: &mut Vec<Job>,
        stopped: &mut bool,
    ) {
        // What an effect is answered with at once is applied before anything else.
        let mut next = VecDeque::from([input]);
        while let Some(input) = next.pop_front() {
            let gone = match &input {
                Input::Closed { conn, .. } => Some(*conn),
                _ => None,
            };
            self.hub.handle(clock::moment(), input, effects);
            self.told.readiness.progressed();
            for effect in effects.drain(..) {
                match effect {
                    Effect::MeasureSilence(conns) => next.push_back(measure(&self.peers, &conns)),
                    Effect::Stopped => *stopped = true,
                    Effect::Child(order) => match self.children.order(order) {
                        Ok(()) => {}
                        Err(NotTaken::Busy(news)) => next.push_back(Input::Child(Box::new(news))),
                        Err(NotTaken::Full) => {
                            unreachable!("the hub bounds its places, and the orders of each")
                        }
                    },
                    effect => perform(effect, &self.peers, &self.store, &self.told, jobs),
                }
            }
            if let Some(conn) = gone
                && self.peers.remove(&conn).is_some()
            {
                jobs.push(Job::Forget(conn));
            }
        }
    }
}

fn until(at: Instant) -> Duration {
    at.saturating_duration_since(clock::instant())
}

/// When each of these peers was last heard. Everyone comes by here once in an interval, and leaves
/// what is kept for them no longer.
fn measure(peers: &HashMap<ConnId, Arc<Peer>>, conns: &[ConnId]) -> Input {
    let now = clock::instant();
    let heard = |conn: &ConnId| {
        let peer = peers.get(conn)?;
        peer.forget_answer(now);
        Some((*conn, peer.link.last_heard()))
    };
    Input::SilenceMeasured(conns.iter().filter_map(heard).collect())
}

/// Performs one effect, or turns it into a job for the fan-out thread.
/// An effect for a peer that is gone already is no effect.
fn perform(
    effect: Effect,
    peers: &HashMap<ConnId, Arc<Peer>>,
    store: &StoreHandle,
    told: &Told,
    jobs: &mut Vec<Job>,
) {
    let peer = |conn: ConnId| peers.get(&conn).map(Arc::clone);
    let job = match effect {
        Effect::Admit(hello) => peer(hello.conn).map(|peer| Job::Admit(peer, hello)),
        Effect::Refuse { conn, error, reason } => {
            told.metrics.refused(error.detail_code());
            peer(conn).map(|peer| Job::Refuse(peer, error, reason))
        }
        Effect::Respond { conn, id, result } => {
            peer(conn).map(|peer| Job::Respond(peer, id, result))
        }
        Effect::RespondAgain { conn, id, reply } => {
            peer(conn).map(|peer| Job::RespondAgain(peer, id, *reply))
        }
        Effect::Send { conn, event } => peer(conn).map(|peer| Job::Send(peer, event)),
        Effect::Broadcast(event) => Some(Job::Broadcast(event)),
        Effect::Narrow { conn, filter } => peer(conn).map(|peer| Job::Narrow(peer, filter)),
        Effect::Ping(conn) => peer(conn).map(Job::Ping),
        Effect::Close { conn, reason } => peer(conn).map(|peer| Job::Close(peer, reason)),
        Effect::Persist { ticket, changes } => {
            let handed_over = store.commit(ticket, changes);
            assert!(
                handed_over.is_ok(),
                "the hub has one commit in flight, the store room for more"
            );
            None
        }
        Effect::SetReady(ready) => {
            told.readiness.set(ready);
            None
        }
        Effect::Diagnose(diagnostic) => {
            diagnostics::diagnose(&diagnostic);
            None
        }
        Effect::Audit(event) => {
            told.refusals.report(*event);
            None
        }
        Effect::Child(_) | Effect::MeasureSilence(_) | Effect::Stopped => {
            unreachable!("handled by the hub thread itself")
        }
    };
    jobs.extend(job);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::ids::RequestId;
    use crate::shell::link::tests::pair;

    #[test]
    fn a_peer_whose_silence_is_measured_keeps_no_hello_that_has_had_its_time() {
        let link = Arc::clone(&pair(1).link);
        let (conn, now) = (link.conn(), clock::instant());
        let peer = Arc::new(Peer::new(link, RequestId::new("c"), now));
        peer.keep_answer(&Bytes::from_static(b"hello"));
        assert!(peer.answer(now - Duration::from_secs(1)).is_some());
        measure(&HashMap::from([(conn, Arc::clone(&peer))]), &[conn]);
        assert!(peer.answer(now - Duration::from_secs(1)).is_none());
    }
}
