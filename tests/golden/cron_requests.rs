//! The parameters of requests about jobs: what is taken, and how what is not is refused.

use std::sync::Arc;

use openclaw_gateway::base::ids::{AgentName, JobId, SessionKey};
use openclaw_gateway::protocol::cron::{CronPayload, CronRequest, Missed};
use openclaw_gateway::protocol::request::{Call, Request};
use openclaw_gateway::protocol::schedule::ScheduleText;
use openclaw_gateway::protocol::scope::ScopeSet;
use serde_json::{Value, json};

use crate::requests::call;
use crate::samples::operator;

fn read(method: &str, params: &Value) -> Result<CronRequest, String> {
    match call(method, params, &operator(ScopeSet::ADMIN)) {
        Ok(Call::Request(Request::Cron(ask))) => Ok(ask),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.message),
    }
}

#[track_caller]
fn check_refused(method: &str, params: &Value, expected: &str) {
    assert_eq!(read(method, params), Err(format!("invalid {method} params: {expected}")));
}

/// A job with this schedule.
fn with_schedule(schedule: Value) -> Value {
    json!({"name": "j", "schedule": schedule, "payload": {"kind": "systemEvent", "text": "t"}})
}

/// A job with this payload.
fn with_payload(payload: Value) -> Value {
    json!({"name": "j", "schedule": {"kind": "every", "everyMs": 1_000}, "payload": payload})
}

#[track_caller]
fn schedule(value: Value) -> ScheduleText {
    let Ok(CronRequest::Add(job)) = read("cron.add", &with_schedule(value)) else {
        panic!("refused")
    };
    job.schedule.text()
}

#[track_caller]
fn payload(params: &Value) -> CronPayload {
    match read("cron.add", params) {
        Ok(CronRequest::Add(job)) => job.payload,
        other => panic!("{other:?}"),
    }
}

#[test]
fn schedules_are_read_in_every_form_that_clients_send() {
    let at_ms = 4_102_444_800_000;
    for at in [
        json!({"kind": "at", "at": "2100-01-01T00:00:00Z"}),
        json!({"kind": "at", "at": "2100-01-01T01:00:00+01:00"}),
        json!({"kind": "at", "at": at_ms}),
        json!({"kind": "at", "atMs": at_ms}),
    ] {
        assert_eq!(schedule(at), ScheduleText::At { at_ms });
    }
    assert_eq!(
        schedule(json!({"kind": "every", "everyMs": 60_000, "anchorMs": 5})),
        ScheduleText::Every { every_ms: 60_000, anchor_ms: Some(5) }
    );
    for (cron, tz) in [
        (
            json!({"kind": "cron", "expr": "0 9 * * *", "tz": "europe/berlin"}),
            Some("Europe/Berlin"),
        ),
        (json!({"kind": "cron", "expr": "0 9 * * *"}), None),
        (json!("0 9 * * *"), None),
    ] {
        let (expr, tz) = (Arc::from("0 9 * * *"), tz.map(Arc::from));
        assert_eq!(schedule(cron), ScheduleText::Cron { expr, tz });
    }
}

#[test]
fn schedules_are_refused_by_field_and_column() {
    for (value, expected) in [
        (json!(5), "schedule must be an object"),
        (json!({}), "schedule.kind must be at, every or cron"),
        (
            json!({"kind": "cron", "expr": "0 25 * * *"}),
            "schedule.expr is malformed at column 3: the hour must be a number from 0 to 23",
        ),
        (
            json!("0 25 * * *"),
            "schedule is malformed at column 3: the hour must be a number from 0 to 23",
        ),
        (
            json!({"kind": "cron", "expr": "0 0 30 2 *"}),
            "schedule.expr never comes: no month has such a day",
        ),
        (
            json!({"kind": "cron", "expr": "* * * * *", "tz": "Europe/Belin"}),
            "schedule.tz must be an IANA time zone; Europe/Belin is none: \
             did you mean Europe/Berlin?",
        ),
        (json!({"kind": "cron"}), "schedule.expr must be a non-empty string"),
        (
            json!({"kind": "every", "everyMs": 999}),
            "schedule.everyMs must be a number from 1000 to 3162240000000",
        ),
        (json!({"kind": "every"}), "schedule.everyMs must be a number from 1000 to 3162240000000"),
        (
            json!({"kind": "at", "at": "soon"}),
            "schedule.at must be a moment such as 2026-11-22T18:43:42Z, or Unix milliseconds",
        ),
    ] {
        check_refused("cron.add", &with_schedule(value), expected);
    }
}

