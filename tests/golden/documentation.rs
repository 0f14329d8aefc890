//! `docs/protocol.md` says what the code does: every frame in it is read or made by the code,
//! every table in it has the rows that the code has.

use std::collections::BTreeSet;

use openclaw_gateway::base::limits;
use openclaw_gateway::protocol::connect::parse_connect;
use openclaw_gateway::protocol::device::{DeviceProof, challenge, prove};
use openclaw_gateway::protocol::error::ProtocolError;
use openclaw_gateway::protocol::event::{Audience, EVENT_NAMES, Event, View};
use openclaw_gateway::protocol::frame::{write_failure, write_refusal};
use openclaw_gateway::protocol::hello::write_hello;
use openclaw_gateway::protocol::methods::{self, Access, Method};
use openclaw_gateway::protocol::refusal::{PairingReason, Refusal};
use openclaw_gateway::protocol::reply::{write_health, write_reply};
use openclaw_gateway::protocol::request::parse;
use openclaw_gateway::protocol::safe_text::safe_message;
use openclaw_gateway::protocol::scope::ScopeSet;
use serde_json::Value;

use crate::samples::{
    NOW, agent, captured, events, hello, operator, owner, parse_frame, replies, written,
};

const PAGE: &str = include_str!("../../docs/protocol.md");

/// The JSON frames of the page, in order.
fn frames() -> Vec<Value> {
    let mut frames = Vec::new();
    let mut fence: Option<String> = None;
    for line in PAGE.lines() {
        match (&mut fence, line) {
            (None, "```json") => fence = Some(String::new()),
            (Some(text), "```") => {
                frames.push(serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}")));
                fence = None;
            }
            (Some(text), line) => text.push_str(line),
            (None, _) => {}
        }
    }
    frames
}

