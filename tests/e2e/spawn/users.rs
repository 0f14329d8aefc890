//! Who programs run as, and what they may not read.

use std::fs;
use std::os::unix::fs::chown;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{SPAWN, cancel, end_of, gateway, logs_of, mark, processes_with, sh, start};
use crate::kit::{Gateway, PATIENCE, Rng, TempDir, eventually};

/// The number of `nobody`.
const NOBODY: u32 = 65_534;

/// What is missing for tests with several users, if something is.
fn other_users_missing() -> Option<&'static str> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let has = |name: &str| passwd.contains(&format!("\n{name}:"));
    let is_root = rustix::process::geteuid().is_root();
    (!is_root || !has("nobody") || !has("daemon"))
        .then_some("needs root and the users `nobody` and `daemon`")
}

/// Says who it is, in seven lines, and goes on.
const WHO: &str = "id -un; echo $USER; grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2; \
                   grep Groups /proc/self/status; exec sleep 1000";

#[track_caller]
fn is_contained(said: &[String], user: &str) {
    assert_eq!(said[..2], [user, user]);
    assert!(said[2..6].iter().all(|set| set == "0000000000000000"), "{said:?}");
    assert!(!said[6].split_whitespace().any(|group| group == "0"), "{said:?}");
}

#[test]
fn a_program_runs_as_another_user_where_that_is_configured() {
    if let Some(missing) = other_users_missing() {
        skip!("a_program_runs_as_another_user_where_that_is_configured", missing);
    }
    let template = format!(
        "[gateway.agents.worker]\ncommand = \"sh\"\nargs = [\"-c\", {WHO:?}]\ncwd = \"/\"\n\
         runAs = \"daemon\"\n"
    );
    let config = format!("{SPAWN}runAs = \"nobody\"\n{template}");
    let gateway = Gateway::setup().config(&config).start();
    let mut operator = gateway.operator();
    let mut command = sh(WHO);
    command["cwd"] = json!("/");
    let command = start(&mut operator, command);
    // A template says for itself.
    let template = operator.ask("sessions_spawn", json!({ "agentId": "worker", "task": "x" }));
    for (spawn, user) in [(command, "nobody"), (template, "daemon")] {
        let said = eventually("it has said everything", PATIENCE, || {
            Some(logs_of(&mut operator, &spawn)).filter(|said| said.len() == 7)
        });
        is_contained(&said, user);
        cancel(&mut operator, &spawn, 5_000);
        assert_eq!(end_of(&mut operator, &spawn)["result"]["signal"], "SIGTERM");
    }

    let mut rng = Rng::announced();
    let (variable, value) = mark(&mut rng);
    let mut leaving = sh("setsid sleep 1000 & sleep 1000 & exit 0");
    leaving["cwd"] = json!("/");
    leaving["env"] = json!({ "E2E_MARK": value });
    let leaving = start(&mut operator, leaving);
    assert_eq!(end_of(&mut operator, &leaving)["status"], "completed");
    assert_eq!(processes_with(&variable), [0_u32; 0], "what another user leaves is ended");
}

/// Runs a script as `nobody`, with these capabilities, in a directory of its own that has the binary
/// as `gateway` and a configuration as `gateway.toml`.
fn as_nobody(capabilities: &str, config: &str, script: &str) -> Output {
    let dir = TempDir::new();
    fs::copy(env!("CARGO_BIN_EXE_openclaw-gateway"), dir.path().join("gateway")).unwrap();
    dir.write("gateway.toml", config);
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    chown(dir.path().join("gateway.toml"), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut nobody = Command::new("setpriv");
    let id = NOBODY.to_string();
    nobody.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    nobody.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
    nobody.args(["sh", "-c", script]).arg(dir.path()).output().unwrap()
}

/// Starts the gateway, and leaves when it does not start, or something does not come within 20 s.
const START: &str = r#"
    cd "$0" || exit 3
    ./gateway --config gateway.toml --state-dir state --port 0 > out 2>&1 & gateway=$!
    trap 'kill $gateway; wait $gateway' EXIT
    until_it() {
        tries=0
        until "$@"; do
            kill -0 $gateway && [ $tries -lt 400 ] || { cat out; exit 3; }
            tries=$((tries + 1))
            sleep 0.05
        done
    }
    until_it grep -q '"event":"listening"' out
    call() { ./gateway call --json --state-dir state "$@"; }
"#;

#[test]
fn a_gateway_that_is_not_root_needs_and_uses_the_three_capabilities_for_another_user() {
    let name = "a_gateway_that_is_not_root_needs_and_uses_the_three_capabilities_for_another_user";
    if let Some(missing) = other_users_missing() {
        skip!(name, missing);
    }
    let config = format!(
        "[gateway.metrics]\nenabled = false\n{SPAWN}[gateway.agents.worker]\ncommand = \"sh\"\n\
         args = [\"-c\", {WHO:?}]\ncwd = \"/\"\nrunAs = \"daemon\"\n"
    );
    let script = format!("{START} call sessions_spawn '{{\"agentId\":\"worker\",\"task\":\"x\"}}'");
    let output = as_nobody("-all", &config, &script);
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["status"], "failed", "{answer}");
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("CAP_SETUID, CAP_SETGID and CAP_KILL"), "{error}");

    // As docs/children.md recommends it.
    let script = format!(
        "{script} > answer || exit 4
         id=$(sed -n 's/.*\"spawnId\": *\"\\([^\"]*\\)\".*/\\1/p' answer)
         said() {{ call spawn.logs \"{{\\\"id\\\":\\\"$id\\\"}}\" > logs && grep -q Groups logs; }}
         until_it said
         call spawn.cancel \"{{\\\"id\\\":\\\"$id\\\"}}\" > answer || exit 5
         ended() {{ call spawn.list > list && grep -q SIGTERM list; }}
         until_it ended
         cat logs"
    );
    let output = as_nobody("-all,+setuid,+setgid,+kill", &config, &script);
    assert!(output.status.success(), "{output:?}");
    let logs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let entries = logs["entries"].as_array().unwrap().iter();
    let said = entries.map(|entry| entry["message"].as_str().unwrap().to_owned());
    is_contained(&said.collect::<Vec<_>>(), "daemon");
}

#[test]
fn a_program_of_the_same_user_cannot_read_the_gateways_memory_or_environment() {
    // Root reads everything, so a gateway of root cannot show it; its own flag can: what belongs to
    // a process that is not dumpable belongs to root, whoever runs it.
    if rustix::process::geteuid().is_root() {
        return another_user_is_kept_out_of_its_own_gateway();
    }
    let gateway = gateway();
    let mut operator = gateway.operator();
    let spawn = start(&mut operator, sh("cat /proc/$PPID/environ /proc/$PPID/mem > /dev/null"));
    assert_eq!(end_of(&mut operator, &spawn)["status"], "failed");
    let logs = logs_of(&mut operator, &spawn);
    assert!(logs.iter().all(|line| line.contains("Permission denied")), "{logs:?}");
}

/// The same for root: `nobody` starts a gateway, and `nobody` may not read it, as it may any other
/// program of its own.
fn another_user_is_kept_out_of_its_own_gateway() {
    let script = format!(
        "{START}
         sleep 600 & other=$!
         trap 'kill $gateway $other; wait $gateway' EXIT
         cat /proc/$other/environ > /dev/null || exit 4
         cat /proc/$gateway/environ > /dev/null 2>> denied && exit 5
         grep -q 'Permission denied' denied"
    );
    let output = as_nobody("-all", "[gateway.metrics]\nenabled = false\n", &script);
    assert!(output.status.success(), "{output:?}");
}
