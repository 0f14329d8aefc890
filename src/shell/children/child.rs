//! One child: its descriptors, how far it has come, and what was told of it.
//!
//! Tells its own news in their order. What concerns several children, waiting and time is
//! `reaper`'s, which calls this.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::process::{
    Signal, WaitId, WaitIdOptions, getpgid, kill_process_group, pidfd_send_signal, waitid,
};

use super::cgroup;
use super::instructions::{FAILED, GO, READY};
use super::launch::Launched;
use super::orphans;
use super::pipes::{Outgoing, Progress, read_some};
use super::search::Target;
use super::streams::Streams;
use crate::base::ids::SpawnId;
use crate::base::limits::ERROR_MESSAGE_BYTES_MAX;
use crate::base::time::Moment;
use crate::hub::child::{ChildNews, Exit, Launch};
use crate::protocol::output_line::{OutputContext, OutputStream};

/// What a descriptor in the epoll instance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The launcher's socket.
    Control,
    /// The process itself.
    Process,
    /// One of its streams.
    Stdin,
    /// See above.
    Stdout,
    /// See above.
    Stderr,
}

/// Work of `search` for a child, in the order in which it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Look whether something is left of it.
    Look,
    /// Signal what is not in its group.
    Signal(Signal),
    /// End what is left of it.
    End,
}

/// How far the launcher has come.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// It waits.
    Held,
    /// It was told to go.
    Going,
    /// It could not become the program; why.
    Failed(String),
    /// It is the program.
    Running,
}

/// One child.
#[derive(Debug)]
pub(super) struct Child {
    number: u64,
    target: Target,
    pidfd: OwnedFd,
    stage: Stage,
    control: Option<Outgoing>,
    /// What the launcher said.
    heard: Vec<u8>,
    stdin: Option<Outgoing>,
    /// What it writes.
    pub(super) streams: Streams,
    exit: Option<Exit>,
    exit_told: bool,
    is_reaped: bool,
    /// Searches that wait for the one before.
    pub(super) jobs: VecDeque<Job>,
    /// The search that runs, and until when it is waited for; `None`: not any more.
    pub(super) searching: Option<(Job, Option<Instant>)>,
    /// Whether `LeftoversEnded` is still to be told.
    pub(super) owes_leftovers: bool,
}

/// What the reaper is to do next with a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Wait,
    /// Its process has ended: look what it left.
    Look,
}

/// The number of a source in the epoll instance.
pub(super) fn token(child: u64, source: Source) -> u64 {
    child << 3 | source as u64
}

/// The reverse of [`token`].
pub(super) fn source(token: u64) -> (u64, Source) {
    let source = match token & 7 {
        0 => Source::Control,
        1 => Source::Process,
        2 => Source::Stdin,
        3 => Source::Stdout,
        _ => Source::Stderr,
    };
    (token >> 3, source)
}

/// The way to the hub.
pub(super) type Say<'a> = &'a mut dyn FnMut(ChildNews);

impl Child {
    /// Takes over a launcher that waits.
    pub(super) fn new(
        number: u64,
        order: Launch,
        launched: Launched,
        epoll: &OwnedFd,
        now: Instant,
    ) -> io::Result<Self> {
        let Launched { id, pidfd, control, unsent, stdin, stdout, stderr, cgroup, .. } = launched;
        let context =
            OutputContext { agent: order.agent, session: order.session, reports: order.reports };
        let rate = order.output_bytes_per_second_max;
        let mut child = Self {
            number,
            target: Target { spawn: order.spawn.clone(), leader: Some(id), is_held: true, cgroup },
            pidfd,
            stage: Stage::Held,
            control: Some(Outgoing::new(UnixStream::into(control), unsent)),
            heard: Vec::new(),
            stdin: stdin.map(|end| Outgoing::new(end, order.stdin.unwrap_or_default())),
            streams: Streams::new(order.spawn.clone(), context, rate, (stdout, stderr), now),
            exit: None,
            exit_told: false,
            is_reaped: false,
            jobs: VecDeque::new(),
            searching: None,
            owes_leftovers: false,
        };
        if let Err(error) = child.watch_launcher(epoll) {
            child.abandon();
            let _status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
            return Err(error);
        }
        child.send_control(epoll);
        Ok(child)
    }

