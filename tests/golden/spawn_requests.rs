//! The requests about spawns: what is taken, and how each mistake is named.

use openclaw_gateway::base::ids::SessionKey;
use openclaw_gateway::protocol::request::{Call, Request};
use openclaw_gateway::protocol::scope::ScopeSet;
use openclaw_gateway::protocol::spawn::{SpawnRequest, SpawnStatus, signal_name};
use serde_json::{Value, json};

use crate::requests::call;
use crate::samples::{agent, operator};

fn ask(method: &str, params: &Value) -> Result<SpawnRequest, String> {
    match call(method, params, &operator(ScopeSet::ADMIN)) {
        Ok(Call::Request(Request::Spawn(request))) => Ok(*request),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.message),
    }
}

#[test]
fn a_spawn_of_the_page_is_read_completely() {
    let params = json!({
        "command": "python", "args": ["agent.py", ""], "env": {"AGENT_NAME": "agent1"},
        "cwd": "/opt/agents", "stdin": "go\n", "timeoutMs": 1, "session": "agent1:chat",
        "reports": true, "unknown": 1,
    });
    let Ok(SpawnRequest::Spawn(ask)) = ask("spawn", &params) else { panic!("not taken") };
    assert_eq!(ask.args, ["agent.py", ""]);
    assert_eq!(ask.env, [("AGENT_NAME".to_owned(), "agent1".to_owned())]);
    assert_eq!((ask.cwd.as_deref(), ask.stdin.as_deref()), (Some("/opt/agents"), Some("go\n")));
    assert_eq!((ask.timeout_ms, ask.reports), (Some(1), true));
}

#[test]
fn what_no_program_could_be_given_is_refused_by_its_name() {
    let long = "x".repeat(128 * 1024);
    for (params, problem) in [
        (json!({}), "command must be a non-empty string"),
        (json!({"command": "bin/x"}), "command must be a name or an absolute path"),
        (json!({"command": "x\n"}), "command may not contain control characters"),
        (json!({"command": "x", "cwd": "work"}), "cwd must be an absolute path"),
        (json!({"command": "x", "args": [1]}), "args[0] must be a string"),
        (json!({"command": "x", "args": ["a", "b\0"]}), "args[1] may not contain a NUL character"),
        (json!({"command": "x", "args": [long]}), "args[0] must be at most 131071 bytes long"),
        (json!({"command": "x", "env": []}), "env must be an object"),
        (json!({"command": "x", "env": {"A": 1}}), "env \"A\" must be a string"),
        (json!({"command": "x", "env": {"A=B": ""}}), "env \"A=B\" is no name of a variable"),
        (json!({"command": "x", "env": {"": ""}}), "env \"\" is no name of a variable"),
        (json!({"command": "x", "env": {"PATH": ""}}), "env \"PATH\" may not be set"),
        (json!({"command": "x", "env": {"LD_PRELOAD": ""}}), "env \"LD_PRELOAD\" may not be set"),
        (
            json!({"command": "x", "env": {"OPENCLAW_AGENT_TOKEN": ""}}),
            "env \"OPENCLAW_AGENT_TOKEN\" may not be set",
        ),
        (json!({"command": "x", "timeoutMs": 0}), "timeoutMs must be a whole number, 1 or more"),
        (json!({"command": "x", "timeoutMs": -1}), "timeoutMs must be a whole number, 1 or more"),
        (json!({"command": "x", "reports": 1}), "reports must be true or false"),
    ] {
        assert_eq!(ask("spawn", &params), Err(format!("invalid spawn params: {problem}")));
    }
}

#[test]
fn mission_controls_request_for_an_agent_is_taken() {
    let params = json!({
        "task": "Count", "label": "counting", "model": "opus", "runTimeoutSeconds": 300,
        "tools": {"profile": "coding"},
    });
    let Ok(SpawnRequest::Template(ask)) = ask("sessions_spawn", &params) else {
        panic!("not taken")
    };
    assert_eq!((&*ask.task, ask.label.as_deref()), ("Count", Some("counting")));
    assert_eq!((ask.model.as_deref(), ask.timeout_ms), (Some("opus"), Some(300_000)));
    assert_eq!(ask.agent, None);
}

#[test]
fn the_other_requests_name_what_they_lack() {
    for (method, params, problem) in [
        ("sessions_spawn", json!({}), "task must be a non-empty string"),
        ("spawn.cancel", json!({}), "id must be a non-empty string"),
        ("spawn.cancel", json!({"id": "a", "graceMs": 600_001}), "graceMs must be at most 600000"),
        ("spawn.logs", json!({"limit": 1}), "id must be a non-empty string"),
        ("sessions_kill", json!({}), "key must be a non-empty string"),
    ] {
        assert_eq!(ask(method, &params), Err(format!("invalid {method} params: {problem}")));
    }
    let kill = ask("sessions_kill", &json!({"sessionKey": "agent1:chat"}));
    assert!(matches!(kill, Ok(SpawnRequest::KillSession(key)) if key.as_str() == "agent1:chat"));
}

#[test]
fn a_started_agent_speaks_of_its_session_alone() {
    let mut grant = agent("agent1");
    grant.session = Some(SessionKey::new("agent1:work"));
    let update = |params: Value| match call("session.update", &params, &grant) {
        Ok(Call::Request(Request::SessionUpdate(update))) => Ok(update.key.to_string()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.message),
    };
    assert_eq!(update(json!({"active": true})).as_deref(), Ok("agent1:work"));
    assert_eq!(update(json!({"key": "agent1:work"})).as_deref(), Ok("agent1:work"));
    let must = "invalid session.update params: key must be agent1:work, the session of this spawn";
    assert_eq!(update(json!({"key": "agent1:chat"})), Err(must.to_owned()));
}

#[test]
fn signals_have_their_names() {
    for (signal, name) in
        [(1, "SIGHUP"), (9, "SIGKILL"), (15, "SIGTERM"), (31, "SIGSYS"), (34, "SIG34"), (0, "SIG0")]
    {
        assert_eq!(signal_name(signal), name);
    }
    assert!(SpawnStatus::Lost.is_terminal() && !SpawnStatus::Queued.is_terminal());
}
