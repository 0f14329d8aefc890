//! Where a connection comes from: the client address behind trusted proxies, and whether it is
//! local (`docs/protocol.md`, "Transport"). Pure: headers and socket address in, facts out.
//!
//! Owns which headers are believed, and from whom. The shell maps the parsed HTTP head to
//! [`Headers`]; this layer does not know the wire.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::protocol::host::{HostPort, fold};
use crate::protocol::origin;

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
    /// Whether it came over the local control socket, whose other end the kernel has named.
    /// Nothing that a peer says makes it so.
    pub is_owner: bool,
}

/// The headers of an upgrade that matter here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `Host`
    pub host: Option<&'a str>,
    /// `Origin`
    pub origin: Option<&'a str>,
    /// Every `X-Forwarded-For`, in the order of the head.
    pub x_forwarded_for: &'a [&'a str],
    /// `X-Real-IP`
    pub x_real_ip: Option<&'a str>,
    /// `X-Forwarded-Proto`
    pub forwarded_proto: Option<&'a str>,
    /// Whether there is any of `Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `Via`.
    pub any_forwarding_header: bool,
}

/// `gateway.trustedProxies` and `gateway.publicHosts`.
#[derive(Clone, Debug, Default)]
pub struct ProxyPolicy {
    /// Whose forwarding headers are believed.
    pub trusted: Vec<Cidr>,
    /// The names under which people elsewhere reach this gateway.
    pub public_hosts: Vec<String>,
}

impl ProxyPolicy {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(address))
    }
}

impl PeerContext {
    /// Derives the facts. `socket` is the other end of the TCP connection, `tls` whether that
    /// connection speaks TLS.
    pub fn derive(socket: IpAddr, headers: &Headers<'_>, tls: bool, policy: &ProxyPolicy) -> Self {
        let socket = fold(socket);
        let behind_proxy = policy.trusts(socket);
        let (address, tls) = if behind_proxy {
            (client_address(socket, headers, policy), front_tls(headers).unwrap_or(tls))
        } else {
            (socket, tls)
        };
        Self {
            address,
            local: is_local(socket, headers, policy),
            origin: headers.origin.map(str::to_owned),
            host: headers.host.map(str::to_owned),
            tls,
            is_owner: false,
        }
    }

    /// The facts of a connection over the local control socket. Its `Origin`, if it sent one, is
    /// still checked: no page has a business there.
    pub fn owner(origin: Option<&str>) -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            local: true,
            origin: origin.map(str::to_owned),
            host: None,
            tls: false,
            is_owner: true,
        }
    }
}

/// Every condition at once: a proxy on this machine forwards strangers from a loopback address,
/// and a rebound DNS name makes a stranger's page speak to one.
fn is_local(socket: IpAddr, headers: &Headers<'_>, policy: &ProxyPolicy) -> bool {
    socket.is_loopback()
        && policy.trusted.is_empty()
        && policy.public_hosts.is_empty()
        && !headers.any_forwarding_header
        && headers.x_forwarded_for.is_empty()
        && headers.x_real_ip.is_none()
        && headers.forwarded_proto.is_none()
        && headers.host.and_then(HostPort::parse).is_some_and(|host| host.is_loopback())
        && headers.origin.is_none_or(origin::is_loopback)
}

/// The right-most hop that is not itself a trusted proxy: everything left of it is a claim of
/// somebody we do not trust. A hop that is no address ends the walk for the same reason.
fn client_address(socket: IpAddr, headers: &Headers<'_>, policy: &ProxyPolicy) -> IpAddr {
    let hops = headers.x_forwarded_for.iter().rev().flat_map(|value| value.rsplit(','));
    let stranger = hops
        .map(|hop| parse_hop(hop.trim()))
        .find(|hop| hop.is_none_or(|address| !policy.trusts(address)))
        .flatten();
    stranger.or_else(|| parse_hop(headers.x_real_ip?.trim())).unwrap_or(socket)
}

/// An address, with or without a port; IPv6 with a port stands in brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok().or_else(|| HostPort::parse(text)?.host.parse().ok());
    address.map(fold)
}

