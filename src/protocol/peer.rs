//! Where a connection comes from: the client address behind trusted proxies, and whether it is
//! local (`docs/protocol.md`, "Transport"). Pure: headers and socket address in, facts out.

use std::net::IpAddr;

/// What is known of a peer before it says anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerContext {
    /// The address that limits, rate limits and audit use. IPv4-mapped IPv6 is folded to IPv4.
    pub address: IpAddr,
    /// Local in the sense of the contract: a person or program on this machine.
    pub local: bool,
    /// The `Origin` header, as sent.
    pub origin: Option<String>,
    /// The `Host` header, as sent.
    pub host: Option<String>,
    /// Whether this connection (or the trusted proxy's front) speaks TLS.
    pub tls: bool,
}
