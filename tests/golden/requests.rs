//! Requests after the handshake: methods, scopes, parameters.

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::Cursor;
use openclaw_gateway::protocol::error::{ErrorCode, ProtocolError};
use openclaw_gateway::protocol::frame::write_failure;
use openclaw_gateway::protocol::hello::Grant;
use openclaw_gateway::protocol::log_entry::{Level, LogDraft};
use openclaw_gateway::protocol::request::{Call, LogsAppend, LogsTail, Request, parse};
use openclaw_gateway::protocol::scope::ScopeSet;
use serde_json::{Value, json};

use crate::samples::{NOW, agent, captured, operator, owner, parse_frame, session, written};

pub(crate) fn call(method: &str, params: &Value, grant: &Grant) -> Result<Call, ProtocolError> {
    let text = json!({"type": "req", "id": "1", "method": method, "params": params}).to_string();
    parse(&parse_frame(&text), grant, NOW)
}

#[test]
fn a_captured_ping_needs_no_scope() {
    let text = captured()[2].to_string();
    assert_eq!(parse(&parse_frame(&text), &operator(ScopeSet::NONE), NOW).unwrap(), Call::Ping);
}

/// Whether each kind of peer may call a method: no scope, read, write, an agent.
#[track_caller]
pub(crate) fn check_access(method: &str, params: &Value, allowed: [bool; 4], missing: &str) {
    let grants = [
        operator(ScopeSet::NONE),
        operator(ScopeSet::READ),
        operator(ScopeSet::WRITE),
        agent("agent1"),
    ];
    for (grant, allowed) in grants.iter().zip(allowed) {
        match call(method, params, grant) {
            Ok(_) => assert!(allowed, "{method} {grant:?}"),
            Err(error) => {
                assert!(!allowed, "{method} {grant:?} {error:?}");
                assert_eq!(error.code, ErrorCode::InvalidRequest);
                assert_eq!(error.message, format!("missing scope: {missing}"));
            }
        }
    }
    assert!(call(method, params, &operator(ScopeSet::ADMIN)).is_ok());
}

#[test]
fn every_method_is_open_to_exactly_those_who_may_call_it() {
    let none = Value::Null;
    check_access("ping", &none, [true; 4], "");
    check_access("health", &none, [true; 4], "");
    let read = "operator.read";
    check_access("status", &none, [false, true, true, false], read);
    check_access("system-presence", &none, [false, true, true, false], read);
    check_access("logs.tail", &none, [false, true, true, false], read);
    let entries = json!({"entries": [{"level": "info", "message": ""}]});
    check_access("logs.append", &entries, [false, false, true, true], "operator.write");
    let pairing = "operator.pairing";
    check_access("device.pair.list", &none, [false; 4], pairing);
    for method in ["device.pair.approve", "device.pair.reject"] {
        check_access(method, &json!({"requestId": "p"}), [false; 4], pairing);
    }
    for method in ["device.pair.remove", "device.token.rotate", "device.token.revoke"] {
        check_access(method, &json!({"deviceId": "d"}), [false; 4], pairing);
        assert!(call(method, &json!({"deviceId": "d"}), &operator(ScopeSet::PAIRING)).is_ok());
    }
    check_access("auth.rateLimit.clear", &none, [false; 4], "operator.admin");
}

#[test]
fn what_is_the_owners_alone_is_refused_to_every_scope() {
    for method in ["device.pair.forget", "device.pair.code"] {
        let params = json!({"deviceId": "d"});
        for grant in [operator(ScopeSet::ALL), operator(ScopeSet::ADMIN), agent("agent1")] {
            let error = call(method, &params, &grant).unwrap_err();
            let sentence = format!("{method} is taken from the local control socket only");
            assert_eq!((error.code, error.message), (ErrorCode::InvalidRequest, sentence));
        }
        assert!(call(method, &params, &owner()).is_ok());
    }
}

#[test]
fn a_peer_without_the_scope_learns_nothing_of_its_parameters() {
    let error = call("logs.append", &json!({"entries": 1}), &operator(ScopeSet::READ)).unwrap_err();
    assert_eq!(error.message, "missing scope: operator.write");
}

