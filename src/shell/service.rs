//! The gateway's answers on its port: HTTP requests, and the upgrade that starts a dialogue.
//!
//! Maps `wire` heads to `protocol` facts, which do not know each other. Keeps no state of its own.
//! Called by connection threads.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

use crate::base::close_reason::CloseReason;
use crate::base::ids::ConnId;
use crate::base::limits::RELOAD_PATIENCE;
use crate::hub::audit::{Actor, AuditEvent};
use crate::hub::effect::{Diagnostic, DiagnosticValue};
use crate::protocol::device::encode_nonce;
use crate::protocol::peer::{Headers, PeerContext, ProxyPolicy};
use crate::protocol::reply::write_status_page;
use crate::shell::admission::Refusal;
use crate::shell::backup_stream::{self, BACKUP_PATH};
use crate::shell::connection::Service;
use crate::shell::diagnostics;
use crate::shell::dialogue::{Dialogue, Shared};
use crate::shell::store::SnapshotSource;
use crate::wire::head::Head;
use crate::wire::http::HttpResponse;

/// Random bytes in a connection's nonce.
const NONCE_BYTES: usize = 16;

/// The gateway as the listener sees it.
#[derive(Debug)]
pub struct GatewayService {
    /// What dialogues share.
    pub shared: Arc<Shared>,
    /// Which forwarding headers are believed.
    pub proxies: ProxyPolicy,
}

impl Service for GatewayService {
    type Handler = Dialogue;

