//! `doctor` and `health`: what they find, and what they leave to be.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;

use crate::kit::{Gateway, TempDir, TestTls, binary};

/// Runs `doctor --json`; its exit code and findings.
fn doctor(config: &Path) -> (i32, Vec<Value>) {
    let output = binary().args(["doctor", "--json", "--config"]).arg(config).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let findings = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), findings)
}

/// Runs it on this configuration and looks for one finding.
#[track_caller]
fn finds(dir: &TempDir, config: &str, subject: &str, level: &str, expected: &str) {
    let state = dir.path().join("state");
    let config = format!("[gateway]\nport = 0\nstateDir = {state:?}\n{config}");
    let file = dir.write("gateway.toml", &config);
    let (code, findings) = doctor(&file);
    assert_eq!(code, i32::from(level == "fail"), "{findings:#?}");
    let found = findings.iter().any(|finding| {
        finding["check"] == subject
            && finding["level"] == level
            && finding["text"].as_str().unwrap().contains(expected)
            && (level == "ok") == (finding["advice"] == "")
    });
    assert!(found, "no {level} {subject} with {expected:?} in {findings:#?}");
    assert_eq!(state.exists(), dir.path().join("made").exists(), "nothing is changed");
}

fn tls(cert: &Path, key: &Path) -> String {
    format!("[gateway.tls]\nenabled = true\ncertFile = {cert:?}\nkeyFile = {key:?}\n")
}

#[test]
fn gateway_that_runs_well_has_no_failure() {
    let gateway = Gateway::setup().tls(true).start();
    let state = gateway.dir().join("state");
    let mut command = binary();
    command.args(["doctor", "--json", "--config"]).arg(gateway.dir().join("config.toml"));
    let output = command.arg("--state-dir").arg(state).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    let findings: Vec<Value> = stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of = |subject: &str| {
        let found = findings.iter().find(|finding| finding["check"] == subject);
        found.unwrap_or_else(|| panic!("nothing about {subject}: {stdout}"))
    };
    for subject in
        ["configuration", "permissions", "certificate", "state", "audit", "connections", "clock"]
    {
        assert_eq!(of(subject)["level"], "ok", "{stdout}");
    }
    assert!(of("port")["text"].as_str().unwrap().starts_with("the gateway runs"), "{stdout}");
    assert!(of("disk")["text"].as_str().unwrap().contains("MiB free"), "{stdout}");
}

#[test]
fn bad_input_fails_with_what_to_do() {
    let dir = TempDir::new();
    let pair = TestTls::new(&dir);
    let (cert, key) = (dir.path().join("mine.crt"), dir.path().join("mine.key"));
    fs::copy(&pair.cert_file, &cert).unwrap();
    fs::copy(&pair.key_file, &key).unwrap();
    let other = TestTls::new(&dir);
    finds(&dir, &tls(&cert, &key), "certificate", "ok", "is good for ");
    let mismatched = tls(&cert, &other.key_file);
    finds(&dir, &mismatched, "certificate", "fail", "does not belong to the first certificate");
    let wrong = tls(&key, &key);
    finds(&dir, &wrong, "certificate", "fail", "has no certificate");
    let missing = tls(&dir.path().join("none.crt"), &key);
    finds(&dir, &missing, "certificate", "fail", "cannot read ");

    let secret = dir.write("secret", "a-long-random-text");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let config = format!("[gateway.auth]\ntokenFile = {secret:?}\n");
    finds(&dir, &config, "configuration", "fail", "is world-readable");
    let config = format!("[gateway.auth]\ntokenFile = {:?}\n", dir.path().join("none"));
    finds(&dir, &config, "configuration", "fail", "cannot read ");
    finds(&dir, "bnid = \"::1\"\n", "configuration", "fail", "did you mean");
    let config = "[gateway.limits]\nconnections = 1000000\n";
    finds(&dir, config, "connections", "fail", "this machine carries");
    finds(&dir, "durability = \"relaxed\"\n", "configuration", "warn", "relaxed");
}

#[test]
fn certificate_that_ended_or_was_made_for_others_is_found() {
    let dir = TempDir::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    let ended = dir.write("ended.crt", &params.self_signed(&key).unwrap().pem());
    params.not_after = date_time_ymd(2090, 1, 1);
    let good = dir.write("good.crt", &params.self_signed(&key).unwrap().pem());
    let key = dir.write("own.key", &key.serialize_pem());
    finds(&dir, &tls(&ended, &key), "certificate", "fail", "has ended on 2021-01-01");
    finds(&dir, &tls(&good, &key), "certificate", "ok", "until 2090-01-01");
    let hosts = "publicHosts = [\"other.example\"]\n".to_owned() + &tls(&good, &key);
    finds(&dir, &hosts, "certificate", "warn", "is not for other.example");
}

