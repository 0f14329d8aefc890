//! Secrets stay where they belong: none is in the diagnostics, at whatever level, and the state
//! directory holds hashes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::kit::{Cli, Connect, Device, Gateway, PATIENCE};

const PASSWORD: &str = "e2e-password-9b2f6c";
const USER_TOKEN: &str = "e2e-token-of-ann-41d7aa";
/// A guess is not a secret of ours, but may be one of somebody's.
const WRONG: &str = "e2e-guess-77e0b3";

/// Every file below a directory, sockets left out.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap()));
        }
    }
    found
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Connects in every way that there is; returns what was used to do so.
fn use_every_credential(gateway: &Gateway) -> Vec<(&'static str, String)> {
    let mut used = Vec::new();
    let mut note = |name, secret: &str| used.push((name, secret.to_owned()));
    for (name, connect) in [
        ("the shared token", Connect::backend()),
        ("the shared password", Connect::bare().password(PASSWORD)),
        ("a user's token", Connect::bare().secret(USER_TOKEN)),
    ] {
        let params = connect.params("unused")["auth"].clone();
        let secret = ["token", "password"].iter().find_map(|member| params[member].as_str());
        note(name, secret.unwrap());
        gateway.dial().path("/?token=e2e-query-5c1e").open().admitted(&connect);
    }
    note("a query string", "e2e-query-5c1e");
    note("a wrong token", WRONG);
    gateway.dial().open().refused(&Connect::backend().secret(WRONG));
    note("a wrong password", "e2e-guess-of-a-password");
    gateway.dial().open().refused(&Connect::bare().password("e2e-guess-of-a-password"));

    let code = gateway.owner().ask("device.pair.code", json!({}))["code"].clone();
    let code = code.as_str().unwrap().to_owned();
    let device = Device::new();
    let connect = Connect::operator(&device).with("/auth", json!({ "pairingCode": code }));
    let mut client = gateway.dial().open();
    let params = connect.params(client.challenge()["nonce"].as_str().unwrap());
    let frame = json!({ "type": "req", "id": "c-1", "method": "connect", "params": params });
    client.send_text(&frame.to_string());
    let hello = client.response("c-1");
    let token = hello["result"]["deviceToken"].as_str().unwrap_or_else(|| panic!("{hello}"));
    note("the pairing code", &code);
    note("a signature", params["device"]["signature"].as_str().unwrap());
    note("a device token", token);
    let rotated = client.ask("device.token.rotate", json!({ "deviceId": device.id() }));
    note("a rotated device token", rotated["token"].as_str().unwrap());
    gateway.dial().open().admitted(&Connect::device_token_alone(token));
    gateway.dial().open().refused(&Connect::device_token_alone("dt_e2e-stolen-1f00"));
    note("an unknown device token", "dt_e2e-stolen-1f00");
    client.report(["what is reported is in the journal"]);
    used
}

#[test]
fn no_secret_is_in_the_diagnostics_or_on_the_disk() {
    let config = format!(
        "[log]\nlevel = \"trace\"\n[gateway.auth]\npassword = {PASSWORD:?}\n\
         [[gateway.auth.users]]\nname = \"ann\"\ntoken = {USER_TOKEN:?}\n\
         scopes = [\"operator.read\"]"
    );
    let mut gateway = Gateway::setup().config(&config).start();
    let used = use_every_credential(&gateway);
    let cli = Cli::new(&gateway);
    cli.ok(&["status"]);
    cli.ok(&["report", "log", "--agent", "builder", "hello"]);
    let keys: Vec<_> = files(cli.config_home());
    assert!(!keys.is_empty(), "the command line keeps its keys");
    let shown = gateway.owner().ask("config.get", Value::Null).to_string();
    gateway.terminate();
    assert!(gateway.exit_status(PATIENCE).success());

    let said = gateway.diagnostics();
    assert!(said.contains("\"level\":\"debug\""), "so much was asked for: {said}");
    let kept = files(&gateway.dir().join("state"));
    assert!(kept.iter().any(|(_, bytes)| contains(bytes, "what is reported is in the journal")));
    for (name, secret) in &used {
        assert!(secret.len() >= 8, "{name} is too short to be looked for: {secret}");
        assert!(!said.contains(secret), "{name} is in the diagnostics");
        assert!(!shown.contains(secret), "{name} is in config.get");
        for (file, bytes) in &kept {
            assert!(!contains(bytes, secret), "{name} is in {file}");
        }
    }
    assert_eq!(used.len(), 11);
    for (file, key) in keys {
        let key = String::from_utf8(key).unwrap();
        let secret = key.lines().find(|line| line.len() > 40 && !line.contains(' ')).unwrap();
        assert!(!said.contains(secret), "{file} is in the diagnostics");
    }
}
