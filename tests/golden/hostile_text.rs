//! Every message cut at every length and changed at every character: always a clear error or a
//! meaning, never a panic.

use openclaw_gateway::protocol::connect::{parse_connect, parse_first};
use openclaw_gateway::protocol::device::{DeviceProof, prove};
use openclaw_gateway::protocol::frame::{self, write_failure, write_refusal};
use openclaw_gateway::protocol::request::parse;
use serde_json::{Value, json};

use crate::samples::{NOW, agent, captured, written};

/// A message of every kind that a peer can send.
fn messages() -> Vec<String> {
    let mut messages: Vec<String> = captured().iter().map(Value::to_string).collect();
    for (method, params) in [
        ("connect", json!({"deviceToken": "dt_1"})),
        ("health", json!({})),
        ("status", json!(null)),
        ("system-presence", json!({"x": [1]})),
        ("logs.tail", json!({"cursor": 7, "limit": 3, "level": "warn", "session": "a:b"})),
        (
            "logs.append",
            json!({
                "entries": [
                    {"level": "info", "message": "é\n\u{1f980}", "session": "agent1:chat"},
                    {"level": "error", "message": "", "timestamp": 1, "extra": {"a": [1, {}]}},
                ],
                "idempotencyKey": "k",
            }),
        ),
    ] {
        messages.push(
            json!({"type": "req", "id": "7", "method": method, "params": params}).to_string(),
        );
    }
    messages
}

/// Reads a message as an unknown peer's and as an agent's; returns whether it was a request frame.
fn feed(text: &str) -> bool {
    match parse_first(text) {
        Ok(connect) => drop(prove(&connect, "n", NOW)),
        Err(refused) => {
            let answer = written(|out| write_refusal(out, &refused.id, &refused.refusal.error));
            assert_clear(&answer);
            assert!(refused.refusal.close.code().is_some());
        }
    }
    match frame::parse(text) {
        Ok(frame) => {
            if let Err(refusal) = parse_connect(&frame) {
                assert!(!refusal.error.message.is_empty());
            }
            if let Err(error) = parse(&frame, &agent("agent1"), NOW) {
                assert_clear(&written(|out| write_failure(out, &frame.id, &error)));
            }
            true
        }
        Err(error) => {
            assert_clear(&written(|out| write_failure(out, &error.id, &error.error)));
            false
        }
    }
}

fn assert_clear(answer: &str) {
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert_eq!(answer["ok"], false);
    assert!(!answer["id"].as_str().unwrap().is_empty());
    assert!(!answer["error"]["code"].as_str().unwrap().is_empty());
    assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
}

#[test]
fn a_message_cut_at_any_length_is_a_clear_error() {
    for message in messages() {
        assert!(feed(&message), "the whole message is a frame: {message}");
        for (end, _) in message.char_indices() {
            assert!(!feed(&message[..end]), "a beginning is a frame: {}", &message[..end]);
        }
    }
}

#[test]
fn a_message_changed_at_any_character_is_an_error_or_means_something_else() {
    for message in messages() {
        for (at, character) in message.char_indices() {
            let (before, after) = (&message[..at], &message[at + character.len_utf8()..]);
            for other in ["", "\"", "\\", "]", "\u{0}", "\\ud800"] {
                feed(&format!("{before}{other}{after}"));
            }
        }
    }
}

#[test]
fn depth_and_size_do_not_end_us() {
    let deep = 50_000;
    let nested = [
        "[".repeat(deep),
        "{\"a\":".repeat(deep),
        format!("{}{}", "[".repeat(deep), "]".repeat(deep)),
    ];
    for nested in &nested {
        feed(nested);
        feed(&format!(r#"{{"type":"req","id":"7","method":"connect","params":{nested}}}"#));
        for field in ["client", "auth", "device", "scopes", "agent", "deviceToken"] {
            let params = format!(r#"{{"{field}":{nested}}}"#);
            feed(&format!(r#"{{"type":"req","id":"7","method":"connect","params":{params}}}"#));
        }
        for field in ["level", "message", "extra"] {
            let entry = format!(r#"{{"level":"info","message":"m","{field}":{nested}}}"#);
            feed(&format!(
                r#"{{"type":"req","id":"7","method":"logs.append","params":{{"entries":[{entry}]}}}}"#
            ));
            let entry = format!(r#"{{"level":"info","message":"m","extra":{{"x":{nested}}}}}"#);
            feed(&format!(
                r#"{{"type":"req","id":"7","method":"logs.append","params":{{"entries":[{entry}]}}}}"#
            ));
        }
    }
    feed(&format!(r#"{{"type":"req","id":"7","method":"{}"}}"#, "x".repeat(1_000_000)));
}

/// The shipped stacks are larger; TLS and the socket's own work come on top of this.
const STACK_BYTES: usize = 128 * 1024;

#[test]
fn the_deepest_json_and_a_signature_fit_a_small_stack() {
    let work = || {
        for deep in [63, 64, 10_000] {
            let nested = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
            let entry = format!(r#"{{"level":"info","message":"m","extra":{{"x":{nested}}}}}"#);
            feed(&format!(
                r#"{{"type":"req","id":"7","method":"logs.append","params":{{"entries":[{entry}]}}}}"#
            ));
        }
        for message in messages() {
            feed(&message);
        }
        let signed = &captured()[1];
        let device = &signed["params"]["device"];
        let text = signed.to_string();
        let connect = parse_first(&text).unwrap();
        let proof = prove(
            &connect,
            device["nonce"].as_str().unwrap(),
            device["signedAt"].as_u64().unwrap(),
        );
        assert!(matches!(proof, DeviceProof::Valid(_)));
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap();
    thread.join().unwrap();
}

#[test]
fn a_key_that_stands_twice_is_refused_wherever_it_counts() {
    for (message, place) in [
        (r#"{"type":"req","type":"req","id":"7","method":"ping"}"#, "has type twice"),
        (r#"{"type":"req","id":"7","method":"ping","\u006dethod":"status"}"#, "has method twice"),
        (
            r#"{"type":"req","id":"7","method":"logs.append","params":{"entries":[],"entries":[]}}"#,
            "has entries twice",
        ),
        (
            r#"{"type":"req","id":"7","method":"logs.append","params":{"entries":[{"level":"info","message":"a","message":"b"}]}}"#,
            "entries[0] has message twice",
        ),
    ] {
        let error = match frame::parse(message) {
            Ok(frame) => parse(&frame, &agent("agent1"), NOW).unwrap_err(),
            Err(error) => error.error,
        };
        assert!(error.message.contains(place), "{}", error.message);
    }
}