    fn watch_launcher(&self, epoll: &OwnedFd) -> io::Result<()> {
        self.watch(epoll, &self.pidfd, Source::Process, EventFlags::IN)?;
        let flags = EventFlags::IN | EventFlags::OUT;
        self.control
            .as_ref()
            .map_or(Ok(()), |control| self.watch(epoll, control.end(), Source::Control, flags))
    }

    fn watch(
        &self,
        epoll: &OwnedFd,
        end: impl AsFd,
        source: Source,
        flags: EventFlags,
    ) -> io::Result<()> {
        Ok(epoll::add(epoll, end, EventData::new_u64(token(self.number, source)), flags)?)
    }

    /// Which spawn it belongs to.
    pub(super) fn spawn(&self) -> &SpawnId {
        &self.target.spawn
    }

    /// What a search needs of it.
    pub(super) fn target(&self) -> Target {
        self.target.clone()
    }

    /// Its process, while that number is its own.
    pub(super) fn process(&self) -> Option<rustix::process::Pid> {
        self.target.leader.filter(|_| !self.is_reaped).map(|leader| leader.pid)
    }

    /// Lets the launcher become the program.
    pub(super) fn go(&mut self, epoll: &OwnedFd) {
        if self.stage == Stage::Held
            && let Some(control) = &mut self.control
        {
            self.stage = Stage::Going;
            control.push(GO);
            self.send_control(epoll);
        }
    }

    /// Ends the launcher, which exits at the end of file already.
    pub(super) fn abandon(&mut self) {
        self.control = None;
        self.signal(Signal::KILL);
    }

    /// Signals the process and its group. That is its own until the process is reaped.
    pub(super) fn signal(&self, signal: Signal) {
        let Some(pid) = self.process() else { return };
        let _empty = kill_process_group(pid, signal);
        // It may have moved to another group.
        if self.exit.is_none() && getpgid(Some(pid)).is_ok_and(|group| group != pid) {
            let _ended = pidfd_send_signal(&self.pidfd, signal);
        }
    }

    /// Whether searches for it make sense: the launcher starts nothing.
    pub(super) fn is_searched(&self) -> bool {
        self.stage == Stage::Running && !self.is_reaped
    }

    /// Something happened to one of its descriptors.
    pub(super) fn handle(
        &mut self,
        source: Source,
        epoll: &OwnedFd,
        buffer: &mut [u8],
        now: Moment,
        say: Say<'_>,
    ) -> Next {
        match source {
            Source::Control => {
                self.send_control(epoll);
                self.hear_control(epoll, say);
            }
            Source::Process => return self.note_exit(epoll, now, say),
            Source::Stdin => {
                let is_done = self
                    .stdin
                    .as_mut()
                    .is_some_and(|stdin| stdin.send() == Progress::End || stdin.is_sent());
                if is_done {
                    self.stdin = None;
                }
            }
            Source::Stdout => self.streams.read(OutputStream::Stdout, buffer, now, say),
            Source::Stderr => self.streams.read(OutputStream::Stderr, buffer, now, say),
        }
        Next::Wait
    }

    fn send_control(&mut self, epoll: &OwnedFd) {
        let Some(control) = &mut self.control else { return };
        // If nobody hears it, the process has ended, which is noticed by itself.
        let _gone = control.send();
        let waits = match control.is_sent() {
            true => EventFlags::IN,
            false => EventFlags::IN | EventFlags::OUT,
        };
        let data = EventData::new_u64(token(self.number, Source::Control));
        if let Err(error) = epoll::modify(epoll, control.end(), data, waits) {
            log::error!("cannot watch the launcher of {}: {error}", self.target.spawn);
        }
    }

    /// Reads what the launcher says. The end of it means that it is the program, or gone.
    fn hear_control(&mut self, epoll: &OwnedFd, say: Say<'_>) {
        let mut buffer = [0; 512];
        while let Some(control) = &self.control {
            match read_some(control.end(), &mut buffer) {
                Progress::Some(bytes) if self.heard.len() < ERROR_MESSAGE_BYTES_MAX => {
                    self.heard.extend_from_slice(&buffer[..bytes]);
                }
                Progress::Some(_) => {}
                Progress::Later => return,
                Progress::End => {
                    self.control = None;
                    self.begin(epoll, say);
                }
            }
        }
    }

