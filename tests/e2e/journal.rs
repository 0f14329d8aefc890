//! An agent's reports: durable when answered, live to operators, and there to be read back.

use serde_json::{Value, json};

use crate::kit::{Client, Device, Gateway};

/// A page of the journal.
#[track_caller]
fn tail(operator: &mut Client, params: Value) -> Value {
    let page = operator.ask("logs.tail", params);
    assert!(page["lines"].is_array(), "{page}");
    page
}

fn messages(entries: &Value) -> Vec<String> {
    let entries = entries.as_array().unwrap();
    entries.iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn report_becomes_an_event_and_a_line_of_the_journal() {
    for tls in [false, true] {
        let gateway = Gateway::setup().tls(tls).start();
        let mut operator = gateway.operator();
        let device = Device::new();
        let mut agent = gateway.agent("agent1", &device);
        let entry = json!({
            "level": "info",
            "message": "Task completed successfully",
            "session": "agent1:chat",
            "timestamp": 1_709_582_400_000_u64,
            "extra": { "task_id": 456 },
        });
        agent.ask("logs.append", json!({ "entries": [entry] }));

        let event = operator.event("log");
        assert!(event["seq"].is_u64(), "{event}");
        let log = &event["payload"];
        for (field, value) in entry.as_object().unwrap() {
            assert_eq!(&log[field], value, "{field} in {log}");
        }
        assert_eq!(log["source"], "agent1", "{log}");
        assert!(log["id"].as_str().is_some_and(|id| !id.is_empty()), "{log}");

        let page = tail(&mut operator, json!({ "cursor": 0 }));
        assert_eq!(&page["entries"][0], log, "the journal shows what the event showed");
        assert_eq!(page["truncated"], false, "{page}");
        assert_eq!(page["reset"], false, "{page}");
        assert_eq!(page["cursor"], log["cursor"], "{page}");
    }
}

#[test]
fn events_are_numbered_without_a_gap_and_alike_for_all() {
    let gateway = Gateway::start();
    let mut operators = [gateway.operator(), gateway.operator()];
    let device = Device::new();
    let mut agent = gateway.agent("agent1", &device);
    for round in 0..50 {
        let texts: Vec<_> = (0..4).map(|n| format!("{round}.{n}")).collect();
        agent.report(texts.iter().map(String::as_str));
    }
    let [first, second] = operators.each_mut().map(|operator| {
        (0..200)
            .map(|_| operator.event("log"))
            .map(|event| (event["seq"].as_u64().unwrap(), event["payload"].clone()))
            .collect::<Vec<_>>()
    });
    assert_eq!(first, second);
    for pair in first.windows(2) {
        assert_eq!(pair[1].0, pair[0].0 + 1, "{pair:?}");
    }
    let expected: Vec<_> = (0..200).map(|n| format!("{}.{}", n / 4, n % 4)).collect();
    let heard: Vec<_> = first.iter().map(|(_, log)| log["message"].as_str().unwrap()).collect();
    assert_eq!(heard, expected);
}

#[test]
fn reconnecting_operator_gets_everything_it_missed_in_order_exactly_once() {
    let gateway = Gateway::start();
    let device = Device::new();
    let mut agent = gateway.agent("agent1", &device);
    let mut heard = Vec::new();

    let mut operator = gateway.operator();
    agent.report(["a", "b"]);
    let seen = operator.payloads("log", 2);
    let cursor = seen[1]["cursor"].clone();
    heard.extend(messages(&json!(seen)));
    operator.leave();

    agent.report(["c", "d", "e"]);
    let mut operator = gateway.operator();
    agent.report(["f"]);
    // The live event and the page may both show "f"; the cursor tells that it is the same.
    let page = tail(&mut operator, json!({ "cursor": cursor, "limit": 2 }));
    assert_eq!(page["truncated"], true, "{page}");
    heard.extend(messages(&page["entries"]));
    let page = tail(&mut operator, json!({ "cursor": page["cursor"] }));
    assert_eq!(page["truncated"], false, "{page}");
    assert_eq!(page["reset"], false, "{page}");
    heard.extend(messages(&page["entries"]));
    assert_eq!(operator.event("log")["payload"]["cursor"], page["cursor"]);
    assert_eq!(heard, ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn trimmed_journal_says_so() {
    let config = "[gateway.limits]\njournalEntries = 10";
    let gateway = Gateway::setup().config(config).start();
    let device = Device::new();
    let mut agent = gateway.agent("agent1", &device);
    let mut operator = gateway.operator();
    let texts: Vec<_> = (0..25).map(|n| n.to_string()).collect();
    agent.report(texts.iter().map(String::as_str));
    let seen = operator.payloads("log", 25);

    // From an entry that is no longer kept, from one that is, and from the last.
    for (index, reset, expected) in [(0, true, 10), (20, false, 4), (24, false, 0)] {
        let page = tail(&mut operator, json!({ "cursor": seen[index]["cursor"] }));
        assert_eq!(page["reset"], reset, "after {index}: {page}");
        assert_eq!(messages(&page["entries"]), texts[25 - expected..], "after {index}");
    }
    let newest = tail(&mut operator, json!({ "limit": 3 }));
    assert_eq!(messages(&newest["entries"]), texts[22..]);
}

#[test]
fn filters_narrow_what_the_tail_shows() {
    let gateway = Gateway::start();
    let mut operator = gateway.operator();
    let devices = [Device::new(), Device::new()];
    for (name, device) in ["agent1", "agent2"].into_iter().zip(&devices) {
        let entries: Vec<_> = ["debug", "info", "warn", "error"]
            .iter()
            .map(|level| json!({ "level": level, "message": format!("{name} {level}") }))
            .collect();
        gateway.agent(name, device).ask("logs.append", json!({ "entries": entries }));
    }
    let mut check = |params: Value, expected: &[&str]| {
        assert_eq!(messages(&tail(&mut operator, params.clone())["entries"]), expected, "{params}");
    };
    check(json!({ "level": "error" }), &["agent1 error", "agent2 error"]);
    check(json!({ "level": "warn", "source": "agent2" }), &["agent2 warn", "agent2 error"]);
    check(json!({ "source": "agent3" }), &[]);
}

#[test]
fn repeated_report_under_one_idempotency_key_is_executed_once() {
    let mut gateway = Gateway::start();
    let device = Device::new();
    let once = json!({
        "entries": [{ "level": "info", "message": "once" }],
        "idempotencyKey": "key-1",
    });
    let mut agent = gateway.agent("agent1", &device);
    let first = agent.ask("logs.append", once.clone());
    assert_eq!(agent.ask("logs.append", once.clone()), first);
    let other = json!({
        "entries": [{ "level": "info", "message": "twice" }],
        "idempotencyKey": "key-1",
    });
    assert_eq!(agent.ask_in_vain("logs.append", other)["code"], "CONFLICT");

    gateway.kill_9();
    gateway.start_again();
    let mut agent = gateway.agent("agent1", &device);
    assert_eq!(agent.ask("logs.append", once), first, "the answer outlives a crash");
    let page = tail(&mut gateway.operator(), json!({ "cursor": 0 }));
    assert_eq!(messages(&page["entries"]), ["once"]);
}

#[test]
fn presence_shows_who_is_there() {
    let gateway = Gateway::start();
    let mut operator = gateway.operator();
    let device = Device::new();
    let agent = gateway.agent("agent1", &device);
    let shows_agent = |entries: &Value| {
        let entries = entries.as_array().unwrap();
        entries.iter().any(|entry| entry["deviceId"] == device.id())
    };
    crate::kit::eventually("presence tells of the arrival", crate::kit::PATIENCE, || {
        shows_agent(&operator.event("presence")["payload"]["presence"]).then_some(())
    });
    let listed = operator.ask("system-presence", Value::Null);
    let listed = if listed.is_array() { listed } else { listed["presence"].clone() };
    assert!(shows_agent(&listed), "{listed}");
    agent.leave();
    let presence = operator.event("presence");
    assert!(
        presence["payload"]["stateVersion"].is_object() || presence["stateVersion"].is_object()
    );
}
