//! The parameters of the methods about runs and approvals, and what is refused among them.

use expect_test::{Expect, expect};
use openclaw_gateway::base::limits::{RUN_MESSAGE_BYTES_MAX, RUN_TIMEOUT_MAX};
use openclaw_gateway::protocol::hello::Grant;
use openclaw_gateway::protocol::request::{Call, Request, parse};
use openclaw_gateway::protocol::run_calls::{RunMethod, RunRequest};
use openclaw_gateway::protocol::scope::ScopeSet;
use serde_json::{Value, json};

use crate::samples::{NOW, agent, operator, parse_frame};

fn called(method: &str, params: &Value, grant: &Grant) -> Result<Request, String> {
    let text = json!({"type": "req", "id": "1", "method": method, "params": params}).to_string();
    match parse(&parse_frame(&text), grant, NOW) {
        Ok(Call::Request(request)) => Ok(request),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.message),
    }
}

fn asked(method: &str, params: &Value) -> RunRequest {
    match called(method, params, &operator(ScopeSet::WRITE)) {
        Ok(Request::Runs(request)) => *request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_way_to_ask_an_agent_is_understood() {
    for (method, params) in [
        (RunMethod::ChatSend, json!({"sessionKey": "a:b", "message": "hi", "deliver": false})),
        (RunMethod::ChatSend, json!({"key": "a:b", "message": "hi", "thinking": "auto"})),
        (RunMethod::ChatSend, json!({"sessionKey": "a:b", "message": "", "attachments": [{}]})),
        (RunMethod::Agent, json!({"message": "hi"})),
        (RunMethod::Agent, json!({"message": "hi", "agentId": "a", "sessionKey": "main"})),
        (RunMethod::SessionsSend, json!({"sessionKey": "a:b", "message": "hi"})),
        (RunMethod::SessionsSend, json!({"sessionKey": "a:b", "message": {"text": "hi"}})),
    ] {
        let name = match method {
            RunMethod::ChatSend => "chat.send",
            RunMethod::Agent => "agent",
            RunMethod::SessionsSend => "sessions_send",
        };
        match asked(name, &params) {
            RunRequest::Start(ask) => assert_eq!(ask.method, method, "{params}"),
            other => panic!("{other:?}"),
        }
    }
    let control = json!({"sessionKey": "a:b", "message": {"type": "control", "action": "pause"}});
    assert!(matches!(asked("sessions_send", &control), RunRequest::Control { .. }));
}

#[test]
fn a_time_limit_goes_by_several_names_and_is_bounded() {
    for (params, seconds) in [
        (json!({"timeoutMs": 1500}), Some(1.5)),
        (json!({"timeoutSeconds": 3}), Some(3.0)),
        (json!({"timeout": 4}), Some(4.0)),
        (json!({"timeoutMs": 0}), None),
        (json!({"timeoutSeconds": u64::MAX}), Some(RUN_TIMEOUT_MAX.as_secs_f64())),
        (json!({}), None),
    ] {
        let mut whole = json!({"message": "hi"});
        whole.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        let RunRequest::Start(ask) = asked("agent", &whole) else { panic!("{whole}") };
        assert_eq!(ask.timeout.map(|timeout| timeout.as_secs_f64()), seconds, "{whole}");
    }
}

#[test]
fn the_same_params_have_the_same_hash_and_others_another() {
    let hash = |message: &str| match asked("agent", &json!({"message": message})) {
        RunRequest::Start(ask) => ask.params_hash,
        other => panic!("{other:?}"),
    };
    assert_eq!(hash("a"), hash("a"));
    assert_ne!(hash("a"), hash("b"));
}

#[track_caller]
fn check(cases: &[(&str, Value)], grant: &Grant, expected: Expect) {
    let refused = cases.iter().map(|(method, params)| match called(method, params, grant) {
        Ok(request) => panic!("{method} {params} is taken: {request:?}"),
        Err(message) => message + "\n",
    });
    expected.assert_eq(&refused.collect::<String>());
}

#[test]
fn what_cannot_be_asked_is_refused_by_field() {
    let long = "x".repeat(RUN_MESSAGE_BYTES_MAX + 1);
    check(
        &[
            ("chat.send", json!({"message": "hi"})),
            ("chat.send", json!({"sessionKey": "a:b"})),
            ("chat.send", json!({"sessionKey": "a:b", "message": long})),
            ("chat.send", json!({"sessionKey": "a:b", "message": "hi", "attachments": {}})),
            ("chat.send", json!({"sessionKey": "a:b", "message": "hi", "idempotencyKey": 1})),
            ("chat.send", json!({"sessionKey": "a:b", "message": "hi", "idempotencyKey": "a\n"})),
            ("agent", json!({"message": "hi", "agentId": "a b"})),
            ("agent.wait", json!({})),
            ("chat.history", json!({"sessionKey": "a:b", "limit": 0})),
            ("chat.abort", json!({})),
            ("sessions.send", json!({"sessionKey": "a:b", "message": {"type": "control"}})),
            ("sessions.send", json!({"sessionKey": "a:b", "message": {}})),
            ("run.update", json!({"runId": "k", "state": "final"})),
        ],
        &operator(ScopeSet::WRITE),
        expect![[r#"
            invalid chat.send params: sessionKey must be a non-empty string
            invalid chat.send params: message must be a non-empty string
            invalid chat.send params: message must be at most 262144 bytes long
            invalid chat.send params: attachments must be an array
            invalid chat.send params: idempotencyKey must be a string
            invalid chat.send params: idempotencyKey may not contain control characters
            invalid agent params: agentId must be an agent's name: letters, digits, . _ -
            invalid agent.wait params: runId must be a non-empty string
            invalid chat.history params: limit must be a whole number, 1 or more
            invalid chat.abort params: sessionKey must be a non-empty string
            invalid sessions.send params: message.action must be a non-empty string
            invalid sessions.send params: message.content must be a non-empty string
            run.update is taken from agents only
        "#]],
    );
    check(
        &[
            ("run.update", json!({"runId": "k"})),
            ("run.update", json!({"runId": "k", "state": "done"})),
            ("run.update", json!({"runId": "k", "state": "final", "usage": []})),
            ("chat.send", json!({"sessionKey": "a:b", "message": "hi"})),
            ("exec.approval.request", json!({})),
            ("exec.approval.request", json!({"command": "x", "sessionKey": "other:s"})),
        ],
        &agent("a"),
        expect![[r#"
            invalid run.update params: state must be a non-empty string
            invalid run.update params: state must be delta, final, error or aborted
            invalid run.update params: usage must be an object
            missing scope: operator.write
            invalid exec.approval.request params: command must be a non-empty string
            invalid exec.approval.request params: sessionKey must begin with a: or agent:a:
        "#]],
    );
    check(
        &[
            ("exec.approval.resolve", json!({"id": "x", "decision": "perhaps"})),
            ("exec.approval.resolve", json!({"decision": "deny"})),
            ("exec.approvals.remove", json!({})),
            ("exec.approval.request", json!({"command": "x"})),
        ],
        &operator(ScopeSet::APPROVALS),
        expect![[r#"
            invalid exec.approval.resolve params: decision must be allow-once, allow-always or deny
            invalid exec.approval.resolve params: id must be a non-empty string
            invalid exec.approvals.remove params: id must be a non-empty string
            missing scope: operator.admin
        "#]],
    );
}
