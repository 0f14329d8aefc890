//! What a start tells: one JSON line on stdout for programs, hints on stderr for a person.
//!
//! Owns the pairing code until it is printed. Called by `app::server`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::json;

use super::config::{Config, TlsConfig};
use crate::base::limits::PAIRING_CODE_TTL;
use crate::base::pairing_code;
use crate::base::secret::Secret;
use crate::hub::policy::Registration;
use crate::hub::records::{DeviceState, DurableState};
use crate::protocol::scope::Role;
use crate::shell::console;

/// A one-time pairing code, while no operator is registered that could approve devices.
pub(super) fn pairing_code(
    config: &Config,
    state: &DurableState,
) -> Result<Option<Secret>, getrandom::Error> {
    let device = &config.auth.device;
    let has_operator = state
        .devices
        .iter()
        .any(|device| device.role == Role::Operator && device.state == DeviceState::Approved);
    if !device.enabled || device.registration != Registration::Auto || has_operator {
        return Ok(None);
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    Ok(Some(pairing_code::from_random(random)))
}

/// Says on stdout that everything listens, and on stderr what to do next. A stdout or stderr that
/// is closed, or that nobody reads, is no reason to stop.
pub(super) fn listening(
    address: SocketAddr,
    config: &Config,
    code: Option<&Secret>,
) -> io::Result<()> {
    let line = json!({
        "event": "listening",
        "url": url(address, config),
        "metrics": null,
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    console::write(io::stdout(), format!("{line}\n"))?;
    console::write(io::stderr(), hints(reachable(address), config, code))
}

/// Where children, which run on this machine, reach the gateway.
pub(super) fn url_for_children(address: SocketAddr, config: &Config) -> String {
    url(reachable(address), config)
}

fn url(address: SocketAddr, config: &Config) -> String {
    let scheme = if config.tls == TlsConfig::Off { "ws" } else { "wss" };
    format!("{scheme}://{address}")
}

/// An address that a client on this machine can dial: `0.0.0.0` and `[::]` are none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn hints(address: SocketAddr, config: &Config, code: Option<&Secret>) -> String {
    let is_tls = config.tls != TlsConfig::Off;
    let (http, ws) = if is_tls { ("https", "wss") } else { ("http", "ws") };
    // Certificates made at home are not trusted by other programs unless they are told to.
    let (curl, wscat) = if is_tls { ("curl -k", "wscat -n") } else { ("curl", "wscat") };
    let program = std::env::current_exe()
        .map_or_else(|_| "openclaw-gateway".to_owned(), |path| path.display().to_string());
    let state_dir = config.state_dir.display();
    let mut hints = format!(
        "OpenClaw Gateway {} listens. Next, in another terminal:\n\
         \x20 {curl} {http}://{address}/health\n\
         \x20 {program} tail --state-dir {state_dir}\n\
         Mission Control: set its gateway address to {ws}://{address}\n",
        env!("CARGO_PKG_VERSION"),
    );
    if config.auth.token.is_some() {
        let readme = "with your token, as README.md shows under \"Connect a client\"";
        hints.push_str(&format!("Any client: npx {wscat} -c {ws}://{address} ({readme})\n"));
    } else {
        hints.push_str(
            "Clients without a device key need a shared token: start with \
             OPENCLAW_GATEWAY_TOKEN=choose-your-own\n",
        );
    }
    if let Some(code) = code {
        hints.push_str(&format!(
            "No operator is registered yet. The first one on this machine is let in by its device \
             key.\nFrom elsewhere it needs this pairing code, once, within {} minutes: {}\n",
            PAIRING_CODE_TTL.as_secs() / 60,
            code.expose(),
        ));
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::args::Args;
    use crate::app::config::Environment;

    fn config(text: &str) -> Config {
        let path = std::path::Path::new("gateway.toml");
        Config::from_text(path, text, &Args::default(), &Environment::default()).unwrap()
    }

    #[test]
    fn the_hints_name_an_address_that_can_be_dialled() {
        let address = reachable("0.0.0.0:8080".parse().unwrap());
        let hints = hints(address, &config(""), None);
        assert!(hints.contains("curl http://127.0.0.1:8080/health"), "{hints}");
        assert!(hints.contains("tail --state-dir ./state"), "{hints}");
        assert!(hints.contains("OPENCLAW_GATEWAY_TOKEN"), "{hints}");
        assert!(!hints.contains("pairing code") && !hints.contains("wscat"), "{hints}");
    }

    #[test]
    fn the_hints_fit_what_is_configured() {
        let code = Secret::new("ABCDEFGHJK");
        let config = config(
            "[gateway.auth]\ntoken = \"a-token\"\n[gateway.tls]\nenabled = true\n\
             certFile = \"c\"\nkeyFile = \"k\"\n",
        );
        let hints = hints("[::1]:1".parse().unwrap(), &config, Some(&code));
        assert!(hints.contains("curl -k https://[::1]:1/health"), "{hints}");
        assert!(hints.contains("npx wscat -n -c wss://[::1]:1 "), "{hints}");
        assert!(hints.contains(": ABCDEFGHJK\n"), "{hints}");
        assert!(!hints.contains("a-token"), "{hints}");
    }
}
