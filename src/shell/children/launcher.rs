//! The process between the gateway and a program: our own binary under another argument.
//!
//! It waits until the gateway has recorded it, prepares everything that a program inherits, and
//! becomes the program. So whenever the gateway dies, no program runs that nobody recorded. It is
//! single-threaded and its environment holds nothing of the gateway's. Knows nothing of the hub.
//! Called by `app::run`, first of all.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::unistd::User;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::net::sockopt::socket_type;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{
    Resource, Rlimit, Signal, fchdir, geteuid, getppid, getrlimit, set_parent_process_death_signal,
    setrlimit, umask,
};
use rustix::stdio::dup2_stdin;
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, capabilities, clear_ambient_capability_set,
    set_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::instructions::{FAILED, GO, Instructions, READY};
use super::sentence;
use crate::base::limits::INSTRUCTIONS_BYTES_MAX;

/// The argument that makes the binary the launcher. It is for the gateway alone, so no help names
/// it.
pub const ARGUMENT: &str = "launch";

/// The exit code of wrong usage.
const USAGE: u8 = 2;

/// Becomes the program that the gateway names over stdin. Returns when that is not to be, or not
/// possible; the gateway has heard why.
pub fn run() -> ExitCode {
    if socket_type(io::stdin()).is_err() {
        // It was typed.
        let text = format!(
            "openclaw-gateway {ARGUMENT}: for the gateway alone, which starts programs through it; \
             spawn is the method for that\n"
        );
        let _closed = io::stderr().write_all(text.as_bytes());
        return ExitCode::from(USAGE);
    }
    // A launcher that the gateway did not start, or no longer wants, has nobody to tell.
    let Ok((mut control, instructions)) = wait_for_go() else { return ExitCode::FAILURE };
    let Err(problem) = become_program(&control, instructions);
    let mut answer = vec![FAILED];
    answer.extend(problem.into_bytes());
    let _gone = control.write_all(&answer);
    ExitCode::FAILURE
}

/// Nobody is there to become a program for.
struct NotWanted;

impl From<io::Error> for NotWanted {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<Errno> for NotWanted {
    fn from(_: Errno) -> Self {
        Self
    }
}

fn wait_for_go() -> Result<(UnixStream, (Instructions, Option<OwnedFd>)), NotWanted> {
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (first, stdin) = receive_first(&control)?;
    let mut length = [first, 0, 0, 0];
    control.read_exact(&mut length[1..])?;
    let length = u32::from_le_bytes(length);
    if length > INSTRUCTIONS_BYTES_MAX {
        return Err(NotWanted);
    }
    let mut text = vec![0; usize::try_from(length).map_err(|_| NotWanted)?];
    control.read_exact(&mut text)?;
    let instructions: Instructions = serde_json::from_slice(&text).map_err(|_| NotWanted)?;
    // It may have died before the signal was set; then the end of file would come, too.
    if !is_child_of(instructions.gateway) {
        return Err(NotWanted);
    }
    let mut go = [0];
    control.read_exact(&mut go)?;
    if go != [GO] {
        return Err(NotWanted);
    }
    Ok((control, (instructions, stdin)))
}

/// The first byte, and the descriptor that comes with it.
fn receive_first(control: &UnixStream) -> Result<(u8, Option<OwnedFd>), NotWanted> {
    let mut first = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(control, &mut [IoSliceMut::new(&mut first)], &mut ancillary, flags)?;
    if received.bytes == 0 {
        return Err(NotWanted);
    }
    let mut descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    Ok((first[0], descriptors.next()))
}

fn is_child_of(gateway: u32) -> bool {
    let gateway = i32::try_from(gateway).ok();
    getppid().map(|parent| parent.as_raw_nonzero().get()) == gateway
}

/// Does not return if all goes well.
fn become_program(
    control: &UnixStream,
    (mut instructions, stdin): (Instructions, Option<OwnedFd>),
) -> Result<Infallible, String> {
    if stdin.is_some() != instructions.stdin {
        return Err("the descriptor for its stdin got lost".to_owned());
    }
    set_stdin(stdin).map_err(sentence("cannot set up its stdin"))?;
    close_others(control.as_raw_fd()).map_err(sentence("cannot close inherited descriptors"))?;
    set_limits(instructions.open_files).map_err(sentence("cannot set its limits"))?;
    if let Some(name) = instructions.run_as.take() {
        become_user(&name, &mut instructions)?;
    }
    drop_inheritable().map_err(sentence("cannot drop capabilities"))?;
    // Changing the user has cleared it.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("cannot tie it to the gateway: {error}"))?;
    if !is_child_of(instructions.gateway) {
        return Err("the gateway has ended".to_owned());
    }
    enter(&instructions)?;
    let mut program = Command::new(&instructions.program);
    program.arg0(&instructions.argv0).args(&instructions.args);
    program.env_clear().envs(instructions.env);
    let mut answer = control;
    answer.write_all(&[READY]).map_err(sentence("the gateway has ended"))?;
    // Also sets the signals back to what programs expect.
    Err(sentence(instructions.program.display())(program.exec()))
}

fn set_stdin(stdin: Option<OwnedFd>) -> io::Result<()> {
    let stdin = match stdin {
        Some(stdin) => stdin,
        None => File::open("/dev/null")?.into(),
    };
    Ok(dup2_stdin(stdin)?)
}

/// Closes everything but the standard descriptors and the socket, which closes when the program
/// takes over. Ours are all closed by then as well, but the gateway's parent may have left some
/// open that we never knew of.
fn close_others(control: RawFd) -> io::Result<()> {
    let mut others: Vec<RawFd> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        others.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    for other in others.into_iter().filter(|other| *other > 2 && *other != control) {
        // The listing's own is closed already.
        let _closed = nix::unistd::close(other);
    }
    Ok(())
}

/// Programs get the limit of open files that the gateway found, because some cannot work with more;
/// no core dumps, because their environment holds a credential; and files that they create are
/// writable for their user alone, at most.
fn set_limits(open_files: Option<u64>) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: open_files, maximum: limit.maximum })?;
    let limit = getrlimit(Resource::Core);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: limit.maximum })?;
    let inherited = umask(Mode::RWXU | Mode::RWXG | Mode::RWXO);
    umask(inherited | Mode::WGRP | Mode::WOTH);
    Ok(())
}

