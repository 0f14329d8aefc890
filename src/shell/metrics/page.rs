//! `GET /metrics`, on a port and threads of its own.
//!
//! Owns the listener and a flusher. The same accept loop and connections as at the gateway's port
//! serve it, with limits of their own, so a slow or hostile scraper holds up nobody, and a busy
//! gateway no scraper. There is no authentication: by default only this machine gets in.
//! Started by `app`.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Instant;

use super::exposition::{self, Sources};
use crate::base::close_reason::CloseReason;
use crate::base::ids::ConnId;
use crate::base::limits::HTTP_HEAD_BYTES_MAX;
use crate::base::limits::{METRICS_CONNECTIONS_MAX, METRICS_PAGE_BYTES_MAX, METRICS_REQUEST_TIME};
use crate::shell::bounds::{Bounds, ConnectionLimits};
use crate::shell::connection::{Flow, Handler, Service};
use crate::shell::fanout;
use crate::shell::flusher::FlusherThread;
use crate::shell::link::Link;
use crate::shell::listener::{self, Listener, ListenerSetup};
use crate::shell::registry::Registry;
use crate::wire::head::Head;
use crate::wire::http::HttpResponse;

/// Prometheus' text format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Binds the socket; port 0 picks one.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    listener::bind(address)
}

/// The page while it is served; ends on drop.
#[derive(Debug)]
pub struct MetricsPage {
    listener: Listener,
    /// Dropped after the listener.
    _flusher: FlusherThread,
}

impl MetricsPage {
    /// Serves the numbers at a socket of [`bind`].
    pub fn start(socket: TcpListener, sources: Sources) -> io::Result<Self> {
        let flusher = FlusherThread::start()?;
        let all = METRICS_CONNECTIONS_MAX;
        let limits = ConnectionLimits {
            connections: all,
            connections_per_address: all,
            handshake: METRICS_REQUEST_TIME,
            preauth_connections: all,
            preauth_connections_per_address: all,
            // There are no messages.
            preauth_bytes: 0,
            backlog_bytes: METRICS_PAGE_BYTES_MAX,
            inbound_bytes_total: all * HTTP_HEAD_BYTES_MAX,
            backlog_bytes_total: all * METRICS_PAGE_BYTES_MAX,
        };
        let setup = ListenerSetup {
            bounds: Bounds::new(limits),
            tls: None,
            gap_frame: fanout::gap_frame,
            flusher: flusher.handle(),
            registry: Registry::new(),
            // What happens here is not the gateway's traffic.
            metrics: Arc::default(),
        };
        let service = Arc::new(PageService(Arc::new(sources)));
        Ok(Self { listener: Listener::start(socket, service, setup)?, _flusher: flusher })
    }

    /// Where it is served.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }
}

#[derive(Debug)]
struct PageService(Arc<Sources>);

impl Service for PageService {
    type Handler = NoHandler;

    fn http(&self, head: &Head, _peer: SocketAddr, _is_tls: bool) -> HttpResponse {
        if head.path != "/metrics" {
            return HttpResponse::text(404, "not found; the page is /metrics");
        }
        match exposition::page(&self.0) {
            Ok(page) => HttpResponse::new(200, CONTENT_TYPE, page.into_bytes()),
            Err(_) => HttpResponse::text(500, "the page cannot be written; this is a bug"),
        }
    }

    fn upgrade(
        &self,
        _conn: ConnId,
        _head: &Head,
        _peer: SocketAddr,
        _is_tls: bool,
    ) -> Result<NoHandler, HttpResponse> {
        Err(HttpResponse::text(404, "no WebSocket here; the page is /metrics"))
    }
}

/// No connection is ever upgraded here.
#[derive(Debug)]
struct NoHandler(Infallible);

impl Handler for NoHandler {
    fn opened(&mut self, _link: &Arc<Link>) -> Flow {
        match self.0 {}
    }
    fn text(&mut self, _link: &Arc<Link>, _text: &str) -> Flow {
        match self.0 {}
    }
    fn binary(&mut self, _link: &Arc<Link>, _data: &[u8]) -> Flow {
        match self.0 {}
    }
    fn pong(&mut self, _link: &Arc<Link>, _payload: &[u8]) {
        match self.0 {}
    }
    fn message_bytes_max(&self) -> usize {
        match self.0 {}
    }
    fn over_limit(&self) -> CloseReason {
        match self.0 {}
    }
    fn deadline(&self) -> Option<Instant> {
        match self.0 {}
    }
    fn expired(&mut self, _link: &Arc<Link>) -> Flow {
        match self.0 {}
    }
    fn closed(&mut self, _reason: &CloseReason) {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::hub::input::Input;
    use crate::protocol::origin::OriginPolicy;
    use crate::shell::clock;
    use crate::shell::dialogue::Shared;
    use crate::shell::hub_thread::Inbound;
    use crate::shell::readiness::Readiness;
    use crate::shell::refusals::Refusals;
    use crate::shell::signing_habits::SigningHabits;

    #[test]
    fn the_page_is_served_while_no_hub_takes_anything_from_its_full_inbox() {
        let (inbox, _nobody_takes) = bounded(1);
        inbox.send(Inbound::Input(Input::Tick)).unwrap();
        let limits = ConnectionLimits {
            connections: 1,
            connections_per_address: 1,
            handshake: Duration::from_secs(1),
            preauth_connections: 1,
            preauth_connections_per_address: 1,
            preauth_bytes: 1,
            backlog_bytes: 1,
            inbound_bytes_total: 1,
            backlog_bytes_total: 1,
        };
        let shared = Shared {
            inbox,
            bounds: Bounds::new(limits),
            origins: OriginPolicy::new(true, &[], Vec::new()).into(),
            readiness: Arc::new(Readiness::new(clock::instant())),
            device_auth_required: true,
            refusals: Arc::new(Refusals::default()),
            metrics: Arc::default(),
            habits: SigningHabits::default(),
        };
        let sources = Sources { shared: Arc::new(shared), registry: Registry::new() };
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let page = MetricsPage::start(socket, sources).unwrap();
        let mut stream = TcpStream::connect(page.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("openclaw_gateway_hub_inbox_depth 1\n"), "{answer}");
        assert!(answer.contains("openclaw_gateway_ready 0\n"), "{answer}");
    }
}
