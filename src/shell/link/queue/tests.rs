//! What `queue` promises.

use super::*;
use crate::shell::budget::Budget;
use expect_test::{Expect, expect};

/// A queue for 100 bytes whose gap frames say what they tell.
fn queue() -> Queue {
    Queue::new(100, gap_frame, Budget::new(1 << 20).permit())
}

fn gap_frame(gap: LogGap) -> Bytes {
    let cursor =
        |cursor: Option<Cursor>| cursor.map_or_else(|| "-".to_owned(), |at| at.0.to_string());
    let (from, to) = (cursor(gap.from_cursor), cursor(gap.to_cursor));
    Bytes::from(format!("gap {from}..{to} of {}", gap.dropped))
}

fn outgoing(text: &str, class: Class) -> Outgoing {
    Outgoing { bytes: Bytes::from(text.to_owned()), class }
}

fn stream(cursor: u64, len: usize) -> Outgoing {
    let text = format!("{cursor:<len$}");
    outgoing(&text, Class::Stream { log_cursor: Some(Cursor(cursor)) })
}

/// Takes everything, one frame at a time, and shows it.
fn drain(queue: &mut Queue) -> String {
    let mut shown = Vec::new();
    loop {
        let mut taken = VecDeque::new();
        let left = queue.take(&mut taken, 1, usize::MAX);
        shown.extend(
            taken.iter().map(|frame| {
                String::from_utf8_lossy(frame).trim_end().replace(char::is_control, "?")
            }),
        );
        match left {
            Left::Frames => {}
            Left::Nothing => break,
            Left::End => {
                shown.push("END".to_owned());
                break;
            }
        }
    }
    assert_eq!(queue.bytes(), 0);
    shown.join("\n")
}

#[track_caller]
fn check(fill: impl FnOnce(&mut Queue), expected: &Expect) {
    let mut queue = queue();
    fill(&mut queue);
    expected.assert_eq(&drain(&mut queue));
}

