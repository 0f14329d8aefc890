//! Approvals: `exec.approval.*`, `exec.approvals.*`.

use std::time::Duration;

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::{AgentName, AllowedId, ApprovalId};
use openclaw_gateway::hub::policy::WithoutApprover;
use openclaw_gateway::protocol::approvals::{ApprovalAsk, ApprovalRequest, CommandAsked, Decision};
use openclaw_gateway::protocol::request::Request;

use crate::peers::{agent, operator};
use crate::sim::{Sim, StoreMode};

pub(crate) fn asked(id: &str, command: &str, cwd: Option<&str>) -> ApprovalAsk {
    ApprovalAsk {
        id: Some(ApprovalId::new(id)),
        command: CommandAsked {
            command: command.into(),
            cwd: cwd.map(Into::into),
            host: None,
            resolved_path: None,
            agent: Some(AgentName::new("a1")),
            session: None,
        },
        timeout: None,
        two_phase: false,
    }
}

pub(crate) fn request(ask: ApprovalAsk) -> Request {
    Request::Approvals(Box::new(ApprovalRequest::Request(ask)))
}

fn ask(id: &str, command: &str) -> Request {
    request(asked(id, command, None))
}

pub(crate) fn resolve(id: &str, decision: Decision) -> Request {
    let id = ApprovalId::new(id);
    Request::Approvals(Box::new(ApprovalRequest::Resolve { id, decision }))
}

pub(crate) fn wait(id: &str) -> Request {
    Request::Approvals(Box::new(ApprovalRequest::WaitDecision(ApprovalId::new(id))))
}

pub(crate) fn list() -> Request {
    Request::Approvals(Box::new(ApprovalRequest::List))
}

pub(crate) fn remove(id: &AllowedId) -> Request {
    Request::Approvals(Box::new(ApprovalRequest::Remove(id.clone())))
}

