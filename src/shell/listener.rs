//! The accept loop: counts, then hands each socket to a thread of its own.
//!
//! Owns the listening socket and the admission counts. Survives every error of `accept`: it backs
//! off and goes on, and only [`Listener::stop`] ends it. Never speaks to a peer it lets in, and
//! never waits for one it turns away. Started by `app`.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bytes::Bytes;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketFlags};
use socket2::{Domain, Protocol, Socket, Type};

use crate::base::limits::{
    ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN, CONNECTION_STACK_BYTES, KERNEL_UNSENT_BYTES,
    LISTEN_BACKLOG,
};
use crate::protocol::event::LogGap;
use crate::shell::admission::{Refusal, Slot};
use crate::shell::bounds::Bounds;
use crate::shell::clock;
use crate::shell::connection::{self, Arrival, Service};
use crate::shell::flusher::{Flusher, timespec};
use crate::shell::link::{Link, LinkSetup};
use crate::shell::metrics::Metrics;
use crate::shell::registry::{Registration, Registry};
use crate::shell::tls::TlsSlot;

/// What a listener is made of, besides its service.
#[derive(Debug)]
pub struct ListenerSetup {
    /// What its connections may take together; the budget of what comes in is the service's, too.
    pub bounds: Arc<Bounds>,
    /// Set if the port speaks TLS.
    pub tls: Option<Arc<TlsSlot>>,
    /// Encodes a `log.gap` event as a whole frame.
    pub gap_frame: fn(LogGap) -> Bytes,
    /// Finishes writes and ends graces.
    pub flusher: Arc<Flusher>,
    /// Counts what is sent and what is dropped.
    pub metrics: Arc<Metrics>,
    /// Where live connections are entered.
    pub registry: Arc<Registry>,
}

/// A running accept loop; stopped and joined on drop.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    stopper: Arc<Stopper>,
    thread: Option<JoinHandle<()>>,
}

/// Ends an accept loop from another thread.
#[derive(Debug)]
pub(super) struct Stopper {
    wake: OwnedFd,
    is_stopping: AtomicBool,
}

impl Stopper {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Self { wake, is_stopping: AtomicBool::new(false) }))
    }

    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        // Full means that it is awake already.
        let _awake = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Waits for a connection at this socket, if there is one to wait at, or for the stop, at most
    /// until `deadline`.
    pub(super) fn wait(&self, socket: Option<BorrowedFd<'_>>, deadline: Option<Instant>) {
        let timeout = deadline.map(|deadline| timespec(deadline, clock::instant()));
        let wake = PollFd::new(&self.wake, PollFlags::IN);
        // Interrupted or not, the loop looks again.
        let _looks_again = match &socket {
            Some(socket) => poll(&mut [wake, PollFd::new(socket, PollFlags::IN)], timeout.as_ref()),
            None => poll(&mut [wake], timeout.as_ref()),
        };
    }
}

/// Binds a listening socket; port 0 picks one. What accepted sockets inherit is set here, once:
/// no delay for small frames, and a small share of unsent bytes in the kernel.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(KERNEL_UNSENT_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

