//! From a target to an open WebSocket: socket, TLS, upgrade, each before one deadline.
//!
//! Owns the errors of this way, told with what a person can do about them. Called by `connection`.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tungstenite::client::client_with_config;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, WebSocket};

use super::failure::Failure;
use super::target::{Target, Trust};
use super::trust;
use crate::base::limits::CLIENT_MESSAGE_BYTES_MAX;
use crate::shell::dial::Socket;

/// Plain or TLS.
#[derive(Debug)]
pub(super) enum Stream {
    /// Plain TCP, or the local socket.
    Plain(Socket),
    /// TLS over TCP.
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Stream {
    /// The socket below, for its deadline.
    pub(super) fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
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

/// Opens a WebSocket to the target before the deadline.
pub(super) fn dial(target: &Target, deadline: Instant) -> Result<WebSocket<Stream>, Failure> {
    let stream = match target {
        Target::Local(path) => {
            let socket = Socket::connect_unix(path, deadline);
            Stream::Plain(socket.map_err(|error| no_socket(target, &error))?)
        }
        Target::Network { host, port, trust, .. } => {
            let socket = Socket::connect_tcp(host, *port, deadline);
            let socket = socket.map_err(|error| unreachable(target, &error))?;
            match trust {
                None => Stream::Plain(socket),
                Some(trust) => tls(target, host, trust, socket)?,
            }
        }
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(CLIENT_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(CLIENT_MESSAGE_BYTES_MAX));
    match client_with_config(target.upgrade_url(), stream, Some(config)) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(error)) => Err(no_upgrade(target, &error)),
        Err(HandshakeError::Interrupted(_)) => Err(timeout(target)),
    }
}

/// Agrees on TLS, so that its errors are told apart from those of the upgrade.
fn tls(target: &Target, host: &str, trust: &Trust, socket: Socket) -> Result<Stream, Failure> {
    let config = trust::client_config(trust)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::Usage(format!("{host:?} is no name that a certificate can have")))?;
    let connection = ClientConnection::new(Arc::clone(&config), name)
        .map_err(|error| Failure::Local(format!("TLS: {error}")))?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
            return Err(no_tls(target, &error));
        }
    }
    Ok(Stream::Tls(Box::new(stream)))
}

fn timeout(target: &Target) -> Failure {
    Failure::Timeout(format!("{target} to answer"))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

fn unreachable(target: &Target, error: &io::Error) -> Failure {
    if is_timeout(error) {
        return timeout(target);
    }
    let advice = match error.kind() {
        ErrorKind::ConnectionRefused => {
            "nothing listens there; start a gateway with `openclaw-gateway`, or name another with \
             --url or OPENCLAW_GATEWAY_URL"
        }
        _ => "check the address in --url or OPENCLAW_GATEWAY_URL",
    };
    Failure::Unreachable(format!("cannot connect to {target}: {error}"), Some(advice.to_owned()))
}

fn no_socket(target: &Target, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "no gateway runs with this state directory; name its directory with --state-dir or \
             --config, or reach it with --url"
        }
        ErrorKind::PermissionDenied => {
            "the socket is for the user that runs the gateway; become that user, or use --url"
        }
        _ => "name another directory with --state-dir, or use --url",
    };
    Failure::Unreachable(format!("cannot connect to {target}: {error}"), Some(advice.to_owned()))
}

fn no_tls(target: &Target, error: &io::Error) -> Failure {
    if is_timeout(error) {
        return timeout(target);
    }
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let advice = match cause {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            rustls::CertificateError::NotValidForName
            | rustls::CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another name; use that name in --url"
            }
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. } => {
                "the certificate has expired; renew it on the gateway, or check this clock"
            }
            _ => {
                "trust the gateway's authority or its own certificate with --ca FILE, or nobody's \
                 with --insecure"
            }
        },
        _ => "if the gateway serves no TLS, use ws://; else check that the port is the gateway's",
    };
    Failure::Unreachable(format!("no TLS with {target}: {error}"), Some(advice.to_owned()))
}

fn no_upgrade(target: &Target, error: &Error) -> Failure {
    let (what, advice) = match error {
        Error::Io(error) if is_timeout(error) => return timeout(target),
        Error::Http(response) => {
            let status = response.status();
            let advice = match status.as_u16() {
                404 => "check the path in the URL; a gateway answers on / and /gateway-ws",
                400 => "if the gateway serves TLS there, use wss://",
                503 => "the gateway is starting, stopping or full; try again",
                _ => "is this the gateway, or something in front of it?",
            };
            (format!("{target} did not upgrade to WebSocket: HTTP {status}"), advice)
        }
        // At the gateway's own socket nobody else listens, and nothing is encrypted.
        Error::Io(_) | Error::Protocol(ProtocolError::HandshakeIncomplete)
            if matches!(target, Target::Local(_)) =>
        {
            (
                format!("{target} was closed before it answered"),
                "the gateway is stopping, or as many clients as may are at its socket; try again",
            )
        }
        other => (
            format!("{target} does not speak WebSocket: {other}"),
            "if the gateway serves TLS, use wss://",
        ),
    };
    Failure::Unreachable(what, Some(advice.to_owned()))
}