    /// The launcher has said all that it will. If that is nothing, it has died.
    fn begin(&mut self, epoll: &OwnedFd, say: Say<'_>) {
        if self.stage != Stage::Going {
            return;
        }
        match self.heard.strip_prefix(&[READY]).unwrap_or(&self.heard) {
            [FAILED, why @ ..] => {
                self.stage = Stage::Failed(String::from_utf8_lossy(why).into_owned());
            }
            _ if self.heard == [READY] => {
                self.stage = Stage::Running;
                say(ChildNews::Started(self.target.spawn.clone()));
                self.watch_streams(epoll);
            }
            _ => {}
        }
    }

    fn watch_streams(&self, epoll: &OwnedFd) {
        let watched =
            [(OutputStream::Stdout, Source::Stdout), (OutputStream::Stderr, Source::Stderr)];
        for (stream, source) in watched {
            if let Some(end) = self.streams.end(stream)
                && let Err(error) = self.watch(epoll, end, source, EventFlags::IN)
            {
                log::error!("cannot read the output of {}: {error}", self.target.spawn);
            }
        }
        if let Some(stdin) = &self.stdin
            && let Err(error) = self.watch(epoll, stdin.end(), Source::Stdin, EventFlags::OUT)
        {
            log::error!("cannot write to the stdin of {}: {error}", self.target.spawn);
        }
    }

    /// Learns how the process has ended, and leaves it unreaped.
    fn note_exit(&mut self, epoll: &OwnedFd, now: Moment, say: Say<'_>) -> Next {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let exit = match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) => return Next::Wait,
            Ok(Some(status)) => orphans::exit(&status),
            Err(error) => {
                // Nobody else waits for our children.
                log::error!("cannot learn how {} has ended: {error}", self.target.spawn);
                Exit::Signal(Signal::KILL.as_raw())
            }
        };
        if self.exit.replace(exit).is_some() {
            return Next::Wait;
        }
        if let Err(error) = epoll::delete(epoll, &self.pidfd) {
            log::error!("cannot stop watching {}: {error}", self.target.spawn);
        }
        // Its last word may still be unread.
        self.hear_control(epoll, say);
        match &mut self.stage {
            Stage::Running => Next::Look,
            Stage::Failed(why) => {
                let (spawn, error) = (self.target.spawn.clone(), std::mem::take(why));
                self.reap();
                self.exit_told = true;
                self.streams.forget();
                say(ChildNews::StartFailed { spawn, error });
                Next::Wait
            }
            Stage::Held | Stage::Going => {
                self.control = None;
                self.tell_exit(false, say);
                self.streams.close(now, say);
                Next::Wait
            }
        }
    }

    /// Tells of its exit, once it is known whether it left anything. While that is so, the process
    /// stays unreaped, so that its group keeps its number.
    pub(super) fn tell_exit(&mut self, leftovers: bool, say: Say<'_>) {
        let Some(exit) = self.exit.filter(|_| !self.exit_told) else { return };
        self.exit_told = true;
        self.owes_leftovers = leftovers;
        if !leftovers {
            self.reap();
        }
        say(ChildNews::Exited { spawn: self.target.spawn.clone(), exit, leftovers });
    }

    /// Nothing of it runs any more.
    pub(super) fn tell_leftovers_ended(&mut self, say: Say<'_>) {
        self.owes_leftovers = false;
        say(ChildNews::LeftoversEnded(self.target.spawn.clone()));
    }

    /// Whether it has ended, and that was told.
    pub(super) fn has_exited(&self) -> bool {
        self.exit_told
    }

    /// Reaps the process, from which moment on its number is not its own. The process has ended,
    /// and no search counts on it.
    pub(super) fn reap(&mut self) {
        if self.exit.is_some() && !std::mem::replace(&mut self.is_reaped, true) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _status = waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
            self.target.is_held = false;
            if let Some(group) = &self.target.cgroup {
                cgroup::remove(group);
            }
        }
    }

    /// Whether there is nothing more to tell of it, nor to do.
    pub(super) fn is_over(&self) -> bool {
        self.exit_told
            && self.streams.is_end_told()
            && self.is_reaped
            && !self.owes_leftovers
            && self.jobs.is_empty()
            && self.searching.is_none()
    }
}
