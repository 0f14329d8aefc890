//! Reading the configuration again while the gateway runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::kit::{Client, Connect, Device, Gateway, Over, PATIENCE, TempDir, binary, eventually};

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

/// Reloads in vain; returns why.
#[track_caller]
fn not_reloaded(gateway: &Gateway) -> String {
    let output = reload(gateway);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nothing was changed"), "{said}");
    said
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
    backend.ask("status", Value::Null);
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
        assert!(lines.iter().all(|line| line.contains("\"peer\":\"control socket\"")), "{text}");
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
    gateway.hang_up();
    let device = Device::new();
    eventually("the new origin is in", PATIENCE, || {
        let mut page = gateway.dial().origin("https://b.test").open();
        let connect = Connect::operator(&device).secret(crate::kit::SECRET);
        (page.connect(&connect)["ok"] == true).then_some(())
    });
    client.ask("status", Value::Null);
}

#[test]
fn renewed_certificates_are_for_new_connections_and_drop_none() {
    let gateway = Gateway::setup().tls(true).start();
    let mut before: Vec<_> = (0..8).map(|_| gateway.operator()).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Others come and go all the time, and one never stops asking.
        scope.spawn(|| {
            let mut stays = gateway.operator();
            while !is_over.load(Ordering::Relaxed) {
                gateway.operator().leave();
                stays.ask("status", Value::Null);
            }
        });
        let _over = Over(&is_over);
        for _ in 0..5 {
            let renewed = gateway.renew_certificate();
            assert_ne!(gateway.served_certificate(), renewed, "before the reload");
            assert_eq!(reloaded(&gateway), "applied: certificate and key\n");
            assert_eq!(gateway.served_certificate(), renewed);
        }
    });
    for operator in &mut before {
        operator.ask("status", Value::Null);
    }
    assert_eq!(reloaded(&gateway), "applied: nothing\n", "the files are the same");
}

#[test]
fn certificate_whose_time_is_over_is_warned_of_at_the_reload() {
    let gateway = Gateway::setup().tls(true).start();
    let write = |name: &str, text: String| fs::write(gateway.dir().join(name), text).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2021, 1, 2);
    write("gateway.crt", params.self_signed(&key).unwrap().pem());
    write("gateway.key", key.serialize_pem());
    assert_eq!(reloaded(&gateway), "applied: certificate and key\n");
    eventually("the warning", PATIENCE, || {
        gateway.diagnostics().contains("gateway.crt has ended on 2021-01-02").then_some(())
    });
}

#[test]
fn limits_that_were_changed_hold_for_new_connections_and_what_is_kept() {
    let gateway = Gateway::setup()
        .config("[gateway.limits]\nconnections = 9\nmessageBytes = 70000\njournalEntries = 50")
        .start();
    let mut before = gateway.operator();
    let mut agent = gateway.agent("builder", &Device::new());
    agent.report(["one", "two", "three"]);
    edit(&gateway, "connections = 9", "connections = 3");
    edit(&gateway, "messageBytes = 70000", "messageBytes = 140000");
    edit(&gateway, "journalEntries = 50", "journalEntries = 2");
    assert_eq!(reloaded(&gateway), "applied: gateway.limits\n");

    let kept = before.ask("logs.tail", json!({}));
    assert_eq!(kept["entries"].as_array().unwrap().len(), 2, "{kept}");
    // Who was there keeps what it was told; who comes is told, and may send, twice as much.
    let long = "x".repeat(100_000);
    let mut after = gateway.dial().open();
    let hello = after.admitted(&Connect::backend());
    assert_eq!(hello["payload"]["policy"]["maxPayload"], 140_000);
    after.ask("status", json!({ "long": long }));
    assert!(gateway.dial().try_open().is_err(), "three are there");
    gateway.owner().ask("status", Value::Null);
    before.send_request("status", json!({ "long": long }));
    assert_eq!(before.closed().0, 1009);

    edit(&gateway, "connections = 3", "connections = 1000000");
    let said = not_reloaded(&gateway);
    assert!(said.contains("gateway.limits.connections") && said.contains("carries"), "{said}");
    after.ask("status", Value::Null);
}

