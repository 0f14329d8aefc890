//! The control socket: the owner always gets in, nobody else does.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::{Cli, Connect, Device, Gateway, PATIENCE, TempDir, eventually};

/// A user that no gateway runs as.
const NOBODY: &str = "65534";

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_owner_is_admitted_without_a_credential_and_in_spite_of_wrong_ones() {
    for config in [
        "[gateway.auth.deviceAuth]\nregistration = \"manual\"",
        "[gateway.auth.deviceAuth]\nenabled = false",
        "[gateway.auth]\nsharedSecretWithoutDevice = \"never\"",
    ] {
        let gateway = Gateway::setup().config(config).start();
        for connect in [
            Connect::bare(),
            Connect::bare().secret("wrong"),
            Connect::device_token_alone("dt_none"),
        ] {
            let mut owner = gateway.dial_control().open();
            let hello = owner.admitted(&connect);
            let auth = &hello["payload"]["auth"];
            assert_eq!(auth["role"], "operator", "{hello}");
            assert_eq!(auth["scopes"], json!(["operator.admin"]), "{hello}");
            assert_eq!(hello["payload"]["snapshot"]["authMode"], "owner", "{hello}");
            owner.ask("device.pair.list", json!({}));
        }
        let refusal = gateway.dial().open().refused(&Connect::bare());
        assert!(refusal.close_code != 1000, "the port is not the socket: {refusal:?}");
    }
}

#[test]
fn the_socket_is_plain_also_where_the_port_speaks_tls() {
    let gateway = Gateway::setup().tls(true).start();
    gateway.owner().ask("status", Value::Null);
    gateway.operator();
}

#[test]
fn the_owner_connects_as_an_operator_or_not_at_all() {
    let gateway = Gateway::start();
    let device = Device::new();
    let refusal = gateway.dial_control().open().refused(&Connect::agent("a1", &device));
    assert_eq!(
        refusal.message(),
        "invalid connect params: role must be operator on the control socket"
    );
    let mut page = gateway.dial_control().origin("http://evil.example").open();
    assert_eq!(page.refused(&Connect::bare()).details_code(), "CONTROL_UI_ORIGIN_NOT_ALLOWED");
}

#[test]
fn a_lock_out_holds_everybody_but_the_owner_who_lifts_it() {
    let gateway = Gateway::start();
    let wrong = || Connect::backend().secret("wrong");
    eventually("the lock-out", PATIENCE, || {
        let refusal = gateway.dial().open().refused(&wrong());
        (refusal.details_code() == "AUTH_RATE_LIMITED").then_some(())
    });
    let refusal = gateway.dial().open().refused(&Connect::backend());
    assert_eq!(refusal.details_code(), "AUTH_RATE_LIMITED", "{refusal:?}");

    let mut owner = gateway.owner();
    let cleared = owner.ask("auth.rateLimit.clear", json!({ "address": "127.0.0.2" }));
    assert_eq!(cleared["cleared"], 0, "{cleared}");
    gateway.dial().open().refused(&Connect::backend());
    let cleared = owner.ask("auth.rateLimit.clear", json!({}));
    assert_eq!(cleared["cleared"], 1, "{cleared}");
    gateway.operator();
}

#[test]
fn a_pairing_code_from_the_owner_admits_one_device() {
    let gateway = Gateway::setup().without_secret().start();
    let (first, second) = (Device::new(), Device::new());
    gateway.dial().open().admitted(&Connect::operator(&first));
    let code = gateway.owner().ask("device.pair.code", json!({}))["code"].clone();
    let connect = || Connect::operator(&second).with("/auth", json!({ "pairingCode": code }));
    gateway.dial().open().admitted(&connect());
    let third = Device::new();
    let again = Connect::operator(&third).with("/auth", json!({ "pairingCode": code }));
    assert_eq!(gateway.dial().open().refused(&again).details_code(), "PAIRING_REQUIRED");
}

#[test]
fn the_socket_is_private_and_goes_with_the_gateway() {
    let mut gateway = Gateway::start();
    let path = gateway.control_path();
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let mut owner = gateway.owner();
    gateway.terminate();
    assert_eq!(owner.closed().0, 1012);
    assert!(gateway.exit_status(Duration::from_secs(20)).success());
    assert!(!path.exists(), "the socket outlived its gateway");
}

