//! `backup` and `restore`: nothing answered is lost, nothing ended comes back, nothing half done.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::disk::SmallDisk;
use crate::kit::{
    Client, Connect, Device, FsyncShim, Gateway, PATIENCE, TempDir, binary, eventually,
};

fn run(command: &str, file: &Path, state_dir: &Path) -> Output {
    binary().arg(command).arg(file).arg("--state-dir").arg(state_dir).output().unwrap()
}

#[track_caller]
fn succeeds(command: &str, file: &Path, state_dir: &Path) -> String {
    let output = run(command, file, state_dir);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail with exit code 1, and returns what it says.
#[track_caller]
fn fails(command: &str, file: &Path, state_dir: &Path) -> String {
    let output = run(command, file, state_dir);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, b"");
    String::from_utf8(output.stderr).unwrap()
}

/// The messages in the journal, and their cursors.
#[track_caller]
fn journal(client: &mut Client) -> Vec<(String, u64)> {
    let page = client.ask("logs.tail", json!({ "cursor": 0, "limit": 5000 }));
    let entries = page["entries"].as_array().unwrap().iter();
    let pair = |entry: &Value| {
        (entry["message"].as_str().unwrap().to_owned(), entry["cursor"].as_u64().unwrap())
    };
    entries.map(pair).collect()
}

fn messages(journal: &[(String, u64)]) -> Vec<&str> {
    journal.iter().map(|(message, _)| message.as_str()).collect()
}

/// The names in a directory that are left when a gateway has stopped.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn stop(gateway: &mut Gateway) {
    gateway.terminate();
    assert!(gateway.exit_status(PATIENCE).success());
}

#[test]
fn restored_gateway_knows_what_was_answered_before_the_backup_and_repeats_no_cursor() {
    let mut gateway = Gateway::start();
    let state_dir = gateway.dir().join("state");
    let file = gateway.dir().join("state.backup");
    let agent = Device::new();
    let mut client = gateway.operator();
    client.report(["one", "two"]);
    gateway
        .agent("builder", &agent)
        .ask("session.update", json!({ "key": "builder:chat", "totalTokens": 42 }));
    let said = succeeds("backup", &file, &state_dir);
    assert!(said.contains("records"), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    client.report(["three"]);
    let last = journal(&mut client).pop().unwrap().1;
    stop(&mut gateway);
    let said = succeeds("restore", &file, &state_dir);
    assert!(said.contains("the state before is kept as "), "{said}");
    gateway.start_again();

    let mut client = gateway.operator();
    assert_eq!(messages(&journal(&mut client)), ["one", "two"]);
    let session = client.ask("sessions.get", json!({ "key": "builder:chat" }));
    assert_eq!(session["session"]["totalTokens"], 42, "{session}");
    // The name is still bound to the device, which needs no approval.
    gateway.agent("builder", &agent);
    client.report(["four"]);
    let after = journal(&mut client);
    assert_eq!(messages(&after), ["one", "two", "four"]);
    assert!(after[2].1 > last, "{after:?} after {last}");
    assert!(after[2].1 < 1 << 53, "{after:?}");

    // Again from the same file: what was given after the first restore is not given again.
    stop(&mut gateway);
    succeeds("restore", &file, &state_dir);
    gateway.start_again();
    let mut client = gateway.operator();
    client.report(["five"]);
    assert!(journal(&mut client)[2].1 > after[2].1);
}

#[test]
fn backup_under_load_is_of_one_moment() {
    let mut gateway = Gateway::start();
    let state_dir = gateway.dir().join("state");
    let file = gateway.dir().join("state.backup");
    let mut client = gateway.operator();
    let before: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    client.report(before.iter().map(String::as_str));
    let done = AtomicBool::new(false);
    let reported = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 50;
            while !done.load(Ordering::Relaxed) && number < 4_000 {
                client.report([number.to_string().as_str()]);
                number += 1;
            }
            number
        });
        succeeds("backup", &file, &state_dir);
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    stop(&mut gateway);
    succeeds("restore", &file, &state_dir);
    gateway.start_again();
    let found = journal(&mut gateway.operator());
    let expected: Vec<_> = (0..found.len()).map(|number| number.to_string()).collect();
    assert_eq!(messages(&found), expected, "a hole in the journal");
    assert!((50..=reported).contains(&found.len()), "{} of {reported}", found.len());
}

