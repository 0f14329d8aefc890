//! Real programs that the gateway starts: what each that misbehaves comes to, and that none outlives
//! a gateway that stops. Many at once and floods are in `load`, gateways that are killed in
//! `crash`, and programs of other users in `users`.

mod crash;
mod load;
mod users;

use std::fs;

use serde_json::{Value, json};

use crate::kit::{Client, Gateway, PATIENCE, Rng, TempDir, eventually};

const SPAWN: &str = "[gateway.spawn]\nallowedCommands = [\"*\"]\nallowedDirs = [\"/\"]\n\
                     leftoverGraceSeconds = 1\n";

/// How many terminal statuses there are.
const ENDED: [&str; 5] = ["completed", "failed", "cancelled", "timeout", "lost"];

fn gateway() -> Gateway {
    Gateway::setup().config(SPAWN).start()
}

fn sh(script: &str) -> Value {
    json!({ "command": "sh", "args": ["-c", script] })
}

/// Starts a program; the answer, which must be one.
#[track_caller]
fn start(operator: &mut Client, params: Value) -> Value {
    operator.ask("spawn", params)
}

/// The one terminal event of a spawn.
#[track_caller]
fn end_of(operator: &mut Client, spawn: &Value) -> Value {
    loop {
        let event = operator.event("spawn_result")["payload"].clone();
        if event["spawnId"] == spawn["spawnId"] && is_terminal(&event) {
            return event;
        }
    }
}

fn is_terminal(shown: &Value) -> bool {
    ENDED.contains(&shown["status"].as_str().unwrap())
}

/// A spawn in the answer to `spawn.list`.
#[track_caller]
fn shown_in(list: &Value, spawn: &Value) -> Value {
    let mut listed = list["spawns"].as_array().unwrap().iter();
    let shown = listed.find(|shown| shown["spawnId"] == spawn["spawnId"]);
    shown.unwrap_or_else(|| panic!("{spawn} is not in {list}")).clone()
}

#[track_caller]
fn cancel(operator: &mut Client, spawn: &Value, grace_ms: u64) {
    operator.ask("spawn.cancel", json!({ "id": spawn["spawnId"], "graceMs": grace_ms }));
}

/// The messages of a spawn's log.
#[track_caller]
fn logs_of(operator: &mut Client, spawn: &Value) -> Vec<String> {
    let mut messages = Vec::new();
    let mut cursor = 0;
    loop {
        let id = &spawn["spawnId"];
        let params = json!({ "id": id, "cursor": cursor, "limit": 5_000, "maxBytes": 1_000_000 });
        let page = operator.ask("spawn.logs", params);
        let entries = page["entries"].as_array().unwrap().iter();
        messages.extend(entries.map(|entry| entry["message"].as_str().unwrap().to_owned()));
        if page["truncated"] == false {
            return messages;
        }
        cursor = page["cursor"].as_u64().unwrap();
    }
}

/// The processes, zombies among them, that were started with this variable.
fn processes_with(variable: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_it = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|b| *b == 0).any(|v| v == variable.as_bytes()))
    };
    pids.filter(has_it).collect()
}

/// A variable that marks what one test started.
fn mark(rng: &mut Rng) -> (String, String) {
    let value = format!("{}-{}", std::process::id(), rng.between(0, u64::from(u32::MAX)));
    (format!("E2E_MARK={value}"), value)
}

/// The children of a process, zombies among them.
fn children_of(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let parent_and_child = |stat: String| {
        let child = stat.split(' ').next()?.parse().ok()?;
        let parent: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        Some((parent, child))
    };
    let pairs = stats.filter_map(parent_and_child);
    pairs.filter_map(|(parent, child)| (parent == pid).then_some(child)).collect()
}

#[test]
fn programs_that_do_not_want_to_end_do() {
    let gateway = gateway();
    let mut operator = gateway.operator();
    let mut rng = Rng::announced();
    for (script, is_cancelled, status, result) in [
        ("exit 3", false, "failed", json!({ "exitCode": 3 })),
        ("kill -SEGV $$", false, "failed", json!({ "signal": "SIGSEGV" })),
        // Ignores TERM, in all of its group.
        (
            "trap '' TERM; while :; do sleep 1; done",
            true,
            "cancelled",
            json!({ "signal": "SIGKILL" }),
        ),
        // Closes its pipes and lives on.
        (
            "exec >&- 2>&-; while :; do sleep 1000; done",
            true,
            "cancelled",
            json!({ "signal": "SIGTERM" }),
        ),
        // Forks twice and exits.
        ("(sh -c 'sleep 1000 & sleep 1000' &)", false, "completed", json!({ "exitCode": 0 })),
        // What it leaves ignores TERM, in a session of its own, holding the pipes.
        (
            "setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' & sleep 0.2",
            false,
            "completed",
            json!({ "exitCode": 0 }),
        ),
    ] {
        let (variable, value) = mark(&mut rng);
        let mut params = sh(script);
        params["env"] = json!({ "E2E_MARK": value });
        let spawn = start(&mut operator, params);
        assert_eq!(spawn["status"], "running", "{spawn}");
        if is_cancelled {
            eventually("the script has begun", PATIENCE, || {
                (processes_with(&variable).len() >= 2).then_some(())
            });
            cancel(&mut operator, &spawn, 300);
        }
        let end = end_of(&mut operator, &spawn);
        assert_eq!((&end["status"], &end["result"]), (&json!(status), &result), "{script}: {end}");
        assert_eq!(processes_with(&variable), [0_u32; 0], "{script}");
    }
    assert_eq!(children_of(gateway.pid()), [0_u32; 0]);
    // Everything that was said before this answer has been heard.
    operator.ask("spawn.list", Value::Null);
    let more = operator.take_events();
    let ended_again =
        |event: &&Value| event["event"] == "spawn_result" && is_terminal(&event["payload"]);
    assert_eq!(more.iter().find(ended_again), None, "one terminal event each");
}

