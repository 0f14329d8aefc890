//! The port: answered by this gateway, free for it, or taken by something else.

use std::net::SocketAddr;

use super::super::local;
use super::Finding;
use crate::app::config::Config;
use crate::base::limits::HEALTH_PATIENCE;
use crate::shell::clock;
use crate::shell::dial::Socket;
use crate::shell::listener;

const SUBJECT: &str = "port";

/// Asks the gateway that runs on the state directory; where none does, tries to listen.
pub(super) fn port(config: &Config) -> Finding {
    let address = SocketAddr::new(config.bind, config.port);
    match local::get(&config.state_dir, "/readyz", HEALTH_PATIENCE) {
        Ok(None) => free(address),
        Ok(Some(answer)) if answer.status == 200 => answered(address),
        Ok(Some(answer)) => {
            let text = format!("the gateway runs and is not ready: {}", answer.text());
            Finding::fail(SUBJECT, text, "its diagnostics say why: journalctl -u openclaw-gateway")
        }
        Err(error) => {
            let text = format!("the control socket in the state directory is silent: {error}");
            Finding::fail(SUBJECT, text, "run this as the gateway's user, or restart the gateway")
        }
    }
}

/// The gateway runs; whether it is where the configuration says.
fn answered(address: SocketAddr) -> Finding {
    if address.port() == 0 || address.ip().is_unspecified() {
        return Finding::ok(SUBJECT, "the gateway runs and is ready");
    }
    let deadline = clock::instant() + HEALTH_PATIENCE;
    match Socket::connect_tcp(&address.ip().to_string(), address.port(), deadline) {
        Ok(_) => Finding::ok(SUBJECT, format!("the gateway runs, is ready, answers on {address}")),
        Err(error) => Finding::warn(
            SUBJECT,
            format!("the gateway runs, but nothing answers on {address}: {error}"),
            "restart it if the configuration has changed since it started",
        ),
    }
}

fn free(address: SocketAddr) -> Finding {
    match listener::bind(address) {
        Ok(_) => Finding::ok(SUBJECT, format!("no gateway runs here, {address} is free for it")),
        Err(error) => Finding::fail(
            SUBJECT,
            format!("no gateway runs here, and it could not listen on {address}: {error}"),
            "see who does (ss -ltnp), or change gateway.bind or gateway.port",
        ),
    }
}
