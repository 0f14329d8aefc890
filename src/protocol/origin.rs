//! Which web pages may connect (`docs/protocol.md`, "Origin").
//!
//! Checked whenever there is an `Origin` header, before any credential: a page that is not allowed
//! must not even learn whether a secret was right. A program without a browser sends none, and is
//! not the subject here. Called by the connection threads.

use crate::protocol::host::HostPort;
use crate::protocol::peer::PeerContext;
use crate::protocol::refusal::Refusal;

/// `[gateway.controlUi]`, as far as origins go.
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    /// `enabled`: off refuses every origin.
    pub enabled: bool,
    /// `*` is on the list.
    pub any: bool,
    /// The list, normalised.
    allowed: Vec<String>,
    /// `gateway.publicHosts`
    public_hosts: Vec<String>,
}

impl OriginPolicy {
    /// Takes `controlUi.enabled`, `controlUi.allowedOrigins` and `gateway.publicHosts` as
    /// configured. A `*` anywhere in the list allows every origin.
    pub fn new(enabled: bool, allowed_origins: &[String], public_hosts: Vec<String>) -> Self {
        Self {
            enabled,
            any: allowed_origins.iter().any(|origin| origin.trim() == "*"),
            allowed: allowed_origins.iter().map(|origin| normalise(origin)).collect(),
            public_hosts,
        }
    }

    /// Lets a peer pass that has no origin or an allowed one.
    pub fn check(&self, peer: &PeerContext) -> Result<(), Refusal> {
        match &peer.origin {
            None => Ok(()),
            Some(origin) if self.allows(origin, peer) => Ok(()),
            Some(origin) => Err(Refusal::origin_not_allowed(origin)),
        }
    }

    fn allows(&self, origin: &str, peer: &PeerContext) -> bool {
        if !self.enabled {
            return false;
        }
        let normalised = normalise(origin);
        self.any || self.allowed.contains(&normalised) || self.is_own(&normalised, peer)
    }

    /// The built-in console: a page that this gateway itself served. Only under a host that is
    /// known to be ours; a name that an attacker points at us is in the `Host` header as well.
    fn is_own(&self, origin: &str, peer: &PeerContext) -> bool {
        let Some(host) = peer.host.as_deref().and_then(HostPort::parse) else { return false };
        let scheme = if peer.tls { "https" } else { "http" };
        (host.is_loopback() || host.is_one_of(&self.public_hosts)) && origin == spell(scheme, &host)
    }
}

/// Whether an origin is literally this machine's, by http or https.
pub(super) fn is_loopback(origin: &str) -> bool {
    let lower = origin.to_ascii_lowercase();
    matches!(lower.split_once("://"), Some(("http" | "https", host))
        if HostPort::parse(host).is_some_and(|host| host.is_loopback()))
}

/// One spelling for one origin: lowercase, no default port, no slash at the end.
/// What does not look like `scheme://host` (`null`, for example) stays as it is, in lowercase.
fn normalise(origin: &str) -> String {
    let lower = origin.trim().to_ascii_lowercase();
    let spelled = lower.split_once("://").and_then(|(scheme, host)| {
        Some(spell(scheme, &HostPort::parse(host.strip_suffix('/').unwrap_or(host))?))
    });
    spelled.unwrap_or(lower)
}