#[test]
fn rate_limit_programs_templates_and_audit_events_are_in_force_at_once() {
    let dir = TempDir::new();
    let audit = dir.path().join("audit.log");
    let gateway = Gateway::setup()
        .config(&format!(
            "[audit]\nenabled = true\nlogFile = {audit:?}\nevents = [\"shutdown\"]\n\
             [gateway.auth.rateLimit]\nmaxAttempts = 9\n\
             [gateway.spawn]\nallowedCommands = [\"true\"]\nallowedDirs = [\"/\"]\n\
             [gateway.agents.coder]\ncommand = \"true\""
        ))
        .start();
    let mut operator = gateway.operator();
    let run = |operator: &mut Client, command: &str| {
        let id = operator.send_request("spawn", json!({ "command": command }));
        operator.response(&id)["ok"] == true
    };
    let task = |operator: &mut Client, agent: &str| {
        let id = operator.send_request("sessions_spawn", json!({ "agentId": agent, "task": "x" }));
        operator.response(&id)["ok"] == true
    };
    assert_eq!((run(&mut operator, "true"), run(&mut operator, "false")), (true, false));
    assert_eq!((task(&mut operator, "coder"), task(&mut operator, "writer")), (true, false));

    edit(&gateway, "maxAttempts = 9", "maxAttempts = 1");
    edit(&gateway, "allowedCommands = [\"true\"]", "allowedCommands = [\"false\"]");
    edit(&gateway, "agents.coder", "agents.writer");
    edit(&gateway, "events = [\"shutdown\"]", "events = [\"spawn.refused\", \"config.reloaded\"]");
    assert_eq!(
        reloaded(&gateway),
        "applied: gateway.auth.rateLimit, gateway.spawn and gateway.agents, audit.events\n"
    );
    assert_eq!((run(&mut operator, "true"), run(&mut operator, "false")), (false, true));
    assert_eq!((task(&mut operator, "coder"), task(&mut operator, "writer")), (false, true));
    eventually("what is recorded now", PATIENCE, || {
        let text = fs::read_to_string(&audit).unwrap();
        (text.contains("\"event\":\"config.reloaded\"") && text.contains("spawn.refused"))
            .then_some(())
    });
    let guess = Connect::backend().secret("e2e-guess-of-reload");
    gateway.dial().open().refused(&guess);
    let refused = gateway.dial().open().refused(&Connect::backend());
    assert_eq!(refused.error["details"]["code"], "AUTH_RATE_LIMITED");
}

/// Everything that a configuration points at can be wrong, too.
#[test]
fn bad_files_change_nothing_and_are_named() {
    let secrets = TempDir::new();
    let token = secrets.write("ann.token", ANN);
    let user = format!(
        "[[gateway.auth.users]]\nname = \"ann\"\ntokenFile = {token:?}\n\
         scopes = [\"operator.read\"]\n"
    );
    let gateway = Gateway::setup().config(&user).tls(true).start();
    let mut ann = gateway.dial().open();
    ann.admitted(&Connect::bare().secret(ANN));
    let served = gateway.served_certificate();
    let file = |name: &str| gateway.dir().join(name);
    let bad = |path: &Path, text: &str, expected: &[&str]| {
        let good = fs::read(path).unwrap();
        // Keeps its mode.
        fs::write(path, text).unwrap();
        let said = not_reloaded(&gateway);
        for word in expected {
            assert!(said.contains(word), "{word} is not in {said}");
        }
        fs::write(path, good).unwrap();
    };
    let config = config_file(&gateway);
    bad(&config, "[gateway\nport = 1", &["config.toml:1", "not TOML"]);
    bad(&config, "[gateway]\nprot = 1", &["config.toml:2", "gateway.prot", "port"]);
    bad(&config, "gateway:\n  port: 1\n", &["TOML"]);
    bad(&file("gateway.crt"), "no certificate", &["gateway.tls.certFile", "no certificate"]);
    bad(&file("gateway.key"), "no key", &["gateway.tls.keyFile", "no private key"]);
    let other = Gateway::setup().tls(true).start();
    let key = fs::read_to_string(other.dir().join("gateway.key")).unwrap();
    bad(&file("gateway.key"), &key, &["gateway.tls.keyFile", "does not belong"]);
    // As it is for a moment while it is rewritten.
    bad(&token, "", &["gateway.auth.users.tokenFile", "is empty"]);
    bad(&token, "one\ntwo\n", &["gateway.auth.users.tokenFile", "must hold"]);
    fs::set_permissions(&token, Permissions::from_mode(0o604)).unwrap();
    let said = not_reloaded(&gateway);
    assert!(said.contains("tokenFile") && said.contains("world-readable"), "{said}");
    fs::remove_file(&token).unwrap();
    let said = not_reloaded(&gateway);
    assert!(said.contains("tokenFile") && said.contains("No such file"), "{said}");
    fs::rename(&config, file("moved.toml")).unwrap();
    let said = not_reloaded(&gateway);
    assert!(said.contains("config.toml") && said.contains("No such file"), "{said}");
    ann.ask("status", Value::Null);
    assert_eq!(gateway.served_certificate(), served);
    gateway.dial().open().admitted(&Connect::bare().secret(ANN));
}
