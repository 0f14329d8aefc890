//! The local control socket: the way in for the gateway's owner when nobody else gets in.
//!
//! Owns `control.sock` in the state directory (0600, in a directory of 0700) and its accept loop.
//! Lets in whoever the kernel says is the gateway's own user or root, and serves them with the very
//! same connections as the port does; [`OwnerService`] tells the hub who they are. Bounded apart
//! from the port, so that strangers there cannot take the owner's place. Started by `app`.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{Uid, geteuid};

use crate::base::limits::{ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN, CONNECTION_STACK_BYTES};
use crate::shell::admission::Refusal;
use crate::shell::bounds::Bounds;
use crate::shell::clock;
use crate::shell::connection::{self, Arrival, Service};
use crate::shell::link::{Link, LinkSetup};
use crate::shell::listener::{ListenerSetup, Stopper};
use crate::shell::registry::Registry;
use crate::shell::service::OwnerService;

/// Its name in the state directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// Nobody but the owner may connect.
const SOCKET_MODE: u32 = 0o600;

/// What a peer without an address is called where one is asked for.
const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running accept loop; stopped, joined and its file removed on drop.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    stopper: Arc<Stopper>,
    thread: Option<JoinHandle<()>>,
}

impl ControlSocket {
    /// Listens in this directory, which the caller has locked: a socket that is there already was
    /// left by a gateway that was killed, and is replaced. `bounds` are not the port's.
    pub fn start(
        state_dir: &Path,
        service: Arc<OwnerService>,
        setup: &ListenerSetup,
        bounds: Arc<Bounds>,
    ) -> io::Result<Self> {
        let path = state_dir.join(CONTROL_SOCKET);
        let socket = bind(state_dir, &path)?;
        let stopper = Stopper::new()?;
        let acceptor = Acceptor {
            socket,
            service,
            stopper: Arc::clone(&stopper),
            link_setup: Arc::new(LinkSetup {
                flusher: Arc::clone(&setup.flusher),
                backlog_total: Arc::clone(bounds.backlog()),
                gap_frame: setup.gap_frame,
                epoch: clock::instant(),
                metrics: Arc::clone(&setup.metrics),
            }),
            bounds,
            registry: Arc::clone(&setup.registry),
        };
        let thread =
            thread::Builder::new().name("control".to_owned()).spawn(move || acceptor.run())?;
        Ok(Self { path, stopper, thread: Some(thread) })
    }

    /// Ends the accept loop and removes the socket's file; live connections go on.
    pub fn stop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic has been reported by the panic hook.
            let _reported = thread.join();
            if let Err(error) = fs::remove_file(&self.path) {
                log::warn!("cannot remove {}: {error}", self.path.display());
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whoever owns the gateway's files may control it, and root, who could read them anyway.
fn is_owner(peer: Uid, ours: Uid) -> bool {
    peer == ours || peer.is_root()
}

fn bind(directory: &Path, path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = match UnixListener::bind(path) {
        // Longer than `sun_path` takes (108 bytes): by way of the open directory.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let directory = File::open(directory)?;
            let by_descriptor = format!("/proc/self/fd/{}", directory.as_raw_fd());
            UnixListener::bind(Path::new(&by_descriptor).join(CONTROL_SOCKET))?
        }
        bound => bound?,
    };
    // Between these two lines the directory keeps others out.
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

struct Acceptor {
    socket: UnixListener,
    service: Arc<OwnerService>,
    bounds: Arc<Bounds>,
    stopper: Arc<Stopper>,
    link_setup: Arc<LinkSetup>,
    registry: Arc<Registry>,
}

impl Acceptor {
    fn run(self) {
        let mut backoff = ACCEPT_BACKOFF_MIN;
        while !self.stopper.is_stopping() {
            match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(socket) => {
                    backoff = ACCEPT_BACKOFF_MIN;
                    self.take(socket);
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => self.stopper.wait(Some(self.socket.as_fd()), None),
                Err(error) => {
                    log::warn!("accepting connections on the control socket fails: {error}");
                    self.stopper.wait(None, Some(clock::instant() + backoff));
                    backoff = (backoff * 2).min(ACCEPT_BACKOFF_MAX);
                }
            }
        }
    }

    /// Serves the owner. Anybody else, and one too many, finds the connection closed.
    fn take(&self, socket: OwnedFd) {
        // Not rustix': who is outside of our pid namespace has the pid 0, which it takes for an error.
        match getsockopt(&socket, PeerCredentials) {
            Ok(peer) if is_owner(Uid::from_raw(peer.uid()), geteuid()) => {}
            Ok(peer) => return log::warn!("control socket: turned away user {}", peer.uid()),
            Err(error) => return log::warn!("control socket: no peer credentials: {error}"),
        }
        let slot = match self.bounds.admission().admit(None) {
            Ok(slot) => slot,
            Err(refusal) => return self.service.refused(NO_ADDRESS, refusal),
        };
        let conn = self.registry.new_conn();
        let limits = self.bounds.limits();
        let setup = Arc::clone(&self.link_setup);
        let link = Link::new(conn, socket, setup, slot, limits.backlog_bytes);
        let arrival = Arrival {
            peer: NO_ADDRESS,
            tls: None,
            deadline: clock::instant() + limits.handshake,
            inbound: self.bounds.inbound().permit(),
        };
        let registration = self.registry.enter(&link);
        let service = Arc::clone(&self.service);
        let serve = {
            let link = Arc::clone(&link);
            move || {
                connection::run(&link, &*service, arrival);
                drop(registration);
            }
        };
        let thread = thread::Builder::new()
            .name(conn.to_string())
            .stack_size(CONNECTION_STACK_BYTES)
            .spawn(serve);
        if thread.is_err() {
            link.retire();
            self.service.refused(NO_ADDRESS, Refusal::Thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_our_own_user_or_root_and_nobody_else() {
        let [root, us, other] = [Uid::ROOT, Uid::from_raw(1000), Uid::from_raw(1001)];
        assert!(is_owner(us, us));
        assert!(is_owner(root, us));
        assert!(is_owner(root, root));
        assert!(!is_owner(other, us));
        assert!(!is_owner(us, root));
    }
}
