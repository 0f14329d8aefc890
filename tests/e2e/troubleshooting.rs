//! The README's troubleshooting: every output that it shows, provoked and compared.

use std::process::Output;

use serde_json::{Value, json};

use crate::kit::{Cli, Connect, Device, Gateway, PATIENCE, TempDir, binary, eventually};
use crate::tour::{blocks, is_shown};

fn said(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What refused peers are told, and what the gateway says of them.
fn refusals(gateway: &Gateway) -> Vec<String> {
    let device = Device::new();
    gateway.dial().open().admitted(&Connect::operator(&device));
    let unsigned = Connect::operator(&device).then_set("/client/mode", "cli".into());
    let page = || gateway.dial().origin("http://localhost:3000").open();
    let foreign = || gateway.dial().origin("https://mc.example.com").open();
    // First, because of one address only the first refusal of a minute is told at once.
    let mut messages = vec![
        gateway.dial().open().refused(&unsigned).message().to_owned(),
        page().refused(&Connect::bare()).message().to_owned(),
        foreign().refused(&Connect::mission_control(&device)).message().to_owned(),
    ];
    messages.push(Cli::new(gateway).without_secret().run(&["status"]).stderr);
    eventually("the lock-out", PATIENCE, || {
        let refusal = gateway.dial().open().refused(&unsigned);
        messages.push(refusal.message().to_owned());
        (refusal.details_code() == "AUTH_RATE_LIMITED").then_some(())
    });
    messages
}

/// What spawns are answered with that cannot be.
fn false_spawns(gateway: &Gateway, dir: &TempDir) -> Vec<String> {
    let mut owner = gateway.owner();
    let refused = [json!({ "command": "ls" }), json!({ "command": "sh", "cwd": "/usr" })];
    let failed = [
        json!({ "command": "pyhton" }),
        json!({ "command": dir.path().join("agent.py") }),
        json!({ "command": "sh", "cwd": dir.path().join("missing") }),
    ];
    let text = |message: &Value| message.as_str().unwrap().to_owned();
    let refusals = refused.map(|params| text(&owner.ask_in_vain("spawn", params)["message"]));
    let failures = failed.map(|params| text(&owner.ask("spawn", params)["error"]));
    refusals.into_iter().chain(failures).collect()
}

/// What a gateway says that does not start.
fn false_starts(gateway: &Gateway) -> Vec<String> {
    let run = |words: &[&str]| said(&binary().args(words).output().unwrap());
    let dir = TempDir::new();
    let new = dir.path().join("state");
    let new = new.to_str().unwrap();
    let taken = gateway.dir().join("state");
    let port = gateway.address().port().to_string();
    let yaml = "gateway:\n  controlUi:\n    allowedOrigins:\n      - https://mc.example.com\n";
    vec![
        run(&["--port", "0", "--state-dir", taken.to_str().unwrap()]),
        run(&["--port", &port, "--state-dir", new]),
        said(&Gateway::check_file("gateway.yml", yaml, &[])),
        newer_database(),
        Cli::elsewhere("ws://127.0.0.1:1").run(&["status"]).stderr,
    ]
}

/// What a gateway says to a database that a newer one has written.
fn newer_database() -> String {
    let mut gateway = Gateway::start();
    gateway.terminate();
    assert!(gateway.exit_status(PATIENCE).success());
    let state_dir = gateway.dir().join("state");
    let database = redb::Database::open(state_dir.join("gateway.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).unwrap().insert("schema", 1_000).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let state_dir = state_dir.to_str().unwrap();
    said(&binary().args(["--port", "0", "--state-dir", state_dir]).output().unwrap())
}

#[test]
fn every_output_of_the_readmes_troubleshooting_is_what_is_said() {
    let dir = TempDir::new();
    let config = format!(
        "[gateway.heartbeat]\nintervalSeconds = 1\n[gateway.spawn]\n\
         allowedCommands = [\"sh\", \"pyhton\", {:?}]\nallowedDirs = [{:?}]\n",
        dir.write("agent.py", "print()"),
        dir.path(),
    );
    let gateway = Gateway::setup().config(&config).start();
    let device = Device::new();
    let silent = gateway.agent("silent", &device);
    silent.mute();
    let mut outputs = refusals(&gateway);
    outputs.extend(false_spawns(&gateway, &dir));
    outputs.extend(false_starts(&gateway));
    eventually("the heartbeat's end", PATIENCE, || {
        gateway.diagnostics().contains("Heartbeat timeout").then_some(())
    });
    outputs.push(gateway.diagnostics());
    let blocks: Vec<_> = ["Troubleshooting", "Upgrade and downgrade"]
        .into_iter()
        .flat_map(blocks)
        .filter(|block| block.language == "text")
        .collect();
    assert_eq!(blocks.len(), 15);
    let all = outputs.join("\n");
    for line in blocks.iter().flat_map(|block| block.text.lines()) {
        assert!(is_shown(line, &all), "nobody says:\n{line}\nbut:\n{all}");
    }
}
