//! `tail` and `report`: what is said is seen, once, in order, across restarts, and harmless.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::kit::{Cli, Gateway, eventually};

fn message(entry: &Value) -> &str {
    entry["message"].as_str().unwrap()
}

#[test]
fn what_is_reported_is_seen_at_once() {
    let gateway = Gateway::start();
    let cli = Cli::new(&gateway);
    let report = |words: &[&str]| {
        let common = ["report", "log", "--agent", "builder"];
        cli.ok(&[&common[..], words].concat());
    };
    report(&["before"]);
    let mut tail = cli.start(&["tail"]);
    assert_eq!(message(&tail.entry()), "before");
    report(&["--level", "warn", "--session", "chat", "--extra", r#"{"n":1}"#, "disk", "full"]);
    let entry = tail.entry();
    assert_eq!(message(&entry), "disk full");
    assert_eq!(entry["level"], "warn");
    assert_eq!(entry["source"], "builder");
    assert_eq!(entry["session"], "builder:chat");
    assert_eq!(entry["extra"]["n"], 1);

    let shown = |words: &[&str]| {
        let common = ["tail", "--no-follow", "--json"];
        let out = cli.ok(&[&common[..], words].concat());
        let read = |line| message(&serde_json::from_str(line).unwrap()).to_owned();
        out.lines().map(read).collect::<Vec<String>>()
    };
    assert_eq!(shown(&[]), ["before", "disk full"]);
    assert_eq!(shown(&["-n", "1"]), ["disk full"]);
    assert_eq!(shown(&["-n", "0"]), [""; 0]);
    assert_eq!(shown(&["--level", "warn"]), ["disk full"]);
    assert_eq!(shown(&["--session", "builder:chat"]), ["disk full"]);
    assert_eq!(shown(&["--source", "nobody"]), [""; 0]);
    assert_eq!(shown(&["--since", "1h"]), ["before", "disk full"]);
    assert_eq!(shown(&["--since", "2100-01-01"]), [""; 0]);
    let cursor = entry["cursor"].as_u64().unwrap() - 1;
    assert_eq!(shown(&["--cursor", &cursor.to_string()]), ["disk full"]);
}

#[test]
fn hostile_text_is_shown_and_not_obeyed() {
    let gateway = Gateway::start();
    let cli = Cli::new(&gateway);
    let hostile = "\u{1b}]0;title\u{7}\u{202e}evil\u{9b}2J\nnext";
    cli.ok(&["report", "log", "--agent", "builder", hostile]);
    let text = cli.ok(&["tail", "--no-follow", "--text"]);
    let shown = r"\u{1b}]0;title\u{7}\u{202e}evil\u{9b}2J\nnext";
    assert!(text.trim_end().ends_with(&format!("INFO  builder {shown}")), "{text:?}");
    let json = cli.ok(&["tail", "--no-follow", "--json"]);
    assert_eq!(message(&serde_json::from_str(&json).unwrap()), hostile);
    let unsafe_characters = ['\u{1b}', '\u{7}', '\u{202e}', '\u{9b}'];
    assert!(!json.contains(unsafe_characters), "{json:?}");
    let call = cli.ok(&["call", "logs.tail", "--text"]);
    assert!(!call.contains(unsafe_characters), "{call:?}");
}

#[test]
fn tail_across_restarts_is_complete_in_order_and_nothing_twice() {
    let mut gateway = Gateway::start();
    let port = gateway.address().port();
    let cli = Cli::new(&gateway);
    let mut tail = cli.start(&["tail", "--lines", "0"]);
    let mut reported = 0;
    let report = |gateway: &Gateway, from: u32| {
        let messages: Vec<_> = (from..from + 50).map(|number| format!("m{number}")).collect();
        gateway.operator().report(messages.iter().map(String::as_str));
        from + 50
    };
    // Connected for sure: what it shows first came live.
    eventually("the tail is there", crate::kit::PATIENCE, || {
        let status = gateway.operator().ask("status", Value::Null);
        (status["connections"]["operators"].as_u64() >= Some(2)).then_some(())
    });
    for round in 0..4 {
        reported = report(&gateway, reported);
        if round % 2 == 0 {
            gateway.kill_9();
        } else {
            gateway.terminate();
            gateway.exit_status(crate::kit::PATIENCE);
        }
        gateway.start_again_on(port);
        // While the tail still waits to connect again.
        reported = report(&gateway, reported);
    }
    for number in 0..reported {
        assert_eq!(message(&tail.entry()), format!("m{number}"));
    }
    cli.ok(&["report", "log", "--agent", "builder", "last"]);
    assert_eq!(message(&tail.entry()), "last");
}

#[test]
fn every_line_of_a_pipe_is_kept_once_across_a_restart() {
    let mut gateway = Gateway::start();
    let port = gateway.address().port();
    let cli = Cli::new(&gateway);
    let mut report = cli.start(&["report", "log", "--agent", "builder", "--session", "nightly"]);
    report.say("one\ntwo\n");
    let count = |gateway: &Gateway| {
        let page = gateway.operator().ask("logs.tail", Value::Null);
        page["entries"].as_array().unwrap().len()
    };
    eventually("both are kept", crate::kit::PATIENCE, || (count(&gateway) == 2).then_some(()));
    gateway.kill_9();
    report.say("three\n");
    gateway.start_again_on(port);
    report.say("four\nfive");
    report.hang_up();
    assert_eq!(report.exit_code(), 0);
    let page = gateway.operator().ask("logs.tail", Value::Null);
    let entries = page["entries"].as_array().unwrap();
    let kept: Vec<_> = entries.iter().map(message).collect();
    assert_eq!(kept, ["one", "two", "three", "four", "five"]);
    assert!(entries.iter().all(|entry| entry["session"] == "builder:nightly"));
}

#[test]
fn tail_ends_when_nobody_reads_it() {
    let gateway = Gateway::start();
    let cli = Cli::new(&gateway);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = cli.command(&["tail"]);
    let mut child = command.stdout(writer).spawn().unwrap();
    drop(command);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(child.try_wait().unwrap(), None, "it follows");
    drop(reader);
    let status = eventually("it ends", crate::kit::PATIENCE, || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_flood_reaches_a_slow_tail_complete_and_in_order() {
    let backlog = "[gateway.limits]\nbacklogBytes = 65536\n";
    let gateway = Gateway::setup().config(backlog).start();
    let cli = Cli::new(&gateway);
    let mut tail = cli.start(&["tail", "--lines", "0"]);
    let mut operator = gateway.operator();
    let padding = "x".repeat(2_000);
    eventually("the tail is there", crate::kit::PATIENCE, || {
        let status = operator.ask("status", Value::Null);
        (status["connections"]["operators"].as_u64() >= Some(2)).then_some(())
    });
    for batch in 0..20 {
        let messages: Vec<_> = (0..100).map(|n| format!("{} {padding}", batch * 100 + n)).collect();
        operator.report(messages.iter().map(String::as_str));
        operator.forget_events();
    }
    for number in 0..2_000 {
        let entry = tail.entry();
        let first = message(&entry).split(' ').next().unwrap();
        assert_eq!(first, number.to_string());
    }
}