#[test]
fn an_unknown_method_is_named_but_cannot_end_a_client() {
    let grant = operator(ScopeSet::ADMIN);
    let message = |method: &str| {
        let error = call(method, &Value::Null, &grant).unwrap_err();
        let frame = written(|out| write_failure(out, "1", &error));
        let frame: Value = serde_json::from_str(&frame).unwrap();
        frame["error"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(message("wizard.start"), "unknown method: wizard.start");
    assert_eq!(message("rate limited"), "unknown method: (…)");
    assert_eq!(message("x/CLIENT/id"), "unknown method: x(…)");
    assert_eq!(message("invalid connect params"), "unknown method: (…)");
    assert_eq!(message(&"m".repeat(1_000)), format!("unknown method: {}…", "m".repeat(64)));
    assert_eq!(message("a\nb"), "unknown method: a\u{fffd}b");
}

fn tail(params: &Value) -> LogsTail {
    match call("logs.tail", params, &operator(ScopeSet::READ)).unwrap() {
        Call::Request(Request::LogsTail(tail)) => tail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn logs_tail_has_defaults_and_maxima() {
    for params in [
        Value::Null,
        json!({}),
        json!({"cursor": null, "limit": null, "x": 1}),
        json!({"source": "", "session": ""}),
    ] {
        let LogsTail { cursor, limit, bytes_max, filter } = tail(&params);
        assert_eq!((cursor, limit, bytes_max), (None, 500, 250_000));
        assert_eq!(filter, Default::default());
    }
    let all = tail(&json!({
        "cursor": 0, "limit": 1, "maxBytes": 1000, "level": "WARNING", "source": "agent1",
        "session": "agent1:chat",
    }));
    assert_eq!((all.cursor, all.limit, all.bytes_max), (Some(Cursor(0)), 1, 1_000));
    assert_eq!(all.filter.level_min, Some(Level::Warn));
    assert_eq!(all.filter.source.as_deref(), Some("agent1"));
    assert_eq!(all.filter.session, Some(session("agent1:chat")));
    let large = tail(&json!({"cursor": u64::MAX, "limit": u64::MAX, "maxBytes": 1_000_001}));
    assert_eq!(large.cursor, Some(Cursor(u64::MAX)));
    assert_eq!((large.limit, large.bytes_max), (5_000, 1_000_000));
}

fn append(params: &Value, grant: &Grant) -> LogsAppend {
    match call("logs.append", params, grant).unwrap() {
        Call::Request(Request::LogsAppend(append)) => append,
        other => panic!("{other:?}"),
    }
}

fn entry(entry: Value, grant: &Grant) -> LogDraft {
    append(&json!({"entries": [entry]}), grant).entries.remove(0)
}

#[test]
fn an_entry_is_encoded_once_with_its_defaults() {
    let writer = operator(ScopeSet::WRITE);
    let least = entry(json!({"level": "info", "message": "é\n\"\\\u{1}"}), &writer);
    assert_eq!((least.level, &*least.source, least.session), (Level::Info, "operator", None));
    assert_eq!(
        &*least.body,
        r#""timestamp":1795373022123,"level":"info","source":"operator","message":"é\n\"\\\u0001""#
    );
    let most = entry(
        json!({
            "level": "Fatal", "message": "m", "source": "deploy", "session": "any:thing",
            "timestamp": 1, "extra": {"a": [1.50, {"b c": "d e\" ,"}], "n": 12345678901234567890u64},
            "x": 1,
        }),
        &writer,
    );
    assert_eq!((most.level, &*most.source), (Level::Error, "deploy"));
    assert_eq!(most.session, Some(session("any:thing")));
    assert_eq!(
        &*most.body,
        r#""timestamp":1,"level":"error","source":"deploy","session":"any:thing","message":"m","extra":{"a":[1.5,{"b c":"d e\" ,"}],"n":12345678901234567890}"#
    );
    // `null` and empty count as absent.
    let nulls = json!({
        "level": "info", "message": "", "source": "", "session": "", "timestamp": null,
        "extra": null,
    });
    assert_eq!(
        &*entry(nulls, &writer).body,
        r#""timestamp":1795373022123,"level":"info","source":"operator","message":"""#
    );
}

#[test]
fn extra_is_kept_as_written_but_for_the_space_between() {
    let text = r#"{"type":"req","id":"1","method":"logs.append","params":{"entries":[
        {"level":"info","message":"","extra":{ "z" : 1.50, "a b" : "\"  \\" ,
            "big" : 123456789012345678901234567890, "e" : 1E5, "deep":[ [ ] , { } ] , "u" : "\u00e9" } }
    ]}}"#;
    let Call::Request(Request::LogsAppend(append)) =
        parse(&parse_frame(text), &agent("agent1"), 0).unwrap()
    else {
        panic!("it is an append")
    };
    let (_, extra) = append.entries[0].body.split_once(r#""extra":"#).unwrap();
    assert_eq!(
        extra,
        r#"{"z":1.50,"a b":"\"  \\","big":123456789012345678901234567890,"e":1E5,"deep":[[],{}],"u":"\u00e9"}"#
    );
}

#[test]
fn an_agent_speaks_only_as_itself() {
    let own = agent("agent1");
    let said = |session: Value| {
        call(
            "logs.append",
            &json!({"entries": [
                {"level": "info", "message": "m", "source": "other", "session": session},
            ]}),
            &own,
        )
    };
    for key in [Value::Null, json!("agent1:chat"), json!("agent:agent1:chat:x")] {
        let Ok(Call::Request(Request::LogsAppend(append))) = said(key) else { panic!("refused") };
        assert_eq!(&*append.entries[0].source, "agent1");
    }
    for key in [
        "agent1",
        "agent1:",
        "agent2:chat",
        "agent:agent2:chat",
        "agent:agent1",
        "agent:agent1:",
        "Agent1:chat",
        "agent12:chat",
        " agent1:chat",
        "agent:chat",
    ] {
        let error = said(json!(key)).unwrap_err();
        assert_eq!(
            error.message,
            "invalid logs.append params: entries[0].session must begin with agent1: or agent:agent1:"
        );
    }
}

#[test]
fn an_agent_that_is_called_agent_owns_no_other_agents_session() {
    let may = |key: &str| {
        let params = json!({"entries": [{"level": "info", "message": "m", "session": key}]});
        call("logs.append", &params, &agent("agent")).is_ok()
    };
    assert!(may("agent:chat") && may("agent:agent:chat"));
    assert!(!may("agent:agent1:chat") && !may("agent:") && !may("agent::x"));
}

#[test]
fn an_idempotency_key_goes_with_the_hash_of_the_params_as_sent() {
    let writer = operator(ScopeSet::WRITE);
    let keyed = |message: &str| {
        let params = json!({
            "entries": [{"level": "info", "message": message}], "idempotencyKey": "k",
        });
        append(&params, &writer).idempotency.unwrap()
    };
    assert_eq!(keyed("a"), keyed("a"));
    assert_ne!(keyed("a").params_hash, keyed("b").params_hash);
    assert_eq!(keyed("a").key, "k");
    let without = json!({"entries": [{"level": "info", "message": ""}]});
    assert_eq!(append(&without, &writer).idempotency, None);
}

/// The refusals of many parameters, one a line.
#[track_caller]
fn check(method: &str, cases: &[Value], expected: &Expect) {
    let mut lines = String::new();
    for params in cases {
        let error = call(method, params, &operator(ScopeSet::ADMIN)).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        let prefix = format!("invalid {method} params: ");
        lines.push_str(error.message.strip_prefix(&prefix).expect("it says so"));
        lines.push('\n');
    }
    expected.assert_eq(&lines);
}

#[test]
fn params_must_be_an_object() {
    for method in ["ping", "health", "status", "system-presence", "logs.tail", "logs.append"] {
        let cases = [json!([]), json!("x"), json!(1), json!(false)];
        check(
            method,
            &cases,
            &expect![[r#"
            must be an object
            must be an object
            must be an object
            must be an object
        "#]],
        );
    }
}

#[test]
fn logs_tail_refuses_by_the_name_of_the_field() {
    check(
        "logs.tail",
        &[
            json!({"cursor": "7"}),
            json!({"cursor": -1}),
            json!({"limit": 0}),
            json!({"limit": 1.5}),
            json!({"maxBytes": 0}),
            json!({"level": "loud"}),
            json!({"level": 3}),
            json!({"source": ["agent1"]}),
            json!({"session": {}}),
            json!({"session": "x".repeat(257)}),
        ],
        &expect![[r#"
            cursor must be a whole number, 0 or more
            cursor must be a whole number, 0 or more
            limit must be a whole number, 1 or more
            limit must be a whole number, 1 or more
            maxBytes must be a whole number, 1 or more
            level must be one of debug, info, warn, error (or trace, warning, fatal, critical)
            level must be a string
            source must be a string
            session must be a string
            session must be at most 256 bytes long
        "#]],
    );
}

#[test]
fn logs_append_refuses_by_the_place_of_the_field() {
    let good = json!({"level": "info", "message": "m"});
    let third = |field: &str, value: Value| {
        let mut bad = good.clone();
        bad[field] = value;
        json!({ "entries": [good, good, bad] })
    };
    let mut deep = json!(1);
    for _ in 0..64 {
        deep = json!([deep]);
    }
    check(
        "logs.append",
        &[
            json!({}),
            json!({"entries": {}}),
            json!({"entries": []}),
            json!({"entries": [good, 7]}),
            json!({"entries": vec![good.clone(); 1_001]}),
            third("level", Value::Null),
            third("level", json!("loud")),
            third("level", json!(["info"])),
            third("message", Value::Null),
            third("message", json!({"text": "secret"})),
            third("message", json!("x".repeat(65_537))),
            third("source", json!(1)),
            third("source", json!("a\nb")),
            third("source", json!("x".repeat(129))),
            third("session", json!(1)),
            third("session", json!("a\u{7f}")),
            third("timestamp", json!("now")),
            third("timestamp", json!(-1)),
            third("timestamp", json!(8_640_000_000_000_001_u64)),
            third("extra", json!([])),
            third("extra", json!("{}")),
            third("extra", json!({"a": "x".repeat(65_536)})),
            third("extra", json!({"a": deep})),
            json!({"entries": [good], "idempotencyKey": 1}),
            json!({"entries": [good], "idempotencyKey": ""}),
            json!({"entries": [good], "idempotencyKey": "x".repeat(257)}),
        ],
        &expect![[r#"
            entries must be an array of at least one entry
            entries must be an array
            entries must be an array of at least one entry
            entries[1] must be an object
            entries must have at most 1000 elements
            entries[2].level must be one of debug, info, warn, error (or trace, warning, fatal, critical)
            entries[2].level must be one of debug, info, warn, error (or trace, warning, fatal, critical)
            entries[2].level must be a string
            entries[2].message must be a string
            entries[2].message must be a string
            entries[2].message must be at most 65536 bytes long
            entries[2].source must be a string
            entries[2].source may not contain control characters
            entries[2].source must be at most 128 bytes long
            entries[2].session must be a string
            entries[2].session may not contain control characters
            entries[2].timestamp must be a whole number, 0 or more
            entries[2].timestamp must be a whole number, 0 or more
            entries[2].timestamp must be milliseconds since 1970
            entries[2].extra must be an object
            entries[2].extra must be an object
            entries[2].extra must be at most 65536 bytes of JSON
            entries[2].extra is not readable JSON: deeper than 64 levels at line 1 column 69
            idempotencyKey must be a string
            idempotencyKey must be a non-empty string
            idempotencyKey must be at most 256 bytes long
        "#]],
    );
}

#[test]
fn json_that_other_parsers_choke_on_is_not_passed_on() {
    for extra in [r#"{"a":"\ud800"}"#, r#"{"\udc00":1}"#, r#"{"a":1e999}"#] {
        let text = format!(
            r#"{{"type":"req","id":"1","method":"logs.append","params":{{"entries":[{{"level":"info","message":"","extra":{extra}}}]}}}}"#
        );
        let error = parse(&parse_frame(&text), &agent("agent1"), 0).unwrap_err();
        let start = "invalid logs.append params: entries[0].extra is not readable JSON: ";
        assert!(error.message.starts_with(start), "{}", error.message);
    }
    let text = r#"{"type":"req","id":"1","method":"logs.append","params":{"entries":[{"level":"info","message":"\ud800 x"}]}}"#;
    let error = parse(&parse_frame(text), &agent("agent1"), 0).unwrap_err();
    assert_eq!(
        error.message,
        "invalid logs.append params: entries[0].message must be a string without unpaired surrogates"
    );
}
