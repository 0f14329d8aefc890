//! A full or failing disk: reports are refused, everything else goes on, and it heals by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::{Client, Device, FsyncShim, Gateway, PATIENCE, TempDir, entries, eventually};

/// A small file system of its own, unmounted on drop.
pub(crate) struct SmallDisk {
    // Unmounted in `drop`, before the directory goes.
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts one; the error says why that is not possible here.
    pub(crate) fn mount(size: &str) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting a small file system needs root".to_owned());
        }
        let dir = TempDir::new();
        let options = format!("size={size},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "openclaw-e2e"]).arg(dir.path());
        let output = mount.output().map_err(|error| format!("mount: {error}"))?;
        if output.status.success() {
            Ok(Self { dir })
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Takes all space that is left; removing the file gives it back.
    pub(crate) fn fill(&self) -> PathBuf {
        use std::io::Write;
        let path = self.path().join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        for block in [64 * 1024, 4 * 1024, 1] {
            let zeros = vec![0; block];
            while file.write_all(&zeros).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {}", self.path().display());
        }
    }
}

/// Reports until one is refused; returns the refusal and the messages that were answered.
fn report_until_refused(agent: &mut Client) -> (Value, Vec<String>) {
    let mut answered = Vec::new();
    // 20 KiB each: 2,000 are more than the disk holds, also where space inside the store is reused.
    for n in 0..2_000 {
        let message = format!("{n} {}", "x".repeat(20_000));
        let entry = json!({ "level": "info", "message": message });
        let response = agent.request("logs.append", json!({ "entries": [entry] }));
        if response["ok"] == false {
            return (response["error"].clone(), answered);
        }
        answered.push(message);
    }
    panic!("2,000 reports fit onto a full disk");
}

/// The messages of all entries that are kept.
fn journal(operator: &mut Client) -> Vec<String> {
    let mut kept = Vec::new();
    let mut cursor = json!(0);
    loop {
        let page = operator.ask("logs.tail", json!({ "cursor": cursor, "maxBytes": 1_000_000 }));
        let entries = page["entries"].as_array().unwrap();
        kept.extend(entries.iter().map(|entry| entry["message"].as_str().unwrap().to_owned()));
        cursor = page["cursor"].clone();
        if page["truncated"] == false {
            return kept;
        }
    }
}

#[track_caller]
fn wait_for_readyz(gateway: &Gateway, status: u16) {
    eventually(&format!("/readyz turns {status}"), PATIENCE, || {
        let answer = gateway.http("GET", "/readyz");
        let ready = json!(status == 200);
        (answer.status == status).then(|| assert_eq!(answer.json()["ready"], ready))
    });
}

#[test]
fn full_disk_refuses_reports_and_heals_when_space_returns() {
    let disk = match SmallDisk::mount("24m") {
        Ok(disk) => disk,
        Err(why) => skip!("full_disk_refuses_reports_and_heals_when_space_returns", why),
    };
    let mut gateway = Gateway::setup().state_dir(&disk.path().join("state")).start();
    let device = Device::new();
    let mut agent = gateway.agent("agent1", &device);
    let mut operator = gateway.operator();
    agent.report(["before"]);

    let ballast = disk.fill();
    let (error, mut answered) = report_until_refused(&mut agent);
    assert_eq!(error["code"], "UNAVAILABLE", "{error}");
    assert_eq!(error["retryable"], true, "{error}");

    // Not ready, but alive: reads, pings, new peers and live events go on.
    wait_for_readyz(&gateway, 503);
    assert_eq!(gateway.http("GET", "/healthz").status, 200);
    assert_eq!(operator.request("ping", Value::Null)["ok"], true);
    let page = operator.ask("logs.tail", json!({ "cursor": 0, "limit": 1 }));
    assert_eq!(page["entries"][0]["message"], "before");
    operator.forget_events();
    let mut newcomer = gateway.operator();
    assert!(newcomer.ask("status", Value::Null).is_object());
    newcomer.leave();
    operator.event("presence");

    fs::remove_file(ballast).unwrap();
    wait_for_readyz(&gateway, 200);
    agent.report(["after"]);
    answered.push("after".to_owned());

    // What was answered is on disk, also after a crash.
    gateway.kill_9();
    gateway.start_again();
    let kept = journal(&mut gateway.operator());
    let lost = answered.iter().filter(|message| !kept.contains(message)).count();
    assert_eq!(lost, 0, "of {} answered reports", answered.len());
    // The gateway must be gone before its disk is.
    drop(gateway);
}

#[test]
fn failing_fsync_refuses_reports_and_heals_without_a_restart() {
    let disk = match FsyncShim::build() {
        Ok(disk) => disk,
        Err(why) => skip!("failing_fsync_refuses_reports_and_heals_without_a_restart", &why),
    };
    let mut gateway = Gateway::setup().disk(&disk).start();
    let mut agent = gateway.agent("agent1", &Device::new());
    let mut operator = gateway.operator();
    agent.report(["before"]);

    disk.fail(true);
    // The first meets the failing sync, the second a store that is known to fail.
    for message in ["refused", "refused, too"] {
        let response = agent.request("logs.append", entries([message]));
        assert_eq!(response["ok"], false, "{response}");
        assert_eq!(response["error"]["code"], "UNAVAILABLE", "{response}");
        assert_eq!(response["error"]["retryable"], true, "{response}");
    }
    wait_for_readyz(&gateway, 503);
    assert_eq!(gateway.http("GET", "/healthz").status, 200);
    assert_eq!(operator.request("ping", Value::Null)["ok"], true);
    let page = operator.ask("logs.tail", json!({ "cursor": 0, "limit": 1 }));
    assert_eq!(page["entries"][0]["message"], "before");
    operator.forget_events();
    gateway.operator().leave();
    operator.event("presence");

    disk.fail(false);
    wait_for_readyz(&gateway, 200);
    agent.report(["after"]);

    // What was answered is on disk, what was refused is not.
    gateway.kill_9();
    gateway.start_again();
    assert_eq!(journal(&mut gateway.operator()), ["before", "after"]);

    // Only a gateway whose store works when it stops leaves its database in order.
    let lock = gateway.control_path().with_file_name("gateway.lock");
    let is_in_order = || fs::read_to_string(&lock).unwrap().starts_with("left in order: ");
    assert!(!is_in_order());
    gateway.terminate();
    gateway.exit_status(PATIENCE);
    assert!(is_in_order());
    gateway.start_again();
    let mut operator = gateway.operator();
    disk.fail(true);
    assert_eq!(operator.request("logs.append", entries(["refused"]))["ok"], false);
    gateway.terminate();
    gateway.exit_status(PATIENCE);
    assert!(!is_in_order());
}

#[test]
fn long_appends_of_one_agent_wait_for_the_disk_and_nobody_else_does() {
    let disk = match FsyncShim::build() {
        Ok(disk) => disk,
        Err(why) => {
            skip!("long_appends_of_one_agent_wait_for_the_disk_and_nobody_else_does", &why)
        }
    };
    let gateway = Gateway::setup().disk(&disk).start();
    let mut agent = gateway.agent("agent1", &Device::new());
    let mut other = gateway.agent("agent2", &Device::new());
    disk.hang(true);
    let long = "x".repeat(40 * 1024);
    let append =
        |agent: &mut Client, text: &str| agent.send_request("logs.append", entries([text]));
    let mut appends = vec![append(&mut agent, &long), append(&mut agent, "short")];
    assert_eq!(agent.request("ping", Value::Null)["ok"], true, "they have room");
    appends.push(append(&mut agent, &long));
    let ping = agent.send_request("ping", Value::Null);
    agent.listen_for(Duration::from_millis(300));
    assert!(!agent.was_answered(&ping), "it waits in its socket behind the third append");
    assert_eq!(other.request("ping", Value::Null)["ok"], true);
    disk.hang(false);
    for id in appends.iter().chain([&ping]) {
        assert_eq!(agent.response(id)["ok"], true, "{id}");
    }
}
