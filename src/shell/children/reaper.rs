//! The thread that owns every child.
//!
//! Owns the table of children, the epoll instance and all deadlines; what happens to one child is
//! `child`'s. Waits for descriptors, deadlines, helpers and, when its inbox is full, the hub.

mod searches;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};
use signal_hook::SigId;
use signal_hook::consts::SIGCHLD;
use signal_hook::low_level::{pipe, unregister};

use self::searches::warn_of_left;
use super::cgroup::ControlGroups;
use super::child::{Child, Job, Next, source};
use super::helpers::Helpers;
use super::launch::launch;
use super::proc;
use super::search::Ended;
use super::{ChildrenSetup, Tell, find, orphans, wake_up};
use crate::base::ids::SpawnId;
use crate::base::limits::{
    CHILD_READ_BYTES_MAX, CHILDREN_END_GRACE, FIND_WAIT_MAX, FINDERS, SEARCHERS,
};
use crate::base::time::Moment;
use crate::hub::child::{
    ChildNews, ChildOrder, Launch, NotFound, ProgramAsked, ProgramFound, Signal,
};
use crate::shell::clock;
use crate::shell::flusher::timespec;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 64;
/// Results of helpers that wait; a helper that finds no room waits, too.
const DONE_MAX: usize = 64;
/// The epoll tokens that are no child's.
const WAKE: u64 = u64::MAX;
/// See above.
const CHILD_SIGNAL: u64 = u64::MAX - 1;

/// What a helper has done.
enum Done {
    Found(SpawnId, Result<ProgramFound, NotFound>),
    /// Of the child of this number, with the leftovers there are.
    Looked(u64, bool),
    Signalled(u64),
    Ended(u64, Ended),
    EarlierEnded(Vec<(SpawnId, Ended)>),
}

/// The thread's state.
pub(super) struct Reaper {
    setup: ChildrenSetup,
    boot_id: String,
    cgroups: Option<ControlGroups>,
    /// Whether whatever we adopt was started by a child of ours, for lack of another.
    adopts_only_ours: bool,
    orders: Receiver<Box<ChildOrder>>,
    hub: Hub,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    child_signal: UnixStream,
    signal_id: SigId,
    finders: Helpers,
    searchers: Helpers,
    done: (Sender<Done>, Receiver<Done>),
    children: HashMap<u64, Child>,
    numbers: HashMap<SpawnId, u64>,
    next_number: u64,
    /// Until when a program is looked for.
    finding: HashMap<SpawnId, Instant>,
    /// Until when an earlier gateway's children are looked for.
    earlier: HashMap<SpawnId, Instant>,
    /// Set once no more orders come.
    ends_until: Option<Instant>,
    buffer: Vec<u8>,
}

/// The way to the hub. Once it is gone, there is nobody to tell.
struct Hub {
    tell: Tell,
    is_gone: bool,
}

impl Hub {
    fn say(&mut self, news: ChildNews) {
        if !self.is_gone {
            self.is_gone = (self.tell)(news).is_err();
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        unregister(self.signal_id);
    }
}

impl Reaper {
    /// Prepares everything that can fail.
    pub(super) fn new(
        setup: ChildrenSetup,
        tell: Tell,
        orders: Receiver<Box<ChildOrder>>,
        wake: Arc<OwnedFd>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        let (child_signal, raised) = UnixStream::pair()?;
        child_signal.set_nonblocking(true)?;
        epoll::add(&epoll, &child_signal, EventData::new_u64(CHILD_SIGNAL), EventFlags::IN)?;
        // Before it, a gateway that was started with the signal ignored would reap by itself.
        let signal_id = pipe::register(SIGCHLD, raised)?;
        orphans::become_subreaper()?;
        // Whoever started us may have given us children, and to the first process of a container
        // come all orphans.
        let adopts_only_ours =
            getpid() != Pid::INIT && orphans::adopted(&HashSet::new()).is_empty();
        Ok(Self {
            boot_id: proc::boot_id()?,
            cgroups: setup.control_groups.then(ControlGroups::find).flatten(),
            adopts_only_ours,
            setup,
            orders,
            hub: Hub { tell, is_gone: false },
            epoll,
            wake,
            child_signal,
            signal_id,
            finders: Helpers::start("finder", FINDERS)?,
            searchers: Helpers::start("searcher", SEARCHERS)?,
            done: bounded(DONE_MAX),
            children: HashMap::new(),
            numbers: HashMap::new(),
            next_number: 0,
            finding: HashMap::new(),
            earlier: HashMap::new(),
            ends_until: None,
            buffer: vec![0; CHILD_READ_BYTES_MAX],
        })
    }