#[test]
fn payloads_are_read_in_every_form_that_clients_send() {
    let message = || Arc::from("go");
    let turn = |agent: Option<&str>, session: Option<&str>| CronPayload::AgentTurn {
        agent: agent.map(AgentName::new),
        session: session.map(SessionKey::new),
        message: message(),
        model: None,
        timeout_ms: None,
    };
    let full = json!({"kind": "agentTurn", "agentId": "a1", "message": "go"});
    assert_eq!(payload(&with_payload(full)), turn(Some("a1"), None));
    // What the Python SDK sends.
    let mut sdk = with_payload(json!({"message": "go"}));
    sdk["sessionTarget"] = json!("agent:a1:main");
    assert_eq!(payload(&sdk), turn(None, Some("agent:a1:main")));
    // What the reference client sends.
    let mut reference = with_payload(json!({"kind": "agentTurn", "message": "go"}));
    reference["sessionTarget"] = json!("isolated");
    reference["agentId"] = json!("a1");
    assert_eq!(payload(&reference), turn(Some("a1"), None));
    let spawn = json!({
        "kind": "spawn", "command": "make", "args": ["test"], "env": {"A": "1"}, "cwd": "/tmp",
        "timeoutMs": 5_000,
    });
    let CronPayload::Spawn(spawn) = payload(&with_payload(spawn)) else { panic!("no spawn") };
    assert_eq!((&*spawn.command, spawn.args.len(), spawn.timeout_ms), ("make", 1, Some(5_000)));
    assert_eq!(spawn.env, [("A".to_owned(), "1".to_owned())]);
}

#[test]
fn payloads_are_refused_by_field() {
    for (value, expected) in [
        (json!({}), "payload.kind must be spawn, agentTurn or systemEvent"),
        (json!({"kind": "email"}), "payload.kind must be spawn, agentTurn or systemEvent"),
        (json!({"kind": "systemEvent"}), "payload.text must be a non-empty string"),
        (json!({"kind": "agentTurn"}), "payload.message must be a non-empty string"),
        (
            json!({"message": "m", "agentId": "a 1"}),
            "payload.agentId may hold letters, digits, dot, _ and - only",
        ),
        (
            json!({"message": "m", "agentId": "a1", "sessionKey": "a2:x"}),
            "payload.sessionKey must begin with a1: or agent:a1:",
        ),
        (json!({"kind": "spawn"}), "payload.command must be a non-empty string"),
        (json!({"command": "c", "args": [1]}), "payload.args[0] must be a string"),
        (
            json!({"command": "c", "args": ["a\0b"]}),
            "payload.args[0] may not contain a NUL character",
        ),
        (json!({"command": "./c"}), "payload.command must be a name or an absolute path"),
        (json!({"command": "c", "cwd": "src"}), "payload.cwd must be an absolute path"),
        (json!({"command": "c", "env": {"A": 1}}), "payload.env \"A\" must be a string"),
        (json!({"command": "c", "env": {"PATH": "/x"}}), "payload.env \"PATH\" may not be set"),
        (
            json!({"command": "c", "env": {"LD_PRELOAD": "x"}}),
            "payload.env \"LD_PRELOAD\" may not be set",
        ),
        (
            json!({"command": "c", "env": {"OPENCLAW_SPAWN_ID": "x"}}),
            "payload.env \"OPENCLAW_SPAWN_ID\" may not be set",
        ),
        (
            json!({"command": "c", "env": {"1\"": ""}}),
            "payload.env may hold names of letters, digits and _ only, that begin with no digit",
        ),
        (json!({"text": "x".repeat(20_000)}), "payload must be at most 16384 bytes of JSON"),
    ] {
        check_refused("cron.add", &with_payload(value), expected);
    }
}

#[test]
fn changes_stand_in_a_patch_or_beside_the_id() {
    let id = JobId::new("job-1");
    for params in [
        json!({"id": "job-1", "patch": {"enabled": false, "missed": "run-once"}}),
        json!({"jobId": "job-1", "enabled": false, "missed": "run-once"}),
    ] {
        let Ok(CronRequest::Update(job, patch)) = read("cron.update", &params) else {
            panic!("refused")
        };
        assert_eq!((&job, patch.enabled, patch.missed), (&id, Some(false), Some(Missed::RunOnce)));
        assert_eq!((patch.name, patch.schedule), (None, None));
    }
    check_refused("cron.update", &json!({"patch": {}}), "id must be a non-empty string");
    check_refused(
        "cron.update",
        &json!({"id": "j", "patch": {"schedule": {"kind": "cron", "expr": "x"}}}),
        "patch.schedule.expr is malformed at column 1: the minute must be a number from 0 to 59",
    );
    check_refused(
        "cron.update",
        &json!({"id": "j", "patch": {"name": " "}}),
        "patch.name must be a non-empty string",
    );
    check_refused(
        "cron.remove",
        &json!({"id": "a", "jobId": "b"}),
        "jobId must be the same as id, or absent",
    );
}

#[test]
fn the_other_parameters_are_read_and_checked() {
    let job = || JobId::new("j");
    assert_eq!(
        read("cron_runs", &json!({"id": "j", "limit": 1_000})),
        Ok(CronRequest::Runs { job: job(), limit: 50 })
    );
    assert_eq!(
        read("cron.run", &json!({"id": "j", "mode": "due"})),
        Ok(CronRequest::Run { job: job(), only_if_due: true, idempotency: None })
    );
    assert_eq!(
        read("cron.run", &json!({"jobId": "j"})),
        Ok(CronRequest::Run { job: job(), only_if_due: false, idempotency: None })
    );
    check_refused("cron.run", &json!({"id": "j", "mode": "now"}), "mode must be force or due");
    check_refused("cron.list", &json!({"limit": 0}), "limit must be a whole number, 1 or more");
    check_refused("cron.add", &json!({"schedule": "* * * * *"}), "name must be a non-empty string");
    check_refused(
        "cron.add",
        &json!({"name": "j", "missed": "never"}),
        "missed must be skip or run-once",
    );
}