/// What the proxy nearest to us says of its own front.
fn front_tls(headers: &Headers<'_>) -> Option<bool> {
    let nearest = headers.forwarded_proto?.rsplit(',').next()?.trim();
    Some(nearest.eq_ignore_ascii_case("https") || nearest.eq_ignore_ascii_case("wss"))
}

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Reads an address or an address with a prefix length. `None` if it is neither, or if bits
    /// are set beyond the prefix: then it is not clear what was meant.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits_max = bits(address);
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= bits_max)?
            }
            Some(_) => return None,
            None => bits_max,
        };
        let network = fold(address);
        // `::ffff:10.0.0.0/104` is `10.0.0.0/8`; a mapped network wider than IPv4 is neither.
        let prefix = prefix.checked_sub(bits_max.saturating_sub(bits(network)))?;
        let range = Self { network, prefix };
        (range.masked(network) == value(network)).then_some(range)
    }

    /// Whether the address is in this range. IPv4-mapped IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = fold(address);
        address.is_ipv4() == self.network.is_ipv4() && self.masked(address) == value(self.network)
    }

    fn masked(&self, address: IpAddr) -> u128 {
        let host_bits = u32::from(bits(self.network).saturating_sub(self.prefix));
        // A shift by all 128 bits would be none; the range then holds every address.
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        value(address) & mask
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn value(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(trusted: &[&str]) -> ProxyPolicy {
        ProxyPolicy {
            trusted: trusted.iter().map(|text| Cidr::parse(text).unwrap()).collect(),
            public_hosts: Vec::new(),
        }
    }

    #[track_caller]
    fn check_address(
        socket: &str,
        trusted: &[&str],
        forwarded_for: &[&str],
        real_ip: Option<&str>,
        expected: &str,
    ) {
        let headers =
            Headers { x_forwarded_for: forwarded_for, x_real_ip: real_ip, ..Headers::default() };
        let peer = PeerContext::derive(socket.parse().unwrap(), &headers, false, &policy(trusted));
        assert_eq!(peer.address, expected.parse::<IpAddr>().unwrap());
    }

    #[test]
    fn forwarding_headers_are_believed_only_from_trusted_proxies() {
        check_address("10.0.0.1", &[], &["1.2.3.4"], Some("5.6.7.8"), "10.0.0.1");
        check_address("10.0.0.1", &["10.0.0.2"], &["1.2.3.4"], Some("5.6.7.8"), "10.0.0.1");
        check_address("10.0.0.1", &["10.0.0.1"], &["1.2.3.4"], Some("5.6.7.8"), "1.2.3.4");
        check_address("::ffff:10.0.0.1", &["10.0.0.0/8"], &["1.2.3.4"], None, "1.2.3.4");
        check_address("::ffff:1.2.3.4", &[], &[], None, "1.2.3.4");
    }

    #[test]
    fn the_client_is_the_right_most_hop_that_is_no_trusted_proxy() {
        let trusted = &["10.0.0.0/8"];
        check_address("10.0.0.1", trusted, &["9.9.9.9, 1.2.3.4"], None, "1.2.3.4");
        check_address("10.0.0.1", trusted, &["9.9.9.9, 1.2.3.4, 10.0.0.2"], None, "1.2.3.4");
        check_address("10.0.0.1", trusted, &["9.9.9.9", "1.2.3.4 ", "10.0.0.2"], None, "1.2.3.4");
        check_address("10.0.0.1", trusted, &["1.2.3.4:5000"], None, "1.2.3.4");
        check_address("10.0.0.1", trusted, &["[2001:db8::1]:5000"], None, "2001:db8::1");
        check_address("10.0.0.1", trusted, &["2001:db8::1"], None, "2001:db8::1");
    }

    #[test]
    fn without_such_a_hop_it_is_the_real_ip_and_else_the_socket() {
        let trusted = &["10.0.0.0/8"];
        check_address("10.0.0.1", trusted, &["10.0.0.3, 10.0.0.2"], Some("1.2.3.4"), "1.2.3.4");
        check_address("10.0.0.1", trusted, &[], Some(" 1.2.3.4"), "1.2.3.4");
        check_address("10.0.0.1", trusted, &[], Some("nobody"), "10.0.0.1");
        check_address("10.0.0.1", trusted, &["9.9.9.9, unknown"], None, "10.0.0.1");
        check_address("10.0.0.1", trusted, &["", ","], None, "10.0.0.1");
        check_address("10.0.0.1", trusted, &[], None, "10.0.0.1");
    }

    #[test]
    fn tls_is_what_the_trusted_front_says_else_what_the_socket_does() {
        for (trusted, proto, tls, expected) in [
            (&[][..], Some("https"), false, false),
            (&["10.0.0.1"][..], Some("https"), false, true),
            (&["10.0.0.1"][..], Some("http, WSS"), false, true),
            (&["10.0.0.1"][..], Some("http"), true, false),
            (&["10.0.0.1"][..], None, true, true),
        ] {
            let headers = Headers { forwarded_proto: proto, ..Headers::default() };
            let socket = "10.0.0.1".parse().unwrap();
            let peer = PeerContext::derive(socket, &headers, tls, &policy(trusted));
            assert_eq!(peer.tls, expected, "{trusted:?} {proto:?} {tls}");
        }
    }

    #[test]
    fn local_needs_every_one_of_its_conditions() {
        let good = Headers {
            host: Some("127.0.0.1:8080"),
            origin: Some("http://localhost:3000"),
            ..Headers::default()
        };
        let here = "127.0.0.1".parse().unwrap();
        let local = |socket, headers: &Headers<'_>, policy: &ProxyPolicy| {
            PeerContext::derive(socket, headers, false, policy).local
        };
        let none = ProxyPolicy::default();
        assert!(local(here, &good, &none));
        assert!(local("::1".parse().unwrap(), &good, &none));
        assert!(local("::ffff:127.0.0.1".parse().unwrap(), &good, &none));
        assert!(local(here, &Headers { origin: None, ..good }, &none));

        assert!(!local("192.168.0.2".parse().unwrap(), &good, &none));
        for host in [None, Some(""), Some("evil.example:8080"), Some("localhost:x")] {
            assert!(!local(here, &Headers { host, ..good }, &none), "{host:?}");
        }
        for origin in ["null", "", "http://evil.example", "https://localhost.evil.example"] {
            assert!(!local(here, &Headers { origin: Some(origin), ..good }, &none), "{origin}");
        }
        assert!(!local(here, &Headers { any_forwarding_header: true, ..good }, &none));
        assert!(!local(here, &Headers { x_forwarded_for: &["127.0.0.1"], ..good }, &none));
        assert!(!local(here, &Headers { x_real_ip: Some("127.0.0.1"), ..good }, &none));
        assert!(!local(here, &Headers { forwarded_proto: Some("http"), ..good }, &none));
        assert!(!local(here, &good, &policy(&["10.0.0.1"])));
        let public =
            ProxyPolicy { trusted: Vec::new(), public_hosts: vec!["a.example".to_owned()] };
        assert!(!local(here, &good, &public));
    }

    #[test]
    fn nothing_that_a_peer_says_makes_it_the_owner() {
        let headers = Headers {
            host: Some("localhost"),
            origin: Some("http://localhost"),
            x_forwarded_for: &["127.0.0.1"],
            x_real_ip: Some("127.0.0.1"),
            forwarded_proto: Some("https"),
            any_forwarding_header: true,
        };
        for headers in [headers, Headers::default()] {
            for policy in [policy(&["127.0.0.1"]), ProxyPolicy::default()] {
                let here = "127.0.0.1".parse().unwrap();
                assert!(!PeerContext::derive(here, &headers, true, &policy).is_owner);
            }
        }
        assert!(PeerContext::owner(None).is_owner);
    }

    #[track_caller]
    fn check_range(range: &str, inside: &[&str], outside: &[&str]) {
        let range = Cidr::parse(range).unwrap();
        for address in inside {
            assert!(range.contains(address.parse().unwrap()), "{address} in {range}");
        }
        for address in outside {
            assert!(!range.contains(address.parse().unwrap()), "{address} not in {range}");
        }
    }

    #[test]
    fn ranges_hold_what_their_prefix_says() {
        check_range("10.0.0.0/8", &["10.255.0.1", "::ffff:10.1.1.1"], &["11.0.0.0", "a00::"]);
        check_range("10.1.2.3", &["10.1.2.3"], &["10.1.2.4"]);
        check_range("0.0.0.0/0", &["255.1.1.1"], &["::1"]);
        check_range("::/0", &["2001:db8::1"], &["1.2.3.4"]);
        check_range("fd00::/8", &["fdff::1"], &["fe00::1"]);
        check_range("::ffff:10.0.0.0/104", &["10.9.9.9"], &["11.0.0.0"]);
        check_range("192.168.1.128/25", &["192.168.1.255"], &["192.168.1.127"]);
    }

    #[test]
    fn what_is_no_range_is_none() {
        for text in [
            "",
            "/",
            "10.0.0.1/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.1/8",
            "10.0.0.0/+8",
            "proxy",
            "10.0.0/8",
            "10.0.0.0/8/8",
            "::ffff:0.0.0.0/80",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