/// The ids of what is always allowed.
fn allowed(sim: &Sim) -> Vec<AllowedId> {
    sim.disk.allowed.iter().map(|command| command.id.clone()).collect()
}

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::new();
    sim.settled().show(&["Approval"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn a_request_waits_for_the_decision() {
    check(
        |sim| {
            sim.request(2, ask("x", "rm -r build")).request(1, list()).run_secs(3);
            sim.request(1, resolve("x", Decision::AllowOnce));
            sim.note("again").request(1, resolve("x", Decision::AllowOnce));
            sim.request(1, resolve("x", Decision::Deny)).request(2, ask("x", "rm -r build"));
            sim.request(2, ask("x", "rm -r /")).request(1, resolve("y", Decision::Deny));
            sim.note("once is once").request(2, ask("z", "rm -r build"));
            sim.request(1, resolve("z", Decision::Deny)).request(1, list());
        },
        expect![[r#"
            0s Broadcast(requested x "rm -r build")
            0s Respond(conn-1, r2, pending [x] allowed [])
            3s Broadcast(x allow-once by default)
            3s Respond(conn-2, r1, decided x allow-once by default)
            3s Respond(conn-1, r3, resolved x allow-once by default)
            3s -- again
            3s Respond(conn-1, r4, resolved x allow-once by default)
            3s Respond(conn-1, r5, CONFLICT "already decided: allow-once")
            3s Respond(conn-2, r6, decided x allow-once by default)
            3s Respond(conn-2, r7, CONFLICT "this id was used for another request for approval")
            3s Respond(conn-1, r8, NOT_FOUND "no such request for approval: y")
            3s -- once is once
            3s Broadcast(requested z "rm -r build")
            3s Broadcast(z deny by default)
            3s Respond(conn-2, r9, decided z deny by default)
            3s Respond(conn-1, r10, resolved z deny by default)
            3s Respond(conn-1, r11, pending [] allowed [])
        "#]],
    );
}

#[test]
fn what_is_always_allowed_is_the_same_command_of_the_same_agent_in_the_same_place() {
    check(
        |sim| {
            sim.request(2, request(asked("1", "make", Some("/src"))));
            sim.request(1, resolve("1", Decision::AllowAlways));
            sim.note("the same").request(2, request(asked("2", "make", Some("/src"))));
            sim.note("elsewhere").request(2, request(asked("3", "make", Some("/"))));
            sim.note("anywhere").request(2, request(asked("4", "make", None)));
            sim.note("other words").request(2, request(asked("5", "make ", Some("/src"))));
            sim.note("another agent").connect(3, agent("a2"));
            let mut other = asked("6", "make", Some("/src"));
            other.command.agent = Some(AgentName::new("a2"));
            sim.request(3, request(other)).request(1, list());
            sim.note("after a restart").restart().only(&[]);
            sim.connect(1, operator().device("desk")).connect(2, agent("a1"));
            sim.only(&["Respond"]).request(2, request(asked("7", "make", Some("/src"))));
            let withdrawn = allowed(sim);
            sim.request(1, remove(&withdrawn[0])).request(1, remove(&withdrawn[0]));
            assert!(allowed(sim).is_empty());
            sim.request(2, request(asked("8", "make", Some("/src")))).request(1, list());
        },
        expect![[r#"
            0s Broadcast(requested 1 "make")
            0s Broadcast(1 allow-always by default)
            0s Respond(conn-2, r1, decided 1 allow-always by default)
            0s Respond(conn-1, r2, resolved 1 allow-always by default)
            0s -- the same
            0s Respond(conn-2, r3, decided 2 allow-always because "always allowed" by default)
            0s -- elsewhere
            0s Broadcast(requested 3 "make")
            0s -- anywhere
            0s Broadcast(requested 4 "make")
            0s -- other words
            0s Broadcast(requested 5 "make ")
            0s -- another agent
            0s Admit(conn-3 agent [] named a2 device a2 token-3 of default by device)
            0s Broadcast(requested 6 "make")
            0s Respond(conn-1, r8, pending [3, 4, 5, 6] allowed [a1 "make" in /src by default])
            0s -- after a restart
            0s -- restarted
            0s Respond(conn-2, r9, decided 7 allow-always because "always allowed" by default)
            0s Respond(conn-1, r10, removed: true)
            0s Respond(conn-1, r11, removed: false)
            0s Respond(conn-1, r13, pending [8] allowed [])
        "#]],
    );
}

#[test]
fn a_request_that_nobody_decides_is_denied_in_time() {
    check(
        |sim| {
            sim.request(2, ask("x", "make")).live_for(120, &[1, 2]);
            let timeout = Some(Duration::from_secs(5));
            sim.request(2, request(ApprovalAsk { timeout, ..asked("y", "make", None) }));
            sim.only(&["Respond", "Approval"]).closed(1).live_for(5, &[2]);
        },
        expect![[r#"
            0s Broadcast(requested x "make")
            120s Broadcast(x deny because "nobody decided in time")
            120s Respond(conn-2, r1, decided x deny because "nobody decided in time")
            120s Broadcast(requested y "make")
            125s Broadcast(y deny because "nobody decided in time, and no approver is connected")
            125s Respond(conn-2, r2, decided y deny because "nobody decided in time, and no approver is connected")
        "#]],
    );
}

#[test]
fn without_an_approver_the_policy_decides_and_says_so() {
    let mut sim = Sim::with(|policy| policy.approvals.without_approver = WithoutApprover::Deny);
    sim.settled().show(&["Approval"]);
    sim.closed(1).request(2, ask("x", "make"));
    expect![[r#"
        0s Respond(conn-2, r1, decided x deny because "no approver is connected (gateway.approvals.withoutApprover is \"deny\")")
    "#]].assert_eq(&sim.take());
}

#[test]
fn a_request_ends_with_who_asked() {
    check(
        |sim| {
            sim.request(2, ask("x", "make")).closed(2);
            sim.request(1, resolve("x", Decision::AllowOnce)).request(1, list());
        },
        expect![[r#"
            0s Broadcast(requested x "make")
            0s Broadcast(x deny because "who asked has disconnected")
            0s Respond(conn-1, r2, CONFLICT "already decided: deny, because who asked has disconnected")
            0s Respond(conn-1, r3, pending [] allowed [])
        "#]],
    );
}

#[test]
fn a_request_in_two_phases_is_answered_twice() {
    check(
        |sim| {
            sim.request(2, request(ApprovalAsk { two_phase: true, ..asked("x", "make", None) }));
            sim.request(2, wait("x")).request(1, resolve("x", Decision::Deny));
            sim.request(2, wait("x")).connect(3, agent("a2")).request(3, wait("x"));
        },
        expect![[r#"
            0s Broadcast(requested x "make")
            0s Respond(conn-2, r1, x accepted)
            0s Broadcast(x deny by default)
            0s RespondAgain(conn-2, r1, decided x deny by default)
            0s Respond(conn-2, r2, decided x deny by default)
            0s Respond(conn-1, r3, resolved x deny by default)
            0s Respond(conn-2, r4, decided x deny by default)
            0s Admit(conn-3 agent [] named a2 device a2 token-3 of default by device)
            0s Respond(conn-3, r5, NOT_FOUND "no such request for approval: x")
        "#]],
    );
}

#[test]
fn a_restart_denies_what_was_open() {
    check(
        |sim| {
            sim.request(2, ask("x", "make")).restart().only(&[]);
            sim.connect(1, operator().device("desk")).connect(2, agent("a1"));
            sim.only(&["Respond"]).request(2, ask("x", "make")).request(2, wait("x"));
            sim.request(1, resolve("x", Decision::AllowOnce));
            sim.live_for(601, &[1, 2]).request(2, wait("x"));
        },
        expect![[r#"
            0s Broadcast(requested x "make")
            0s -- restarted
            0s Respond(conn-2, r2, decided x deny because "the gateway was restarted")
            0s Respond(conn-2, r3, decided x deny because "the gateway was restarted")
            0s Respond(conn-1, r4, CONFLICT "already decided: deny, because the gateway was restarted")
            601s Respond(conn-2, r5, NOT_FOUND "no such request for approval: x")
        "#]],
    );
}

#[test]
fn whoever_waits_hears_of_a_decision_that_is_on_disk() {
    check(
        |sim| {
            sim.request(2, ask("x", "make"));
            sim.store = StoreMode::Held;
            sim.request(1, resolve("x", Decision::AllowOnce)).request(2, wait("x"));
            sim.note("and not before").stored();
        },
        expect![[r#"
            0s Broadcast(requested x "make")
            0s Broadcast(x allow-once by default)
            0s -- and not before
            0s -- stored
            0s Respond(conn-2, r1, decided x allow-once by default)
            0s Respond(conn-2, r3, decided x allow-once by default)
            0s Respond(conn-1, r2, resolved x allow-once by default)
        "#]],
    );
}

#[test]
fn a_decision_holds_although_the_store_fails() {
    check(
        |sim| {
            sim.request(2, ask("x", "make"));
            sim.store = StoreMode::Held;
            sim.request(1, resolve("x", Decision::AllowAlways)).store_fails();
            sim.request(2, ask("y", "make")).request(2, ask("z", "make test"));
            sim.store_recovers().stored();
            assert_eq!(allowed(sim).len(), 1);
        },
        expect![[r#"
            0s Broadcast(requested x "make")
            0s Broadcast(x allow-always by default)
            0s -- store fails
            0s Respond(conn-2, r1, decided x allow-always by default)
            0s Respond(conn-1, r2, UNAVAILABLE "in force, but not on disk yet: the gateway's store takes no writes right now" {"inForce":true})
            0s Respond(conn-2, r3, decided y allow-always because "always allowed" by default)
            0s Respond(conn-2, r4, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- store recovers
            0s -- stored
        "#]],
    );
}

#[test]
fn an_agent_that_asks_too_much_at_a_time_is_refused() {
    let mut sim = Sim::new();
    sim.settled().only(&["Respond"]);
    for number in 0..21 {
        sim.request(2, ask(&format!("x{number}"), "make"));
    }
    expect![[r#"
        0s Respond(conn-2, r21, RESOURCE_EXHAUSTED "too many of your requests wait for approval" retry 5000)
    "#]].assert_eq(&sim.take());
}
