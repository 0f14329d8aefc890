//! The audit file: what it says, that it never says a secret, and what happens when it cannot be
//! written.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::disk::SmallDisk;
use crate::kit::{Connect, Device, Gateway, Over, PATIENCE, SECRET, TempDir, eventually};

fn config(file: &Path, more: &str) -> String {
    format!("[audit]\nenabled = true\nlogFile = {file:?}\n{more}")
}

/// The lines, each of which must be a JSON object with a time and an event.
#[track_caller]
fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        line
    };
    text.lines().map(line).collect()
}

/// The lines of this event, once there are so many.
#[track_caller]
fn events(file: &Path, event: &str, count: usize) -> Vec<Value> {
    eventually(event, PATIENCE, || {
        let of = |line: &Value| line["event"] == event;
        // The last line may be on its way.
        let text = fs::read_to_string(file).unwrap();
        let found: Vec<_> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(of).collect();
        (found.len() >= count).then_some(found)
    })
}

#[test]
fn the_file_tells_who_was_let_in_what_was_decided_and_no_secret() {
    let dir = TempDir::new();
    let file = dir.path().join("audit.log");
    let mut gateway = Gateway::setup().config(&config(&file, "")).start();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let device = Device::new();
    let mut client = gateway.dial().open();
    let hello = client.admitted(&Connect::operator(&device).secret(SECRET));
    let token = hello["result"]["deviceToken"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        gateway.dial().open().refused(&Connect::backend().secret("e2e-guess-of-audit"));
    }
    gateway.dial().origin("https://evil.example").open().refused(&Connect::backend());
    gateway.owner().ask("device.pair.remove", json!({ "deviceId": device.id() }));
    assert_eq!(client.closed().0, 4001);
    gateway.terminate();
    assert!(gateway.exit_status(PATIENCE).success());

    let lines = lines(&file);
    let of = |event: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["event"] == event).collect()
    };
    let registered = of("device.registered");
    assert_eq!(registered.len(), 1, "{lines:?}");
    assert_eq!(registered[0]["device"], device.id());
    assert_eq!(registered[0]["peer"], "127.0.0.1");
    assert_eq!(registered[0]["user"], "default");
    let success = of("auth.success");
    assert_eq!(success[0]["by"], "device", "{success:?}");
    assert_eq!(success[0]["conn"], registered[0]["conn"]);
    assert_eq!(success[1]["peer"], "control socket", "{success:?}");
    // The first of an address by itself, the others as numbers when the minute or the gateway ends.
    let failures = of("auth.failure");
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert_eq!(failures[0]["reason"], "AUTH_TOKEN_MISMATCH");
    assert_eq!(failures[1]["count"], 3);
    let reasons = "AUTH_TOKEN_MISMATCH 2, CONTROL_UI_ORIGIN_NOT_ALLOWED 1";
    assert_eq!(failures[1]["reasons"], reasons);
    let revoked = of("device.revoked");
    assert_eq!(revoked[0]["subject"], device.id());
    assert_eq!(revoked[0]["peer"], "control socket");
    assert_eq!(of("token.issued").len(), 1);
    assert_eq!(lines.iter().filter(|line| line["event"] == "shutdown").count(), 1);
    let text = fs::read_to_string(&file).unwrap();
    for secret in [SECRET, &token, "e2e-guess-of-audit"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn a_rotated_file_is_left_after_sighup_and_chosen_events_alone_are_recorded() {
    let dir = TempDir::new();
    let file = dir.path().join("audit.log");
    let gateway = Gateway::setup().config(&config(&file, "events = [\"auth.success\"]")).start();
    gateway.dial().open().admitted(&Connect::backend());
    gateway.dial().open().refused(&Connect::backend().secret("wrong"));
    events(&file, "auth.success", 1);
    let old = dir.path().join("audit.log.1");
    fs::rename(&file, &old).unwrap();
    gateway.hang_up();
    eventually("the file is there again", PATIENCE, || file.exists().then_some(()));
    gateway.dial().open().admitted(&Connect::backend());
    events(&file, "auth.success", 1);
    assert_eq!(lines(&old).len(), 1, "{:?}", lines(&old));
    assert_eq!(lines(&file).len(), 1, "{:?}", lines(&file));
}

/// Debian's logrotate with the packaged rules, while peers come and go.
#[test]
fn logrotate_rotates_the_file_of_a_busy_gateway_and_no_line_is_lost() {
    const NAME: &str = "logrotate_rotates_the_file_of_a_busy_gateway_and_no_line_is_lost";
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let mut logrotate = Command::new("logrotate");
    logrotate.env("PATH", path);
    if logrotate.arg("--version").output().is_err() {
        skip!(NAME, "logrotate is missing (apt-get install logrotate)");
    }
    let dir = TempDir::new();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::set_permissions(&logs, Permissions::from_mode(0o750)).unwrap();
    let file = logs.join("audit.log");
    let config = config(&file, "events = [\"auth.success\", \"config.reloaded\"]");
    let gateway = Gateway::setup().config(&config).start();
    let id = |flag: &str| {
        let output = Command::new("id").arg(flag).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/openclaw-gateway.logrotate");
    let rules = fs::read_to_string(packaged).unwrap();
    let hup = "systemctl kill --kill-who=main --signal=HUP openclaw-gateway.service || true";
    assert!(rules.contains(hup), "{rules}");
    let rules = rules
        .replace("openclaw openclaw", &format!("{} {}", id("-un"), id("-gn")))
        .replace("/var/log/openclaw", &logs.display().to_string())
        // The gateway is no service here.
        .replace("[ -d /run/systemd/system ]", "true")
        .replace(hup, &format!("kill -HUP {}", gateway.pid()));
    let rules = dir.write("rules", &rules);
    fs::set_permissions(&rules, Permissions::from_mode(0o644)).unwrap();

    let (is_over, admitted) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                gateway.operator().leave();
                admitted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _over = Over(&is_over);
        events(&file, "auth.success", 5);
        let mut logrotate = Command::new("logrotate");
        logrotate.env("PATH", path).arg("--force").arg("--state").arg(dir.path().join("state"));
        let output = logrotate.arg(&rules).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        events(&file, "config.reloaded", 1);
        events(&file, "auth.success", 5);
    });
    let rotated: Vec<_> = fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(rotated.len(), 2, "{rotated:?}");
    let count = || {
        let texts = rotated.iter().map(|file| fs::read_to_string(file).unwrap());
        texts.map(|text| text.matches("\"auth.success\"").count()).sum::<usize>()
    };
    let expected = admitted.load(Ordering::Relaxed);
    eventually("every line", PATIENCE, || (count() == expected).then_some(()));
    for file in &rotated {
        assert!(!lines(file).is_empty(), "{file:?}");
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_stranger_that_asks_again_and_again_to_be_approved_fills_no_file() {
    let dir = TempDir::new();
    let file = dir.path().join("audit.log");
    let manual = "[gateway.auth.deviceAuth]\nregistration = \"manual\"\n";
    let mut gateway = Gateway::setup().config(&format!("{manual}{}", config(&file, ""))).start();
    let devices = [Device::new(), Device::new()];
    for number in 0..10 {
        // Each asks for something else than the one before, so each is a request of its own.
        let name = json!(format!("name {number}"));
        let connect = Connect::operator(&devices[number % 2]).with("/client/displayName", name);
        let refused = gateway.dial().open().refused(&connect);
        assert_eq!(refused.details_code(), "PAIRING_REQUIRED");
    }
    gateway.terminate();
    assert!(gateway.exit_status(PATIENCE).success());
    let pending = events(&file, "device.pending", 4);
    assert_eq!(pending.len(), 4, "{pending:?}");
    let subjects = [0, 1, 0].map(|at: usize| devices[at].id());
    assert!(pending.iter().zip(subjects).all(|(line, id)| line["subject"] == id), "{pending:?}");
    assert_eq!((&pending[3]["count"], &pending[3]["reasons"]), (&json!(7), &json!("not-paired 7")));
}

#[test]
fn the_last_of_a_disk_is_left_to_others() {
    let disk = match SmallDisk::mount("1m") {
        Ok(disk) => disk,
        Err(why) => skip!("the_last_of_a_disk_is_left_to_others", why),
    };
    let file = disk.path().join("audit.log");
    let gateway = Gateway::setup().config(&config(&file, "")).start();
    gateway.dial().open().admitted(&Connect::backend());
    events(&file, "auth.success", 1);
    // A sixteenth of it is 64 KiB.
    let ballast = fs::OpenOptions::new().write(true).open(disk.fill()).unwrap();
    let filled = ballast.metadata().unwrap().len();
    ballast.set_len(filled - 48 * 1024).unwrap();
    let before = fs::metadata(&file).unwrap().len();
    gateway.dial().open().admitted(&Connect::backend());
    eventually("the diagnostics tell", PATIENCE, || {
        gateway.diagnostics().contains("the rest of its disk is spare").then_some(())
    });
    assert_eq!(fs::metadata(&file).unwrap().len(), before);
    ballast.set_len(filled - 200 * 1024).unwrap();
    let lost = events(&file, "audit.lost", 1);
    assert_eq!(lost[0]["lines"], 1);
}

#[test]
fn a_full_disk_lets_nobody_but_the_owner_in_where_that_is_asked_for_and_heals() {
    let disk = match SmallDisk::mount("1m") {
        Ok(disk) => disk,
        Err(why) => {
            skip!("a_full_disk_lets_nobody_but_the_owner_in_where_that_is_asked_for_and_heals", why)
        }
    };
    let file = disk.path().join("audit.log");
    let gateway = Gateway::setup().config(&config(&file, "onFailure = \"refuse\"")).start();
    gateway.dial().open().admitted(&Connect::backend());
    let ballast = disk.fill();
    eventually("nobody is let in", PATIENCE, || {
        let mut client = gateway.dial().open();
        let answer = client.connect(&Connect::backend());
        (answer["error"]["details"]["code"] == "UNAVAILABLE_STORAGE").then_some(())
    });
    gateway.owner();
    fs::remove_file(ballast).unwrap();
    eventually("they are let in again", PATIENCE, || {
        let mut client = gateway.dial().open();
        (client.connect(&Connect::backend())["ok"] == true).then_some(())
    });
    let lost = events(&file, "audit.lost", 1);
    assert!(lost[0]["lines"].as_u64().unwrap() >= 1, "{lost:?}");
}

#[test]
fn a_disk_that_is_full_at_the_start_lets_nobody_but_the_owner_in_from_the_first() {
    let disk = match SmallDisk::mount("1m") {
        Ok(disk) => disk,
        Err(why) => skip!(
            "a_disk_that_is_full_at_the_start_lets_nobody_but_the_owner_in_from_the_first",
            why
        ),
    };
    let file = disk.path().join("audit.log");
    let ballast = disk.fill();
    let config = config(&file, "onFailure = \"refuse\"");
    let output = Gateway::check(&config, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("audit.logFile") && said.contains("spare"), "{said}");
    let gateway = Gateway::setup().config(&config).start();
    let refused = gateway.dial().open().refused(&Connect::backend());
    assert_eq!(refused.details_code(), "UNAVAILABLE_STORAGE");
    gateway.owner();
    fs::remove_file(ballast).unwrap();
    eventually("they are let in", PATIENCE, || {
        let mut client = gateway.dial().open();
        (client.connect(&Connect::backend())["ok"] == true).then_some(())
    });
    events(&file, "auth.success", 1);
}

#[test]
fn a_full_disk_costs_only_lines_where_the_gateway_is_to_go_on() {
    let disk = match SmallDisk::mount("1m") {
        Ok(disk) => disk,
        Err(why) => skip!("a_full_disk_costs_only_lines_where_the_gateway_is_to_go_on", why),
    };
    let file = disk.path().join("audit.log");
    let gateway = Gateway::setup().config(&config(&file, "")).start();
    let ballast = disk.fill();
    eventually("the diagnostics tell", PATIENCE, || {
        gateway.dial().open().admitted(&Connect::backend());
        gateway.diagnostics().contains("Audit file takes no lines").then_some(())
    });
    gateway.dial().open().admitted(&Connect::backend());
    fs::remove_file(ballast).unwrap();
    events(&file, "audit.lost", 1);
}

#[test]
fn a_file_that_cannot_be_trusted_fails_check_and_the_start_that_needs_it() {
    let dir = TempDir::new();
    let file = dir.path().join("audit.log");
    symlink(dir.path().join("elsewhere"), &file).unwrap();
    let output = Gateway::check(&config(&file, ""), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("audit.logFile") && said.contains("not followed"), "{said}");
    assert!(!dir.path().join("elsewhere").exists());
}