#[test]
fn a_program_that_runs_too_long_is_ended() {
    let gateway = gateway();
    let mut operator = gateway.operator();
    let mut params = sh("exec sleep 1000");
    params["timeoutMs"] = json!(200);
    let spawn = start(&mut operator, params);
    let end = end_of(&mut operator, &spawn);
    assert_eq!((&end["status"], &end["result"]["signal"]), (&json!("timeout"), &json!("SIGTERM")));
}

#[test]
fn what_cannot_be_started_says_why_and_has_its_end() {
    let dir = TempDir::new();
    let file = dir.write("not-executable", "text");
    let file = file.to_str().unwrap();
    let config = format!(
        "[gateway.spawn]\nallowedCommands = [\"sh\", \"/etc\", {file:?}, \"no-such\"]\n\
         allowedDirs = [{:?}]\n",
        dir.path()
    );
    let gateway = Gateway::setup().config(&config).start();
    let mut operator = gateway.operator();
    for (command, why) in [
        ("no-such", "no-such is not found in the gateway's PATH"),
        ("/etc", "/etc is a directory"),
        (file, "not-executable is not executable"),
    ] {
        let answer = start(&mut operator, json!({ "command": command }));
        assert_eq!((&answer["status"], &answer["pid"]), (&json!("failed"), &Value::Null));
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
        let end = end_of(&mut operator, &answer);
        assert_eq!((&end["status"], &end["pid"]), (&json!("failed"), &Value::Null), "{end}");
    }
    let missing = dir.path().join("missing");
    let answer = start(&mut operator, json!({ "command": "sh", "cwd": missing }));
    assert!(answer["error"].as_str().unwrap().contains("cannot be used"), "{answer}");

    for (params, rule) in [
        (json!({ "command": "/bin/ls" }), "gateway.spawn.allowedCommands"),
        (json!({ "command": "sh", "cwd": "/usr" }), "gateway.spawn.allowedDirs"),
    ] {
        let error = operator.ask_in_vain("spawn", params);
        assert!(error["message"].as_str().unwrap().contains(rule), "{error}");
    }
}

#[test]
fn a_program_gets_its_stdin_directory_environment_and_credential() {
    let gateway = gateway();
    let mut operator = gateway.operator();
    let script = "cat; pwd; echo \"$GREETING $OPENCLAW_SESSION\"; echo \"$OPENCLAW_GATEWAY_URL\"; \
                  test -n \"$OPENCLAW_AGENT_TOKEN\" && test -z \"$OPENCLAW_GATEWAY_TOKEN\" && echo ok";
    let mut params = sh(script);
    params["stdin"] = json!("from stdin\n");
    params["cwd"] = json!("/");
    params["env"] = json!({ "GREETING": "hello" });
    params["session"] = json!("agent1:chat");
    let spawn = start(&mut operator, params);
    assert_eq!(end_of(&mut operator, &spawn)["status"], "completed");
    let url = format!("ws://{}", gateway.address());
    let logs = logs_of(&mut operator, &spawn);
    assert_eq!(logs, ["from stdin", "/", "hello agent1:chat", &url, "ok"]);
}

#[test]
fn a_stop_ends_every_program_and_records_it() {
    let mut rng = Rng::announced();
    let (variable, value) = mark(&mut rng);
    let mut gateway = gateway();
    let mut operator = gateway.operator();
    let scripts =
        ["sleep 1000", "trap '' TERM; while :; do sleep 1; done", "setsid sleep 1000 & exit 0"];
    let spawns: Vec<_> = scripts
        .iter()
        .map(|script| {
            let mut params = sh(script);
            params["env"] = json!({ "E2E_MARK": value });
            start(&mut operator, params)
        })
        .collect();
    gateway.terminate();
    assert_eq!(gateway.exit_status(PATIENCE).code(), Some(0));
    assert_eq!(processes_with(&variable), [0_u32; 0]);

    gateway.start_again();
    let list = gateway.operator().ask("spawn.list", Value::Null);
    let ends: Vec<_> = spawns.iter().map(|spawn| shown_in(&list, spawn)).collect();
    assert_eq!(ends[0]["status"], "cancelled", "{ends:?}");
    assert_eq!(ends[0]["result"]["signal"], "SIGTERM", "{ends:?}");
    assert_eq!(ends[1]["status"], "cancelled", "{ends:?}");
    assert_eq!(ends[1]["result"]["signal"], "SIGKILL", "{ends:?}");
    assert!(is_terminal(&ends[2]), "{ends:?}");
}

#[test]
fn a_second_signal_leaves_no_program_behind() {
    let mut rng = Rng::announced();
    let (variable, value) = mark(&mut rng);
    let mut gateway = gateway();
    let mut operator = gateway.operator();
    let mut params = sh("trap '' TERM HUP INT; while :; do read line < /dev/zero; done");
    params["env"] = json!({ "E2E_MARK": value });
    start(&mut operator, params);
    gateway.terminate();
    operator.event("shutdown");
    gateway.terminate();
    assert_eq!(gateway.exit_status(PATIENCE).code(), Some(1));
    eventually("the program has ended", PATIENCE, || {
        processes_with(&variable).is_empty().then_some(())
    });
}