#[test]
fn taken_port_and_open_state_directory_are_found() {
    let dir = TempDir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let state = dir.path().join("state");
    let config = |port| format!("[gateway]\nport = {port}\nstateDir = {state:?}\n");
    let (code, findings) = doctor(&dir.write("gateway.toml", &config(port)));
    assert_eq!(code, 1);
    let found = findings.iter().find(|finding| finding["check"] == "port").unwrap();
    assert_eq!(found["level"], "fail", "{found}");
    assert!(found["text"].as_str().unwrap().contains("Address already in use"), "{found}");
    let metrics = format!("[gateway.metrics]\nport = {port}\n");
    finds(&dir, &metrics, "metrics", "fail", "Address already in use");

    dir.write("made", "");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    finds(&dir, "", "state", "warn", "others may look into");
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o755, "only told");
}

#[test]
fn who_else_may_change_or_read_the_configuration_is_found() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    let plain = format!("[gateway]\nport = 0\nstateDir = {state:?}\n");
    let user = "{ name = \"ann\", token = \"a-long-random-text\", scopes = [\"operator.read\"] }";
    let secret = format!("{plain}[gateway.auth]\nusers = [{user}]\n");
    for (text, mode, level, expected) in [
        (&plain, 0o644, "ok", "nobody else may change"),
        (&plain, 0o646, "fail", "everyone may write"),
        (&plain, 0o664, "warn", "may write"),
        (&secret, 0o640, "ok", "nobody else may change"),
        (&secret, 0o644, "warn", "holds a secret and everyone may read it"),
    ] {
        let file = dir.write("gateway.toml", text);
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let (_, findings) = doctor(&file);
        let found = findings.iter().find(|finding| finding["check"] == "permissions").unwrap();
        assert_eq!(found["level"], level, "{mode:o}: {found}");
        assert!(found["text"].as_str().unwrap().contains(expected), "{mode:o}: {found}");
        assert_eq!(level == "ok", found["advice"] == "", "{found}");
    }
}

#[test]
fn audit_file_that_could_not_be_written_is_found_and_nothing_is_changed() {
    let dir = TempDir::new();
    let config = |file: &Path| format!("[audit]\nenabled = true\nlogFile = {file:?}\n");
    let file = dir.path().join("audit.log");
    finds(&dir, &config(&file), "audit", "ok", "takes lines");
    assert!(!file.exists(), "nothing is changed");
    let missing = dir.path().join("missing/audit.log");
    finds(&dir, &config(&missing), "audit", "fail", "No such file or directory");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    finds(&dir, &config(&file), "audit", "warn", "others may read");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644, "only told");
    let link = dir.path().join("link");
    symlink(&file, &link).unwrap();
    finds(&dir, &config(&link), "audit", "fail", "a symbolic link is not followed");
}

#[test]
fn root_is_told_that_the_gateway_may_less() {
    if !rustix::process::geteuid().is_root() {
        skip!("root_is_told_that_the_gateway_may_less", "only root gives files away");
    }
    let dir = TempDir::new();
    dir.write("made", "");
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&state, Some(65_534), Some(65_534)).unwrap();
    finds(&dir, "", "user", "warn", "the gateway as user 65534");
}

#[test]
fn secret_that_its_user_may_not_read_fails_the_start_and_every_check() {
    if !rustix::process::geteuid().is_root() {
        skip!("secret_that_its_user_may_not_read_fails_the_start_and_every_check", "needs root");
    }
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let program = dir.path().join("openclaw-gateway");
    fs::copy(env!("CARGO_BIN_EXE_openclaw-gateway"), &program).unwrap();
    // As somebody leaves it who made it as root and did not think of the service's user.
    let secret = dir.write("secret", "a-long-random-text");
    let config = format!("[gateway]\nport = 0\n[gateway.auth]\ntokenFile = {secret:?}\n");
    let config = dir.write("gateway.toml", &config);
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    for (words, code) in [(&[][..], 2), (&["--check"], 2), (&["doctor"], 1)] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command.args(words).arg("--config").arg(&config).env_clear().env("PATH", "/usr/bin:/bin");
        let output = command.current_dir(dir.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let expected = format!("cannot read {}: Permission denied", secret.display());
        assert!(said.contains(&expected), "{words:?}: {said}");
    }
}

#[test]
fn text_for_people_has_a_line_for_each_check_and_one_for_what_to_do() {
    let dir = TempDir::new();
    let file = dir.write("gateway.toml", "[gateway]\nport = 99999\n");
    let output = binary().args(["doctor", "--config"]).arg(file).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let mut lines = stdout.lines();
    assert!(lines.next().unwrap().starts_with("FAIL  configuration "), "{stdout}");
    assert!(lines.next().unwrap().starts_with("                    correct it"), "{stdout}");
    assert!(lines.next().unwrap().starts_with("ok    clock "), "{stdout}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "openclaw-gateway doctor: 1 check failed\n");
}

#[test]
fn health_is_an_exit_code() {
    let mut gateway = Gateway::start();
    let state = gateway.dir().join("state");
    let health = || {
        let output = binary().args(["health", "--state-dir"]).arg(&state).output().unwrap();
        let said = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    assert_eq!(health(), (0, "ready\n".to_owned()));
    // Its socket is left behind.
    gateway.kill_9();
    let (code, said) = health();
    assert_eq!(code, 1);
    assert!(said.starts_with("openclaw-gateway health: no gateway runs on "), "{said}");
    gateway.start_again();
    assert_eq!(health().0, 0);
}
