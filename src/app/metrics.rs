//! The metrics page as the configuration wants it.
//!
//! Decides what a port that is taken means. The numbers and the page are `shell::metrics`'.
//! Called by `app::server`.

use std::net::TcpListener;
use std::sync::Arc;

use super::config::{Config, METRICS_DEFAULT};
use super::error::StartError;
use crate::shell::dialogue::Shared;
use crate::shell::metrics::{self, MetricsPage, Sources};
use crate::shell::registry::Registry;

/// The socket for the page, `None` where there is to be none. If the default port is taken, the
/// gateway does without: nobody chose it, and Prometheus itself listens there.
pub(super) fn bind(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.metrics else { return Ok(None) };
    match metrics::bind(address) {
        Ok(socket) => Ok(Some(socket)),
        Err(why) if address != METRICS_DEFAULT => {
            let place = format_args!("{address} for metrics");
            let keys = ["--metrics-port or gateway.metrics.port", "gateway.metrics.bind"];
            Err(StartError::cannot_listen(place, &why, keys))
        }
        Err(error) => {
            log::warn!(
                "cannot listen on {address} for metrics: {error}; going on without them; set \
                 gateway.metrics.port, or gateway.metrics.enabled = false"
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
) -> Result<Option<MetricsPage>, StartError> {
    let Some(socket) = socket else { return Ok(None) };
    MetricsPage::start(socket, Sources { shared: Arc::clone(shared), registry })
        .map(Some)
        .map_err(|source| StartError::Io { what: "cannot serve metrics".to_owned(), source })
}
