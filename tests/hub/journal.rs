//! The journal: cursors, bounds, and what `logs.tail` tells.

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::{Cursor, SessionKey};
use openclaw_gateway::base::limits::CURSOR_BLOCK;
use openclaw_gateway::protocol::log_entry::{Level, LogDraft};
use openclaw_gateway::protocol::request::{LogFilter, LogsAppend, LogsTail, Request};

use crate::sim::{Sim, StoreMode, draft, tail};

/// A story after an operator (connection 1) and an agent (connection 2) have connected, under a
/// journal of four entries.
#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(|policy| policy.limits.journal_entries_max = 4);
    sim.settled();
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn a_report_is_seen_live_at_once_and_answered_when_it_is_on_disk() {
    check(
        |sim| {
            sim.show(&["Log", "Persist"]);
            sim.store = StoreMode::Held;
            sim.append(2, &["one", "two"]).note("not yet").stored();
        },
        expect![[r#"
            0s Broadcast(log 1 one)
            0s Broadcast(log 2 two)
            0s Persist(#4: append 1, append 2)
            0s -- not yet
            0s -- stored
            0s Respond(conn-2, r1, appended 1..=2)
        "#]],
    );
}

#[test]
fn the_tail_pages_from_any_cursor_in_order_and_says_what_was_trimmed() {
    check(
        |sim| {
            sim.tail(1, Some(0), 10).tail(1, None, 10);
            sim.append(2, &["1", "2", "3", "4"]);
            sim.note("nothing was trimmed");
            sim.tail(1, Some(0), 10).tail(1, Some(0), 3).tail(1, Some(3), 3).tail(1, Some(4), 3);
            sim.append(2, &["5", "6"]);
            sim.note("1 and 2 were trimmed");
            sim.tail(1, Some(0), 10).tail(1, Some(1), 10).tail(1, Some(2), 10);
            sim.tail(1, None, 2).tail(1, None, 10);
            sim.note("a cursor that is not ours");
            sim.tail(1, Some(7), 10).tail(1, Some(u64::MAX), 1);
        },
        expect![[r#"
            0s Respond(conn-1, r1, entries [] cursor 0)
            0s Respond(conn-1, r2, entries [] cursor 0)
            0s Respond(conn-2, r3, appended 1..=4)
            0s -- nothing was trimmed
            0s Respond(conn-1, r4, entries [1 2 3 4] cursor 4)
            0s Respond(conn-1, r5, entries [1 2 3] cursor 3 truncated)
            0s Respond(conn-1, r6, entries [4] cursor 4)
            0s Respond(conn-1, r7, entries [] cursor 4)
            0s Respond(conn-2, r8, appended 5..=6)
            0s -- 1 and 2 were trimmed
            0s Respond(conn-1, r9, entries [3 4 5 6] cursor 6 reset)
            0s Respond(conn-1, r10, entries [3 4 5 6] cursor 6 reset)
            0s Respond(conn-1, r11, entries [3 4 5 6] cursor 6)
            0s Respond(conn-1, r12, entries [5 6] cursor 6)
            0s Respond(conn-1, r13, entries [3 4 5 6] cursor 6)
            0s -- a cursor that is not ours
            0s Respond(conn-1, r14, entries [3 4 5 6] cursor 6 reset)
            0s Respond(conn-1, r15, entries [3] cursor 3 truncated reset)
        "#]],
    );
}

#[test]
fn a_page_keeps_to_its_bytes_but_never_comes_empty_because_of_them() {
    check(
        |sim| {
            sim.append(2, &["aaaa", "bb", "bb", "bb"]);
            // An entry of n bytes stands in a page twice, with 64 bytes around it.
            let page = |cursor, bytes_max| LogsTail { bytes_max, ..tail(cursor, 10) };
            for ask in [page(Some(0), 1), page(Some(1), 136), page(Some(0), 140), page(None, 135)] {
                sim.request(1, Request::LogsTail(ask));
            }
        },
        expect![[r#"
            0s Respond(conn-2, r1, appended 1..=4)
            0s Respond(conn-1, r2, entries [1] cursor 1 truncated)
            0s Respond(conn-1, r3, entries [2 3] cursor 3 truncated)
            0s Respond(conn-1, r4, entries [1 2] cursor 2 truncated)
            0s Respond(conn-1, r5, entries [4] cursor 4)
        "#]],
    );
}

#[test]
fn a_filter_narrows_and_the_cursor_still_moves_past_what_it_left_out() {
    check(
        |sim| {
            let entry = |level, source: &str, session: Option<&str>| LogDraft {
                level,
                source: source.into(),
                session: session.map(SessionKey::new),
                body: "x".into(),
            };
            let entries = vec![
                entry(Level::Debug, "a1", None),
                entry(Level::Error, "a1", Some("a1:chat")),
                entry(Level::Warn, "a2", Some("a2:chat")),
                entry(Level::Info, "a1", Some("a1:chat")),
            ];
            sim.request(2, Request::LogsAppend(LogsAppend { entries, idempotency: None }));
            let none = LogFilter::default;
            let filters = [
                LogFilter { level_min: Some(Level::Warn), ..none() },
                LogFilter { source: Some("a1".to_owned()), ..none() },
                LogFilter { session: Some(SessionKey::new("a1:chat")), ..none() },
                LogFilter { level_min: Some(Level::Warn), source: Some("a1".to_owned()), ..none() },
                LogFilter { source: Some("nobody".to_owned()), ..none() },
            ];
            for filter in filters {
                let ask = LogsTail { filter: filter.clone(), ..tail(Some(0), 10) };
                sim.request(1, Request::LogsTail(ask));
                sim.request(1, Request::LogsTail(LogsTail { filter, ..tail(None, 1) }));
            }
        },
        expect![[r#"
            0s Respond(conn-2, r1, appended 1..=4)
            0s Respond(conn-1, r2, entries [2 3] cursor 4)
            0s Respond(conn-1, r3, entries [3] cursor 4)
            0s Respond(conn-1, r4, entries [1 2 4] cursor 4)
            0s Respond(conn-1, r5, entries [4] cursor 4)
            0s Respond(conn-1, r6, entries [2 4] cursor 4)
            0s Respond(conn-1, r7, entries [4] cursor 4)
            0s Respond(conn-1, r8, entries [2] cursor 4)
            0s Respond(conn-1, r9, entries [2] cursor 4)
            0s Respond(conn-1, r10, entries [] cursor 4)
            0s Respond(conn-1, r11, entries [] cursor 4)
        "#]],
    );
}

#[test]
fn trims_go_to_the_disk_with_the_next_commit() {
    check(
        |sim| {
            sim.only(&["Persist"]);
            sim.append(2, &["1", "2", "3", "4"]);
            sim.append(2, &["5"]).append(2, &["6", "7"]);
            assert_eq!(sim.disk.journal.len(), 4);
        },
        expect![[r#"
            0s Persist(#4: append 1, append 2, append 3, append 4)
            0s Persist(#5: append 5, trim 1)
            0s Persist(#6: append 6, append 7, trim 3)
        "#]],
    );
}

#[test]
fn the_journal_is_bounded_in_bytes_and_keeps_its_newest_entry_whatever_its_size() {
    let mut sim = Sim::with(|policy| policy.limits.journal_bytes_max = 2_000);
    sim.settled().only(&["Respond"]);
    let text = "x".repeat(500);
    for _ in 0..5 {
        sim.append(2, &[&text]);
    }
    sim.tail(1, Some(0), 10).append(2, &[&"x".repeat(5_000)]).tail(1, Some(0), 10);
    expect![[r#"
        0s Respond(conn-2, r1, appended 1..=1)
        0s Respond(conn-2, r2, appended 2..=2)
        0s Respond(conn-2, r3, appended 3..=3)
        0s Respond(conn-2, r4, appended 4..=4)
        0s Respond(conn-2, r5, appended 5..=5)
        0s Respond(conn-1, r6, entries [3 4 5] cursor 5 reset)
        0s Respond(conn-2, r7, appended 6..=6)
        0s Respond(conn-1, r8, entries [6] cursor 6 reset)
    "#]]
    .assert_eq(&sim.take());
}

#[test]
fn a_cursor_is_never_given_beyond_what_is_reserved_on_disk() {
    let append = |sim: &mut Sim, count: u64| {
        let entries = (0..count).map(|_| draft("")).collect();
        sim.request(2, Request::LogsAppend(LogsAppend { entries, idempotency: None }));
    };
    let mut sim = Sim::new();
    sim.settled().only(&["Respond"]);
    sim.store = StoreMode::Held;
    append(&mut sim, 1);
    append(&mut sim, CURSOR_BLOCK - 2);
    sim.note("one is left");
    append(&mut sim, 2);
    append(&mut sim, 1);
    append(&mut sim, 1);
    sim.stored();
    append(&mut sim, 1);
    sim.stored();
    append(&mut sim, 1);
    sim.stored();
    expect![[r#"
        0s -- one is left
        0s Respond(conn-2, r3, UNAVAILABLE "the next journal positions are still being reserved" retry 200)
        0s Respond(conn-2, r5, UNAVAILABLE "the next journal positions are still being reserved" retry 200)
        0s -- stored
        0s Respond(conn-2, r1, appended 1..=1)
        0s Respond(conn-2, r6, UNAVAILABLE "the next journal positions are still being reserved" retry 200)
        0s -- stored
        0s Respond(conn-2, r2, appended 2..=65535)
        0s Respond(conn-2, r4, appended 65536..=65536)
        0s -- stored
        0s Respond(conn-2, r7, appended 65537..=65537)
    "#]].assert_eq(&sim.take());
}

#[test]
fn after_a_crash_cursors_go_on_beyond_every_one_that_was_given() {
    check(
        |sim| {
            sim.show(&["Log"]);
            sim.append(2, &["1", "2"]);
            sim.store = StoreMode::Held;
            sim.append(2, &["3 is seen but not stored"]);
            sim.store = StoreMode::Prompt;
            sim.restart().only(&["Log", "Respond"]);
            sim.connect(1, crate::peers::operator().device("desk"));
            sim.connect(2, crate::peers::agent("a1"));
            sim.append(2, &["4"]).tail(1, Some(2), 10).tail(1, Some(3), 10);
        },
        expect![[r#"
            0s Broadcast(log 1 1)
            0s Broadcast(log 2 2)
            0s Respond(conn-2, r1, appended 1..=2)
            0s Broadcast(log 3 3 is seen but not stored)
            0s -- restarted
            0s Broadcast(log 65537 4)
            0s Respond(conn-2, r3, appended 65537..=65537)
            0s Respond(conn-1, r4, entries [65537] cursor 65537)
            0s Respond(conn-1, r5, entries [65537] cursor 65537)
        "#]],
    );
}

#[test]
fn nothing_is_reported_before_the_first_reservation_is_on_disk() {
    assert_eq!(CURSOR_BLOCK % 2, 0);
    let sim = Sim::new();
    assert_eq!(sim.disk.cursors_reserved, Cursor(1 + CURSOR_BLOCK));
}

impl Sim {
    /// Reads the journal with no filter and room for everything.
    pub(crate) fn tail(&mut self, conn: u64, cursor: Option<u64>, limit: usize) -> &mut Self {
        self.request(conn, Request::LogsTail(tail(cursor, limit)))
    }
}