/// Becomes another user with all of that user's groups and without any capability.
fn become_user(name: &str, instructions: &mut Instructions) -> Result<(), String> {
    let user = User::from_name(name)
        .map_err(|error| format!("runAs: cannot look up the user {name}: {error}"))?
        .ok_or_else(|| format!("runAs: there is no user {name}"))?;
    for (variable, value) in [
        ("HOME", user.dir.clone().into_os_string()),
        ("USER", name.into()),
        ("LOGNAME", name.into()),
    ] {
        if !instructions.env_asked.iter().any(|asked| asked == variable) {
            instructions.env.retain(|(known, _)| known != variable);
            instructions.env.push((variable.into(), value));
        }
    }
    let uid = Uid::from_raw(user.uid.as_raw());
    if uid == geteuid() {
        return Ok(());
    }
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
    if !capabilities(None).is_ok_and(|held| held.effective.contains(needed)) {
        return Err(format!(
            "runAs: only a gateway that is root, or has CAP_SETUID, CAP_SETGID and CAP_KILL, can \
             start a program as {name}"
        ));
    }
    let name_c = CString::new(name).map_err(|error| error.to_string())?;
    let groups = nix::unistd::getgrouplist(&name_c, user.gid)
        .map_err(|error| format!("runAs: cannot look up the groups of {name}: {error}"))?;
    let groups: Vec<_> = groups.iter().map(|group| Gid::from_raw(group.as_raw())).collect();
    let gid = Gid::from_raw(user.gid.as_raw());
    let change = || {
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        if !uid.is_root() {
            let none = CapabilitySet::empty();
            set_capabilities(
                None,
                CapabilitySets { effective: none, permitted: none, inheritable: none },
            )?;
        }
        Ok(())
    };
    change().map_err(|error: Errno| format!("runAs: cannot become the user {name}: {error}"))
}

/// A service manager may give the gateway capabilities to change users with. Programs would inherit
/// those, and be as good as root.
fn drop_inheritable() -> io::Result<()> {
    match clear_ambient_capability_set() {
        // A kernel without them.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let held = capabilities(None)?;
    let inheritable = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { inheritable, ..held })?)
}

/// Enters the directory that was found, as the user that the program runs as, and only if no part
/// of its path has become a link since.
fn enter(instructions: &Instructions) -> Result<(), String> {
    let cwd = &instructions.cwd;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat2(CWD, cwd, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    directory
        .and_then(fchdir)
        .map_err(|error| format!("cannot enter the directory {}: {error}", cwd.display()))
}