#[test]
fn restore_drops_device_tokens_and_keeps_later_revocations() {
    let mut gateway = Gateway::start();
    let state_dir = gateway.dir().join("state");
    let file = gateway.dir().join("state.backup");
    let (kept, revoked) = (Device::new(), Device::new());
    let mut client = gateway.dial().open();
    let hello = client.admitted(&Connect::operator(&kept));
    let token = hello["result"]["deviceToken"].as_str().unwrap().to_owned();
    gateway.agent("builder", &revoked);
    succeeds("backup", &file, &state_dir);
    client.ask("device.pair.remove", json!({ "deviceId": revoked.id() }));
    stop(&mut gateway);
    let said = succeeds("restore", &file, &state_dir);
    assert!(said.contains("device tokens dropped"), "{said}");
    assert!(said.contains("1 device revoked since then stay so"), "{said}");
    gateway.start_again();

    let refusal = gateway.dial().open().refused(&Connect::device_token_alone(&token));
    assert_eq!(refusal.details_code(), "AUTH_DEVICE_TOKEN_MISMATCH");
    gateway.dial().open().admitted(&Connect::operator(&kept));
    let refusal = gateway.dial().open().refused(&Connect::agent("builder", &revoked));
    assert_eq!(refusal.details_code(), "DEVICE_REVOKED");
}

#[test]
fn restore_of_a_damaged_backup_touches_nothing() {
    let mut gateway = Gateway::start();
    let state_dir = gateway.dir().join("state");
    let file = gateway.dir().join("state.backup");
    gateway.operator().report(["one"]);
    succeeds("backup", &file, &state_dir);
    stop(&mut gateway);
    let whole = fs::read(&file).unwrap();
    let database = fs::read(state_dir.join("gateway.redb")).unwrap();
    let before = names(&state_dir);

    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    let mut longer = whole.clone();
    longer.push(b'\n');
    let mut newer = whole.clone();
    newer[8] = 9;
    let half = whole[..whole.len() / 2].to_vec();
    let all_but_one = whole[..whole.len() - 1].to_vec();
    for (bytes, expected) in [
        (half, "not a whole backup: "),
        (all_but_one, "not a whole backup: it is cut off"),
        (Vec::new(), "not a whole backup: it is cut off"),
        (damaged, "not a whole backup: "),
        (longer, "not a whole backup: something follows its end"),
        (newer, "a backup of format version 9; this gateway reads version 1"),
        (b"[gateway]\nport = 1\n".to_vec(), "not a whole backup: it does not begin like one"),
    ] {
        fs::write(&file, bytes).unwrap();
        let said = fails("restore", &file, &state_dir);
        assert!(said.contains("cannot restore ") && said.contains(expected), "{said}");
        assert_eq!(names(&state_dir), before);
        assert!(fs::read(state_dir.join("gateway.redb")).unwrap() == database, "{said}");
    }
    gateway.start_again();
    assert_eq!(messages(&journal(&mut gateway.operator())), ["one"]);
}

#[test]
fn restore_is_refused_while_a_gateway_runs() {
    let gateway = Gateway::start();
    let state_dir = gateway.dir().join("state");
    let file = gateway.dir().join("state.backup");
    gateway.operator().report(["one"]);
    succeeds("backup", &file, &state_dir);
    let said = fails("restore", &file, &state_dir);
    assert!(said.contains("another gateway uses this state directory"), "{said}");
    assert!(said.contains(&format!("(process {})", gateway.pid())), "{said}");
    assert_eq!(messages(&journal(&mut gateway.operator())), ["one"]);
}

