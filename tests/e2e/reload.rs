//! Reading the configuration again while the gateway runs.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use rustix::process::{Pid, Signal, kill_process};

use crate::kit::{Connect, Device, Gateway, PATIENCE, TempDir, binary, eventually};

const ANN: &str = "e2e-token-of-ann-71ff02";

fn config_file(gateway: &Gateway) -> PathBuf {
    gateway.dir().join("config.toml")
}

/// The file as it is, with this in the place of that.
#[track_caller]
fn edit(gateway: &Gateway, before: &str, after: &str) {
    let file = config_file(gateway);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(before), "{text}");
    fs::write(&file, text.replace(before, after)).unwrap();
}

fn reload(gateway: &Gateway) -> Output {
    let state_dir = gateway.control_path();
    let mut command = binary();
    command.arg("reload").arg("--state-dir").arg(state_dir.parent().unwrap());
    command.output().unwrap()
}

/// Reloads; returns what it printed.
#[track_caller]
fn reloaded(gateway: &Gateway) -> String {
    let output = reload(gateway);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_withdrawn_secret_closes_who_came_by_it_and_nobody_else() {
    let user = format!(
        "[[gateway.auth.users]]\nname = \"ann\"\ntoken = {ANN:?}\nscopes = [\"operator.read\"]\n"
    );
    let gateway = Gateway::setup().config(&user).start();
    let mut backend = gateway.dial().open();
    backend.admitted(&Connect::backend());
    let mut ann = gateway.dial().open();
    ann.admitted(&Connect::bare().secret(ANN));
    assert_eq!(reloaded(&gateway), "applied: nothing\n");

    edit(&gateway, ANN, "e2e-another-token-of-ann");
    assert_eq!(reloaded(&gateway), "applied: gateway.auth.users\n");
    assert_eq!(ann.closed().0, 4001);
    gateway.dial().open().refused(&Connect::bare().secret(ANN));
    gateway.dial().open().admitted(&Connect::bare().secret("e2e-another-token-of-ann"));
    backend.ask("status", serde_json::Value::Null);
}

#[test]
fn a_wrong_configuration_changes_nothing_and_says_why() {
    let dir = TempDir::new();
    let audit = dir.path().join("audit.log");
    let config = format!("[audit]\nenabled = true\nlogFile = {audit:?}\n[log]\nlevel = \"info\"");
    let gateway = Gateway::setup().config(&config).start();
    edit(&gateway, "level = \"info\"", "level = \"loud\"");
    let output = reload(&gateway);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("nothing was changed") && said.contains("log.level"), "{said}");
    gateway.dial().open().admitted(&Connect::backend());

    edit(&gateway, "level = \"loud\"", "level = \"debug\"\n[gateway.heartbeat]\nmissedMax = 7");
    let said = reloaded(&gateway);
    assert_eq!(said, "applied: log.level\nneeds a restart: gateway.heartbeat\n");
    drop(gateway.dial().open());
    eventually("the new level is in force", PATIENCE, || {
        gateway.diagnostics().contains("Connection closed").then_some(())
    });
    eventually("both are recorded", PATIENCE, || {
        let text = fs::read_to_string(&audit).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.contains("config.reloaded")).collect();
        (lines.len() == 2 && lines[0].contains("reason") && lines[1].contains("log.level"))
            .then_some(())
    });
}

#[test]
fn sighup_lets_a_new_origin_in_without_closing_anybody() {
    let gateway = Gateway::setup()
        .config("[gateway.controlUi]\nallowedOrigins = [\"https://a.test\"]")
        .start();
    let mut client = gateway.operator();
    gateway.dial().origin("https://b.test").open().refused(&Connect::backend());
    edit(&gateway, "https://a.test", "https://b.test");
    let pid = Pid::from_raw(gateway.pid().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let device = Device::new();
    eventually("the new origin is in", PATIENCE, || {
        let mut page = gateway.dial().origin("https://b.test").open();
        let connect = Connect::operator(&device).secret(crate::kit::SECRET);
        (page.connect(&connect)["ok"] == true).then_some(())
    });
    client.ask("status", serde_json::Value::Null);
}

#[test]
fn a_renewed_certificate_is_for_new_connections_and_the_others_stay() {
    let gateway = Gateway::setup().tls(true).start();
    let mut before = gateway.operator();
    let old = fs::read(gateway.ca_file()).unwrap();
    // The same authority signs the next one in life; here the next one is another's.
    let other = Gateway::setup().tls(true).start();
    let text = fs::read_to_string(config_file(&gateway)).unwrap();
    let theirs = fs::read_to_string(config_file(&other)).unwrap();
    let path = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
        PathBuf::from(line.split('"').nth(1).unwrap())
    };
    for key in ["certFile", "keyFile"] {
        fs::copy(path(&theirs, key), path(&text, key)).unwrap();
    }
    assert_eq!(reloaded(&gateway), "applied: certificate and key\n");
    before.ask("status", serde_json::Value::Null);
    assert!(gateway.dial().try_open().is_err(), "the old authority vouches for it no more");
    assert_ne!(old, fs::read(other.ca_file()).unwrap());

    fs::write(path(&text, "keyFile"), "no key").unwrap();
    let output = reload(&gateway);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("keyFile"), "{output:?}");
    before.ask("status", serde_json::Value::Null);
}
