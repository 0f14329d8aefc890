//! Runs: `chat.send`, `agent`, `sessions.send`, `agent.wait`, `run.update`, `chat.abort`,
//! `chat.history`.

use std::time::Duration;

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::{AgentName, RunId, SessionKey};
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::protocol::request::Request;
use openclaw_gateway::protocol::run::RunState;
use openclaw_gateway::protocol::run_calls::{HistoryAsk, RunAsk, RunMethod, RunReport, RunRequest};

use crate::peers::{agent, operator};
use crate::sim::{Sim, StoreMode};

/// What is told of runs.
pub(crate) const TOLD: [&str; 4] = ["AgentRequest", "Chat", "ChatMessage", "Progress"];

pub(crate) fn ask(method: RunMethod, key: &str, message: &str) -> RunAsk {
    RunAsk {
        method,
        key: Some(RunId::new(key)),
        params_hash: Secret::new(message).hash().0,
        agent: None,
        session: Some(SessionKey::new("a1:chat")),
        message: message.into(),
        model: None,
        label: None,
        attachments: None,
        timeout: None,
    }
}

pub(crate) fn start(ask: RunAsk) -> Request {
    Request::Runs(Box::new(RunRequest::Start(ask)))
}

pub(crate) fn send(key: &str) -> Request {
    start(ask(RunMethod::ChatSend, key, "hello"))
}

pub(crate) fn call(key: &str) -> Request {
    start(ask(RunMethod::Agent, key, "hello"))
}

pub(crate) fn update(key: &str, state: RunState, text: &str) -> Request {
    Request::Runs(Box::new(RunRequest::Update(RunReport {
        run: Some(RunId::new(key)),
        state,
        text: (!text.is_empty() && state != RunState::Error).then(|| text.into()),
        usage: None,
        error: (state == RunState::Error).then(|| text.into()),
    })))
}

pub(crate) fn wait(key: &str, seconds: u64) -> Request {
    let timeout = Duration::from_secs(seconds);
    Request::Runs(Box::new(RunRequest::Wait { run: RunId::new(key), timeout }))
}

pub(crate) fn abort(key: &str) -> Request {
    Request::Runs(Box::new(RunRequest::Abort { session: None, run: Some(RunId::new(key)) }))
}

pub(crate) fn history(session: &str, limit: usize) -> Request {
    let session = SessionKey::new(session);
    Request::Runs(Box::new(RunRequest::History(HistoryAsk { session, limit, before: None })))
}

