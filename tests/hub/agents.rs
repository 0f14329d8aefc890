//! `agent.status`, `agents.list`, `node.list` and `events.publish`.

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::AgentName;
use openclaw_gateway::protocol::event::PublishedKind;
use openclaw_gateway::protocol::request::{AgentReport, EventsPublish, Idempotency, Read, Request};

use crate::peers::agent;
use crate::sim::{Sim, StoreMode};

fn status(name: &str, status: &str, id: Option<u64>) -> Request {
    Request::AgentStatus(AgentReport {
        name: AgentName::new(name),
        status: status.to_owned(),
        id,
        last_activity: None,
        idempotency: None,
    })
}

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::new();
    sim.settled().show(&["Agent", "Published"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn a_status_is_told_at_once_and_answered_when_it_is_on_disk() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.request(2, status("a1", "busy", Some(7))).stored();
        },
        expect![[r#"
            0s Broadcast(agent a1 7 busy)
            0s -- stored
            0s Respond(conn-2, r1, ok)
        "#]],
    );
}

#[test]
fn a_number_belongs_to_the_name_that_used_it_first() {
    check(
        |sim| {
            sim.connect(3, agent("a2")).forget();
            sim.request(2, status("a1", "idle", Some(7)));
            sim.request(3, status("a2", "idle", Some(7)));
            sim.request(2, status("a1", "idle", None));
            sim.request(2, status("a1", "idle", Some(8)));
            sim.request(3, status("a2", "idle", Some(7)));
        },
        expect![[r#"
            0s Broadcast(agent a1 7 idle)
            0s Respond(conn-2, r1, ok)
            0s Respond(conn-3, r2, CONFLICT "id 7 belongs to the agent a1")
            0s Broadcast(agent a1 7 idle)
            0s Respond(conn-2, r3, ok)
            0s Broadcast(agent a1 8 idle)
            0s Respond(conn-2, r4, ok)
            0s Broadcast(agent a2 7 idle)
            0s Respond(conn-3, r5, ok)
        "#]],
    );
}

#[test]
fn a_number_that_follows_from_the_name_is_the_same_after_a_restart() {
    check(
        |sim| {
            sim.request(2, status("a1", "idle", None)).restart();
            sim.connect(2, agent("a1")).forget().request(2, status("a1", "busy", None));
        },
        expect![[r#"
            0s Broadcast(agent a1 4767135911 busy)
            0s Respond(conn-2, r2, ok)
        "#]],
    );
}

#[test]
fn a_failed_commit_gives_number_and_status_back() {
    check(
        |sim| {
            sim.connect(3, agent("a2")).forget();
            sim.request(2, status("a1", "idle", Some(7)));
            sim.store = StoreMode::Held;
            sim.request(2, status("a1", "busy", Some(8))).request(3, status("a2", "idle", Some(7)));
            sim.store_fails().store_recovers();
            sim.request(1, Request::Read(Read::AgentsList));
        },
        expect![[r#"
            0s Broadcast(agent a1 7 idle)
            0s Respond(conn-2, r1, ok)
            0s Broadcast(agent a1 8 busy)
            0s Broadcast(agent a2 7 idle)
            0s -- store fails
            0s Respond(conn-2, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-3, r3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- store recovers
            0s Respond(conn-1, r4, agents +a1 7 "idle", +a2 4783913530 "")
        "#]],
    );
}

#[test]
fn an_agent_whose_last_connection_ends_is_told_to_be_offline() {
    check(
        |sim| {
            sim.request(2, status("a1", "busy", Some(7)));
            sim.connect(3, agent("a1")).forget();
            sim.closed(2).note("one of two is gone").closed(3);
            sim.request(1, Request::Read(Read::AgentsList));
            sim.request(1, Request::Read(Read::NodeList));
        },
        expect![[r#"
            0s -- one of two is gone
            0s Broadcast(agent a1 7 offline)
            0s Respond(conn-1, r2, agents -a1 7 "busy")
            0s Respond(conn-1, r3, nodes [])
        "#]],
    );
}

#[test]
fn agents_that_said_nothing_are_listed_while_they_are_connected() {
    check(
        |sim| {
            sim.connect(3, agent("a2")).forget();
            sim.request(3, status("a2", "busy", Some(7)));
            sim.request(1, Request::Read(Read::AgentsList));
            sim.request(1, Request::Read(Read::NodeList));
        },
        expect![[r#"
            0s Broadcast(agent a2 7 busy)
            0s Respond(conn-3, r1, ok)
            0s Respond(conn-1, r2, agents +a1 4767135911 "", +a2 7 "busy")
            0s Respond(conn-1, r3, nodes [a2 a1])
        "#]],
    );
}

#[test]
fn a_published_event_is_passed_on_and_with_a_key_only_once() {
    let publish = |key: Option<&str>| {
        Request::EventsPublish(EventsPublish {
            kind: PublishedKind::Notification,
            payload: "{}".into(),
            idempotency: key.map(|key| Idempotency { key: key.to_owned(), params_hash: [1; 32] }),
        })
    };
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.request(2, publish(None)).request(2, publish(None));
            sim.request(2, publish(Some("k"))).request(2, publish(Some("k"))).stored();
        },
        expect![[r#"
            0s Broadcast(notification {})
            0s Respond(conn-2, r1, ok)
            0s Broadcast(notification {})
            0s Respond(conn-2, r2, ok)
            0s Broadcast(notification {})
            0s -- stored
            0s Respond(conn-2, r3, ok)
            0s Respond(conn-2, r4, ok)
        "#]],
    );
}
