//! Which gateway is meant: a URL over the network, or the socket in a state directory.
//!
//! Pure. Called by `options`; `connection` dials what comes out.

use std::fmt;
use std::path::{Path, PathBuf};

use tungstenite::http::Uri;
use tungstenite::http::uri::Authority;

use super::failure::Failure;
use crate::app::config::error::quoted;

/// Where a gateway without a configuration listens.
pub(super) const DEFAULT_URL: &str = "ws://127.0.0.1:8080";
/// The gateway's local socket, within its state directory.
const SOCKET_NAME: &str = "control.sock";

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Over the network.
    Network {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// As typed: what is shown, and what the upgrade asks for.
        url: String,
        /// How the server proves itself; `None` without TLS.
        trust: Option<Trust>,
    },
    /// On this machine, as its owner.
    Local(PathBuf),
}

/// Which certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Those of the platform's authorities.
    Platform,
    /// Those in this PEM file, and what they signed.
    File(PathBuf),
    /// Any at all: `--insecure`.
    Anything,
}

impl Target {
    /// Reads `ws://HOST[:PORT][/PATH]` or `wss://…`.
    pub(super) fn parse(url: &str, ca: Option<PathBuf>, insecure: bool) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::Usage(format!("{why}: expected ws://HOST:PORT or wss://HOST:PORT"))
        };
        // The part before an @ may be a secret: it is not repeated.
        if url.contains('@') {
            return Err(wrong("a URL with a user or password is not accepted"));
        }
        let uri: Uri = url.parse().map_err(|_| wrong(&format!("no URL: {}", quoted(url))))?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(wrong(&format!("no WebSocket URL: {}", quoted(url)))),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong(&format!("no host in {}", quoted(url))))?;
        let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
        let port = match authority.strip_prefix(host).and_then(|rest| rest.strip_prefix(':')) {
            None => Some(if tls { 443 } else { 80 }),
            Some(port) => port.parse().ok(),
        };
        let port = port.ok_or_else(|| {
            wrong(&format!("the port in {} is not a number up to 65535", quoted(url)))
        })?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if !tls && (ca.is_some() || insecure) {
            return Err(wrong("--ca and --insecure are for wss:// URLs"));
        }
        let trust = tls.then_some(match (insecure, ca) {
            (true, None) => Trust::Anything,
            (false, Some(file)) => Trust::File(file),
            (false, None) => Trust::Platform,
            (true, Some(_)) => {
                return Err(Failure::Usage("--ca and --insecure exclude each other".to_owned()));
            }
        });
        Ok(Self::Network { host: host.to_owned(), port, url: url.to_owned(), trust })
    }

    /// The socket of the gateway that keeps its state here.
    pub(super) fn socket_in(state_dir: &Path) -> Self {
        Self::Local(state_dir.join(SOCKET_NAME))
    }

    /// Whether the peer on the other side takes us for its owner.
    pub(super) fn is_local_socket(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// The URL of the upgrade request.
    pub(super) fn upgrade_url(&self) -> &str {
        match self {
            Self::Network { url, .. } => url,
            Self::Local(_) => "ws://localhost/",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What follows a `?` may be a secret.
            Self::Network { url, .. } => f.write_str(url.split('?').next().unwrap_or_default()),
            Self::Local(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<(&str, u16, bool)>) {
        let parsed = Target::parse(url, None, false).ok();
        let parsed = parsed.map(|target| match target {
            Target::Network { host, port, trust, .. } => (host, port, trust.is_some()),
            Target::Local(_) => unreachable!("a URL is no path"),
        });
        let expected = expected.map(|(host, port, tls)| (host.to_owned(), port, tls));
        assert_eq!(parsed, expected, "{url}");
    }

    #[test]
    fn urls_are_read() {
        check("ws://127.0.0.1:8080", Some(("127.0.0.1", 8080, false)));
        check("wss://gateway.example/gateway-ws", Some(("gateway.example", 443, true)));
        check("ws://[::1]:1/", Some(("::1", 1, false)));
        check("ws://host", Some(("host", 80, false)));
        for url in ["", "host:8080", "http://host", "ws://", "ws://u:p@host", "ws://host:99999"] {
            check(url, None);
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let target = Target::parse("ws://h/?token=hush", None, false).unwrap();
        assert_eq!(target.to_string(), "ws://h/");
        let Err(Failure::Usage(text)) = Target::parse("ws://u:hush@h", None, false) else {
            unreachable!("refused")
        };
        assert!(!text.contains("hush"), "{text}");
    }
}