impl Listener {
    /// Accepts from a socket of [`bind`] until stopped, serving each connection on a thread.
    pub fn start<S: Service>(
        socket: TcpListener,
        service: Arc<S>,
        setup: ListenerSetup,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let stopper = Stopper::new()?;
        let acceptor = Acceptor {
            socket,
            service,
            stopper: Arc::clone(&stopper),
            link_setup: Arc::new(LinkSetup {
                flusher: setup.flusher,
                backlog_total: Arc::clone(setup.bounds.backlog()),
                gap_frame: setup.gap_frame,
                epoch: clock::instant(),
                metrics: setup.metrics,
            }),
            bounds: setup.bounds,
            registry: setup.registry,
            tls: setup.tls,
        };
        let thread =
            thread::Builder::new().name("listener".to_owned()).spawn(move || acceptor.run())?;
        Ok(Self { address, stopper, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the accept loop and closes the listening socket; live connections go on. Returns
    /// when it has ended.
    pub fn stop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic has been reported by the panic hook.
            let _reported = thread.join();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Acceptor<S> {
    socket: TcpListener,
    service: Arc<S>,
    bounds: Arc<Bounds>,
    stopper: Arc<Stopper>,
    link_setup: Arc<LinkSetup>,
    registry: Arc<Registry>,
    tls: Option<Arc<TlsSlot>>,
}

impl<S: Service> Acceptor<S> {
    fn run(self) {
        let mut backoff = ACCEPT_BACKOFF_MIN;
        while !self.stopper.is_stopping() {
            match rustix::net::acceptfrom_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok((socket, Some(peer))) => {
                    backoff = ACCEPT_BACKOFF_MIN;
                    if let Ok(peer) = SocketAddr::try_from(peer) {
                        self.take(socket, fold(peer));
                    }
                }
                Ok((_, None)) | Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => self.stopper.wait(Some(self.socket.as_fd()), None),
                // No descriptor, no memory, a firewall's EPERM, an error of the network that
                // belongs to a single connection (accept(2)): none is a reason to end.
                Err(error) => {
                    log::warn!("accepting connections fails: {error}");
                    self.stopper.wait(None, Some(clock::instant() + backoff));
                    backoff = (backoff * 2).min(ACCEPT_BACKOFF_MAX);
                }
            }
        }
    }

    fn take(&self, socket: OwnedFd, peer: SocketAddr) {
        let address = (!self.service.is_proxy(peer.ip())).then_some(peer.ip());
        let refused = match self.bounds.admission().admit(address) {
            Ok(slot) => match self.spawn(socket, peer, slot) {
                Ok(()) => return,
                Err(socket) => (socket, Refusal::Thread),
            },
            Err(refusal) => (Some(socket), refusal),
        };
        self.service.refused(peer, refused.1);
        if let Some(socket) = refused.0 {
            self.turn_away(&socket);
        }
    }

    /// Starts the connection's thread. Where there is none to be had, the socket comes back if it
    /// still can.
    fn spawn(&self, socket: OwnedFd, peer: SocketAddr, slot: Slot) -> Result<(), Option<OwnedFd>> {
        let conn = self.registry.new_conn();
        let limits = self.bounds.limits();
        let setup = Arc::clone(&self.link_setup);
        let link = Link::new(conn, socket, setup, slot, limits.backlog_bytes);
        let arrival = Arrival {
            peer,
            tls: self.tls.as_ref().map(|slot| slot.get()),
            deadline: clock::instant() + limits.handshake,
            inbound: self.bounds.inbound().permit(),
        };
        let registration = self.registry.enter(&link);
        let service = Arc::clone(&self.service);
        let serve = {
            let link = Arc::clone(&link);
            move || serve(&link, &*service, arrival, registration)
        };
        let thread = thread::Builder::new()
            .name(conn.to_string())
            .stack_size(CONNECTION_STACK_BYTES)
            .spawn(serve);
        match thread {
            Ok(_detached) => Ok(()),
            Err(_) => {
                link.retire();
                Err(Arc::into_inner(link).map(Link::into_socket))
            }
        }
    }

    /// Says "not now" as far as that is possible at once, and without a thread.
    fn turn_away(&self, socket: &OwnedFd) {
        if self.tls.is_none() {
            let answer = connection::at_capacity().encode(false);
            let _best_effort = rustix::net::send(
                socket.as_fd(),
                &answer,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            );
        }
        let _best_effort = rustix::net::shutdown(socket, Shutdown::Write);
        // A request that is already here would turn the close into a reset.
        let mut request = [0; 1024];
        let _best_effort = rustix::net::recv(socket, &mut request, RecvFlags::DONTWAIT);
    }
}

/// The whole life of a connection's thread.
fn serve<S: Service>(link: &Arc<Link>, service: &S, arrival: Arrival, registration: Registration) {
    connection::run(link, service, arrival);
    drop(registration);
}

/// An IPv4 address that came in over an IPv6 socket is that IPv4 address.
fn fold(peer: SocketAddr) -> SocketAddr {
    let ip: IpAddr = peer.ip().to_canonical();
    SocketAddr::new(ip, peer.port())
}

#[cfg(test)]
mod tests;
