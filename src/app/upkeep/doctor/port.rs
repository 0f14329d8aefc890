//! The ports: answered by this gateway, free for it, or taken by something else.

use std::io;
use std::net::SocketAddr;

use super::super::local;
use super::Finding;
use crate::app::config::{Config, METRICS_DEFAULT};
use crate::base::limits::HEALTH_PATIENCE;
use crate::shell::clock;
use crate::shell::dial::Socket;
use crate::shell::{listener, metrics};

const SUBJECT: &str = "port";
const METRICS: &str = "metrics";

/// Asks the gateway that runs on the state directory; where none does, tries to listen.
pub(super) fn ports(config: &Config) -> Vec<Finding> {
    let address = SocketAddr::new(config.bind, config.port);
    match local::get(&config.state_dir, "/readyz", HEALTH_PATIENCE) {
        Ok(None) => {
            std::iter::once(free(address)).chain(config.metrics.map(metrics_free)).collect()
        }
        Ok(Some(answer)) if answer.status == 200 => {
            let metrics = config.metrics.and_then(metrics_answered);
            std::iter::once(answered(address)).chain(metrics).collect()
        }
        Ok(Some(answer)) => {
            let text = format!("the gateway runs and is not ready: {}", answer.text());
            let advice = "its diagnostics say why: journalctl -u openclaw-gateway";
            vec![Finding::fail(SUBJECT, text, advice)]
        }
        Err(error) => {
            let text = format!("the control socket in the state directory is silent: {error}");
            let advice = "run this as the gateway's user, or restart the gateway";
            vec![Finding::fail(SUBJECT, text, advice)]
        }
    }
}

/// The gateway runs; whether it is where the configuration says.
fn answered(address: SocketAddr) -> Finding {
    match dial(address) {
        None => Finding::ok(SUBJECT, "the gateway runs and is ready"),
        Some(Ok(_)) => {
            Finding::ok(SUBJECT, format!("the gateway runs, is ready, answers on {address}"))
        }
        Some(Err(error)) => Finding::warn(
            SUBJECT,
            format!("the gateway runs, but nothing answers on {address}: {error}"),
            "restart it if the configuration has changed since it started",
        ),
    }
}

/// The same for the page with its numbers.
fn metrics_answered(address: SocketAddr) -> Option<Finding> {
    Some(match dial(address)? {
        Ok(_) => Finding::ok(METRICS, format!("a page answers on {address}")),
        Err(error) => Finding::warn(
            METRICS,
            format!("the gateway runs, but no page answers on {address}: {error}"),
            "set gateway.metrics.port to a free one and restart the gateway",
        ),
    })
}

/// Tries to connect; `None` where the address does not say where.
fn dial(address: SocketAddr) -> Option<io::Result<Socket>> {
    let is_one = address.port() != 0 && !address.ip().is_unspecified();
    let deadline = clock::instant() + HEALTH_PATIENCE;
    is_one.then(|| Socket::connect_tcp(&address.ip().to_string(), address.port(), deadline))
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

/// As the start decides: the default port may be taken, one that was chosen may not.
fn metrics_free(address: SocketAddr) -> Finding {
    const ADVICE: &str = "see who does (ss -ltnp), or change gateway.metrics.port";
    match metrics::bind(address) {
        Ok(_) => Finding::ok(METRICS, format!("{address} is free for the page")),
        Err(error) if address == METRICS_DEFAULT => {
            let text = format!("there would be no page, because {address} is taken: {error}");
            Finding::warn(METRICS, text, ADVICE)
        }
        Err(error) => {
            Finding::fail(METRICS, format!("it could not listen on {address}: {error}"), ADVICE)
        }
    }
}
