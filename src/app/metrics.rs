//! The metrics page as the configuration wants it.
//!
//! Decides what a port that is taken means. The numbers and the page are `shell::metrics`'.
//! Called by `app::server`.

use std::net::TcpListener;
use std::sync::Arc;

use super::config::Config;
use super::error::StartError;
use crate::shell::dialogue::Shared;
use crate::shell::listener::Listener;
use crate::shell::metrics::{self, MetricsPage, Sources};
use crate::shell::registry::Registry;

/// The socket for the page, `None` where there is to be none. A port that is taken ends the start
/// only if somebody asked for metrics: Prometheus itself listens on the default one.
pub(super) fn bind(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(wanted) = config.metrics else { return Ok(None) };
    let problem = format!("cannot listen on {} for metrics", wanted.address);
    match metrics::bind(wanted.address) {
        Ok(socket) => Ok(Some(socket)),
        Err(source) if wanted.is_asked_for => Err(StartError::Io { what: problem, source }),
        Err(error) => {
            log::warn!(
                "{problem}: {error}; going on without them; set gateway.metrics.port, or \
                 gateway.metrics.enabled = false"
            );
            Ok(None)
        }
    }
}

/// Serves the page about this gateway, if it is to be served.
pub(super) fn start(
    socket: Option<TcpListener>,
    shared: &Arc<Shared>,
    registry: Arc<Registry>,
    listener: &Listener,
) -> Result<Option<MetricsPage>, StartError> {
    let Some(socket) = socket else { return Ok(None) };
    let admission = Arc::clone(listener.admission());
    MetricsPage::start(socket, Sources { shared: Arc::clone(shared), registry, admission })
        .map(Some)
        .map_err(|source| StartError::Io { what: "cannot serve metrics".to_owned(), source })
}
