//! One operator that stops reading beside ninety-nine that read: the ninety-nine notice nothing,
//! the slow one is told what it missed and reads it back, and memory stays bounded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::kit::{Client, Device, Gateway, Heard, PATIENCE, Usage, eventually};

const READERS: usize = 99;
const BATCH: u64 = 25;
const BATCHES: u64 = 120;
const ENTRIES: u64 = BATCH * BATCHES;

/// 3,000 entries of 1 KiB are 3 MB for each operator, far more than 128 KiB of backlog and the
/// kernel's share.
const MESSAGE_BYTES: usize = 1_000;
const BACKLOG_BYTES: u64 = 128 * 1024;

const LIMITS: &str = "[gateway.limits]\nbacklogBytes = 131072";

/// What a reader heard: the numbers of stream and journal, and the entry's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    seq: u64,
    cursor: u64,
    entry: u64,
}

fn seen(event: &Value) -> Seen {
    let log = &event["payload"];
    let message = log["message"].as_str().unwrap();
    let (entry, _padding) = message.split_once(' ').unwrap();
    Seen {
        seq: event["seq"].as_u64().unwrap(),
        cursor: log["cursor"].as_u64().unwrap(),
        entry: entry.parse().unwrap(),
    }
}

/// Reads all entries, checking the order, and says how far it has come.
fn read_all(mut reader: Client, progress: &AtomicU64) {
    let mut last: Option<Seen> = None;
    for expected in 0..ENTRIES {
        let event = loop {
            match reader.hear(Instant::now() + PATIENCE).expect("no stall") {
                Heard::Frame(frame) if frame["event"] == "log" => break frame,
                Heard::Frame(frame) if frame["event"] == "log.gap" => panic!("{frame}"),
                Heard::Frame(_) | Heard::Ping => {}
                ended => panic!("a reader was cut off: {ended:?}"),
            }
        };
        let this = seen(&event);
        assert_eq!(this.entry, expected);
        if let Some(last) = last {
            assert_eq!(this.seq, last.seq + 1, "a gap for a peer that reads");
            assert!(this.cursor > last.cursor);
        }
        last = Some(this);
        progress.store(expected + 1, Ordering::Relaxed);
        reader.forget_events();
    }
}

/// Reports all entries, at the pace of the slowest of those that read: a flood for the one that
/// does not, and no reason to drop anything for the others, since what they may lack is two
/// batches at most, which is less than the backlog.
fn flood(agent: &mut Client, progress: &[AtomicU64]) {
    for batch in 0..BATCHES {
        let first = batch * BATCH;
        let texts: Vec<_> =
            (first..first + BATCH).map(|n| format!("{n} {}", "x".repeat(MESSAGE_BYTES))).collect();
        agent.report(texts.iter().map(String::as_str));
        eventually("every reader keeps up", PATIENCE, || {
            let slowest = progress.iter().map(|p| p.load(Ordering::Relaxed)).min().unwrap();
            (slowest + BATCH >= first).then_some(())
        });
    }
}

/// Reads what the slow operator gets once it reads again: entries, one gap, and nothing after
/// it but what is reported from then on.
fn wake_up(slow: &mut Client, agent: &mut Client) -> (Vec<Seen>, Value, Seen) {
    let mut before = Vec::new();
    let gap = loop {
        match slow.hear(Instant::now() + PATIENCE).expect("the gap is told") {
            Heard::Frame(frame) if frame["event"] == "log" => before.push(seen(&frame)),
            Heard::Frame(frame) if frame["event"] == "log.gap" => break frame,
            Heard::Frame(_) | Heard::Ping => {}
            ended => panic!("the slow peer was cut off: {ended:?}"),
        }
    };
    slow.forget_events();
    agent.report([format!("{ENTRIES} last").as_str()]);
    let last = seen(&slow.event("log"));
    assert_eq!(last.entry, ENTRIES);
    (before, gap, last)
}

#[test]
fn one_operator_that_stops_reading_costs_the_others_nothing() {
    for tls in [false, true] {
        check(tls);
    }
}

fn check(tls: bool) {
    let gateway = Gateway::setup().config(LIMITS).tls(tls).start();
    let device = Device::new();
    let mut agent = gateway.agent("agent1", &device);
    let readers: Vec<_> = (0..READERS).map(|_| gateway.operator()).collect();
    let mut slow = gateway.dial().receive_buffer(8 * 1024).open();
    slow.admitted(&crate::kit::Connect::backend());
    let mut bystander = gateway.operator();
    let before = Usage::of(gateway.pid());

    let progress: Vec<_> = (0..READERS).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for (reader, progress) in readers.into_iter().zip(&progress) {
            scope.spawn(move || read_all(reader, progress));
        }
        flood(&mut agent, &progress);
    });
    assert_eq!(bystander.request("ping", Value::Null)["ok"], true);
    let grown = Usage::of(gateway.pid()).resident_kib.saturating_sub(before.resident_kib);
    // The journal itself, a full backlog for each of a hundred, and room for the allocator.
    let journal_kib = ENTRIES * 2;
    let bound_kib = journal_kib + 100 * BACKLOG_BYTES / 1024 + 32 * 1024;
    assert!(grown < bound_kib, "{grown} KiB more, {bound_kib} KiB allowed");

    let (received, gap, last) = wake_up(&mut slow, &mut agent);
    assert!((received.len() as u64) < ENTRIES, "the slow peer missed nothing: no flood");
    let missed = ENTRIES - received.len() as u64;
    assert_eq!(gap["payload"]["dropped"], missed, "{gap}");
    assert_eq!(gap.get("seq"), None, "{gap}");
    let before_gap = received.last().expect("something arrived before the backlog was full");
    assert_eq!(last.seq, before_gap.seq + missed + 1, "seq shows the gap");

    let mut cursor = gap["payload"]["fromCursor"].clone();
    let mut read_back = Vec::new();
    while (read_back.len() as u64) < missed {
        let page = slow.ask("logs.tail", json!({ "cursor": cursor, "limit": 500 }));
        assert_eq!(page["reset"], false, "{}", page["cursor"]);
        for entry in page["entries"].as_array().unwrap() {
            let (number, _) = entry["message"].as_str().unwrap().split_once(' ').unwrap();
            read_back.push(number.parse::<u64>().unwrap());
        }
        cursor = page["cursor"].clone();
    }
    read_back.truncate(usize::try_from(missed).unwrap());
    let all: Vec<_> = received.iter().map(|seen| seen.entry).chain(read_back).collect();
    assert_eq!(all, (0..ENTRIES).collect::<Vec<_>>());
}
