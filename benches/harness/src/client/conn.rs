//! One connection of the generator: a non-blocking socket, perhaps TLS, and frames.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::frames;

/// Where one read goes, shared by all connections.
const READ_BYTES: usize = 256 * 1024;

/// A buffer for reads, shared by the connections of one loop.
pub(crate) struct Scratch {
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { sealed: vec![0; READ_BYTES], plain: vec![0; READ_BYTES] }
    }
}

/// A connection after its TCP handshake.
pub(crate) struct Conn {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
    /// The beginning of a frame whose end has not arrived.
    rest: Vec<u8>,
    is_upgraded: bool,
}

impl Conn {
    /// Connects and sends the upgrade. `source` is the loopback address to come from: 28,000
    /// ports are not enough for one.
    pub(crate) fn open(
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        source: Ipv4Addr,
    ) -> Result<Self> {
        let socket = connect(address, source).with_context(|| format!("connect to {address}"))?;
        let tls = match tls {
            None => None,
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                Some(Box::new(ClientConnection::new(Arc::clone(config), name)?))
            }
        };
        let mut conn =
            Self { socket, tls, unsent: Vec::new(), rest: Vec::new(), is_upgraded: false };
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        conn.send(head.as_bytes())?;
        Ok(conn)
    }

    /// Sends, or keeps what the socket does not take; see [`Conn::has_unsent`].
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return self.flush();
        }
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = write(&self.socket, bytes)?;
        self.unsent.extend_from_slice(bytes.get(sent..).unwrap_or_default());
        Ok(())
    }

    /// Tries to send what was kept.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match tls.write_tls(&mut &self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("send"),
                }
            }
            return Ok(());
        }
        let sent = write(&self.socket, &self.unsent)?;
        self.unsent.drain(..sent);
        Ok(())
    }

    /// Whether something waits for the socket to take more.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Whether TLS took up an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        let kind = self.tls.as_ref().and_then(|tls| tls.handshake_kind());
        kind == Some(HandshakeKind::Resumed)
    }

    /// Reads once and hands out each frame that is whole. Answers pings. False at the end of the
    /// stream.
    pub(crate) fn receive(
        &mut self,
        scratch: &mut Scratch,
        mut on_text: impl FnMut(&[u8]),
    ) -> Result<bool> {
        let held = self.rest.len();
        if scratch.plain.len() < held + READ_BYTES {
            scratch.plain.resize(held + READ_BYTES, 0);
        }
        scratch.plain[..held].copy_from_slice(&self.rest);
        self.rest.clear();
        let Some(read) = self.read(scratch, held)? else { return Ok(false) };
        let mut bytes = &scratch.plain[..held + read];
        if !self.is_upgraded {
            let Some(end) = end_of_head(bytes)? else {
                self.rest.extend_from_slice(bytes);
                return Ok(true);
            };
            self.is_upgraded = true;
            bytes = &bytes[end..];
        }
        let mut alive = true;
        while let Some((opcode, payload, end)) = frames::next(bytes) {
            match opcode {
                frames::TEXT => on_text(payload),
                frames::PING => self.send(&frames::frame(frames::PONG, payload))?,
                frames::CLOSE => alive = false,
                _ => {}
            }
            bytes = &bytes[end..];
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
        Ok(alive)
    }

    /// Fills `scratch.plain` from `at` on; `None` at the end of the stream.
    fn read(&mut self, scratch: &mut Scratch, at: usize) -> Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return read(&self.socket, &mut scratch.plain[at..]);
        };
        let Some(read) = read(&self.socket, &mut scratch.sealed)? else { return Ok(None) };
        let mut sealed = &scratch.sealed[..read];
        let mut plain = 0;
        let mut ended = false;
        while !sealed.is_empty() {
            tls.read_tls(&mut sealed)?;
            tls.process_new_packets()?;
            loop {
                match tls.reader().read(&mut scratch.plain[at + plain..]) {
                    Ok(0) => {
                        ended = true;
                        break;
                    }
                    Ok(read) => plain += read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
            if ended {
                break;
            }
        }
        if tls.wants_write() {
            self.flush()?;
        }
        Ok(if ended && plain == 0 { None } else { Some(plain) })
    }
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn connect(address: SocketAddr, source: Ipv4Addr) -> io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddr::from((source, 0)))?;
    connect(&socket, &address)?;
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn write(mut socket: &TcpStream, bytes: &[u8]) -> Result<usize> {
    match socket.write(bytes) {
        Ok(sent) => Ok(sent),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error).context("send"),
    }
}

fn read(mut socket: &TcpStream, buffer: &mut [u8]) -> Result<Option<usize>> {
    match socket.read(buffer) {
        Ok(0) => Ok(None),
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) => Err(error).context("receive"),
    }
}

/// Where the first frame begins, once the head of the answer is whole.
fn end_of_head(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    if !bytes.starts_with(b"HTTP/1.1 101") {
        bail!("no upgrade: {}", String::from_utf8_lossy(&bytes[..end]));
    }
    Ok(Some(end + 4))
}
