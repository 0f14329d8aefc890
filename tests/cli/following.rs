//! `tail` against a gateway that does on purpose what a real one does by chance.

use serde_json::{Value, json};

use crate::fake::{Fake, Say};
use crate::run;

const REFUSED: Say = Say::Close(4001, "enough");

fn entry(cursor: u64) -> Value {
    json!({
        "id": format!("log-{cursor}"), "timestamp": 1_795_373_022_123_u64, "level": "info",
        "source": "agent1", "message": format!("m{cursor}"), "cursor": cursor,
    })
}

fn live(cursor: u64) -> Say {
    Say::Event("log", entry(cursor))
}

/// A page of `logs.tail` with these entries, and its cursor.
fn page(cursors: &[u64], cursor: u64, more: Value) -> Say {
    let entries: Vec<_> = cursors.iter().map(|cursor| entry(*cursor)).collect();
    let mut page = json!({ "entries": entries, "cursor": cursor, "truncated": false });
    page.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    Say::Ok(page)
}

/// Plays the answers to the requests for pages, in order; checks which entries are shown, and from
/// which cursors pages were asked for.
#[track_caller]
fn check(
    connections: usize,
    answers: Vec<Vec<Say>>,
    shown: &[u64],
    asked: &[Option<u64>],
) -> String {
    let mut answers = answers.into_iter();
    let fake = Fake::start(connections, move |_, _| answers.next().expect("no more requests"));
    let dir = fake.state_dir().to_str().unwrap().to_owned();
    let (code, stdout, stderr) = run(&["tail", "--json", "--state-dir", &dir]);
    let cursors: Vec<u64> = stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["cursor"].as_u64().unwrap())
        .collect();
    assert_eq!(cursors, shown, "{stderr}");
    let requests = fake.requests();
    let found: Vec<_> =
        requests.iter().map(|request| request["params"]["cursor"].as_u64()).collect();
    assert_eq!(found, asked);
    assert_eq!(code, 3, "{stderr}");
    stderr
}

#[test]
fn live_entries_that_a_page_already_held_are_not_shown_again() {
    let first = vec![live(3), page(&[1, 2, 3], 3, json!({})), live(2), live(3), live(4), REFUSED];
    check(1, vec![first], &[1, 2, 3, 4], &[None]);
}

#[test]
fn gap_is_read_back_before_what_follows_it() {
    let gap = Say::Event("log.gap", json!({ "fromCursor": 2, "toCursor": 4, "dropped": 3 }));
    let first = vec![page(&[1, 2], 2, json!({})), gap, live(5)];
    let second = vec![page(&[3, 4, 5], 5, json!({})), live(5), live(6), REFUSED];
    check(1, vec![first, second], &[1, 2, 3, 4, 5, 6], &[None, Some(2)]);
}

#[test]
fn entry_that_overtook_a_page_is_read_with_the_next() {
    let first = vec![live(3), page(&[1, 2], 2, json!({}))];
    let second = vec![page(&[3], 3, json!({})), REFUSED];
    check(1, vec![first, second], &[1, 2, 3], &[None, Some(2)]);
    // Or it was dropped, and a gap tells of it before the page comes.
    let gap = Say::Event("log.gap", json!({ "fromCursor": 2, "toCursor": 3, "dropped": 1 }));
    let first = vec![gap, page(&[1, 2], 2, json!({}))];
    let second = vec![page(&[3], 3, json!({})), REFUSED];
    check(1, vec![first, second], &[1, 2, 3], &[None, Some(2)]);
}

#[test]
fn pages_are_read_until_the_last() {
    let more = json!({ "truncated": true });
    let first = vec![page(&[1, 2], 2, more.clone())];
    let second = vec![page(&[3], 3, more)];
    let third = vec![page(&[4], 4, json!({})), REFUSED];
    check(1, vec![first, second, third], &[1, 2, 3, 4], &[None, Some(2), Some(3)]);
}

#[test]
fn after_a_restart_it_goes_on_from_the_last_entry_shown() {
    let first = vec![page(&[1], 1, json!({})), live(2), Say::Close(1012, "service restart")];
    let second = vec![live(4), page(&[3, 4], 4, json!({})), live(4), live(5), REFUSED];
    let said = check(2, vec![first, second], &[1, 2, 3, 4, 5], &[None, Some(2)]);
    let expected = "openclaw-gateway tail: the gateway closed the connection: service restart \
                    (1012); trying again in 1 s\n\
                    openclaw-gateway tail: the gateway closed the connection: enough (4001)\n";
    assert_eq!(said, expected);
}

#[test]
fn journal_that_was_trimmed_or_replaced_is_told_and_followed() {
    let first = vec![page(&[8, 9], 9, json!({})), Say::Close(1012, "service restart")];
    let second = vec![page(&[1, 2], 2, json!({ "reset": true })), live(2), live(3), REFUSED];
    let said = check(2, vec![first, second], &[8, 9, 1, 2, 3], &[None, Some(9)]);
    assert!(said.contains("no longer keeps some entries"), "{said}");
}

#[test]
fn a_gateway_that_refuses_the_request_is_not_asked_again() {
    let error = json!({ "code": "INVALID_REQUEST", "message": "missing scope: operator.read" });
    let fake = Fake::start(1, move |_, _| vec![Say::Error(error.clone())]);
    let dir = fake.state_dir().to_str().unwrap().to_owned();
    let (code, stdout, stderr) = run(&["tail", "--state-dir", &dir]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    let expected = "openclaw-gateway tail: logs.tail: missing scope: operator.read \
                    (INVALID_REQUEST)\n  this device was not approved for operator.read\n";
    assert_eq!(stderr, expected);
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn filter_narrows_the_stream_where_the_gateway_can() {
    let fake = Fake::start(1, |method, _| match method {
        "logs.subscribe" => vec![Say::Ok(json!({}))],
        _ => vec![page(&[], 0, json!({}))],
    });
    let dir = fake.state_dir().to_str().unwrap().to_owned();
    let words = ["tail", "--no-follow", "--level", "WARNING", "--session", "a:b", "--source", "a"];
    let (code, ..) = run(&[&words[..], &["--state-dir", &dir]].concat());
    assert_eq!(code, 0);
    let requests = fake.requests();
    let filter = json!({ "level": "warn", "session": "a:b", "source": "a" });
    assert_eq!(requests[0], json!({ "method": "logs.subscribe", "params": filter }));
    for (name, value) in filter.as_object().unwrap() {
        assert_eq!(requests[1]["params"][name], *value);
    }
}
