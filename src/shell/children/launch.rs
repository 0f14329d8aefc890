//! The gateway's side of a launch: starts the launcher and hands it its instructions.
//!
//! Owns nothing once it is done. Called by `reaper`, on its thread.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::cgroup::ControlGroups;
use super::instructions::Instructions;
use super::launcher::ARGUMENT;
use super::proc::{self, ProcessId};
use super::{ChildrenSetup, own_variable, sentence};
use crate::hub::child::{ChildMarks, Launch};
use crate::shell::children::pipes::set_nonblocking;

/// By it, what a child starts is found in `/proc`.
pub(super) const SPAWN_VARIABLE: &str = "OPENCLAW_SPAWN_ID";

/// A launcher that waits, and our ends of what connects us.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) id: ProcessId,
    pub(super) pidfd: OwnedFd,
    pub(super) control: UnixStream,
    /// What is left to send over it.
    pub(super) unsent: Vec<u8>,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) cgroup: Option<PathBuf>,
    pub(super) marks: ChildMarks,
}

/// Starts the launcher. An error is a sentence for whoever asked.
pub(super) fn launch(
    order: &Launch,
    setup: &ChildrenSetup,
    boot_id: &str,
    cgroups: Option<&ControlGroups>,
) -> Result<Launched, String> {
    let mut unsent = instructions(order, setup).encode()?;
    let start = || {
        let (control, its_control) = UnixStream::pair()?;
        let (stdout, its_stdout) = io::pipe()?;
        let (stderr, its_stderr) = io::pipe()?;
        let stdin = order.stdin.as_ref().map(|_| io::pipe()).transpose()?;
        control.set_nonblocking(true)?;
        set_nonblocking(&stdout)?;
        set_nonblocking(&stderr)?;
        let (its_stdin, stdin) = match stdin {
            Some((its, ours)) => {
                set_nonblocking(&ours)?;
                (Some(OwnedFd::from(its)), Some(OwnedFd::from(ours)))
            }
            None => (None, None),
        };
        send_first(&control, unsent[0], its_stdin)?;
        let mut command = Command::new(&setup.launcher);
        command.arg(ARGUMENT).env_clear().env(SPAWN_VARIABLE, order.spawn.as_str());
        command.process_group(0);
        command.stdin(OwnedFd::from(its_control)).stdout(its_stdout).stderr(its_stderr);
        let mut child = command.spawn()?;
        let identified = identify(child.id());
        if identified.is_err() {
            // It waits for its instructions, and holds nothing but our pipes.
            let _ended = child.kill().and_then(|()| child.wait());
        }
        let (id, pidfd) = identified?;
        Ok((id, pidfd, control, stdin, stdout, stderr))
    };
    let (id, pidfd, control, stdin, stdout, stderr) =
        start().map_err(sentence("cannot start the launcher"))?;
    unsent.remove(0);
    let cgroup = cgroups.and_then(|cgroups| cgroups.make_for(&order.spawn, id.pid));
    let marks = ChildMarks {
        pid: id.pid.as_raw_nonzero().get().unsigned_abs(),
        boot_id: boot_id.to_owned(),
        start_time: id.start_time,
        cgroup: cgroup.as_deref().and_then(ControlGroups::mark),
    };
    let (stdout, stderr) = (stdout.into(), stderr.into());
    Ok(Launched { id, pidfd, control, unsent, stdin, stdout, stderr, cgroup, marks })
}

/// Its number is not used again before we have reaped it.
fn identify(pid: u32) -> io::Result<(ProcessId, OwnedFd)> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("it has no number"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let process = proc::read(pid).ok_or_else(|| io::Error::other("/proc does not show it"))?;
    Ok((process.id, pidfd))
}

/// Sends the first byte, and with it the descriptor that becomes the program's stdin.
fn send_first(control: &UnixStream, first: u8, stdin: Option<OwnedFd>) -> io::Result<()> {
    let descriptors: Vec<_> = stdin.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    let first = [io::IoSlice::new(std::slice::from_ref(&first))];
    sendmsg(control, &first, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn instructions(order: &Launch, setup: &ChildrenSetup) -> Instructions {
    Instructions {
        gateway: std::process::id(),
        program: order.found.program.clone().into_os_string(),
        argv0: order.command.clone(),
        args: order.args.clone(),
        cwd: order.found.cwd.clone().into_os_string(),
        env: environment(order, setup),
        env_asked: order.env.iter().map(|(name, _)| name.clone()).collect(),
        run_as: order.run_as.clone(),
        stdin: order.stdin.is_some(),
        open_files: setup.open_files,
    }
}

/// What is allowed of ours, then what was asked for, then what tells the child who it is.
fn environment(order: &Launch, setup: &ChildrenSetup) -> Vec<(OsString, OsString)> {
    let allowed =
        order.env_allow.iter().filter_map(|name| Some((name.into(), own_variable(name)?)));
    let asked = order.env.iter().map(|(name, value)| (name.into(), value.into()));
    let own = [
        ("OPENCLAW_GATEWAY_URL", setup.gateway_url.as_str()),
        (SPAWN_VARIABLE, order.spawn.as_str()),
        ("OPENCLAW_SESSION", order.session.as_str()),
        ("OPENCLAW_AGENT_NAME", order.agent.as_str()),
        ("OPENCLAW_AGENT_TOKEN", order.token.expose()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.into(), value.into()));
    allowed.chain(asked).chain(own).collect()
}