#[test]
fn what_a_killed_gateway_left_behind_is_replaced() {
    let mut gateway = Gateway::start();
    gateway.kill_9();
    assert!(gateway.control_path().exists());
    assert!(gateway.dial_control().try_open().is_err(), "nobody listens");
    gateway.start_again();
    gateway.owner();
}

#[test]
fn something_else_in_its_place_is_left_alone_and_named() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("control.sock"), "mine").unwrap();
    let mut command = crate::kit::binary();
    command.arg("--state-dir").arg(&state).args(["--port", "0"]);
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("control.sock") && stderr.contains("not a socket"), "{stderr}");
    assert_eq!(fs::read_to_string(state.join("control.sock")).unwrap(), "mine");
}

#[test]
fn a_state_directory_with_a_long_name_has_its_socket_all_the_same() {
    let dir = TempDir::new();
    let state = dir.path().join("s".repeat(120));
    let gateway = Gateway::setup().state_dir(&state).start();
    let socket = state.join("control.sock");
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    assert_eq!(mode(&socket), 0o600);
    drop(gateway);
    assert!(!socket.exists());
}

#[test]
fn one_connection_too_many_is_closed_and_the_next_one_served_again() {
    let gateway = Gateway::start();
    let mut owners: Vec<_> = (0..16).map(|_| gateway.owner()).collect();
    assert!(gateway.dial_control().try_open().is_err(), "the seventeenth");
    owners.pop().unwrap().leave();
    eventually("a free place", PATIENCE, || gateway.dial_control().try_open().ok());
}

#[test]
fn strangers_who_take_every_place_at_the_port_leave_the_owners_free() {
    let gateway = Gateway::setup().config("[gateway.limits]\nconnections = 2").start();
    let strangers = [gateway.dial().open(), gateway.dial().open()];
    let refused = gateway.dial().try_open();
    assert!(refused.is_err(), "the port is full");
    gateway.owner().ask("status", Value::Null);
    drop(strangers);
}

#[test]
fn another_user_is_turned_away_even_where_the_file_would_let_them() {
    const NAME: &str = "another_user_is_turned_away_even_where_the_file_would_let_them";
    if !rustix::process::geteuid().is_root() {
        skip!(NAME, "only root can become another user");
    }
    let gateway = Gateway::start();
    let socket = gateway.control_path();
    let ask = |user: Option<&str>| {
        let mut command = match user {
            None => Command::new("curl"),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", user, "--clear-groups", "curl"]);
                command
            }
        };
        let url = "http://localhost/health";
        command.args(["-sS", "--max-time", "10", "--unix-socket"]).arg(&socket).arg(url);
        command.output().ok().filter(|output| output.status.code() != Some(127))
    };
    let Some(ours) = ask(None) else { skip!(NAME, "curl is missing") };
    assert!(ours.status.success(), "{ours:?}");
    let Some(theirs) = ask(Some(NOBODY)) else { skip!(NAME, "setpriv is missing") };
    assert!(!theirs.status.success(), "the file keeps them out: {theirs:?}");

    // Somebody has opened what we keep closed; the kernel still says who they are.
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    for directory in socket.ancestors().skip(1).take(2) {
        fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    }
    let mut reachable = Command::new("setpriv");
    reachable.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "test", "-w"]);
    if !reachable.arg(&socket).status().unwrap().success() {
        skip!(NAME, "a directory above the state keeps other users out");
    }
    let theirs = ask(Some(NOBODY)).unwrap();
    assert!(!theirs.status.success(), "{theirs:?}");
    eventually("the diagnostic", PATIENCE, || {
        gateway.diagnostics().contains("control socket: turned away user 65534").then_some(())
    });
    gateway.owner().ask("status", Value::Null);
}

#[test]
fn a_state_directory_with_a_long_name_has_a_socket_that_the_command_line_reaches() {
    let dir = TempDir::new();
    let state_dir = dir.path().join("long/".repeat(20)).join("state");
    fs::create_dir_all(state_dir.parent().unwrap()).unwrap();
    let _gateway = Gateway::setup().state_dir(&state_dir).start();
    let socket = state_dir.join("control.sock");
    assert!(socket.as_os_str().len() > 107, "{socket:?}");
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    let owner = Cli::elsewhere("ws://127.0.0.1:1");
    let status = owner.ok(&["call", "status", "--state-dir", state_dir.to_str().unwrap()]);
    assert!(status.contains("uptimeMs"), "{status}");
}