    /// Runs until no more orders come and no child is left.
    pub(super) fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.take_orders();
            while let Ok(done) = self.done.1.try_recv() {
                self.take_done(done);
            }
            self.expire(clock::moment());
            if self.is_over() {
                return self.sweep();
            }
            let now = clock::instant();
            let timeout = self.next_deadline().map(|until| timespec(until, now));
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                // The descriptor is ours and the arguments are constant.
                Err(error) => unreachable!("epoll_wait failed: {error}"),
            }
            let now = clock::moment();
            for event in &events {
                let token = event.data;
                match token.u64() {
                    WAKE => drain(&self.wake),
                    CHILD_SIGNAL => self.reap_orphans(),
                    token => self.handle(token, now),
                }
            }
        }
    }

    fn handle(&mut self, token: u64, now: Moment) {
        let (number, source) = source(token);
        let Some(child) = self.children.get_mut(&number) else { return };
        let hub = &mut self.hub;
        let next =
            child.handle(source, &self.epoll, &mut self.buffer, now, &mut |news| hub.say(news));
        if next == Next::Look {
            self.search(number, Job::Look);
        }
        self.forget_if_over(number);
    }

    fn take_orders(&mut self) {
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.perform(*order),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.begin_end(),
            }
        }
    }

    fn perform(&mut self, order: ChildOrder) {
        match order {
            ChildOrder::Resolve(asked) => self.find(*asked),
            ChildOrder::Launch(order) => self.launch(*order),
            ChildOrder::Go(spawn) => {
                if let Some(child) =
                    self.numbers.get(&spawn).and_then(|number| self.children.get_mut(number))
                {
                    child.go(&self.epoll);
                }
            }
            ChildOrder::Abandon(spawn) => {
                if let Some(child) = self.child(&spawn) {
                    child.abandon();
                }
            }
            ChildOrder::Signal { spawn, signal } => self.signal(&spawn, signal),
            ChildOrder::EndLeftovers(spawn) => self.end_leftovers(spawn),
            ChildOrder::CloseOutput(spawn) => {
                let Some(number) = self.numbers.get(&spawn).copied() else { return };
                let hub = &mut self.hub;
                if let Some(child) = self.children.get_mut(&number) {
                    child.streams.close(clock::moment(), &mut |news| hub.say(news));
                }
                self.forget_if_over(number);
            }
            ChildOrder::EndEarlier(spawns) => self.end_earlier(spawns),
        }
    }

    fn child(&mut self, spawn: &SpawnId) -> Option<&mut Child> {
        self.children.get_mut(self.numbers.get(spawn)?)
    }

    fn find(&mut self, asked: ProgramAsked) {
        self.finding.insert(asked.spawn.clone(), clock::instant() + FIND_WAIT_MAX);
        let report = self.reporter();
        self.finders.hand_over(Box::new(move || {
            let outcome = find::find(&asked);
            report(Done::Found(asked.spawn, outcome));
        }));
    }

    fn launch(&mut self, order: Launch) {
        let spawn = order.spawn.clone();
        let launched = launch(&order, &self.setup, &self.boot_id, self.cgroups.as_ref());
        let outcome = launched.and_then(|launched| {
            let marks = launched.marks.clone();
            let number = self.next_number;
            let child = Child::new(number, order, launched, &self.epoll, clock::instant())
                .map_err(|error| format!("cannot watch the launcher: {error}"))?;
            self.next_number += 1;
            self.children.insert(number, child);
            self.numbers.insert(spawn.clone(), number);
            Ok(marks)
        });
        self.hub.say(ChildNews::Held { spawn, outcome });
    }

    fn signal(&mut self, spawn: &SpawnId, signal: Signal) {
        let signal = match signal {
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Kill => rustix::process::Signal::KILL,
        };
        let Some(number) = self.numbers.get(spawn).copied() else { return };
        let Some(child) = self.children.get_mut(&number) else { return };
        child.signal(signal);
        if child.is_searched() {
            self.search(number, Job::Signal(signal));
        }
    }

    fn end_leftovers(&mut self, spawn: SpawnId) {
        match self.numbers.get(&spawn).copied() {
            Some(number) => self.search(number, Job::End),
            None => self.hub.say(ChildNews::LeftoversEnded(spawn)),
        }
    }

    /// What helpers hand their results over with.
    fn reporter(&self) -> impl FnOnce(Done) + Send + 'static {
        let (done, wake) = (self.done.0.clone(), Arc::clone(&self.wake));
        move |result| {
            // Nobody waits for it any more.
            let _ended = done.send(result);
            wake_up(&wake);
        }
    }

    fn take_done(&mut self, done: Done) {
        match done {
            Done::Found(spawn, outcome) => {
                if self.finding.remove(&spawn).is_some() {
                    self.hub.say(ChildNews::Resolved { spawn, outcome });
                }
            }
            Done::Looked(number, leftovers) => {
                if self.search_ended(number) {
                    self.tell_exit(number, leftovers);
                }
                self.go_on(number);
            }
            Done::Signalled(number) => {
                self.search_ended(number);
                self.go_on(number);
            }
            Done::Ended(number, ended) => {
                if self.search_ended(number) {
                    self.tell_leftovers_ended(number, ended);
                }
                if let Some(child) = self.children.get_mut(&number) {
                    child.reap();
                    self.reap_orphans();
                }
                self.go_on(number);
            }
            Done::EarlierEnded(spawns) => {
                for (spawn, ended) in spawns {
                    warn_of_left(&spawn, ended.left);
                    if self.earlier.remove(&spawn).is_some() {
                        let was_running = ended.was_running;
                        self.hub.say(ChildNews::EarlierEnded { spawn, was_running });
                    }
                }
            }
        }
    }

    /// Does what is due.
    fn expire(&mut self, now: Moment) {
        let overdue = self.finding.extract_if(|_, until| *until <= now.at);
        for (spawn, _) in overdue.collect::<Vec<_>>() {
            let problem = "the program or its directory is on a disk that does not answer";
            let outcome = Err(NotFound::CannotStart(problem.to_owned()));
            self.hub.say(ChildNews::Resolved { spawn, outcome });
        }
        let overdue = self.earlier.extract_if(|_, until| *until <= now.at);
        for (spawn, _) in overdue.collect::<Vec<_>>() {
            log::warn!("whether {spawn} still runs cannot be found out");
            self.hub.say(ChildNews::EarlierEnded { spawn, was_running: false });
        }
        let mut stuck = Vec::new();
        for (number, child) in &mut self.children {
            if child.streams.suppressed_until().is_some_and(|until| until <= now.at) {
                let hub = &mut self.hub;
                child.streams.recover(now, &mut |news| hub.say(news));
            }
            if let Some((job, until)) = &mut child.searching
                && until.is_some_and(|until| until <= now.at)
            {
                *until = None;
                stuck.push((*number, *job));
            }
        }
        for (number, job) in stuck {
            log::warn!("a search for the processes of child {number} does not end");
            self.without_result(number, job);
            self.go_on(number);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let children = self.children.values().flat_map(|child| {
            let search = child.searching.and_then(|(_, until)| until);
            [child.streams.suppressed_until(), search].into_iter().flatten()
        });
        let asked = self.finding.values().chain(self.earlier.values()).copied();
        children.chain(asked).chain(self.ends_until).min()
    }

    fn forget_if_over(&mut self, number: u64) {
        if let Some(child) = self.children.get(&number).filter(|child| child.is_over()) {
            self.numbers.remove(child.spawn());
            self.children.remove(&number);
            self.reap_orphans();
        }
    }

    fn started(&self) -> HashSet<Pid> {
        self.children.values().filter_map(Child::process).collect()
    }

    /// Reaps what we have adopted. While no child is there that could have started them, whatever
    /// else we have adopted has left a child's group and environment, and is ended.
    fn reap_orphans(&self) {
        let mut buffer = [0; 64];
        while matches!((&self.child_signal).read(&mut buffer), Ok(1..)) {}
        let started = self.started();
        if self.adopts_only_ours && started.is_empty() {
            orphans::kill(&started);
        } else {
            orphans::reap(&started);
        }
    }

    /// The hub has gone: nobody is left who could give anything time.
    fn begin_end(&mut self) {
        if self.ends_until.is_some() {
            return;
        }
        self.ends_until = Some(clock::instant() + CHILDREN_END_GRACE);
        self.finding.clear();
        self.earlier.clear();
        let numbers: Vec<_> = self.children.keys().copied().collect();
        for number in numbers {
            let hub = &mut self.hub;
            let Some(child) = self.children.get_mut(&number) else { continue };
            child.abandon();
            child.streams.close(clock::moment(), &mut |news| hub.say(news));
            if child.has_exited() && child.owes_leftovers {
                self.search(number, Job::End);
            }
            self.forget_if_over(number);
        }
    }

    fn is_over(&self) -> bool {
        let Some(until) = self.ends_until else { return false };
        self.children.is_empty() || until <= clock::instant()
    }

    /// Ends what is left of all children, as far as it has become ours.
    fn sweep(self) {
        let Some(until) = self.ends_until.filter(|_| self.adopts_only_ours) else { return };
        let mut events = Vec::with_capacity(1);
        while orphans::kill(&self.started()) > 0 && clock::instant() < until {
            events.clear();
            let left = timespec(until, clock::instant());
            // Woken by the end of one of them, or by nothing.
            let _woken = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&left));
            drain(&self.wake);
            self.reap_orphans();
        }
    }
}

fn drain(wake: &OwnedFd) {
    let mut count = [0; 8];
    let _counted = rustix::io::read(wake.as_fd(), &mut count);
}
