//! The gateway's own listener and connection loop with a handler that echoes: what the
//! conformance cases and the measurements of the transport run against.
//!
//! `echo ADDRESS [CERT KEY | --self-signed]`; announces its address on its first line, ends with its standard
//! input.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use openclaw_gateway::base::close_reason::CloseReason;
use openclaw_gateway::base::ids::ConnId;
use openclaw_gateway::protocol::event::LogGap;
use openclaw_gateway::shell::bounds::{Bounds, ConnectionLimits};
use openclaw_gateway::shell::connection::{Flow, Handler, Service};
use openclaw_gateway::shell::flusher::FlusherThread;
use openclaw_gateway::shell::link::{Class, Link, Outgoing};
use openclaw_gateway::shell::listener::{self, Listener, ListenerSetup};
use openclaw_gateway::shell::registry::Registry;
use openclaw_gateway::shell::tls;
use openclaw_gateway::wire::frame;
use openclaw_gateway::wire::head::Head;
use openclaw_gateway::wire::http::HttpResponse;
use rustls::ServerConfig;

/// The largest Autobahn message, with room to spare.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

struct Echo;

impl Service for Echo {
    type Handler = Self;

    fn http(&self, _head: &Head, _peer: SocketAddr, _is_tls: bool) -> HttpResponse {
        HttpResponse::text(200, "this is the echo example")
    }

    fn upgrade(
        &self,
        _conn: ConnId,
        _head: &Head,
        _peer: SocketAddr,
        _is_tls: bool,
    ) -> Result<Self, HttpResponse> {
        Ok(Self)
    }
}

impl Handler for Echo {
    fn opened(&mut self, link: &Arc<Link>) -> Flow {
        link.authenticated();
        Flow::Continue
    }
    fn text(&mut self, link: &Arc<Link>, text: &str) -> Flow {
        link.queue(Outgoing { bytes: frame::text(text), class: Class::Reply });
        Flow::Continue
    }
    fn binary(&mut self, link: &Arc<Link>, data: &[u8]) -> Flow {
        link.queue(Outgoing { bytes: frame::binary(data), class: Class::Reply });
        Flow::Continue
    }
    fn pong(&mut self, _link: &Arc<Link>, _payload: &[u8]) {}
    fn message_bytes_max(&self) -> usize {
        MESSAGE_BYTES_MAX
    }
    fn over_limit(&self) -> CloseReason {
        CloseReason::MessageTooLarge
    }
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn expired(&mut self, _link: &Arc<Link>) -> Flow {
        Flow::Continue
    }
    fn closed(&mut self, _reason: &CloseReason) {}
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _stderr_is_gone = writeln!(std::io::stderr(), "echo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A certificate for `localhost` that lives as long as this process.
fn self_signed() -> Result<Arc<ServerConfig>, String> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
        .map_err(|error| error.to_string())?;
    let cert = (Path::new("self-signed certificate"), made.cert.pem());
    let key = (Path::new("self-signed key"), made.signing_key.serialize_pem());
    tls::server_config_from_pem((cert.0, cert.1.as_bytes()), (key.0, key.1.as_bytes()))
        .map_err(|error| error.to_string())
}

fn run(arguments: &[String]) -> Result<(), String> {
    let (address, tls) = match arguments {
        [address] => (address, None),
        [address, flag] if flag == "--self-signed" => (address, Some(self_signed()?)),
        [address, cert, key] => {
            let config = tls::server_config(Path::new(cert), Path::new(key));
            (address, Some(config.map_err(|error| error.to_string())?))
        }
        _ => return Err("usage: echo ADDRESS [CERT KEY | --self-signed]".to_owned()),
    };
    let address: SocketAddr = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let text = |error: std::io::Error| error.to_string();
    let flusher = FlusherThread::start().map_err(text)?;
    let registry = Registry::new();
    let setup = ListenerSetup {
        bounds: Bounds::new(ConnectionLimits {
            connections: 15_000,
            connections_per_address: 15_000,
            handshake: Duration::from_secs(10),
            preauth_connections: 15_000,
            preauth_connections_per_address: 15_000,
            preauth_bytes: MESSAGE_BYTES_MAX,
            backlog_bytes: 2 * MESSAGE_BYTES_MAX,
            inbound_bytes_total: 16 * MESSAGE_BYTES_MAX,
            backlog_bytes_total: 16 * MESSAGE_BYTES_MAX,
        }),
        tls: tls.map(tls::TlsSlot::new),
        gap_frame: |_: LogGap| Bytes::new(),
        flusher: flusher.handle(),
        registry: Arc::clone(&registry),
        metrics: Arc::default(),
    };
    let socket = listener::bind(address).map_err(text)?;
    let mut listener = Listener::start(socket, Arc::new(Echo), setup).map_err(text)?;
    writeln!(std::io::stdout(), "{}", listener.address()).map_err(text)?;
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(text)?;
    listener.stop();
    registry.close_all(&CloseReason::ServerStopping);
    Ok(())
}
