//! The thread that owns the hub: waits for inputs and deadlines, performs effects.
//!
//! It never blocks: every send is a `try_send`, or a send that is selected together with the
//! deadline. While fan-out is behind, it takes no more requests, so that the back-pressure reaches
//! the sockets; commits and deadlines go on.
//! It never parses, encodes, verifies, encrypts or touches a disk.

use std::collections::HashMap;
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
use crate::shell::clock;
use crate::shell::diagnostics;
use crate::shell::fanout::Job;
use crate::shell::peer::Peer;
use crate::shell::readiness::{Readiness, STATUS_AGE_MAX};
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

/// The hub and everything its effects reach.
pub struct HubThread {
    hub: Hub,
    inbox: Receiver<Inbound>,
    /// Its own queue, so that commits are noticed while the inbox is held back.
    reports: Receiver<Input>,
    fanout: Sender<Vec<Job>>,
    store: StoreHandle,
    readiness: Arc<Readiness>,
    /// The peers that have asked to connect and are not gone.
    peers: HashMap<ConnId, Arc<Peer>>,
}

impl HubThread {
    /// Takes `inbox` from connection threads and signals, `reports` from the store; gives jobs to
    /// `fanout` and commits to `store`; shows in `readiness` what HTTP tells.
    pub fn new(
        hub: Hub,
        inbox: Receiver<Inbound>,
        reports: Receiver<Input>,
        fanout: Sender<Vec<Job>>,
        store: StoreHandle,
        readiness: Arc<Readiness>,
    ) -> Self {
        Self { hub, inbox, reports, fanout, store, readiness, peers: HashMap::new() }
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
            self.take(inbound, &mut effects, &mut jobs, &mut stopped);
            if !jobs.is_empty() && self.fanout.is_full() {
                continue;
            }
            for _ in 1..INPUTS_PER_TURN_MAX {
                let Ok(inbound) = self.inbox.try_recv() else { break };
                self.take(inbound, &mut effects, &mut jobs, &mut stopped);
            }
            self.show_status(&mut shown);
        }
    }

    /// Shows the hub's counts to HTTP, not for every request anew.
    fn show_status(&self, shown: &mut Option<Instant>) {
        let now = clock::moment();
        if shown.is_none_or(|at| now.at.saturating_duration_since(at) >= STATUS_AGE_MAX) {
            self.readiness.set_status(self.hub.current_status(now));
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
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let gone = match &input {
                Input::Closed { conn, .. } => Some(*conn),
                _ => None,
            };
            self.hub.handle(clock::moment(), input, effects);
            self.readiness.progressed();
            for effect in effects.drain(..) {
                match effect {
                    Effect::MeasureSilence(conns) => next = Some(measure(&self.peers, &conns)),
                    Effect::Stopped => *stopped = true,
                    effect => perform(effect, &self.peers, &self.store, &self.readiness, jobs),
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

/// When each of these peers was last heard.
fn measure(peers: &HashMap<ConnId, Arc<Peer>>, conns: &[ConnId]) -> Input {
    let heard = |conn: &ConnId| peers.get(conn).map(|peer| (*conn, peer.link.last_heard()));
    Input::SilenceMeasured(conns.iter().filter_map(heard).collect())
}

/// Performs one effect, or turns it into a job for the fan-out thread.
/// An effect for a peer that is gone already is no effect.
fn perform(
    effect: Effect,
    peers: &HashMap<ConnId, Arc<Peer>>,
    store: &StoreHandle,
    readiness: &Readiness,
    jobs: &mut Vec<Job>,
) {
    let peer = |conn: ConnId| peers.get(&conn).map(Arc::clone);
    let job = match effect {
        Effect::Admit(hello) => peer(hello.conn).map(|peer| Job::Admit(peer, hello)),
        Effect::Refuse { conn, error, reason } => {
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
            readiness.set(ready);
            None
        }
        Effect::Diagnose(diagnostic) => {
            diagnostics::diagnose(&diagnostic);
            None
        }
        Effect::Child(_) => None,
        Effect::MeasureSilence(_) | Effect::Stopped => {
            unreachable!("handled by the hub thread itself")
        }
    };
    jobs.extend(job);
}
