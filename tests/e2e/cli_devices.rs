//! The command line over the gateway's local socket, and what it reports of sessions.

use serde_json::Value;

use crate::kit::{Cli, Gateway};

/// Somebody on the gateway's machine who is allowed to open its local socket.
fn owner(gateway: &Gateway, words: &[&str]) -> String {
    let state_dir = gateway.dir().join("state");
    let owner = Cli::elsewhere("ws://127.0.0.1:1");
    owner.ok(&[words, &["--state-dir", state_dir.to_str().unwrap()]].concat())
}

#[test]
fn device_is_approved_revoked_and_forgotten_by_what_the_errors_say() {
    let gateway = Gateway::start();
    Cli::new(&gateway).ok(&["status"]);
    let cli = Cli::new(&gateway).without_secret();
    let advised = || {
        let done = cli.run(&["status"]);
        assert_eq!(done.code, 5, "{}", done.stderr);
        let (_, command) = done.stderr.split_once(": openclaw-gateway ").expect("advice");
        command.trim().to_owned()
    };
    let follow = |command: &str| {
        let words: Vec<_> = command.split_whitespace().collect();
        owner(&gateway, &words)
    };
    let approve = advised();
    let request = approve.strip_prefix("devices approve ").unwrap();
    assert!(owner(&gateway, &["devices"]).contains(request));
    let approved = follow(&approve);
    cli.ok(&["status"]);

    let device = approved.split([' ', ';']).nth(1).unwrap();
    owner(&gateway, &["devices", "revoke", device]);
    let forget = advised();
    assert_eq!(forget, format!("devices forget {device}"));
    follow(&forget);
    let again = advised();
    assert!(again.starts_with("devices approve "), "{again}");
    owner(&gateway, &["devices", "reject", again.strip_prefix("devices approve ").unwrap()]);
}

#[test]
fn pairing_code_lets_one_device_in() {
    let gateway = Gateway::start();
    Cli::new(&gateway).ok(&["status"]);
    let shown = owner(&gateway, &["devices", "pair"]);
    let code = shown.lines().next().unwrap();
    let cli = Cli::new(&gateway).without_secret();
    let mut command = cli.command(&["status"]);
    let output = command.env("OPENCLAW_PAIRING_CODE", code).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    cli.ok(&["status"]);
}

#[test]
fn sessions_that_were_reported_are_listed() {
    let gateway = Gateway::start();
    let cli = Cli::new(&gateway);
    let report = |words: &[&str]| cli.ok(&[&["report"], words, &["--agent", "builder"]].concat());
    report(&["session", "chat", "--model", "m1", "--label", "nightly"]);
    let usage = ["usage", "chat", "--input-tokens", "3", "--output-tokens", "4"];
    report(&[&usage[..], &["--cost", "0.123456789", "--key", "k1"]].concat());
    report(&[&usage[..], &["--cost", "0.123456789", "--key", "k1"]].concat());
    report(&["status", "busy", "--id", "7"]);
    report(&["event", "notification", r#"{"title":"hi"}"#]);
    let line = cli.ok(&["sessions", "--json"]);
    let session: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(session["key"], "builder:chat");
    assert_eq!((&session["totalTokens"], &session["label"]), (&7.into(), &"nightly".into()));
    let table = cli.ok(&["sessions"]);
    assert!(table.contains("0.123456789"), "counted once, to the last digit: {table}");
}
