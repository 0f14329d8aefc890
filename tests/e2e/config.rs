//! The configuration, as a person meets it: `--check`, errors that name the place, warnings.

use std::process::Output;

use serde_json::Value;

use crate::kit::{Gateway, TempDir, binary};

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A configuration that must be refused with exit code 2, and what the message must name.
#[track_caller]
fn check_refused(file: &str, config: &str, named: &[&str]) {
    let output = Gateway::check_file(file, config, &[]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty(), "errors go to stderr");
    for name in named.iter().chain([&file]) {
        assert!(text.contains(name), "{name:?} in {text}");
    }
}

#[test]
fn empty_configuration_is_fine() {
    let output = Gateway::check("", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn errors_name_file_line_key_what_was_found_and_what_is_allowed() {
    let config = "[gateway]\nbind = \"127.0.0.1\"\nport = \"eighty\"";
    check_refused("config.toml", config, &["3", "port", "eighty"]);
    let config = "[gateway.auth]\nsharedSecretWithoutDevice = \"sometimes\"";
    check_refused("config.toml", config, &["2", "sometimes", "loopback", "always", "never"]);
    let config = "[gateway.heartbeat]\nintervalSeconds = 0";
    check_refused("config.toml", config, &["2", "intervalSeconds", "0"]);
    check_refused("config.toml", "[gateway\n", &["1"]);
}

#[test]
fn unknown_key_is_refused_with_the_nearest_known_one() {
    let config = "[gateway.controlUi]\nallowedOrigin = []";
    check_refused("config.toml", config, &["2", "allowedOrigin", "allowedOrigins"]);
}

#[test]
fn two_different_ports_are_an_error() {
    let config = "[gateway]\nport = 8080\n[gateway.tls]\nport = 8443";
    check_refused("config.toml", config, &["gateway.tls.port", "8080", "8443"]);
}

#[test]
fn half_a_tls_pair_is_an_error() {
    let config = "[gateway.tls]\nenabled = true\ncertFile = \"no-such.crt\"";
    check_refused("config.toml", config, &["keyFile"]);
    let config = "[gateway.tls]\nenabled = true\ncertFile = \"no.crt\"\nkeyFile = \"no.key\"";
    check_refused("config.toml", config, &["no.crt"]);
}

#[test]
fn yaml_is_recognised_and_answered_with_toml() {
    let config = "gateway:\n  controlUi:\n    enabled: true\n";
    check_refused("gateway.yml", config, &["YAML", "TOML", "[gateway.controlUi]"]);
}

#[test]
fn missing_file_is_an_error_that_names_it() {
    let output = binary().args(["--check", "--config", "no-such-file.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("no-such-file.toml"));
}

#[test]
fn unknown_flag_is_an_error_of_usage() {
    let output = binary().arg("--prot").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--prot"));
}

#[test]
fn help_and_version_go_to_stdout() {
    for (flag, text) in [("--help", "--state-dir"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = binary().arg(flag).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(text), "{flag}");
    }
}

#[test]
fn secret_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let secret = dir.write("token", "a-secret-in-a-file\n");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = format!("[gateway.auth]\ntokenFile = {secret:?}");
    let output = Gateway::check(&config, &[]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("token") && text.contains("644"), "{text}");
    assert!(!text.contains("a-secret-in-a-file"), "{text}");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(Gateway::check(&config, &[]).status.code(), Some(0));
}

#[test]
fn unsafe_settings_start_with_one_warning_each() {
    let cases = [
        ("[gateway.controlUi]\nallowedOrigins = [\"*\"]", "allowedOrigins"),
        ("[gateway.auth]\ntoken = \"\"", "token"),
    ];
    for (config, key) in cases {
        let gateway = Gateway::setup().without_secret().config(config).start();
        let is_warning = |line: &&str| line.contains("\"warn\"") && line.contains(key);
        let count = || gateway.diagnostics().lines().filter(is_warning).count();
        crate::kit::eventually(key, crate::kit::PATIENCE, || (count() > 0).then_some(()));
        assert_eq!(count(), 1, "{key}: {}", gateway.diagnostics());
    }
    let config = "[gateway]\nbind = \"0.0.0.0\"\n";
    let output = Gateway::check(config, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("TLS"), "{}", stderr(&output));
}

#[test]
fn first_line_says_where_the_gateway_listens_and_diagnostics_are_json() {
    for (tls, scheme) in [(false, "ws://127.0.0.1:"), (true, "wss://127.0.0.1:")] {
        let gateway = Gateway::setup().tls(tls).start();
        let said = gateway.announcement();
        assert_eq!(said["event"], "listening", "{said}");
        assert!(said["url"].as_str().unwrap().starts_with(scheme), "{said}");
        assert_eq!(said["pid"], gateway.pid(), "{said}");
        assert_eq!(said["version"], env!("CARGO_PKG_VERSION"), "{said}");
        assert_eq!(said["metrics"], Value::Null, "{said}");
        gateway.operator().leave();
        for line in gateway.diagnostics().lines().filter(|line| line.starts_with('{')) {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["level"].is_string() && line["msg"].is_string(), "{line}");
        }
    }
}

#[test]
fn messages_that_the_seed_shows_appear_word_for_word() {
    let gateway = Gateway::start();
    let device = crate::kit::Device::with_uuid();
    gateway.dial().open().admitted(&crate::kit::Connect::seed(&device));
    for (msg, fields) in [
        ("WebSocket connection established", ["client_id", "role"]),
        ("Device signature verified", ["device_id", "valid"]),
    ] {
        crate::kit::eventually(msg, crate::kit::PATIENCE, || {
            let text = gateway.diagnostics();
            let line = text.lines().find(|line| line.contains(msg))?;
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["msg"], &line["level"]), (&msg.into(), &"info".into()), "{line}");
            assert_eq!(line["device_id"], device.id(), "{line}");
            assert!(fields.iter().all(|field| !line[field].is_null()), "{line}");
            Some(())
        });
    }
}

#[test]
fn second_gateway_on_the_same_state_is_refused_with_a_clear_error() {
    let gateway = Gateway::start();
    let state = gateway.dir().join("state");
    let output = binary().arg("--state-dir").arg(&state).args(["--port", "0"]).output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(state.to_str().unwrap()), "{text}");
}

#[test]
fn state_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let gateway = Gateway::start();
    let state = gateway.dir().join("state");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}