fn spell(scheme: &str, host: &HostPort) -> String {
    let default_port = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let name = &host.host;
    let name = if name.contains(':') { format!("[{name}]") } else { name.clone() };
    match host.port.filter(|port| Some(*port) != default_port) {
        Some(port) => format!("{scheme}://{name}:{port}"),
        None => format!("{scheme}://{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(origin: Option<&str>, host: &str, tls: bool) -> PeerContext {
        PeerContext {
            address: "10.0.0.9".parse().unwrap(),
            local: false,
            origin: origin.map(str::to_owned),
            host: Some(host.to_owned()),
            tls,
            is_owner: false,
        }
    }

    fn policy(allowed: &[&str], public_hosts: &[&str]) -> OriginPolicy {
        let owned =
            |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        OriginPolicy::new(true, &owned(allowed), owned(public_hosts))
    }

    #[track_caller]
    fn check_listed(listed: &str, origin: &str, allowed: bool) {
        let peer = peer(Some(origin), "gateway.example:8080", true);
        assert_eq!(policy(&[listed], &[]).check(&peer).is_ok(), allowed, "{listed} {origin}");
    }

    #[test]
    fn an_origin_is_allowed_by_an_exact_match_whatever_the_case() {
        check_listed("https://mc.example.com", "https://mc.example.com", true);
        check_listed("https://MC.example.com/", "https://mc.Example.com", true);
        check_listed("https://mc.example.com:443", "https://mc.example.com", true);
        check_listed("http://mc.example.com", "http://mc.example.com:80", true);
        check_listed("http://[::1]:3000", "http://[::1]:3000", true);
        check_listed("http://localhost:3000", "http://localhost:3000", true);
        check_listed("chrome-extension://abcd", "chrome-extension://abcd", true);
        check_listed("null", "null", true);
        check_listed("*", "https://anything.example", true);
        check_listed("*", "null", true);

        check_listed("https://mc.example.com", "http://mc.example.com", false);
        check_listed("https://mc.example.com", "https://mc.example.com:8443", false);
        check_listed("https://mc.example.com", "https://mc.example.com.evil.example", false);
        check_listed(
            "https://mc.example.com",
            "https://evil.example/https://mc.example.com",
            false,
        );
        check_listed("https://mc.example.com", "https://mc.example.com@evil.example", false);
        check_listed("https://mc.example.com", "", false);
        check_listed("https://mc.example.com", "null", false);
        check_listed("https://*.example.com", "https://mc.example.com", false);
        check_listed("http://localhost:3000", "http://127.0.0.1:3000", false);
    }

    #[test]
    fn without_an_origin_there_is_nothing_to_check() {
        let mut none = policy(&[], &[]);
        assert!(none.check(&peer(None, "x", false)).is_ok());
        none.enabled = false;
        assert!(none.check(&peer(None, "x", false)).is_ok());
    }

    #[test]
    fn with_the_control_ui_off_every_origin_is_refused() {
        let mut off = policy(&["*", "http://localhost:3000"], &[]);
        off.enabled = false;
        assert!(off.check(&peer(Some("http://localhost:3000"), "localhost:3000", false)).is_err());
    }

    #[track_caller]
    fn check_own(origin: &str, host: &str, tls: bool, allowed: bool) {
        let policy = policy(&[], &["gateway.example.com"]);
        let found = policy.check(&peer(Some(origin), host, tls)).is_ok();
        assert_eq!(found, allowed, "{origin} at {host}");
    }

    #[test]
    fn the_gateways_own_origin_is_that_of_the_request_under_a_host_that_is_ours() {
        check_own("http://127.0.0.1:8080", "127.0.0.1:8080", false, true);
        check_own("http://localhost:8080", "LOCALHOST:8080", false, true);
        check_own("http://[::1]:8080", "[::1]:8080", false, true);
        check_own("https://gateway.example.com", "gateway.example.com:443", true, true);
        check_own("https://gateway.example.com", "Gateway.example.com.", true, true);
        check_own("https://gateway.example.com:8443", "gateway.example.com:8443", true, true);

        check_own("http://127.0.0.1:3000", "127.0.0.1:8080", false, false);
        check_own("https://127.0.0.1:8080", "127.0.0.1:8080", false, false);
        check_own("http://gateway.example.com", "gateway.example.com", true, false);
        // A rebound name: the page and the request agree, but the name is not ours.
        check_own("http://evil.example:8080", "evil.example:8080", false, false);
        check_own("http://127.0.0.1:8080", "evil.example:8080", false, false);
        check_own("http://localhost", "", false, false);
    }

    #[test]
    fn a_refusal_names_the_origin_and_the_key() {
        let refusal =
            policy(&[], &[]).check(&peer(Some("https://a.example"), "x", true)).unwrap_err();
        assert!(refusal.error.message.starts_with("origin not allowed"));
        let details = refusal.error.details.unwrap();
        assert_eq!(details["origin"], "https://a.example");
        assert_eq!(details["configKey"], "gateway.controlUi.allowedOrigins");
    }
}