    fn http(&self, head: &Head, _peer: SocketAddr, _is_tls: bool) -> HttpResponse {
        let readiness = &self.shared.readiness;
        let response = match head.path.as_str() {
            "/health" | "/healthz" | "/api/health" => {
                HttpResponse::json(200, r#"{"ok":true,"status":"live"}"#)
            }
            "/ready" | "/readyz" => match readiness.not_ready() {
                None => HttpResponse::json(200, r#"{"ready":true}"#),
                Some(reason) => {
                    HttpResponse::json(503, format!(r#"{{"ready":false,"reason":"{reason}"}}"#))
                }
            },
            "/api/status" => {
                let mut body = Vec::new();
                write_status_page(&mut body, &readiness.status(), &self.endings());
                HttpResponse::new(200, "application/json; charset=utf-8", body)
            }
            _ => HttpResponse::text(404, "not found"),
        };
        response
            .with_header("Cache-Control", "no-store")
            .with_header("x-openclaw-version", env!("CARGO_PKG_VERSION"))
    }

    fn upgrade(
        &self,
        conn: ConnId,
        head: &Head,
        peer: SocketAddr,
        is_tls: bool,
    ) -> Result<Dialogue, HttpResponse> {
        self.dialogue(conn, self.context(head, peer, is_tls))
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.trusted.iter().any(|range| range.contains(address))
    }

    fn client_address(&self, head: &Head, peer: SocketAddr) -> IpAddr {
        self.context(head, peer, false).address
    }

    fn ended(&self, conn: ConnId, peer: SocketAddr, reason: &CloseReason) {
        self.shared.metrics.closed.add(reason.name());
        if *reason == CloseReason::HeadTimeout {
            let actor = Actor { conn: Some(conn), address: Some(peer.ip()), ..Actor::default() };
            self.shared.refusals.report(AuditEvent::refused(actor, None, reason.name()));
        }
        let fields = vec![
            ("conn", DiagnosticValue::Text(conn.to_string())),
            ("peer", DiagnosticValue::Text(peer.to_string())),
            ("reason", DiagnosticValue::Text(reason.name().to_owned())),
        ];
        let level = match reason {
            CloseReason::Bug => log::Level::Error,
            _ => log::Level::Debug,
        };
        diagnostics::diagnose(&Diagnostic { level, msg: "Connection closed", fields });
    }

    fn refused(&self, peer: SocketAddr, refusal: Refusal) {
        self.shared.metrics.turned_away.add(refusal.name());
        let fields = vec![
            ("peer", DiagnosticValue::Text(peer.ip().to_string())),
            ("reason", DiagnosticValue::Text(refusal.name().to_owned())),
        ];
        diagnostics::diagnose(&Diagnostic {
            level: log::Level::Warn,
            msg: "Connection turned away",
            fields,
        });
    }
}

impl GatewayService {
    /// A dialogue with a peer of whom this is known.
    fn dialogue(&self, conn: ConnId, context: PeerContext) -> Result<Dialogue, HttpResponse> {
        let mut random = [0; NONCE_BYTES];
        if getrandom::fill(&mut random).is_err() {
            return Err(HttpResponse::text(503, "no randomness for a challenge"));
        }
        Ok(Dialogue::new(Arc::clone(&self.shared), conn, context, encode_nonce(&random)))
    }

    /// How many connections ended for each reason since the start, in alphabetical order; reasons
    /// that were none are absent.
    fn endings(&self) -> Vec<(&'static str, u64)> {
        let mut endings: Vec<_> =
            self.shared.metrics.closed.get().filter(|(_, count)| *count > 0).collect();
        endings.sort_unstable();
        endings
    }

    fn context(&self, head: &Head, peer: SocketAddr, is_tls: bool) -> PeerContext {
        let forwarded_for: Vec<&str> = head.headers_named("x-forwarded-for").collect();
        let headers = Headers {
            host: head.host(),
            origin: head.origin(),
            x_forwarded_for: &forwarded_for,
            x_real_ip: head.header("x-real-ip"),
            forwarded_proto: head.header("x-forwarded-proto"),
            any_forwarding_header: head.is_forwarded(),
        };
        PeerContext::derive(peer.ip(), &headers, is_tls, &self.proxies)
    }
}

/// The same gateway as its owner sees it, over the control socket. Its peers have no address: the
/// one that the traits ask for is the loopback's. The owner alone gets a backup.
#[derive(Debug)]
pub struct OwnerService {
    /// The gateway.
    pub gateway: Arc<GatewayService>,
    /// Where backups come from.
    pub snapshots: SnapshotSource,
    /// To the thread that reads the configuration again.
    pub reloads: Sender<ReloadRequest>,
}

/// Asks for the configuration to be read again; hears what was applied, or why nothing was.
pub type ReloadRequest = Option<Sender<Result<String, String>>>;

/// What the owner asks for to have the configuration read again.
pub const RELOAD_PATH: &str = "/reload";

impl OwnerService {
    fn reload(&self) -> HttpResponse {
        let (answer, answered) = bounded(1);
        if self.reloads.try_send(Some(answer)).is_err() {
            return HttpResponse::text(503, "nothing was changed: enough reloads wait already");
        }
        match answered.recv_timeout(RELOAD_PATIENCE) {
            Ok(Ok(said)) => HttpResponse::text(200, &said),
            Ok(Err(problem)) => HttpResponse::text(409, &problem),
            Err(_) => HttpResponse::text(503, "the configuration is still being read"),
        }
    }
}

impl Service for OwnerService {
    type Handler = Dialogue;

    fn http(&self, head: &Head, peer: SocketAddr, is_tls: bool) -> HttpResponse {
        if head.path == RELOAD_PATH {
            return self.reload();
        }
        self.gateway.http(head, peer, is_tls)
    }

    fn stream(&self, head: &Head, socket: BorrowedFd<'_>) -> Option<CloseReason> {
        if head.path != BACKUP_PATH {
            return None;
        }
        backup_stream::answer(&self.snapshots, socket);
        Some(CloseReason::HttpAnswered)
    }

    fn upgrade(
        &self,
        conn: ConnId,
        head: &Head,
        _peer: SocketAddr,
        _is_tls: bool,
    ) -> Result<Dialogue, HttpResponse> {
        self.gateway.dialogue(conn, PeerContext::owner(head.origin()))
    }

    fn ended(&self, conn: ConnId, peer: SocketAddr, reason: &CloseReason) {
        self.gateway.ended(conn, peer, reason);
    }

    fn refused(&self, peer: SocketAddr, refusal: Refusal) {
        self.gateway.refused(peer, refusal);
    }
}
