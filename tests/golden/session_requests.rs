//! Reports and requests about sessions and agents: parameters, aliases, and whose is whose.

use expect_test::{Expect, expect};
use openclaw_gateway::protocol::hello::Grant;
use openclaw_gateway::protocol::request::{
    AgentReport, Call, LogFilter, Read, Request, SessionNamed, SessionUsage, parse,
};
use openclaw_gateway::protocol::scope::ScopeSet;
use serde_json::{Value, json};

use crate::requests::check_access;
use crate::samples::{NOW, agent, operator, parse_frame, session};

fn call(method: &str, params: &str, grant: &Grant) -> Result<Request, String> {
    let text = format!(r#"{{"type":"req","id":"1","method":"{method}","params":{params}}}"#);
    match parse(&parse_frame(&text), grant, NOW) {
        Ok(Call::Request(request)) => Ok(request),
        Ok(call) => panic!("{call:?}"),
        Err(error) => Err(error.message),
    }
}

/// What an agent called `agent1` is told about each of these parameters.
#[track_caller]
fn check_errors(method: &str, grant: &Grant, params: &[&str], expected: Expect) {
    let mut lines = String::new();
    for params in params {
        lines.push_str(&call(method, params, grant).expect_err(params));
        lines.push('\n');
    }
    expected.assert_eq(&lines);
}

#[test]
fn every_method_about_sessions_is_open_to_exactly_those_who_may_call_it() {
    let (none, read) = (Value::Null, "operator.read");
    for method in [
        "sessions.list",
        "sessions.usage",
        "logs.subscribe",
        "agents.list",
        "node.list",
        "config.get",
        "channels.status",
        "models.list",
        "last-heartbeat",
    ] {
        check_access(method, &none, [false, true, true, false], read);
    }
    let session = json!({"key": "agent1:s", "inputTokens": 1, "outputTokens": 1});
    check_access("sessions.get", &session, [false, true, true, false], read);
    for method in ["sessions.patch", "sessions.reset", "sessions.delete"] {
        check_access(method, &session, [false; 4], "operator.admin");
    }
    for method in ["session.update", "session.usage"] {
        check_access(method, &session, [false, false, true, true], "operator.write");
    }
    let status = json!({"name": "agent1", "status": "idle"});
    check_access("agent.status", &status, [false, false, true, true], "operator.write");
    let event = json!({"event": "notification", "payload": {}});
    check_access("events.publish", &event, [false, false, true, true], "operator.write");
}

#[test]
fn every_parameter_of_usage_is_checked_and_named() {
    check_errors(
        "session.usage",
        &agent("agent1"),
        &[
            r#"{"key":"agent1:s","outputTokens":1}"#,
            r#"{"key":"agent1:s","inputTokens":-1,"outputTokens":1}"#,
            r#"{"key":"agent1:s","inputTokens":1.5,"outputTokens":1}"#,
            r#"{"key":"agent1:s","inputTokens":9007199254740993,"outputTokens":1}"#,
            r#"{"key":"agent1:s","inputTokens":1,"outputTokens":1,"cost":"1"}"#,
            r#"{"key":"agent1:s","inputTokens":1,"outputTokens":1,"cost":-0.1}"#,
            r#"{"key":"agent1:s","inputTokens":1,"outputTokens":1,"messages":[]}"#,
            r#"{"key":"agent1:s","inputTokens":1,"outputTokens":1,"model":7}"#,
            r#"{"key":"agent1:s","inputTokens":1,"outputTokens":1,"idempotencyKey":""}"#,
            r#"{"inputTokens":1,"outputTokens":1}"#,
            r#"{"key":"agent1:\u0000","inputTokens":1,"outputTokens":1}"#,
        ],
        expect![[r#"
            invalid session.usage params: inputTokens must be a whole number from 0 to 9007199254740992
            invalid session.usage params: inputTokens must be a whole number from 0 to 9007199254740992
            invalid session.usage params: inputTokens must be a whole number from 0 to 9007199254740992
            invalid session.usage params: inputTokens must be a whole number from 0 to 9007199254740992
            invalid session.usage params: cost must be a number from 0 to 1000000000
            invalid session.usage params: cost must be a number from 0 to 1000000000
            invalid session.usage params: messages must be a whole number from 0 to 9007199254740992
            invalid session.usage params: model must be a string
            invalid session.usage params: idempotencyKey must be a non-empty string
            invalid session.usage params: key must be a non-empty string
            invalid session.usage params: key may not contain control characters
        "#]],
    );
}

#[test]
fn an_agent_reports_only_its_own_sessions() {
    let usage = |key: &str| json!({"key": key, "inputTokens": 1, "outputTokens": 2}).to_string();
    for key in ["agent1:s", "agent:agent1:s", "agent1:s:t"] {
        for method in ["session.usage", "session_usage", "session.update"] {
            assert!(call(method, &usage(key), &agent("agent1")).is_ok(), "{key}");
        }
    }
    for key in ["agent2:s", "agent1", "agent1:", "agent:agent2:s", "agent:agent1:", "s", "agent:s"]
    {
        for method in ["session.usage", "session.update"] {
            let error = call(method, &usage(key), &agent("agent1")).unwrap_err();
            let expected =
                format!("invalid {method} params: key must begin with agent1: or agent:agent1:");
            assert_eq!(error, expected, "{key}");
            assert!(call(method, &usage(key), &operator(ScopeSet::WRITE)).is_ok());
        }
    }
}

#[test]
fn numbers_are_read_exactly() {
    let params = r#"{"sessionKey":"a:s","inputTokens":9007199254740992,"outputTokens":0,
        "cost":0.30000000000000004,"idempotencyKey":null}"#;
    let request = call("session.usage", params, &operator(ScopeSet::WRITE)).unwrap();
    let Request::SessionUsage(usage) = request else { panic!("{request:?}") };
    let SessionUsage { key, input_tokens, cost, messages, .. } = *usage;
    assert_eq!((key, input_tokens, messages), (session("a:s"), 1 << 53, 0));
    assert_eq!(cost.0, 300_000_000);
}

#[test]
fn a_change_keeps_its_idempotency_key_and_level_is_something_else_under_each_name() {
    let admin = operator(ScopeSet::ADMIN);
    let level = r#"{"key":"a:s","level":"high","label":"x","idempotencyKey":"k"}"#;
    let of = |method: &str| match call(method, level, &admin).unwrap() {
        Request::SessionsPatch(patch) => patch.idempotency.unwrap(),
        Request::SessionsReset(named) | Request::SessionsDelete(named) => {
            named.idempotency.unwrap()
        }
        other => panic!("{other:?}"),
    };
    let patched = of("sessions.patch");
    assert_eq!(patched.key, "k");
    for same in ["sessions_patch", "sessions.reset", "session_delete"] {
        assert_eq!(of(same), patched, "{same}: the method keeps them apart");
    }
    let names = ["session_setLabel", "session_setThinking", "session_setVerbose"];
    let mut hashes: Vec<_> = names.iter().map(|name| of(name).params_hash).collect();
    hashes.push(patched.params_hash);
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 4);
}

#[test]
fn aliases_set_what_their_name_says() {
    let admin = operator(ScopeSet::ADMIN);
    let patch = |method: &str, params: &str| {
        let request = call(method, params, &admin).unwrap();
        let Request::SessionsPatch(patch) = request else { panic!("{request:?}") };
        assert_eq!(patch.key, session("a:s"));
        [patch.label, patch.model, patch.thinking, patch.verbose, patch.reasoning]
            .map(|text| text.as_deref().unwrap_or("-").to_owned())
            .join(" ")
    };
    let level = r#"{"sessionKey":"a:s","level":"high"}"#;
    assert_eq!(patch("session_setThinking", level), "- - high - -");
    assert_eq!(patch("session_setVerbose", level), "- - - high -");
    assert_eq!(patch("session_setReasoning", level), "- - - - high");
    assert_eq!(patch("session_setLabel", r#"{"sessionKey":"a:s","label":"x"}"#), "x - - - -");
    assert_eq!(patch("sessions.patch", r#"{"key":"a:s","model":"m","level":"x"}"#), "- m - - -");
    assert_eq!(
        call("session_setThinking", r#"{"key":"a:s","thinking":"high"}"#, &admin).unwrap_err(),
        "invalid sessions.patch params: level must be a string"
    );
    for method in ["sessions.delete", "session_delete", "sessions_delete"] {
        let deleted = call(method, r#"{"sessionKey":"a:s"}"#, &admin).unwrap();
        let named = SessionNamed { key: session("a:s"), idempotency: None };
        assert_eq!(deleted, Request::SessionsDelete(named));
    }
    assert_eq!(
        call("session_delete", r#"{"key":"a:s","sessionKey":"a:t"}"#, &admin).unwrap_err(),
        "invalid sessions.delete params: sessionKey must be the same as key, or absent"
    );
    for method in ["sessions.patch", "session_setLabel", "sessions.reset", "session_delete"] {
        let error = call(method, r#"{"key":"a:s"}"#, &operator(ScopeSet::WRITE)).unwrap_err();
        assert_eq!(error, "missing scope: operator.admin");
    }
}

#[test]
fn a_status_is_its_agents_own() {
    let params = r#"{"name":"agent2","status":"busy","id":7}"#;
    let name = |grant: &Grant| match call("agent.status", params, grant).unwrap() {
        Request::AgentStatus(AgentReport { name, id: Some(7), .. }) => name.to_string(),
        request => panic!("{request:?}"),
    };
    assert_eq!(name(&agent("agent1")), "agent1");
    assert_eq!(name(&operator(ScopeSet::WRITE)), "agent2");
    check_errors(
        "agent.status",
        &operator(ScopeSet::WRITE),
        &[
            r#"{"status":"busy"}"#,
            r#"{"name":"a b","status":"busy"}"#,
            r#"{"name":"a"}"#,
            r#"{"name":"a","status":""}"#,
            r#"{"name":"a","status":"busy","id":0}"#,
            r#"{"name":"a","status":"busy","id":"7"}"#,
            r#"{"name":"a","status":"busy","last_activity":7}"#,
        ],
        expect![[r#"
            invalid agent.status params: name must be an agent's name: letters, digits, . _ -
            invalid agent.status params: name must be an agent's name: letters, digits, . _ -
            invalid agent.status params: status must be a non-empty string
            invalid agent.status params: status must be a non-empty string
            invalid agent.status params: id must be a whole number from 1 to 9007199254740991
            invalid agent.status params: id must be a whole number, 0 or more
            invalid agent.status params: last_activity must be a string
        "#]],
    );
}

fn publish(params: &Value, grant: &Grant) -> Result<String, String> {
    match call("events.publish", &params.to_string(), grant)? {
        Request::EventsPublish(publish) => Ok(publish.payload.to_string()),
        request => panic!("{request:?}"),
    }
}

#[test]
fn who_speaks_in_a_published_event_is_not_the_speakers_choice() {
    let payload = json!({
        "agentId": "agent2", "source": "operator", "agentName": "agent2", "from_agent": "x",
        "name": "shell", "session": "agent1:s", "output": " a  b ",
    });
    let params = |event: &str| json!({"event": event, "payload": payload});
    let mut lines = String::new();
    for (event, grant) in [
        ("tool.stream", agent("agent1")),
        ("notification", agent("agent1")),
        ("notification", operator(ScopeSet::WRITE)),
    ] {
        lines.push_str(&publish(&params(event), &grant).unwrap());
        lines.push('\n');
    }
    expect![[r#"
        {"agentName":"agent1","from_agent":"agent1","name":"shell","output":" a  b ","session":"agent1:s","agentId":"agent1","source":"agent1"}
        {"agentName":"agent1","from_agent":"agent1","name":"agent1","output":" a  b ","session":"agent1:s","agentId":"agent1","source":"agent1"}
        {"agentId":"agent2","agentName":"agent2","from_agent":"x","name":"shell","output":" a  b ","session":"agent1:s","source":"operator"}
    "#]].assert_eq(&lines);
    for member in ["session", "sessionKey", "sessionId", "conversation_id"] {
        let params = json!({"event": "tool.stream", "payload": {member: "agent2:s"}});
        assert_eq!(
            publish(&params, &agent("agent1")).unwrap_err(),
            format!(
                "invalid events.publish params: payload {member} must begin with agent1: or \
                 agent:agent1:"
            )
        );
    }
}

#[test]
fn only_known_events_with_readable_payloads_are_published() {
    check_errors(
        "events.publish",
        &agent("agent1"),
        &[
            r#"{"payload":{}}"#,
            r#"{"event":"chat","payload":{}}"#,
            r#"{"event":"shutdown","payload":{}}"#,
            r#"{"event":"notification"}"#,
            r#"{"event":"notification","payload":[]}"#,
            r#"{"event":"notification","payload":{"a":1,"a":2}}"#,
            r#"{"event":"notification","payload":{"agentId":"x","agent\u0049d":"y"}}"#,
            r#"{"event":"notification","payload":{"a":"\ud800"}}"#,
            r#"{"event":"notification","payload":{"session":7}}"#,
        ],
        expect![[r#"
            invalid events.publish params: event must be a non-empty string
            invalid events.publish params: event must be one of notification, tool.stream, context.compaction, model.fallback, token_usage
            invalid events.publish params: event must be one of notification, tool.stream, context.compaction, model.fallback, token_usage
            invalid events.publish params: payload must be an object
            invalid events.publish params: payload must be an object
            invalid events.publish params: payload is not readable JSON: a member stands there twice at line 1 column 10
            invalid events.publish params: payload is not readable JSON: a member stands there twice at line 1 column 29
            invalid events.publish params: payload is not readable JSON: unexpected end of hex escape at line 1 column 13
            invalid events.publish params: payload session must be a string
        "#]],
    );
    let deep = format!("{}{}", r#"{"a":"#.repeat(65), "1".to_owned() + &"}".repeat(65));
    let deep = format!(r#"{{"event":"notification","payload":{deep}}}"#);
    let error = call("events.publish", &deep, &agent("agent1")).unwrap_err();
    assert!(error.contains("deeper than 64 levels"), "{error}");
}

#[test]
fn lists_and_subscriptions_are_read() {
    let read = operator(ScopeSet::READ);
    check_errors(
        "sessions.list",
        &read,
        &[
            r#"{"limit":0}"#,
            r#"{"limit":"all"}"#,
            r#"{"cursor":"?"}"#,
            r#"{"cursor":7}"#,
            r#"{"agent":7}"#,
            r#"{"activeWithinMs":-1}"#,
        ],
        expect![[r#"
            invalid sessions.list params: limit must be a whole number, 1 or more
            invalid sessions.list params: limit must be a whole number, 1 or more
            invalid sessions.list params: cursor must be one that sessions.list gave
            invalid sessions.list params: cursor must be a string
            invalid sessions.list params: agent must be a string
            invalid sessions.list params: activeWithinMs must be a whole number, 0 or more
        "#]],
    );
    let request = call("sessions.list", r#"{"limit":1000000}"#, &read).unwrap();
    let Request::Read(Read::SessionsList(list)) = request else { panic!("{request:?}") };
    assert_eq!((list.limit, list.cursor), (1_000, None));
    let filter = LogFilter { source: Some("a".to_owned()), ..LogFilter::default() };
    for (params, expected) in
        [("{}", None), (r#"{"level":null,"source":""}"#, None), (r#"{"source":"a"}"#, Some(filter))]
    {
        let request = call("logs.subscribe", params, &read).unwrap();
        assert_eq!(request, Request::LogsSubscribe(expected), "{params}");
    }
}
