//! Sessions: accounting, order, pages, bounds, and what a failing store takes back.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::{AgentName, SessionKey};
use openclaw_gateway::base::limits::COUNT_MAX;
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::protocol::cost::Cost;
use openclaw_gateway::protocol::reply::{Reply, SessionsPage};
use openclaw_gateway::protocol::request::{
    Idempotency, Read, Request, SessionNamed, SessionUpdate, SessionUsage, SessionsCursor,
    SessionsList, SessionsPatch,
};

use crate::peers::{agent, operator};
use crate::sim::{Sim, StoreMode};

pub(crate) fn usage(key: &str, tokens: u64) -> SessionUsage {
    SessionUsage {
        key: SessionKey::new(key),
        input_tokens: tokens,
        output_tokens: 1,
        messages: 1,
        cost: Cost(100_000_000),
        model: None,
        idempotency: None,
    }
}

fn used(key: &str, tokens: u64) -> Request {
    Request::SessionUsage(Box::new(usage(key, tokens)))
}

fn used_once(key: &str, tokens: u64, idempotency: &str) -> Request {
    let params_hash = Secret::new(format!("{key} {tokens}")).hash().0;
    let idempotency = Some(Idempotency { key: idempotency.to_owned(), params_hash });
    Request::SessionUsage(Box::new(SessionUsage { idempotency, ..usage(key, tokens) }))
}

fn named(key: impl AsRef<str>) -> SessionNamed {
    SessionNamed { key: SessionKey::new(key.as_ref()), idempotency: None }
}

fn reset(key: &str) -> Request {
    Request::SessionsReset(named(key))
}

fn delete(key: impl AsRef<str>) -> Request {
    Request::SessionsDelete(named(key))
}

pub(crate) fn update(key: &str) -> SessionUpdate {
    SessionUpdate {
        key: SessionKey::new(key),
        kind: None,
        model: None,
        label: None,
        total_tokens: None,
        input_tokens: None,
        output_tokens: None,
        context_tokens: None,
        message_count: None,
        cost: None,
        active: None,
        idempotency: None,
    }
}

pub(crate) fn updated(update: SessionUpdate) -> Request {
    Request::SessionUpdate(Box::new(update))
}

pub(crate) fn get(key: &str) -> Request {
    Request::Read(Read::SessionsGet(SessionKey::new(key)))
}

fn totals(agent: Option<&str>) -> Request {
    Request::Read(Read::SessionsUsage(agent.map(AgentName::new)))
}

fn list(limit: usize, cursor: Option<SessionsCursor>) -> SessionsList {
    SessionsList { limit, cursor, agent: None, active_within_ms: None }
}

