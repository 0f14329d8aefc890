//! Flags, environment, file, defaults: in this order.

use std::net::SocketAddr;
use std::path::Path;

use log::LevelFilter;
use openclaw_gateway::app::config::Config;

use super::{TestDir, args, environment, load, load_with};

const FILE: &str = "[gateway]\nbind = \"::1\"\nport = 1\nstateDir = \"file\"\n\
                    [gateway.auth]\ntoken = \"file\"\n[log]\nlevel = \"warn\"\n";

fn token(config: &Config) -> &str {
    config.auth.token.as_ref().map_or("", |token| token.expose())
}

#[test]
fn file_wins_over_defaults() {
    let config = load(FILE).unwrap();
    assert_eq!(config.bind.to_string(), "::1");
    assert_eq!(config.port, 1);
    assert_eq!(config.state_dir, Path::new("file"));
    assert_eq!(config.log_level, LevelFilter::Warn);
    assert_eq!(token(&config), "file");
}

#[test]
fn environment_wins_over_file() {
    let variables = [("OPENCLAW_GATEWAY_TOKEN", "environment"), ("LOG_LEVEL", "ERROR")];
    let config = load_with(FILE, "", &variables).unwrap();
    assert_eq!(config.log_level, LevelFilter::Error);
    assert_eq!(token(&config), "environment");
    // Also over a file that holds the token, which is then not even read.
    let text = "[gateway.auth]\ntokenFile = \"/nonexistent\"\n";
    assert_eq!(token(&load_with(text, "", &variables).unwrap()), "environment");
}

#[test]
fn flags_win_over_environment_and_file() {
    let flags = "--bind 0.0.0.0 --port 2 --state-dir flag --log-level trace --metrics-port 3";
    let config = load_with(FILE, flags, &[("LOG_LEVEL", "error")]).unwrap();
    assert_eq!(config.bind.to_string(), "0.0.0.0");
    assert_eq!(config.port, 2);
    assert_eq!(config.state_dir, Path::new("flag"));
    assert_eq!(config.log_level, LevelFilter::Trace);
    assert_eq!(config.metrics, Some(SocketAddr::from(([127, 0, 0, 1], 3))));
    let off = "[gateway.metrics]\nenabled = false\n";
    assert_eq!(load(off).unwrap().metrics, None);
    assert!(load_with(off, "--metrics-port 3", &[]).unwrap().metrics.is_some());
}

#[test]
fn port_flag_replaces_both_names_of_the_port() {
    assert_eq!(load_with("[gateway.tls]\nport = 1\n", "--port 2", &[]).unwrap().port, 2);
    assert_eq!(load("[gateway.tls]\nport = 1\n").unwrap().port, 1);
    assert_eq!(load("[gateway]\nport = 1\n[gateway.tls]\nport = 1\n").unwrap().port, 1);
}

#[test]
fn empty_environment_variable_counts_as_not_set() {
    let variables = [("OPENCLAW_GATEWAY_TOKEN", ""), ("LOG_LEVEL", ""), ("OPENCLAW_CONFIG", "")];
    assert_eq!(load_with(FILE, "", &variables).unwrap(), load(FILE).unwrap());
    assert_eq!(environment(&variables).config, None);
}

#[test]
fn config_flag_wins_over_config_variable() {
    let dir = TestDir::new();
    let one = dir.file("one.toml", "[gateway]\nport = 1\n", 0o644);
    let two = dir.file("two.toml", "[gateway]\nport = 2\n", 0o644);
    let environment = environment(&[("OPENCLAW_CONFIG", &one)]);
    let port = |flags: &str| Config::load(&args(flags), &environment).unwrap().port;
    assert_eq!(port(""), 1);
    assert_eq!(port(&format!("--config {two}")), 2);
}
