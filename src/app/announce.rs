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
    let is_tls = config.tls != TlsConfig::Off;
    let scheme = if is_tls { "wss" } else { "ws" };
    let line = json!({
        "event": "listening",
        "url": format!("{scheme}://{address}"),
        "metrics": null,
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    console::write(io::stdout(), format!("{line}\n"))?;
    console::write(io::stderr(), hints(reachable(address), is_tls, code))
}

/// An address that a client on this machine can dial: 0.0.0.0 and [::] are none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn hints(address: SocketAddr, is_tls: bool, code: Option<&Secret>) -> String {
    let (http, ws) = if is_tls { ("https", "wss") } else { ("http", "ws") };
    let insecure = if is_tls { " -k" } else { "" };
    let mut hints = format!(
        "OpenClaw Gateway {} listens. Next, in another terminal:\n\
         \x20 curl{insecure} {http}://{address}/health\n\
         \x20 npx wscat -c {ws}://{address}        (README.md, \"Connect a client\")\n\
         Mission Control: set its gateway address to {ws}://{address}\n",
        env!("CARGO_PKG_VERSION"),
    );
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

    #[test]
    fn the_hints_name_an_address_that_can_be_dialled() {
        let hints = hints(reachable("0.0.0.0:8080".parse().unwrap()), false, None);
        assert!(hints.contains("curl http://127.0.0.1:8080/health"), "{hints}");
        assert!(!hints.contains("pairing code"));
    }

    #[test]
    fn the_pairing_code_is_shown_if_there_is_one() {
        let code = Secret::new("ABCDEFGHJK");
        let hints = hints("[::1]:1".parse().unwrap(), true, Some(&code));
        assert!(hints.contains("curl -k https://[::1]:1/health"), "{hints}");
        assert!(hints.contains(": ABCDEFGHJK\n"), "{hints}");
    }
}
