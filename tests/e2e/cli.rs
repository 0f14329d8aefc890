//! The command line against the real gateway: calls, reports, identities, TLS, exit codes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::kit::{Cli, Gateway, SECRET, TempDir};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn call_prints_the_answer_as_json() {
    let gateway = Gateway::start();
    let cli = Cli::new(&gateway);
    let status: Value = serde_json::from_str(&cli.ok(&["call", "status"])).unwrap();
    assert_eq!(status["connections"]["operators"], 1);
    assert_eq!(cli.ok(&["call", "ping"]), "null\n");
    let page = cli.ok(&["call", "logs.tail", r#"{"limit":1}"#]);
    assert_eq!(serde_json::from_str::<Value>(&page).unwrap()["entries"], json!([]));
    let from_stdin = cli.run_with(&["call", "logs.tail", "-"], r#"{"limit":"many"}"#);
    assert_eq!(from_stdin.code, 1);
    assert!(from_stdin.stderr.contains("logs.tail: invalid logs.tail params: limit"));
    assert!(cli.ok(&["status"]).contains("operators 1, agents 0"));
}

#[test]
fn unknown_method_is_refused_with_the_one_that_was_meant() {
    let gateway = Gateway::start();
    let done = Cli::new(&gateway).run(&["call", "logs.tial"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    let expected = "openclaw-gateway call: logs.tial: unknown method: logs.tial (INVALID_REQUEST)\n  \
                    did you mean logs.tail?\n";
    assert_eq!(done.stderr, expected);
}

#[test]
fn keys_are_private_and_one_for_each_name() {
    let gateway = Gateway::start();
    let cli = Cli::new(&gateway);
    cli.ok(&["status"]);
    cli.ok(&["report", "log", "--agent", "builder", "hello"]);
    let dir = cli.config_home().join("openclaw-gateway");
    let (own, agent) = (dir.join("device.key"), dir.join("agents/builder.key"));
    for file in [&own, &agent] {
        assert_eq!(mode(file), 0o600, "{file:?}");
        assert_eq!(mode(file.parent().unwrap()), 0o700);
    }
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_ne!(read(&own), read(&agent));
    let before = read(&own);
    cli.ok(&["status"]);
    assert_eq!(read(&own), before, "a key is kept");

    // The name belongs to the key that used it first.
    let stranger = Cli::new(&gateway).without_secret();
    let done = stranger.run(&["report", "log", "--agent", "builder", "hello"]);
    assert_eq!(done.code, 5, "{}", done.stderr);
    assert!(done.stderr.contains("devices approve "), "{}", done.stderr);
}

#[test]
fn device_needs_the_secret_only_once() {
    let gateway = Gateway::start();
    Cli::new(&gateway).ok(&["status"]);
    let second = Cli::new(&gateway).without_secret();
    let done = second.run(&["status"]);
    assert_eq!(done.code, 5);
    let mut lines = done.stderr.lines();
    let first = "openclaw-gateway status: not admitted: pairing required: device is not approved \
                 yet (NOT_PAIRED)";
    assert_eq!(lines.next(), Some(first));
    let advice = lines.next().unwrap();
    assert!(advice.contains("openclaw-gateway devices approve "), "{advice}");

    let file = TempDir::new();
    let file = file.write("token", &format!("{SECRET}\n"));
    second.ok(&["status", "--token-file", file.to_str().unwrap()]);
    second.ok(&["status"]);
}

#[test]
fn wrong_secret_is_told_without_repeating_it() {
    let gateway = Gateway::start();
    let dir = TempDir::new();
    let file = dir.write("token", "not-the-secret");
    let done = Cli::new(&gateway).run(&["status", "--token-file", file.to_str().unwrap()]);
    assert_eq!(done.code, 5, "{}", done.stderr);
    assert!(done.stderr.contains("compare the secret"), "{}", done.stderr);
    assert!(!done.stderr.contains("not-the-secret"));

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let done = Cli::new(&gateway).run(&["status", "--token-file", file.to_str().unwrap()]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("world-readable"), "{}", done.stderr);
}

#[test]
fn tls_is_trusted_by_file_or_not_at_all() {
    let gateway = Gateway::setup().tls(true).start();
    let cli = Cli::new(&gateway);
    let own = gateway.dir().join("gateway.crt");
    for file in [gateway.ca_file(), &own] {
        cli.ok(&["status", "--ca", file.to_str().unwrap()]);
    }
    cli.ok(&["status", "--insecure"]);

    let other = Gateway::setup().tls(true).start();
    let done = cli.run(&["status", "--ca", other.ca_file().to_str().unwrap()]);
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("--ca FILE"), "{}", done.stderr);
    // Whatever authorities this machine has, they did not sign it.
    let done = cli.run(&["status"]);
    assert!([1, 3].contains(&done.code), "{}", done.stderr);
    assert!(done.stderr.contains("--ca"), "{}", done.stderr);

    let plain = gateway.announcement()["url"].as_str().unwrap().replace("wss", "ws");
    let done = cli.run(&["status", "--url", &plain]);
    assert_eq!(done.code, 3);
    assert!(done.stderr.contains("use wss://"), "{}", done.stderr);
}

#[test]
fn tls_to_a_plain_port_says_so() {
    let gateway = Gateway::start();
    let url = format!("wss://{}", gateway.address());
    let done = Cli::new(&gateway).run(&["status", "--insecure", "--url", &url]);
    assert_eq!(done.code, 3);
    assert!(done.stderr.contains("use ws://"), "{}", done.stderr);
}

#[test]
fn nothing_there_a_deaf_peer_and_another_server_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let cli = Cli::elsewhere(&url);
    let done = cli.run(&["status", "--timeout", "200ms"]);
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert!(done.stderr.contains("timed out waiting for"), "{}", done.stderr);

    let server = std::thread::spawn(move || {
        // The deaf connection of before, then the one to answer.
        let _deaf = listener.accept().unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(socket.read(&mut head).unwrap() > 0);
        socket.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").unwrap();
    });
    let done = cli.run(&["status"]);
    server.join().unwrap();
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("HTTP 404"), "{}", done.stderr);

    // The listener is gone now.
    let done = cli.run(&["status"]);
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("nothing listens there"), "{}", done.stderr);
}

#[test]
fn devices_without_a_gateway_names_the_socket_and_what_to_do() {
    let done = Cli::elsewhere("ws://127.0.0.1:1").run(&["devices", "--state-dir", "nowhere"]);
    assert_eq!(done.code, 3);
    assert!(done.stderr.contains("nowhere/control.sock"), "{}", done.stderr);
    assert!(done.stderr.contains("no gateway runs with this state directory"));
}

#[test]
fn output_that_nobody_reads_is_a_quiet_success() {
    let gateway = Gateway::start();
    let cli = Cli::new(&gateway);
    for words in [&["call", "status"][..], &["status"], &["tail"], &["call", "--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = cli.command(words);
        let output = command.stdin(Stdio::null()).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    }
}