/// Everything that the code sends, one of each kind.
fn sent() -> Vec<Value> {
    sent_texts().iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

fn sent_texts() -> Vec<String> {
    let pairing = Refusal::pairing_required("pair-1", DEVICE, PairingReason::NotPaired);
    let unknown = ProtocolError::unknown_method("wizard.start");
    let nonce = captured()[0]["params"]["device"]["nonce"].as_str().unwrap().to_owned();
    let signed_at = captured()[0]["params"]["device"]["signedAt"].as_u64().unwrap();
    let mut texts = vec![
        challenge(&nonce, signed_at, true),
        written(|out| write_hello(out, &hello())),
        written(|out| write_failure(out, "spawn-1", &unknown)),
        written(|out| write_refusal(out, "mc-1", &pairing.error)),
        written(|out| write_health(out, "health-1", true)),
    ];
    for (id, reply) in replies() {
        texts.push(written(|out| write_reply(out, id, &reply)));
    }
    for event in events() {
        let seq = event.is_stream().then_some(42);
        texts.push(written(|out| event.write(out, View::Full, seq)));
        if event.depends_on_view() {
            texts.push(written(|out| event.write(out, View::Bare, seq)));
        }
    }
    texts
}

const DEVICE: &str = "d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce";

#[test]
fn every_frame_that_we_send_is_on_the_page_and_none_that_we_do_not() {
    let shown: Vec<Value> = frames().into_iter().filter(|frame| frame["type"] != "req").collect();
    for frame in sent() {
        assert!(shown.contains(&frame), "not on the page: {frame}");
    }
    for frame in shown {
        assert!(sent().contains(&frame), "not what we send: {frame}");
    }
}

#[test]
fn every_request_on_the_page_is_taken_and_every_method_has_one() {
    let mut methods = BTreeSet::new();
    for frame in frames().into_iter().filter(|frame| frame["type"] == "req") {
        let text = frame.to_string();
        let parsed = parse_frame(&text);
        let method = Method::find(&parsed.method).map(Method::name);
        methods.insert(method.unwrap_or(&parsed.method).to_owned());
        if parsed.method == "connect" {
            parse_connect(&parsed).unwrap_or_else(|refusal| panic!("{refusal:?} for {text}"));
        } else {
            let grant = match Method::find(&parsed.method).map(Method::access) {
                Some(Access::AgentOr(_) | Access::Agent) => agent("agent1"),
                Some(Access::Owner) => owner(),
                Some(Access::Scope(scope)) => operator(scope),
                _ => operator(ScopeSet::READ),
            };
            parse(&parsed, &grant, NOW).unwrap_or_else(|error| panic!("{error:?} for {text}"));
        }
    }
    let expected: BTreeSet<String> =
        methods::names().chain(["connect"]).map(str::to_owned).collect();
    assert_eq!(methods, expected);
}

#[test]
fn the_connect_and_the_ping_on_the_page_are_the_captured_ones() {
    let captured = captured();
    for frame in [&captured[0], &captured[2]] {
        assert!(frames().contains(frame));
    }
    let text = captured[0].to_string();
    let connect = parse_connect(&parse_frame(&text)).unwrap();
    let device = connect.device.as_ref().unwrap();
    let now = u64::try_from(device.signed_at_ms).unwrap();
    let nonce = device.nonce.clone().unwrap();
    assert!(matches!(prove(&connect, &nonce, now), DeviceProof::Valid(_)));
}

/// The cells of every table row of the page.
fn rows() -> Vec<Vec<String>> {
    PAGE.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'))
        .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[track_caller]
fn assert_row(cells: &[&str]) {
    assert!(rows().iter().any(|row| row == cells), "no row {cells:?}");
}

#[test]
fn every_method_and_every_event_has_its_row() {
    for name in methods::names() {
        let who = match Method::find(name).unwrap().access() {
            Access::Everyone => "everyone".to_owned(),
            Access::Scope(scope) => format!("`{scope}`"),
            Access::AgentOr(scope) => format!("agents, `{scope}`"),
            Access::Agent => "agents".to_owned(),
            Access::Owner => "the owner, over the control socket".to_owned(),
        };
        assert_row(&[&format!("`{name}`"), &who]);
    }
    for event in events() {
        let scope = match event.audience() {
            Audience::Nobody => "the agent alone".to_owned(),
            Audience::Everyone => "none".to_owned(),
            Audience::Scope(scope) => format!("`{scope}`"),
        };
        let kind = match (event.is_state(), event.is_stream()) {
            (true, _) => "state",
            (false, true) => "stream",
            (false, false) => "addressed",
        };
        assert_row(&[&format!("`{}`", event.name()), &scope, kind]);
    }
    let named: BTreeSet<&str> =
        events().iter().map(Event::name).chain(["connect.challenge"]).collect();
    assert_eq!(named, BTreeSet::from(EVENT_NAMES));
}

#[test]
fn every_refusal_has_its_row() {
    for (refusal, ..) in crate::refusals::table() {
        let detail = refusal.error.details.as_ref().unwrap()["code"].as_str().unwrap().to_owned();
        let close = refusal.close.code().unwrap().to_string();
        let code = refusal.error.code.as_str();
        let beginning = refusal.error.message.split([':', ';']).next().unwrap().to_owned();
        let found = rows().iter().any(|row| {
            matches!(&row[..], [_, message, d, c, n]
                if message.starts_with(&format!("`{beginning}"))
                    && *d == format!("`{detail}`") && *c == format!("`{code}`") && *n == close)
        });
        assert!(found, "no row for {refusal:?}");
    }
}

#[test]
fn the_phrases_on_the_page_are_those_that_are_kept_out() {
    let line = PAGE.lines().find(|line| line.contains("is replaced by `(…)`: ")).unwrap();
    let (_, phrases) = line.split_once("`(…)`: ").unwrap();
    let phrases: Vec<&str> =
        phrases.split(", ").map(|phrase| phrase.trim_matches(['`', '.'])).collect();
    assert_eq!(phrases.len(), 12);
    for phrase in phrases {
        assert_eq!(safe_message(phrase), "(…)");
    }
}

#[test]
fn every_limit_on_the_page_is_the_one_that_holds() {
    let bytes = |number: usize| format!("{number} bytes");
    for (limit, value) in [
        ("requests of one connection in progress", limits::REQUESTS_IN_PROGRESS_MAX.to_string()),
        (
            "`logs.append` of one connection in progress, if several",
            bytes(limits::APPEND_BYTES_IN_PROGRESS_MAX),
        ),
        ("bad requests of one connection in a burst", limits::ERROR_BUDGET.to_string()),
        ("bad requests that come back every second", limits::ERROR_BUDGET_REFILL.to_string()),
        ("request id", bytes(limits::REQUEST_ID_BYTES_MAX)),
        ("request head before the upgrade", bytes(limits::HTTP_HEAD_BYTES_MAX)),
        ("text in `client`, a scope, a cap", bytes(limits::CLIENT_TEXT_BYTES_MAX)),
        ("scopes, and caps, in one `connect`", limits::CONNECT_LIST_MAX.to_string()),
        ("a token, password or pairing code", bytes(limits::CREDENTIAL_BYTES_MAX)),
        ("device id", bytes(limits::DEVICE_ID_BYTES_MAX)),
        ("device key or signature, as text", bytes(limits::DEVICE_TEXT_BYTES_MAX)),
        ("agent's name", bytes(limits::AGENT_NAME_BYTES_MAX)),
        ("signatures tried for one `connect`", limits::SIGNATURE_ATTEMPTS_MAX.to_string()),
        ("difference of the clocks", format!("{} seconds", limits::SIGNATURE_SKEW_MAX.as_secs())),
        ("entries in one `logs.append`", limits::LOG_ENTRIES_PER_APPEND_MAX.to_string()),
        ("message of an entry", bytes(limits::LOG_MESSAGE_BYTES_MAX)),
        ("`extra` of an entry", bytes(limits::LOG_EXTRA_BYTES_MAX)),
        ("levels in `extra`", limits::LOG_EXTRA_DEPTH_MAX.to_string()),
        ("`source`", bytes(limits::LOG_SOURCE_BYTES_MAX)),
        ("session key", bytes(limits::SESSION_KEY_BYTES_MAX)),
        ("a count of tokens or messages", limits::COUNT_MAX.to_string()),
        ("a session's cost", (limits::COST_NANOS_MAX / 1_000_000_000).to_string()),
        (
            "`kind`, `model`, `label` and settings of a session",
            bytes(limits::SESSION_TEXT_BYTES_MAX),
        ),
        ("sessions in one `sessions.list`", limits::SESSIONS_LIST_LIMIT_MAX.to_string()),
        ("agents whose status is kept", limits::AGENTS_MAX.to_string()),
        ("`status` of an agent", bytes(limits::AGENT_STATUS_BYTES_MAX)),
        ("`last_activity` of an agent", bytes(limits::AGENT_ACTIVITY_BYTES_MAX)),
        ("`payload` of `events.publish`", bytes(limits::PUBLISHED_BYTES_MAX)),
        ("idempotency key", bytes(limits::IDEMPOTENCY_KEY_BYTES_MAX)),
        ("arguments, and likewise variables, of a spawn", limits::SPAWN_ARGS_MAX.to_string()),
        ("one argument or variable of a spawn", bytes(limits::SPAWN_ARG_BYTES_MAX)),
        (
            "arguments, variables and `stdin` of a spawn together",
            bytes(limits::SPAWN_ASK_BYTES_MAX),
        ),
        ("`task` of a `sessions_spawn`", bytes(limits::SPAWN_TASK_BYTES_MAX)),
        ("ended spawns that are kept", limits::SPAWNS_ENDED_MAX.to_string()),
        (
            "body that stands under both `payload` and `result`",
            bytes(limits::BOTH_BODIES_BYTES_MAX),
        ),
        ("devices in one `device.pair.list`", limits::DEVICES_LISTED_MAX.to_string()),
        ("connections over the control socket", limits::CONTROL_CONNECTIONS_MAX.to_string()),
        ("cron expression", bytes(limits::CRON_EXPRESSION_BYTES_MAX)),
        ("name of a job", bytes(limits::CRON_NAME_BYTES_MAX)),
        ("payload of a job", bytes(limits::CRON_PAYLOAD_BYTES_MAX)),
        ("entries in the history of a job", limits::CRON_RUNS_PER_JOB_MAX.to_string()),
        ("error message", bytes(limits::ERROR_MESSAGE_BYTES_MAX)),
    ] {
        assert_row(&[limit, &value]);
    }
}

#[test]
fn every_limit_of_runs_and_approvals_on_the_page_is_the_one_that_holds() {
    let bytes = |number: usize| format!("{number} bytes");
    for (limit, value) in [
        ("a message to an agent", bytes(limits::RUN_MESSAGE_BYTES_MAX)),
        ("attachments of a message, as JSON", bytes(limits::RUN_ATTACHMENTS_BYTES_MAX)),
        (
            "`text` of a `run.update`, and what is kept of an answer",
            bytes(limits::RUN_TEXT_BYTES_MAX),
        ),
        ("`errorMessage` of a `run.update`", bytes(limits::RUN_ERROR_BYTES_MAX)),
        ("`usage` of a `run.update`", bytes(limits::RUN_USAGE_BYTES_MAX)),
        ("open runs", limits::RUNS_OPEN_MAX.to_string()),
        ("open runs of one agent", limits::RUNS_OPEN_PER_AGENT_MAX.to_string()),
        ("open runs of one user", limits::RUNS_OPEN_PER_USER_MAX.to_string()),
        ("runs that have ended and can be asked for", limits::RUNS_ENDED_MAX.to_string()),
        ("those who wait for one run", limits::RUN_WAITERS_MAX.to_string()),
        (
            "requests of one connection that wait for runs and decisions",
            limits::WAITS_PER_CONNECTION_MAX.to_string(),
        ),
        ("`command` of a request for approval", bytes(limits::APPROVAL_COMMAND_BYTES_MAX)),
        (
            "`cwd`, `host`, `resolvedPath` of a request for approval",
            bytes(limits::APPROVAL_TEXT_BYTES_MAX),
        ),
        ("open requests for approval", limits::APPROVALS_OPEN_MAX.to_string()),
        (
            "open requests for approval of one agent",
            limits::APPROVALS_OPEN_PER_AGENT_MAX.to_string(),
        ),
        ("commands that are always allowed", limits::ALLOWED_COMMANDS_MAX.to_string()),
    ] {
        assert_row(&[limit, &value]);
    }
}
