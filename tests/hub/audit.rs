//! What the hub hands to the audit file: who, what and why, for every event that it decides.

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::{AgentName, ApprovalId, DeviceId, PairingId, SessionKey};
use openclaw_gateway::hub::child::{ChildNews, NotFound};
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::hub::policy::{Registration, WithoutApprover};
use openclaw_gateway::protocol::approvals::{ApprovalAsk, ApprovalRequest, CommandAsked, Decision};
use openclaw_gateway::protocol::devices::{DeviceRequest, TokenOf};
use openclaw_gateway::protocol::request::{Request, SessionNamed};
use openclaw_gateway::protocol::session::Session;

use crate::approvals::{asked, request};
use crate::peers::{agent, operator, owner};
use crate::policies::shared;
use crate::shell::ask;
use crate::sim::{Sim, StoreMode};

#[track_caller]
fn check(mut sim: Sim, story: impl FnOnce(&mut Sim), expected: Expect) {
    sim.only(&["Audit"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

fn devices(sim: &mut Sim, conn: u64, request: DeviceRequest) {
    sim.request(conn, Request::Devices(request));
}

#[test]
fn who_is_let_in_and_who_is_not() {
    let sim = Sim::with(|policy| policy.auth.secrets = shared("open sesame"));
    check(
        sim,
        |sim| {
            sim.connect(1, operator().device("desk").token("open sesame"));
            sim.closed(1).connect(2, operator().device("desk"));
            sim.connect(3, agent("a1").bare().token("open sesame"));
            sim.connect(4, operator().remote("203.0.113.1").token("wrong"));
            sim.connect(5, owner());
        },
        expect![[r#"
            0s device.registered conn-1 at 127.0.0.1 device desk of default: role=operator scopes=operator.admin wasKnown=false
            0s auth.success conn-1 at 127.0.0.1 device desk of default: client=ui role=operator scopes=operator.admin by=device
            0s token.issued conn-1 at 127.0.0.1 device desk of default: subject=desk role=operator expiresAtMs=1795086400000
            0s auth.success conn-2 at 127.0.0.1 device desk of default: client=ui role=operator scopes=operator.admin by=device
            0s auth.success conn-3 at 127.0.0.1 of default: client=a1 role=agent scopes= by=token agent=a1
            0s auth.failure conn-4 at 203.0.113.1: client=ui reason=AUTH_TOKEN_MISMATCH
            0s auth.success conn-5 owner of default: client=ui role=operator scopes=operator.admin by=owner
        "#]],
    );
}

#[test]
fn a_registration_is_recorded_once_it_is_on_disk() {
    check(
        Sim::new(),
        |sim| {
            sim.store = StoreMode::Held;
            sim.connect(1, operator().device("desk"));
            sim.note("its commit fails").store_fails();
            sim.store_recovers().stored();
            sim.connect(2, operator().device("desk"));
            sim.note("its commit succeeds").stored();
        },
        expect![[r#"
            0s -- its commit fails
            0s -- store fails
            0s auth.failure conn-1 at 127.0.0.1: client=ui reason=UNAVAILABLE_STORAGE
            0s -- store recovers
            0s -- stored
            0s -- its commit succeeds
            0s -- stored
            0s device.registered conn-2 at 127.0.0.1 device desk of default: role=operator scopes=operator.admin wasKnown=false
            0s auth.success conn-2 at 127.0.0.1 device desk of default: client=ui role=operator scopes=operator.admin by=device
            0s token.issued conn-2 at 127.0.0.1 device desk of default: subject=desk role=operator expiresAtMs=1795086400000
        "#]],
    );
}

#[test]
fn what_is_decided_about_devices_names_who_decided() {
    let sim = Sim::with(|policy| policy.auth.registration = Registration::Manual);
    check(
        sim,
        |sim| {
            sim.connect(1, operator().device("desk").remote("203.0.113.1"));
            sim.connect(2, owner());
            let pending = sim.hub.pending_pairings();
            let id = PairingId::new(pending[0]["requestId"].as_str().unwrap());
            devices(sim, 2, DeviceRequest::Approve(id));
            sim.connect(3, operator().device("desk"));
            let of = || TokenOf { device: DeviceId::new("desk"), role: None };
            devices(sim, 3, DeviceRequest::RotateToken(of()));
            devices(sim, 2, DeviceRequest::RevokeTokens(of()));
            devices(sim, 2, DeviceRequest::Remove(DeviceId::new("desk")));
            devices(sim, 2, DeviceRequest::Forget(DeviceId::new("desk")));
        },
        expect![[r#"
            0s device.pending conn-1 at 203.0.113.1: subject=desk request=1bc61cd858261b0bc533cf619873702c role=operator scopes=operator.admin reason=not-paired
            0s auth.failure conn-1 at 203.0.113.1: client=ui reason=PAIRING_REQUIRED
            0s auth.success conn-2 owner of default: client=ui role=operator scopes=operator.admin by=owner
            0s device.approved conn-2 owner of default: subject=desk request=1bc61cd858261b0bc533cf619873702c owner=default role=operator scopes=operator.admin
            0s auth.success conn-3 at 127.0.0.1 device desk of default: client=ui role=operator scopes=operator.admin by=device
            0s token.issued conn-3 at 127.0.0.1 device desk of default: subject=desk role=operator expiresAtMs=1795086400000
            0s token.revoked conn-3 at 127.0.0.1 device desk of default: subject=desk reason=rotated endsAtMs=1795000300000
            0s token.issued conn-3 at 127.0.0.1 device desk of default: subject=desk role=operator expiresAtMs=1795086400000
            0s token.revoked conn-2 owner of default: subject=desk reason=revoked
            0s device.revoked conn-2 owner of default: subject=desk reason=removed
            0s device.revoked conn-2 owner of default: subject=desk reason=forgotten
        "#]],
    );
}

#[test]
fn spawns_are_recorded_from_the_request_to_the_end_without_their_arguments() {
    let mut sim = Sim::with(|policy| {
        policy.spawn.allowed_commands = vec!["p".to_owned()];
    });
    sim.settled();
    check(
        sim,
        |sim| {
            let mut secret = ask("p");
            secret.args = vec!["--password=hunter2".to_owned()];
            sim.spawn(1, secret).ends(1, 3);
            sim.spawn(1, ask("sh"));
            sim.shell.held = true;
            sim.spawn(1, ask("p"));
            let problem = "outside".to_owned();
            let rule = "gateway.spawn.allowedDirs";
            let outcome = Err(NotFound::Forbidden { rule, problem });
            let spawn = sim.id(2);
            sim.news(ChildNews::Resolved { spawn, outcome });
        },
        expect![[r#"
            0s spawn.started conn-1 at 127.0.0.1 device desk of default: spawn=sp-1 command=p agent=spawn session=spawn:sp-1 pid=101
            0s spawn.ended device desk of default: spawn=sp-1 command=p agent=spawn session=spawn:sp-1 status=failed reason=exited with code 3
            0s spawn.refused conn-1 at 127.0.0.1 device desk of default: spawn=sp-2 command=sh agent=spawn session=spawn:sp-2 reason=gateway.spawn.allowedCommands does not name "sh"
            0s spawn.refused conn-1 at 127.0.0.1 device desk of default: spawn=sp-3 command=p agent=spawn session=spawn:sp-3 reason=gateway.spawn.allowedDirs: outside
            0s spawn.ended device desk of default: spawn=sp-3 command=p agent=spawn session=spawn:sp-3 status=failed reason=gateway.spawn.allowedDirs: outside
        "#]],
    );
}

#[test]
fn approvals_are_recorded_without_the_command() {
    let mut sim = Sim::new();
    sim.settled();
    check(
        sim,
        |sim| {
            for id in ["one", "two"] {
                let ask = ApprovalAsk {
                    id: Some(ApprovalId::new(id)),
                    command: CommandAsked {
                        command: "curl -H 'Authorization: hunter2'".into(),
                        cwd: None,
                        host: None,
                        resolved_path: Some("/usr/bin/curl".into()),
                        agent: Some(AgentName::new("a1")),
                        session: None,
                    },
                    timeout: None,
                    two_phase: false,
                };
                sim.request(2, Request::Approvals(Box::new(ApprovalRequest::Request(ask))));
            }
            let (id, decision) = (ApprovalId::new("one"), Decision::AllowOnce);
            let resolve = ApprovalRequest::Resolve { id, decision };
            sim.request(1, Request::Approvals(Box::new(resolve)));
            sim.closed(2);
        },
        expect![[r#"
            0s approval.requested conn-2 at 127.0.0.1 device a1 of default: approval=one agent=a1 program=/usr/bin/curl
            0s approval.requested conn-2 at 127.0.0.1 device a1 of default: approval=two agent=a1 program=/usr/bin/curl
            0s approval.resolved conn-1 at 127.0.0.1 device desk of default: approval=one agent=a1 program=/usr/bin/curl decision=allow-once
            0s approval.resolved: approval=two agent=a1 program=/usr/bin/curl decision=deny reason=who asked has disconnected
        "#]],
    );
}

#[test]
fn commands_that_nobody_was_asked_about_are_recorded_with_why() {
    let mut sim = Sim::with(|policy| {
        policy.approvals.without_approver = WithoutApprover::Deny;
    });
    sim.settled();
    check(
        sim,
        |sim| {
            let ask = |id| request(asked(id, "make", None));
            sim.request(2, ask("one"));
            let (id, decision) = (ApprovalId::new("one"), Decision::AllowAlways);
            let resolve = ApprovalRequest::Resolve { id, decision };
            sim.request(1, Request::Approvals(Box::new(resolve)));
            sim.request(2, ask("two")).closed(1);
            sim.request(2, request(asked("three", "rm", None)));
        },
        expect![[r#"
            0s approval.requested conn-2 at 127.0.0.1 device a1 of default: approval=one agent=a1
            0s approval.resolved conn-1 at 127.0.0.1 device desk of default: approval=one agent=a1 decision=allow-always
            0s approval.resolved conn-2 at 127.0.0.1 device a1 of default: approval=two agent=a1 decision=allow-always reason=always allowed
            0s approval.resolved conn-2 at 127.0.0.1 device a1 of default: approval=three agent=a1 decision=deny reason=no approver is connected (gateway.approvals.withoutApprover is "deny")
        "#]],
    );
}

#[test]
fn deleted_sessions_and_the_stop_are_recorded() {
    let mut sim = Sim::new();
    sim.settled();
    check(
        sim,
        |sim| {
            let key = SessionKey::new("a1:main");
            sim.disk.sessions.push(Session::new(key.clone(), 1).into());
            sim.restart();
            sim.connect(1, operator().device("desk"));
            for _ in 0..2 {
                let named = SessionNamed { key: key.clone(), idempotency: None };
                sim.request(1, Request::SessionsDelete(named));
            }
            sim.input(Input::StopRequested { reason: "SIGTERM".to_owned() });
        },
        expect![[r#"
            0s -- restarted
            0s auth.success conn-1 at 127.0.0.1 device desk of default: client=ui role=operator scopes=operator.admin by=device
            0s token.issued conn-1 at 127.0.0.1 device desk of default: subject=desk role=operator expiresAtMs=1795086400000
            0s session.deleted conn-1 at 127.0.0.1 device desk of default: session=a1:main
            0s shutdown: reason=SIGTERM
        "#]],
    );
}
