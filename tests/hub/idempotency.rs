//! Idempotency keys: executed once, answered as often as asked.

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::SessionKey;
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::protocol::request::{
    Idempotency, LogsAppend, Request, SessionNamed, SessionsPatch,
};

use crate::peers::{agent, operator};
use crate::sessions::{get, usage};
use crate::sim::{Sim, StoreMode, draft};

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::new();
    sim.settled().show(&["Log"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn a_repeat_is_answered_the_same_and_not_executed() {
    check(
        |sim| {
            sim.append_once(2, "k", "one").append_once(2, "k", "one").append_once(2, "l", "one");
            sim.append_once(1, "k", "one");
        },
        expect![[r#"
            0s Broadcast(log 1 one)
            0s Respond(conn-2, r1, appended 1..=1)
            0s Respond(conn-2, r2, appended 1..=1)
            0s Broadcast(log 2 one)
            0s Respond(conn-2, r3, appended 2..=2)
            0s Respond(conn-1, r4, appended 1..=1)
        "#]],
    );
}

#[test]
fn a_repeat_in_progress_is_answered_together_with_the_first() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.append_once(2, "k", "one").append_once(2, "k", "one").append_once(1, "k", "one");
            sim.append_once(2, "k", "other").stored();
        },
        expect![[r#"
            0s Broadcast(log 1 one)
            0s Respond(conn-2, r4, CONFLICT "this idempotencyKey was used with other params")
            0s -- stored
            0s Respond(conn-2, r1, appended 1..=1)
            0s Respond(conn-2, r2, appended 1..=1)
            0s Respond(conn-1, r3, appended 1..=1)
        "#]],
    );
}

#[test]
fn other_params_under_the_same_key_are_a_conflict() {
    check(
        |sim| {
            sim.append_once(2, "k", "one").append_once(2, "k", "two");
        },
        expect![[r#"
            0s Broadcast(log 1 one)
            0s Respond(conn-2, r1, appended 1..=1)
            0s Respond(conn-2, r2, CONFLICT "this idempotencyKey was used with other params")
        "#]],
    );
}

#[test]
fn an_answer_survives_a_restart_and_is_forgotten_after_five_minutes() {
    check(
        |sim| {
            sim.append_once(2, "k", "one").run_secs(100).restart();
            sim.connect(2, agent("a1")).forget().append_once(2, "k", "one");
            sim.live_for(199, &[2]).append_once(2, "k", "one");
            sim.run_secs(1).append_once(2, "k", "one");
        },
        expect![[r#"
            100s Respond(conn-2, r2, appended 1..=1)
            299s Respond(conn-2, r3, appended 1..=1)
            300s Broadcast(log 65537 one)
            300s Respond(conn-2, r4, appended 65537..=65537)
        "#]],
    );
}

#[test]
fn a_failed_commit_leaves_no_answer_behind() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.append_once(2, "k", "one").append_once(2, "k", "one").store_fails();
            sim.append_once(2, "k", "one").store_recovers();
            sim.store = StoreMode::Prompt;
            if sim.is_storing() {
                sim.stored();
            }
            sim.append_once(2, "k", "one");
        },
        expect![[r#"
            0s Broadcast(log 1 one)
            0s -- store fails
            0s Respond(conn-2, r1, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-2, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-2, r3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- store recovers
            0s -- stored
            0s Broadcast(log 2 one)
            0s Respond(conn-2, r4, appended 2..=2)
        "#]],
    );
}

#[test]
fn forgotten_answers_leave_the_disk_with_the_next_commit() {
    let mut sim = Sim::new();
    sim.settled().only(&["Persist"]);
    sim.append_once(2, "k", "one");
    sim.live_for(400, &[1, 2]);
    assert_eq!(sim.disk.answers.len(), 1);
    sim.append(2, &["two"]);
    assert_eq!(sim.disk.answers.len(), 0);
    sim.only(&["Respond"]).request(1, Request::Status);
    expect![[r#"
        0s Persist(#4: append 1, put answer k)
        400s Persist(#5: delete answer k, append 2)
        400s Respond(conn-1, r3, status 1 operators 1 agents 2 entries, store healthy)
    "#]]
    .assert_eq(&sim.take());
}

fn once(key: &str, params: &str) -> Option<Idempotency> {
    Some(Idempotency { key: key.to_owned(), params_hash: Secret::new(params).hash().0 })
}

fn named(session: &str, key: &str) -> SessionNamed {
    SessionNamed { key: SessionKey::new(session), idempotency: once(key, session) }
}

fn patched(session: &str, label: &str, key: &str) -> Request {
    Request::SessionsPatch(Box::new(SessionsPatch {
        key: SessionKey::new(session),
        label: Some(label.into()),
        model: None,
        thinking: None,
        verbose: None,
        reasoning: None,
        idempotency: once(key, label),
    }))
}

fn used(session: &str, tokens: u64) -> Request {
    Request::SessionUsage(Box::new(usage(session, tokens)))
}

#[test]
fn a_repeated_change_to_a_session_is_not_made_again_and_shows_what_is_now() {
    check(
        |sim| {
            sim.request(2, used("a1:s", 5)).request(1, Request::SessionsReset(named("a1:s", "k")));
            sim.request(2, used("a1:s", 7));
            sim.request(1, Request::SessionsReset(named("a1:s", "k"))).request(1, get("a1:s"));
            sim.request(1, Request::SessionsReset(named("a1:t", "k")));
            // The same key under another method is another.
            sim.request(1, patched("a1:s", "one", "k")).request(1, patched("a1:s", "two", "l"));
            sim.request(1, patched("a1:s", "one", "k")).request(1, patched("a1:s", "two", "k"));
            sim.request(1, Request::SessionsDelete(named("a1:s", "k")));
            sim.request(1, patched("a1:s", "one", "k"));
            sim.request(2, used("a1:s", 9)).request(1, Request::SessionsDelete(named("a1:s", "k")));
            sim.request(1, get("a1:s")).only(&["Respond"]).restart();
            sim.connect(1, operator().device("desk"));
            sim.request(1, Request::SessionsDelete(named("a1:s", "k")));
            sim.request(1, Request::SessionsReset(named("a1:s", "k"))).request(1, get("a1:s"));
        },
        expect![[r#"
            0s Respond(conn-2, r1, ok)
            0s Respond(conn-1, r2, changed a1:s 0+0=0, 0, 0)
            0s Respond(conn-2, r3, ok)
            0s Respond(conn-1, r4, changed a1:s 7+1=8, 1, 100000000)
            0s Respond(conn-1, r5, session a1:s 7+1=8, 1, 100000000)
            0s Respond(conn-1, r6, CONFLICT "this idempotencyKey was used with other params")
            0s Respond(conn-1, r7, changed a1:s 7+1=8, 1, 100000000)
            0s Respond(conn-1, r8, changed a1:s 7+1=8, 1, 100000000)
            0s Respond(conn-1, r9, changed a1:s 7+1=8, 1, 100000000)
            0s Respond(conn-1, r10, CONFLICT "this idempotencyKey was used with other params")
            0s Respond(conn-1, r11, deleted a1:s: true)
            0s Respond(conn-1, r12, NOT_FOUND "no such session: a1:s")
            0s Respond(conn-2, r13, ok)
            0s Respond(conn-1, r14, deleted a1:s: true)
            0s Respond(conn-1, r15, session a1:s 9+1=10, 1, 100000000)
            0s -- restarted
            0s Respond(conn-1, r16, deleted a1:s: true)
            0s Respond(conn-1, r17, changed a1:s 9+1=10, 1, 100000000)
            0s Respond(conn-1, r18, session a1:s 9+1=10, 1, 100000000)
        "#]],
    );
}

#[test]
fn a_change_to_a_session_that_a_failing_disk_took_back_is_made_when_it_is_repeated() {
    check(
        |sim| {
            sim.request(2, used("a1:s", 5)).forget();
            sim.store = StoreMode::Held;
            for _ in 0..2 {
                sim.request(1, Request::SessionsDelete(named("a1:s", "k")));
            }
            sim.store_fails();
            sim.store = StoreMode::Prompt;
            sim.store_recovers().request(1, get("a1:s"));
            sim.request(1, Request::SessionsDelete(named("a1:s", "k"))).request(1, get("a1:s"));
        },
        expect![[r#"
            0s -- store fails
            0s Respond(conn-1, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-1, r3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- store recovers
            0s Respond(conn-1, r4, session a1:s 5+1=6, 1, 100000000)
            0s Respond(conn-1, r5, deleted a1:s: true)
            0s Respond(conn-1, r6, NOT_FOUND "no such session: a1:s")
        "#]],
    );
}

impl Sim {
    /// Appends one entry under an idempotency key.
    pub(crate) fn append_once(&mut self, conn: u64, key: &str, message: &str) -> &mut Self {
        let params_hash = Secret::new(message).hash().0;
        let idempotency = Some(Idempotency { key: key.to_owned(), params_hash });
        let entries = vec![draft(message)];
        self.request(conn, Request::LogsAppend(LogsAppend { entries, idempotency }))
    }
}
