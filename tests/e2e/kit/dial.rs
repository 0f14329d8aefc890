//! Opening connections to a gateway: TCP, TLS, and the WebSocket upgrade with chosen headers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, SockAddr, Socket, Type};
use tungstenite::HandshakeError;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocketConfig;

use super::{Client, PATIENCE};

/// A connection about to be opened.
pub(crate) struct Dial {
    target: Target,
    tls: Option<Arc<ClientConfig>>,
    path: String,
    headers: Vec<(&'static str, String)>,
    receive_buffer: Option<usize>,
    /// Our own address.
    from: Option<IpAddr>,
}

/// Where a gateway listens.
#[derive(Clone, Debug)]
enum Target {
    Port(SocketAddr),
    ControlSocket(PathBuf),
}

impl Dial {
    pub(crate) fn new(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        Self::to(Target::Port(address), tls)
    }

    /// To the control socket at this path.
    pub(crate) fn control(path: PathBuf) -> Self {
        Self::to(Target::ControlSocket(path), None)
    }

    fn to(target: Target, tls: Option<Arc<ClientConfig>>) -> Self {
        let path = "/".to_owned();
        Self { target, tls, path, headers: Vec::new(), receive_buffer: None, from: None }
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub(crate) fn origin(self, origin: &str) -> Self {
        self.header("Origin", origin)
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Keeps the kernel's share of what the gateway sends small, for peers that do not read.
    pub(crate) fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Comes from this address of the machine: all of 127.0.0.0/8 is its own.
    pub(crate) fn from(mut self, address: &str) -> Self {
        self.from = Some(address.parse().unwrap());
        self
    }

    /// Opens a WebSocket; panics when that is refused.
    #[track_caller]
    pub(crate) fn open(self) -> Client {
        let path = self.path.clone();
        match self.try_open() {
            Ok(client) => client,
            Err(why) => panic!("the upgrade on {path} failed: {why}"),
        }
    }

    /// Opens a WebSocket, or says why not: an HTTP status (`"HTTP 404"`), or what broke.
    pub(crate) fn try_open(self) -> Result<Client, String> {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let host = match &self.target {
            Target::Port(address) => address.to_string(),
            Target::ControlSocket(_) => "localhost".to_owned(),
        };
        let url = format!("{scheme}://{host}{}", self.path);
        let mut request = url.as_str().into_client_request().map_err(|e| e.to_string())?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let (stream, control) = self.stream().map_err(|error| error.to_string())?;
        // A small read buffer, because 2,000 clients of one test share a process.
        let config = WebSocketConfig::default().read_buffer_size(4 * 1024);
        match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((socket, _response)) => Ok(Client::new(socket, control)),
            Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(format!("HTTP {}", response.status().as_u16()))
            }
            Err(HandshakeError::Failure(error)) => Err(error.to_string()),
            Err(HandshakeError::Interrupted(_)) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }

    /// Opens the byte stream alone, for HTTP and for peers that speak no WebSocket.
    pub(crate) fn stream(&self) -> io::Result<(Stream, Control)> {
        let socket = match &self.target {
            Target::Port(address) => {
                let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
                if let Some(bytes) = self.receive_buffer {
                    socket.set_recv_buffer_size(bytes)?;
                }
                if let Some(from) = self.from {
                    socket.bind(&SocketAddr::new(from, 0).into())?;
                }
                socket.connect_timeout(&(*address).into(), PATIENCE)?;
                socket.set_tcp_nodelay(true)?;
                socket
            }
            Target::ControlSocket(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.connect(&SockAddr::unix(path)?)?;
                socket
            }
        };
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let muted = Arc::new(AtomicBool::new(false));
        let control = Control { socket: socket.try_clone()?, muted: Arc::clone(&muted) };
        let tap = Tap { socket, muted };
        let stream = match &self.tls {
            None => Stream::Plain(tap),
            Some(config) => {
                let Target::Port(address) = &self.target else {
                    unreachable!("the control socket speaks no TLS")
                };
                let name = ServerName::from(address.ip());
                let connection =
                    ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                Stream::Tls(Box::new(StreamOwned::new(connection, tap)))
            }
        };
        Ok((stream, control))
    }
}

/// What a client can do to its socket from beside the protocol.
#[derive(Debug)]
pub(crate) struct Control {
    socket: Socket,
    muted: Arc<AtomicBool>,
}

impl Control {
    /// How long the next read may wait.
    pub(crate) fn set_read_timeout(&self, timeout: Duration) {
        // Zero would mean "for ever".
        let timeout = timeout.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(timeout)).unwrap();
    }

    /// From now on everything that the client writes is lost: no answer reaches the gateway.
    pub(crate) fn mute(&self) {
        self.muted.store(true, Ordering::Relaxed);
    }
}

/// A TCP socket whose writes can be made to vanish.
#[derive(Debug)]
pub(crate) struct Tap {
    socket: Socket,
    muted: Arc<AtomicBool>,
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.muted.load(Ordering::Relaxed) { Ok(bytes.len()) } else { self.socket.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Plain or TLS.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Tap),
    Tls(Box<StreamOwned<ClientConnection, Tap>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