#[test]
fn control_overtakes_and_the_rest_keeps_its_order() {
    check(
        |queue| {
            queue.push(outgoing("reply 1", Class::Reply));
            queue.push(stream(1, 7));
            queue.push(outgoing("reply 2", Class::Reply));
            queue.push(outgoing("control 1", Class::Control));
            queue.push_pong(Bytes::from("pong"));
            queue.push(outgoing("control 2", Class::Control));
        },
        &expect![[r#"
            control 1
            pong
            control 2
            reply 1
            1
            reply 2"#]],
    );
}

#[test]
fn a_newer_state_replaces_the_older_one_and_goes_to_the_end() {
    check(
        |queue| {
            queue.push(outgoing("tick 1", Class::State(StateKind::Tick)));
            queue.push(outgoing("presence 1", Class::State(StateKind::Presence)));
            queue.push(outgoing("reply", Class::Reply));
            queue.push(outgoing("tick 2", Class::State(StateKind::Tick)));
        },
        &expect![[r#"
            presence 1
            reply
            tick 2"#]],
    );
}

#[test]
fn a_state_that_was_taken_is_not_replaced() {
    let mut queue = queue();
    queue.push(outgoing("tick 1", Class::State(StateKind::Tick)));
    assert_eq!(drain(&mut queue), "tick 1");
    queue.push(outgoing("reply", Class::Reply));
    queue.push(outgoing("tick 2", Class::State(StateKind::Tick)));
    assert_eq!(drain(&mut queue), "reply\ntick 2");
}

#[test]
fn stream_frames_over_the_limit_become_one_gap_told_on_recovery() {
    check(
        |queue| {
            for cursor in 11..=20 {
                queue.push(stream(cursor, 30));
            }
            let other = queue.push(outgoing("chat", Class::Stream { log_cursor: None }));
            assert_eq!(other, Pushed::Dropped);
        },
        &expect![[r#"
            11
            12
            13
            gap 13..20 of 8"#]],
    );
}

#[test]
fn nothing_of_the_stream_passes_a_gap_before_it_is_told() {
    let mut queue = queue();
    for cursor in 1..=5 {
        queue.push(stream(cursor, 30));
    }
    queue.take(&mut VecDeque::new(), 1, usize::MAX);
    // 60 bytes wait: one more would fit, but half of the limit is not free yet.
    assert_eq!(queue.push(stream(6, 30)), Pushed::Dropped);
    queue.take(&mut VecDeque::new(), 1, usize::MAX);
    assert_eq!(queue.push(stream(7, 30)), Pushed::Queued);
    assert_eq!(drain(&mut queue), "3\ngap 3..6 of 3\n7");
}

#[test]
fn a_frame_that_can_never_fit_is_told_as_a_gap_at_once() {
    let mut queue = queue();
    assert_eq!(queue.push(stream(9, 101)), Pushed::Dropped);
    assert!(queue.has_work());
    assert_eq!(drain(&mut queue), "gap 8..9 of 1");
}

#[test]
fn replies_and_control_over_the_limit_overflow() {
    for class in [Class::Reply, Class::Control] {
        let mut queue = queue();
        assert_eq!(queue.push(outgoing(&"x".repeat(100), class)), Pushed::Queued);
        assert_eq!(queue.push(outgoing("y", class)), Pushed::Overflow);
    }
}

#[test]
fn of_many_pings_some_and_the_newest_are_answered() {
    let mut queue = queue();
    for ping in 0..1_000 {
        queue.push_pong(Bytes::from(format!("{ping:03}")));
    }
    let answered = drain(&mut queue);
    let answered: Vec<&str> = answered.lines().collect();
    assert_eq!(answered.len(), PONGS_QUEUED_MAX as usize + 1);
    assert_eq!((answered[0], answered[PONGS_QUEUED_MAX as usize]), ("000", "999"));
    queue.push_pong(Bytes::from("again"));
    assert_eq!(drain(&mut queue), "again");
}

#[test]
fn closing_keeps_replies_drops_events_and_takes_nothing_more() {
    for (reason, expected) in [
        (
            CloseReason::ErrorBudgetSpent,
            expect![[r#"
                control
                reply
                close
                END"#]],
        ),
        (
            CloseReason::ServerStopping,
            expect![[r#"
                control
                1
                reply
                tick
                close
                END"#]],
        ),
    ] {
        check(
            |queue| {
                queue.push(stream(1, 5));
                queue.push(outgoing("reply", Class::Reply));
                queue.push(outgoing("tick", Class::State(StateKind::Tick)));
                queue.push(outgoing("control", Class::Control));
                assert!(queue.close(reason, Some(Bytes::from("close"))));
                assert!(!queue.close(CloseReason::Bug, Some(Bytes::from("second"))));
                for class in [Class::Reply, Class::Control, Class::State(StateKind::Tick)] {
                    assert_eq!(queue.push(outgoing("late", class)), Pushed::Dropped);
                }
                queue.push_pong(Bytes::from("late"));
            },
            &expected,
        );
    }
}

#[test]
fn a_close_without_frames_still_ends_the_writing_side_once() {
    let mut queue = queue();
    queue.close(CloseReason::Vanished, None);
    assert!(queue.has_work());
    assert_eq!(drain(&mut queue), "END");
    assert!(!queue.has_work());
}

#[test]
fn the_budget_of_all_links_is_held_while_frames_wait_and_stops_the_stream() {
    let total = Budget::new(100_000);
    let mut first = Queue::new(1 << 20, gap_frame, total.permit());
    let mut second = Queue::new(1 << 20, gap_frame, total.permit());
    for cursor in 0..200 {
        first.push(stream(cursor, 1_000));
    }
    assert_eq!(first.bytes(), 117_000, "16 KiB and one frame more than the budget");
    assert!(total.is_spent());
    for cursor in 0..30 {
        second.push(stream(cursor, 1_000));
    }
    assert_eq!(second.bytes(), 16_000, "a burst is always free");
    first.clear();
    assert_eq!(total.used(), 0);
    assert_eq!(first.bytes(), 0);
}

#[test]
fn a_burst_ends_at_its_bytes_or_frames() {
    let mut queue = queue();
    for cursor in 1..=5 {
        queue.push(stream(cursor, 10));
    }
    let mut taken = VecDeque::new();
    assert_eq!(queue.take(&mut taken, 64, 11), Left::Frames);
    assert_eq!(taken.len(), 2);
    assert_eq!(queue.take(&mut taken, 4, 1_000), Left::Frames);
    assert_eq!(taken.len(), 4);
    assert_eq!(queue.take(&mut taken, 64, 1_000), Left::Nothing);
}

#[test]
fn a_reply_waits_beside_a_full_backlog_of_events() {
    let mut queue = queue();
    assert_eq!(queue.push(stream(1, 100)), Pushed::Queued);
    assert_eq!(queue.push(outgoing(&"x".repeat(100), Class::Reply)), Pushed::Queued);
    assert_eq!(queue.push(outgoing("y", Class::Reply)), Pushed::Overflow);
}

#[test]
fn a_reply_longer_than_the_limit_may_wait_alone() {
    let mut queue = queue();
    assert_eq!(queue.push(outgoing(&"x".repeat(101), Class::Reply)), Pushed::Queued);
    assert_eq!(queue.push(outgoing("y", Class::Control)), Pushed::Overflow);
    drain(&mut queue);
    assert_eq!(queue.push(outgoing(&"x".repeat(101), Class::Reply)), Pushed::Queued);
}

#[test]
fn a_reply_passes_while_others_spend_the_budget_of_all_links() {
    let total = Budget::new(100_000);
    let mut hog = Queue::new(1 << 20, gap_frame, total.permit());
    let mut prompt = Queue::new(1 << 20, gap_frame, total.permit());
    hog.push(outgoing(&"x".repeat(200_000), Class::Reply));
    assert!(total.is_spent());
    let reply = outgoing(&"y".repeat(50_000), Class::Reply);
    assert_eq!(prompt.push(reply.clone()), Pushed::Queued);
    assert_eq!(prompt.push(reply.clone()), Pushed::Overflow);
    drain(&mut prompt);
    assert_eq!(prompt.push(reply), Pushed::Queued);
}