fn listed(list: SessionsList) -> Request {
    Request::Read(Read::SessionsList(list))
}

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(|policy| {
        policy.limits.sessions_max = 6;
        policy.limits.snapshot_sessions_max = 2;
    });
    sim.settled();
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn usage_adds_up_exactly_and_update_sets() {
    check(
        |sim| {
            for _ in 0..10 {
                sim.request(2, used("a1:s", 10));
            }
            sim.forget().request(1, get("a1:s"));
            let set = SessionUpdate {
                total_tokens: Some(5),
                cost: Some(Cost(1)),
                label: Some("name".into()),
                ..update("a1:s")
            };
            sim.request(2, updated(set)).request(2, used("a1:s", 1)).request(1, get("a1:s"));
            sim.request(1, totals(None)).request(1, get("a1:other"));
        },
        expect![[r#"
            0s Respond(conn-1, r11, session a1:s 100+10=110, 10, 1000000000)
            0s Respond(conn-2, r12, ok)
            0s Respond(conn-2, r13, ok)
            0s Respond(conn-1, r14, session a1:s 101+11=7, 11, 100000001)
            0s Respond(conn-1, r15, 1 sessions, 7 tokens, 11 messages, 100000001 billionths)
            0s Respond(conn-1, r16, NOT_FOUND "no such session: a1:other")
        "#]],
    );
}

#[test]
fn a_sum_that_would_be_too_great_changes_nothing() {
    check(
        |sim| {
            sim.request(2, used("a1:s", COUNT_MAX - 2)).request(2, used("a1:s", 1));
            let cost = Cost::parse("999999999.9").unwrap();
            let dear = SessionUsage { cost, ..usage("a1:t", 0) };
            sim.request(2, Request::SessionUsage(Box::new(dear.clone())));
            sim.request(2, Request::SessionUsage(Box::new(SessionUsage { cost, ..dear })));
            sim.request(1, get("a1:s")).request(1, get("a1:t"));
        },
        expect![[r#"
            0s Respond(conn-2, r1, ok)
            0s Respond(conn-2, r2, INVALID_REQUEST "invalid session.usage params: inputTokens would take the session's totalTokens over 9007199254740992")
            0s Respond(conn-2, r3, ok)
            0s Respond(conn-2, r4, INVALID_REQUEST "invalid session.usage params: cost would take the session's cost over 1000000000")
            0s Respond(conn-1, r5, session a1:s 9007199254740990+1=9007199254740991, 1, 100000000)
            0s Respond(conn-1, r6, session a1:t 0+1=1, 1, 999999999900000000)
        "#]],
    );
}

#[test]
fn a_repetition_counts_once_also_over_a_restart_and_while_the_first_is_stored() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.request(2, used_once("a1:s", 5, "k")).request(2, used_once("a1:s", 5, "k"));
            sim.stored().request(2, used_once("a1:s", 5, "k"));
            sim.store = StoreMode::Prompt;
            sim.only(&["Respond"]).restart();
            sim.connect(1, operator().device("desk")).connect(2, agent("a1"));
            sim.request(2, used_once("a1:s", 5, "k"));
            sim.request(2, used_once("a1:s", 6, "k")).request(1, get("a1:s"));
        },
        expect![[r#"
            0s -- stored
            0s Respond(conn-2, r1, ok)
            0s Respond(conn-2, r2, ok)
            0s Respond(conn-2, r3, ok)
            0s -- restarted
            0s Respond(conn-2, r4, ok)
            0s Respond(conn-2, r5, CONFLICT "this idempotencyKey was used with other params")
            0s Respond(conn-1, r6, session a1:s 5+1=6, 1, 100000000)
        "#]],
    );
}

#[test]
fn a_hot_session_is_written_once_per_commit() {
    check(
        |sim| {
            sim.only(&["Persist", "Respond"]);
            sim.store = StoreMode::Held;
            for _ in 0..4 {
                sim.request(2, used("a1:s", 1));
            }
            sim.request(1, delete("a1:s"));
            sim.stored().stored();
        },
        expect![[r#"
            0s Persist(#4: put session a1:s 1+1=2, 1, 100000000)
            0s -- stored
            0s Respond(conn-2, r1, ok)
            0s Persist(#5: delete session a1:s)
            0s -- stored
            0s Respond(conn-2, r2, ok)
            0s Respond(conn-2, r3, ok)
            0s Respond(conn-2, r4, ok)
            0s Respond(conn-1, r5, deleted a1:s: true)
        "#]],
    );
}

#[test]
fn a_failed_commit_takes_back_every_change_to_sessions_and_nothing_else() {
    check(
        |sim| {
            sim.request(2, used("a1:s", 1)).request(2, used("a1:gone", 2)).forget();
            sim.store = StoreMode::Held;
            sim.request(2, used("a1:s", 10)).request(2, used("a1:new", 1));
            sim.request(2, used("a1:s", 10));
            sim.request(1, delete("a1:gone"));
            sim.request(2, used_once("a1:s", 10, "k"));
            sim.store_fails().request(2, used("a1:s", 1));
            sim.store = StoreMode::Prompt;
            sim.show(&["Persist"]).store_recovers();
            sim.request(1, totals(None)).request(1, get("a1:s")).request(1, get("a1:gone"));
            sim.request(2, used_once("a1:s", 10, "k")).request(1, get("a1:s"));
        },
        expect![[r#"
            0s -- store fails
            0s Respond(conn-2, r3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-2, r4, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-2, r5, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-1, r6, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-2, r7, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-2, r8, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- store recovers
            0s Persist(#7: put session a1:gone 2+1=3, 1, 100000000, delete session a1:new, put session a1:s 1+1=2, 1, 100000000, delete answer k)
            0s Respond(conn-1, r9, 2 sessions, 5 tokens, 2 messages, 200000000 billionths)
            0s Respond(conn-1, r10, session a1:s 1+1=2, 1, 100000000)
            0s Respond(conn-1, r11, session a1:gone 2+1=3, 1, 100000000)
            0s Persist(#8: put answer k, put session a1:s 11+2=13, 2, 200000000)
            0s Respond(conn-2, r12, ok)
            0s Respond(conn-1, r13, session a1:s 11+2=13, 2, 200000000)
        "#]],
    );
}

#[test]
fn operators_name_reset_and_delete_sessions() {
    check(
        |sim| {
            let patch = |key: &str, label: &str| {
                Request::SessionsPatch(Box::new(SessionsPatch {
                    key: SessionKey::new(key),
                    label: Some(label.into()),
                    model: None,
                    thinking: None,
                    verbose: None,
                    reasoning: None,
                    idempotency: None,
                }))
            };
            sim.request(2, used("a1:s", 1)).request(2, used("a1:t", 2));
            sim.request(1, patch("a1:s", "name")).request(1, patch("a1:none", "name"));
            sim.request(1, listed(list(5, None)));
            sim.request(1, reset("a1:s"));
            sim.request(1, delete("a1:t"));
            sim.request(1, delete("a1:t"));
            sim.only(&["Respond"]).restart().connect(1, operator().device("desk"));
            sim.request(1, listed(list(5, None))).request(1, totals(Some("a1")));
            sim.request(1, totals(Some("a2")));
        },
        expect![[r#"
            0s Respond(conn-2, r1, ok)
            0s Respond(conn-2, r2, ok)
            0s Respond(conn-1, r3, changed a1:s 1+1=2, 1, 100000000)
            0s Respond(conn-1, r4, NOT_FOUND "no such session: a1:none")
            0s Respond(conn-1, r5, sessions [a1:t a1:s] of 2)
            0s Respond(conn-1, r6, changed a1:s 0+0=0, 0, 0)
            0s Respond(conn-1, r7, deleted a1:t: true)
            0s Respond(conn-1, r8, deleted a1:t: false)
            0s -- restarted
            0s Respond(conn-1, r9, sessions [a1:s] of 1)
            0s Respond(conn-1, r10, 1 sessions, 0 tokens, 0 messages, 0 billionths)
            0s Respond(conn-1, r11, 0 sessions, 0 tokens, 0 messages, 0 billionths)
        "#]],
    );
}

#[test]
fn ticks_show_the_newest_soon_after_a_change_and_not_each_one() {
    check(
        |sim| {
            sim.only(&["Tick"]);
            sim.run_secs(1);
            for _ in 0..100 {
                for key in ["a1:r", "a1:s", "a1:t"] {
                    sim.request(2, used(key, 1));
                }
                sim.run_for(std::time::Duration::from_millis(10));
            }
            sim.run_secs(1);
        },
        expect![[r#"
            1s Broadcast(tick [a1:r 2] of 1)
            1.250s Broadcast(tick [a1:t 50, a1:s 50] of 3)
            1.500s Broadcast(tick [a1:t 100, a1:s 100] of 3)
            1.750s Broadcast(tick [a1:t 150, a1:s 150] of 3)
            2s Broadcast(tick [a1:t 200, a1:s 200] of 3)
        "#]],
    );
}

#[test]
fn a_full_table_displaces_the_longest_silent_and_of_a_greedy_agent_its_own() {
    check(
        |sim| {
            sim.only(&["Persist"]);
            for key in ["b:1", "b:2", "c:1"] {
                sim.run_secs(1).request(1, used(key, 1));
            }
            for number in 1..=6 {
                sim.run_secs(1).request(2, used(&format!("a1:{number}"), 1));
            }
            sim.run_secs(1).request(1, used("d:1", 1));
            sim.only(&["Respond"]).request(1, listed(list(10, None)));
        },
        expect![[r#"
            1s Persist(#4: put session b:1 1+1=2, 1, 100000000)
            2s Persist(#5: put session b:2 1+1=2, 1, 100000000)
            3s Persist(#6: put session c:1 1+1=2, 1, 100000000)
            4s Persist(#7: put session a1:1 1+1=2, 1, 100000000)
            5s Persist(#8: put session a1:2 1+1=2, 1, 100000000)
            6s Persist(#9: put session a1:3 1+1=2, 1, 100000000)
            7s Persist(#10: delete session a1:1, put session a1:4 1+1=2, 1, 100000000)
            8s Persist(#11: delete session a1:2, put session a1:5 1+1=2, 1, 100000000)
            9s Persist(#12: delete session a1:3, put session a1:6 1+1=2, 1, 100000000)
            10s Persist(#13: delete session b:1, put session d:1 1+1=2, 1, 100000000)
            10s Respond(conn-1, r11, sessions [d:1 a1:6 a1:5 a1:4 c:1 b:2] of 6)
        "#]],
    );
}

#[test]
fn fewer_sessions_than_before_are_kept_after_a_restart_with_a_lower_limit() {
    let mut sim = Sim::with(|policy| policy.limits.sessions_max = 5);
    sim.settled();
    for number in 0..5 {
        sim.run_secs(1).request(2, used(&format!("a1:{number}"), 1));
    }
    let disk = sim.disk.clone();
    let mut sim = Sim::with(|policy| policy.limits.sessions_max = 2);
    sim.disk = disk;
    sim.restart().settled().request(1, listed(list(10, None)));
    assert_eq!(sim.disk.sessions.len(), 2);
    expect![[r#"
        0s Respond(conn-1, r1, sessions [a1:4 a1:3] of 2)
    "#]]
    .assert_eq(&sim.take());
}

fn ask(sim: &mut Sim, list: SessionsList) -> SessionsPage {
    sim.request(1, listed(list));
    match sim.log.last() {
        Some(Effect::Respond { result: Ok(Reply::SessionsList(page)), .. }) => page.clone(),
        other => panic!("{other:?}"),
    }
}

/// Pages through while `between` happens between the pages; returns the keys in their order.
fn walk(sim: &mut Sim, first: SessionsList, mut between: impl FnMut(&mut Sim)) -> Vec<String> {
    let mut keys = Vec::new();
    let mut ask_for = first.clone();
    for _ in 0..1_000 {
        let page = ask(sim, ask_for);
        assert!(page.rows.len() <= first.limit);
        keys.extend(page.rows.iter().map(|row| row.key.to_string()));
        match page.next {
            Some(cursor) => ask_for = SessionsList { cursor: Some(cursor), ..first.clone() },
            None => return keys,
        }
        between(sim);
    }
    panic!("the list has no end");
}

fn crowd() -> Sim {
    let mut sim = Sim::with(|policy| policy.limits.sessions_max = 1_000);
    sim.settled();
    for number in 0..50 {
        // Several share a millisecond.
        if number % 3 == 0 {
            sim.run_secs(1);
        }
        sim.request(2, used(&format!("a1:{number:02}"), 1));
    }
    sim
}

#[test]
fn pages_show_every_session_once_newest_first() {
    for limit in [1, 7, 49, 50, 51] {
        let mut sim = crowd();
        let mut expected: Vec<_> = (0..50).map(|n| (n / 3, format!("a1:{n:02}"))).collect();
        expected.sort();
        let expected: Vec<_> = expected.into_iter().rev().map(|(_, key)| key).collect();
        assert_eq!(walk(&mut sim, list(limit, None), |_| {}), expected, "{limit}");
    }
}

#[test]
fn paging_misses_no_session_while_sessions_change_come_and_go() {
    for limit in [3, 10] {
        let mut sim = crowd();
        let mut step = 0;
        let keys = walk(&mut sim, list(limit, None), |sim| {
            step += 1;
            if step > 12 {
                return;
            }
            // One from the end, which would be missed if pages only went down; one that is new;
            // one that goes.
            sim.run_secs(1).request(2, used(&format!("a1:{:02}", step % 12), 1));
            sim.request(2, used(&format!("a1:new{step}"), 1));
            sim.request(1, delete(format!("a1:{}", 20 + step)));
        });
        let seen: BTreeSet<_> = keys.iter().cloned().collect();
        for number in (0..50).filter(|number| !(21..=32).contains(number)) {
            assert!(seen.contains(&format!("a1:{number:02}")), "{number} with {limit}: {keys:?}");
        }
    }
}

#[test]
fn a_list_can_be_of_one_agent_and_of_what_is_recent() {
    let mut sim = crowd();
    sim.request(1, used("b:1", 1)).run_secs(100).request(1, used("b:2", 1));
    let of_b = SessionsList { agent: Some(AgentName::new("b")), ..list(1, None) };
    assert_eq!(walk(&mut sim, of_b, |_| {}), ["b:2", "b:1"]);
    let of_nobody = SessionsList { agent: Some(AgentName::new("c")), ..list(1, None) };
    assert!(walk(&mut sim, of_nobody, |_| {}).is_empty());
    let recent = SessionsList { active_within_ms: Some(50_000), ..list(1, None) };
    assert_eq!(walk(&mut sim, recent, |_| {}), ["b:2"]);
    let recent = SessionsList { active_within_ms: Some(101_000), ..list(2, None) };
    let keys = walk(&mut sim, recent, |_| {});
    assert_eq!(keys[..2], ["b:2", "b:1"]);
    assert!(keys.len() < 10);
}
