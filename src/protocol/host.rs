//! Host and port, as they stand in a `Host` header and in an origin.
//!
//! Owns the one reading of them that `peer` and `origin` share, so that the two cannot disagree
//! on what names this machine. Resolves nothing: a name that is not literally a loopback name is
//! not one, whatever it resolves to.

use std::net::{IpAddr, Ipv6Addr};

/// A host and, if it was given, a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    /// Lowercase, without brackets and without a trailing dot; never empty.
    pub(super) host: String,
    /// The port.
    pub(super) port: Option<u16>,
}

impl HostPort {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port` (RFC 3986 section 3.2).
    /// `None` for anything else, also for a user name or a path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (literal, after) = rest.split_once(']')?;
                let address: Ipv6Addr = literal.parse().ok()?;
                (address.to_string(), parse_port(after)?)
            }
            None => {
                let (host, port) = match text.find(':') {
                    Some(colon) => text.split_at_checked(colon)?,
                    None => (text, ""),
                };
                // One dot at the end says that the name is absolute; it names the same host.
                let host = host.strip_suffix('.').unwrap_or(host);
                if host.is_empty() || !host.bytes().all(is_host_byte) {
                    return None;
                }
                (host.to_ascii_lowercase(), parse_port(port)?)
            }
        };
        Some(Self { host, port })
    }

    /// Whether the host is literally this machine: `localhost`, `127.0.0.0/8` or `::1`.
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| fold(address).is_loopback())
    }

    /// Whether the host, whatever the port, is one of `hosts`.
    pub(super) fn is_one_of(&self, hosts: &[String]) -> bool {
        hosts.iter().filter_map(|host| Self::parse(host)).any(|host| host.host == self.host)
    }
}

/// `""` is no port; `":"` with digits is one; `":"` alone is none (RFC 3986 allows it).
#[expect(clippy::option_option, reason = "malformed, absent and present are three answers")]
fn parse_port(text: &str) -> Option<Option<u16>> {
    if text.is_empty() || text == ":" {
        return Some(None);
    }
    let digits = text.strip_prefix(':')?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().ok().map(Some)
    } else {
        None
    }
}

/// Letters, digits and what else names use; no `@`, no `/`, nothing that a URL gives a meaning.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

/// An IPv4 address in IPv6 clothes is that IPv4 address.
pub(super) fn fold(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, Option<u16>, bool)>) {
        let parsed = HostPort::parse(text);
        let found = parsed.as_ref().map(|host| (&*host.host, host.port, host.is_loopback()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn hosts_are_read_as_urls_write_them() {
        check("localhost", Some(("localhost", None, true)));
        check("LocalHost.:8080", Some(("localhost", Some(8080), true)));
        check("127.0.0.1:80", Some(("127.0.0.1", Some(80), true)));
        check("127.9.9.9", Some(("127.9.9.9", None, true)));
        check("[::1]:8080", Some(("::1", Some(8080), true)));
        check("[::ffff:127.0.0.1]", Some(("::ffff:127.0.0.1", None, true)));
        check("[0:0::1]:", Some(("::1", None, true)));
        check("Gateway.Example.com", Some(("gateway.example.com", None, false)));
        check("10.0.0.1:1", Some(("10.0.0.1", Some(1), false)));
        check("localhost.example.com", Some(("localhost.example.com", None, false)));
        // Forms that some resolvers take for an address are not loopback names here.
        check("127.1", Some(("127.1", None, false)));
        check("2130706433", Some(("2130706433", None, false)));
        check("0.0.0.0", Some(("0.0.0.0", None, false)));
    }

    #[test]
    fn what_is_no_host_is_none() {
        for text in [
            "",
            ".",
            ":8080",
            "localhost:http",
            "localhost:+80",
            "localhost:99999",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]8080",
            "[localhost]",
            "[]",
            "user@localhost",
            "localhost/",
            "local host",
            "localhost,evil",
            "löcalhost",
            "localhost\u{0}",
        ] {
            check(text, None);
        }
    }
}