#[track_caller]
pub(crate) fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(|policy| policy.spawn.default_agent = Some(AgentName::new("a1")));
    sim.settled().show(&TOLD);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn a_message_goes_to_its_agent_and_the_answer_to_everyone() {
    check(
        |sim| {
            sim.request(1, send("k"));
            sim.request(2, update("k", RunState::Delta, "Good "));
            sim.request(2, update("k", RunState::Final, "Good day"));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k Started in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Broadcast(agent k 2 said "Good ")
            0s Broadcast(chat k 2 delta "Good ")
            0s Respond(conn-2, r2, ok)
            0s Broadcast(agent k 3 said "day")
            0s Broadcast(agent k 4 ended)
            0s Broadcast(chat k 4 final "Good day")
            0s Broadcast(message "Good day" of a1)
            0s Respond(conn-2, r3, ok)
        "#]],
    );
}

#[test]
fn an_agent_is_asked_only_what_is_on_disk() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.request(1, send("k")).request(1, send("k"));
            sim.stored();
            sim.request(2, update("k", RunState::Final, "done"));
            sim.stored();
        },
        expect![[r#"
            0s -- stored
            0s Respond(conn-1, r1, k Started in a1:chat)
            0s Respond(conn-1, r2, k InFlight in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Broadcast(agent k 2 said "done")
            0s Broadcast(agent k 3 ended)
            0s Broadcast(chat k 3 final "done")
            0s Broadcast(message "done" of a1)
            0s -- stored
            0s Respond(conn-2, r3, ok)
        "#]],
    );
}

#[test]
fn a_run_that_was_not_stored_never_was() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.request(1, send("k")).request(1, wait("k", 10)).store_fails();
            sim.store_recovers().stored();
            sim.request(1, wait("k", 10)).request(1, history("a1:chat", 10));
            sim.request(1, send("k")).stored();
            assert_eq!(sim.disk.runs.len(), 1);
            assert_eq!(sim.disk.messages.len(), 1);
        },
        expect![[r#"
            0s -- store fails
            0s Respond(conn-1, r1, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-1, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- store recovers
            0s -- stored
            0s Respond(conn-1, r3, NOT_FOUND "no such run: k")
            0s Respond(conn-1, r4, history of a1:chat [])
            0s -- stored
            0s Respond(conn-1, r5, k Started in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
        "#]],
    );
}

#[test]
fn agent_is_answered_twice_under_one_id() {
    check(
        |sim| {
            sim.request(1, call("k")).request(1, call("k"));
            sim.request(2, update("k", RunState::Final, "done"));
            sim.note("again, after the end").request(1, call("k"));
            sim.request(1, call("bad"));
            sim.request(2, update("bad", RunState::Error, "no model"));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Respond(conn-1, r2, k accepted in a1:chat)
            0s Broadcast(agent k 2 said "done")
            0s Broadcast(agent k 3 ended)
            0s Broadcast(chat k 3 final "done")
            0s Broadcast(message "done" of a1)
            0s RespondAgain(conn-1, r1, agent ended k final "done")
            0s RespondAgain(conn-1, r2, agent ended k final "done")
            0s Respond(conn-2, r3, ok)
            0s -- again, after the end
            0s Respond(conn-1, r4, agent ended k final "done")
            0s Respond(conn-1, r5, bad accepted in a1:chat)
            0s Send(conn-2, bad asked "hello" in a1:chat)
            0s Broadcast(agent bad 1 started)
            0s Broadcast(agent bad 2 failed: no model)
            0s Broadcast(chat bad 2 error because "no model")
            0s RespondAgain(conn-1, r5, agent ended bad error because "no model")
            0s Respond(conn-2, r6, ok)
        "#]],
    );
}

#[test]
fn a_key_belongs_to_its_user_its_method_and_its_params() {
    check(
        |sim| {
            sim.request(1, send("k"));
            sim.request(1, start(ask(RunMethod::ChatSend, "k", "other words")));
            sim.request(1, call("k"));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k Started in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Respond(conn-1, r2, CONFLICT "this idempotencyKey was used with other params, or by another user")
            0s Respond(conn-1, r3, CONFLICT "this idempotencyKey was used with other params, or by another user")
        "#]],
    );
}

#[test]
fn a_request_without_a_key_is_given_one() {
    check(
        |sim| {
            let without = RunAsk { key: None, ..ask(RunMethod::ChatSend, "", "hello") };
            sim.only(&["Respond"]).request(1, start(without.clone())).request(1, start(without));
        },
        expect![[r#"
            0s Respond(conn-1, r1, run-01bad93d8dbcfd3d33c2eff449082b0a Started in a1:chat)
            0s Respond(conn-1, r2, run-53f70bca60f045be7a927f7b9519b290 Started in a1:chat)
        "#]],
    );
}

#[test]
fn whoever_waits_hears_of_the_end_or_of_the_time() {
    check(
        |sim| {
            sim.request(1, send("k")).only(&["Respond"]);
            sim.request(1, wait("k", 0)).request(1, wait("k", 5)).request(1, wait("k", 20));
            sim.run_secs(10).request(2, update("k", RunState::Final, "done"));
            sim.request(1, wait("k", 5)).request(1, wait("other", 5));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k Started in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Respond(conn-1, r2, k still open)
            5s Respond(conn-1, r3, k still open)
            10s Respond(conn-1, r4, waited k final "done")
            10s Respond(conn-2, r5, ok)
            10s Respond(conn-1, r6, waited k final "done")
            10s Respond(conn-1, r7, NOT_FOUND "no such run: other")
        "#]],
    );
}

#[test]
fn a_run_survives_the_operator() {
    check(
        |sim| {
            sim.request(1, call("k")).only(&["Respond"]).closed(1);
            sim.request(2, update("k", RunState::Delta, "half"));
            sim.connect(3, operator().device("desk")).request(3, wait("k", 30));
            sim.request(2, update("k", RunState::Final, "half and half"));
            sim.request(3, call("k")).request(3, history("a1:chat", 10));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Respond(conn-2, r2, ok)
            0s Respond(conn-3, r3, waited k final "half and half")
            0s Respond(conn-2, r4, ok)
            0s Respond(conn-3, r5, agent ended k final "half and half")
            0s Respond(conn-3, r6, history of a1:chat [user: hello, assistant: half and half])
        "#]],
    );
}

#[test]
fn who_names_no_agent_means_the_default_one() {
    let named = |agent: Option<&str>, session: Option<&str>, key: &str| {
        start(RunAsk {
            agent: agent.map(AgentName::new),
            session: session.map(SessionKey::new),
            ..ask(RunMethod::Agent, key, "hello")
        })
    };
    check(
        |sim| {
            sim.connect(3, agent("a2")).forget();
            sim.request(1, named(None, None, "1"));
            sim.request(1, named(None, Some("main"), "2"));
            sim.request(1, named(Some("a2"), None, "3"));
            sim.request(1, named(Some("a2"), Some("work"), "4"));
            sim.request(1, named(Some("a2"), Some("agent:a2:x"), "5"));
            sim.request(1, named(Some("a1"), Some("agent:a2:x"), "6"));
        },
        expect![[r#"
            0s Respond(conn-1, r1, 1 accepted in a1:main)
            0s Send(conn-2, 1 asked "hello" in a1:main)
            0s Broadcast(agent 1 1 started)
            0s Respond(conn-1, r2, 2 accepted in a1:main)
            0s Send(conn-2, 2 asked "hello" in a1:main)
            0s Broadcast(agent 2 1 started)
            0s Respond(conn-1, r3, 3 accepted in a2:main)
            0s Send(conn-3, 3 asked "hello" in a2:main)
            0s Broadcast(agent 3 1 started)
            0s Respond(conn-1, r4, 4 accepted in a2:work)
            0s Send(conn-3, 4 asked "hello" in a2:work)
            0s Broadcast(agent 4 1 started)
            0s Respond(conn-1, r5, 5 accepted in agent:a2:x)
            0s Send(conn-3, 5 asked "hello" in agent:a2:x)
            0s Broadcast(agent 5 1 started)
            0s Respond(conn-1, r6, INVALID_REQUEST "agentId and sessionKey name different agents")
        "#]],
    );
    let mut sim = Sim::new();
    sim.settled().request(1, named(None, Some("main"), "1"));
    expect![[r#"
        0s Respond(conn-1, r1, INVALID_REQUEST "no agent is named, and gateway.agents.default is not set")
    "#]].assert_eq(&sim.take());
}

#[test]
fn a_control_message_is_passed_on_and_is_no_run() {
    let control = || {
        let session = SessionKey::new("a1:chat");
        Request::Runs(Box::new(RunRequest::Control { session, action: "pause".into() }))
    };
    check(
        |sim| {
            sim.only(&["Respond"]).request(1, control()).closed(2).request(1, control());
        },
        expect![[r#"
            0s Respond(conn-1, r1, passed on "pause")
            0s Respond(conn-1, r2, UNAVAILABLE "agent not connected: a1" retry 1000)
        "#]],
    );
}
