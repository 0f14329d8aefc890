//! A configuration file's text, TOML or what somebody took for it.
//!
//! Never a panic; a refusal says where and what; what is accepted makes a policy and a hub that
//! starts. Files that the text names are not opened: an input that names one is left out.

use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use openclaw_gateway::app::args::Args;
use openclaw_gateway::app::config::{Config, Environment};
use openclaw_gateway::base::time::Moment;
use openclaw_gateway::hub::Hub;
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::hub::records::DurableState;

use super::bytes::Bytes;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let kind = bytes.byte();
    let Ok(text) = std::str::from_utf8(bytes.rest()) else { return };
    // A secret's file is opened while the text is read, and what is on this machine decides then.
    if text.contains("File") || text.contains("\\u") || text.contains("\\U") || text.contains("\\x")
    {
        return;
    }
    let name = if kind % 4 == 1 { "gateway.yaml" } else { "gateway.toml" };
    let (args, environment) = match kind % 4 {
        2 => (flags(text), Environment::default()),
        3 => (Args::default(), environment(text)),
        _ => (Args::default(), Environment::default()),
    };
    let text = if kind % 4 < 2 { text } else { "" };
    match Config::from_text(Path::new(name), text, &args, &environment) {
        Ok(config) => check_accepted(&config),
        Err(errors) => {
            assert!(!errors.0.is_empty(), "a refusal says why");
            assert!(!errors.to_string().trim().is_empty());
        }
    }
}

/// The text as the values of flags, one a line.
fn flags(text: &str) -> Args {
    let mut lines = text.lines().map(str::to_owned);
    Args {
        bind: lines.next(),
        port: lines.next(),
        metrics_port: lines.next(),
        log_level: lines.next(),
        ..Args::default()
    }
}

/// The text as the values of variables, one a line.
fn environment(text: &str) -> Environment {
    let mut lines = text.lines().map(OsString::from);
    let (token, level) = (lines.next(), lines.next());
    Environment::read(|name| match name {
        "OPENCLAW_GATEWAY_TOKEN" => token.clone(),
        "LOG_LEVEL" => level.clone(),
        _ => None,
    })
}

fn check_accepted(config: &Config) {
    let policy = config.policy("0.0.0", None);
    let shown = format!("{config:?} {policy:?}");
    for secret in config.auth.token.iter().chain(&config.auth.password) {
        let secret = secret.expose();
        assert!(!secret.is_empty(), "an empty secret is none");
        // A short one may be part of anything.
        assert!(secret.len() < 16 || !shown.contains(secret), "a secret is shown");
    }
    let now = Moment { at: Instant::now(), unix_ms: 1_795_000_000_000 };
    let mut hub = Hub::new(policy, DurableState::default(), [7; 32], now);
    let mut effects = Vec::new();
    hub.handle(now, Input::Tick, &mut effects);
    assert_eq!(hub.broken_invariant(), None);
}