#[test]
fn backup_at_rest_restores_on_another_machine() {
    let mut gateway = Gateway::start();
    let state_dir = gateway.dir().join("state");
    let file = gateway.dir().join("state.backup");
    gateway.operator().report(["one"]);
    // Killed, so that the database has to be repaired first.
    gateway.kill_9();
    succeeds("backup", &file, &state_dir);

    let elsewhere = TempDir::new();
    let state_dir = elsewhere.path().join("state");
    let said = succeeds("restore", &file, &state_dir);
    assert!(!said.contains("kept as"), "{said}");
    let other = Gateway::setup().state_dir(&state_dir).start();
    assert_eq!(messages(&journal(&mut other.operator())), ["one"]);
}

#[test]
fn backup_that_fails_leaves_the_file_as_it_was() {
    let dir = TempDir::new();
    let file = dir.write("state.backup", "the one before");
    let said = fails("backup", &file, &dir.path().join("nowhere"));
    assert!(said.contains("there is no database "), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "the one before");
    assert_eq!(names(dir.path()), ["state.backup"], "and nothing beside it");
    let missing = dir.path().join("missing/state.backup");
    let said = fails("backup", &missing, dir.path());
    assert!(said.contains("cannot write the backup "), "{said}");
}

#[test]
fn port_gives_no_backup() {
    let gateway = Gateway::start();
    assert_eq!(gateway.http("GET", "/backup").status, 404);
}

#[test]
fn full_disk_leaves_the_backup_and_the_state_as_they_were() {
    let disk = match SmallDisk::mount("24m") {
        Ok(disk) => disk,
        Err(why) => skip!("full_disk_leaves_the_backup_and_the_state_as_they_were", &why),
    };
    let state_dir = disk.path().join("state");
    let file = disk.path().join("state.backup");
    let mut gateway = Gateway::setup().state_dir(&state_dir).start();
    gateway.operator().report(["one"]);
    succeeds("backup", &file, &state_dir);
    let good = fs::read(&file).unwrap();
    gateway.operator().report(["two"]);

    let ballast = disk.fill();
    let said = fails("backup", &file, &state_dir);
    assert!(said.contains("cannot write the backup "), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(fs::read(&file).unwrap() == good, "the backup before");
    assert_eq!(names(disk.path()), ["ballast", "state", "state.backup"]);
    fs::remove_file(ballast).unwrap();
    stop(&mut gateway);

    let before = names(&state_dir);
    let ballast = disk.fill();
    let said = fails("restore", &file, &state_dir);
    assert!(said.contains("cannot restore "), "{said}");
    assert_eq!(names(&state_dir), before);
    fs::remove_file(ballast).unwrap();
    gateway.start_again();
    assert_eq!(messages(&journal(&mut gateway.operator())), ["one", "two"]);
    // The gateway must be gone before its disk is.
    drop(gateway);
}

#[test]
fn restore_that_is_killed_leaves_the_state_before_and_can_be_repeated() {
    let disk = match FsyncShim::build() {
        Ok(disk) => disk,
        Err(why) => {
            skip!("restore_that_is_killed_leaves_the_state_before_and_can_be_repeated", &why)
        }
    };
    let mut gateway = Gateway::start();
    let state_dir = gateway.dir().join("state");
    let file = gateway.dir().join("state.backup");
    gateway.operator().report(["one"]);
    succeeds("backup", &file, &state_dir);
    gateway.operator().report(["two"]);
    stop(&mut gateway);

    // From when the new database exists, no sync comes to an end.
    let new = state_dir.join("gateway.redb.restoring");
    let mut command = binary();
    command.arg("restore").arg(&file).arg("--state-dir").arg(&state_dir);
    command.envs(disk.environment()).env("FSYNC_HANGS_WHILE", &new);
    let mut restore = command.spawn().unwrap();
    eventually("the new database is there", PATIENCE, || new.exists().then_some(()));
    restore.kill().unwrap();
    restore.wait().unwrap();
    gateway.start_again();
    assert_eq!(messages(&journal(&mut gateway.operator())), ["one", "two"]);

    stop(&mut gateway);
    succeeds("restore", &file, &state_dir);
    assert!(!new.exists(), "what the first one left");
    gateway.start_again();
    assert_eq!(messages(&journal(&mut gateway.operator())), ["one"]);
}
