//! Another policy while peers are here.

use expect_test::{Expect, expect};
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::hub::policy::{Policy, SecretKind};
use openclaw_gateway::protocol::scope::ScopeSet;

use crate::peers::operator;
use crate::policies::{policy, secret};
use crate::shell::ask;
use crate::sim::Sim;

fn with_secrets(policy: &mut Policy, ann: &str, scopes: ScopeSet) {
    let (token, password) = (SecretKind::Token, SecretKind::Password);
    policy.auth.secrets = vec![
        secret("default", token, "open sesame", ScopeSet::ALL),
        secret("default", password, "let me in", ScopeSet::ALL),
        secret("ann", token, ann, scopes),
    ];
}

fn changed(adjust: impl FnOnce(&mut Policy)) -> Input {
    let mut policy = policy();
    adjust(&mut policy);
    Input::PolicyChanged(Box::new(policy))
}

#[track_caller]
fn check(adjust: impl FnOnce(&mut Policy), expected: Expect) {
    let mut sim = Sim::with(|policy| with_secrets(policy, "of ann", ScopeSet::ALL));
    sim.connect(1, operator().device("desk").token("open sesame"));
    sim.connect(2, operator().token("open sesame"));
    sim.connect(3, operator().password("let me in"));
    sim.connect(4, operator().token("of ann"));
    sim.only(&["Admit", "Refuse", "Close"]);
    sim.input(changed(adjust));
    sim.note("they come again");
    sim.connect(5, operator().token("of ann"));
    sim.connect(6, operator().password("let me in"));
    sim.connect(7, operator().device("desk"));
    expected.assert_eq(&sim.take());
}

#[test]
fn the_same_policy_closes_nobody() {
    check(
        |policy| with_secrets(policy, "of ann", ScopeSet::ALL),
        expect![[r#"
        0s Admit(conn-1 operator [operator.admin] device desk token-1 of default by device)
        0s Admit(conn-2 operator [operator.admin] of default by token)
        0s Admit(conn-3 operator [operator.admin] of default by password)
        0s Admit(conn-4 operator [operator.admin] of ann by token)
        0s -- they come again
        0s Admit(conn-5 operator [operator.admin] of ann by token)
        0s Admit(conn-6 operator [operator.admin] of default by password)
        0s Admit(conn-7 operator [operator.admin] device desk token-1 of default by device)
    "#]],
    );
}

#[test]
fn who_came_by_a_secret_that_is_gone_is_closed_and_who_has_a_device_stays() {
    check(
        |policy| policy.auth.secrets = vec![secret("ann", SecretKind::Token, "new", ScopeSet::ALL)],
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] device desk token-1 of default by device)
            0s Admit(conn-2 operator [operator.admin] of default by token)
            0s Admit(conn-3 operator [operator.admin] of default by password)
            0s Admit(conn-4 operator [operator.admin] of ann by token)
            0s Close(conn-2, credential_withdrawn)
            0s Close(conn-3, credential_withdrawn)
            0s Close(conn-4, credential_withdrawn)
            0s -- they come again
            0s Refuse(conn-5, UNAUTHORIZED "unauthorized: gateway token mismatch" {"code":"AUTH_TOKEN_MISMATCH"}) 1008 "unauthorized: gateway token mismatch"
            0s Refuse(conn-6, UNAUTHORIZED "unauthorized: gateway token missing" {"code":"AUTH_TOKEN_MISSING"}) 1008 "unauthorized: gateway token missing"
            0s Admit(conn-7 operator [operator.admin] device desk token-1 of default by device)
        "#]],
    );
}

#[test]
fn a_secret_that_gives_less_than_before_closes_who_has_more() {
    check(
        |policy| with_secrets(policy, "of ann", ScopeSet::READ),
        expect![[r#"
        0s Admit(conn-1 operator [operator.admin] device desk token-1 of default by device)
        0s Admit(conn-2 operator [operator.admin] of default by token)
        0s Admit(conn-3 operator [operator.admin] of default by password)
        0s Admit(conn-4 operator [operator.admin] of ann by token)
        0s Close(conn-4, credential_withdrawn)
        0s -- they come again
        0s Admit(conn-5 operator [operator.read] of ann by token)
        0s Admit(conn-6 operator [operator.admin] of default by password)
        0s Admit(conn-7 operator [operator.admin] device desk token-1 of default by device)
    "#]],
    );
}

#[test]
fn a_program_may_be_started_as_soon_as_the_new_policy_allows_it() {
    let mut sim = Sim::with(|policy| policy.spawn.allowed_commands = Vec::new());
    sim.settled().only(&["Respond"]);
    sim.spawn(1, ask("p"));
    sim.input(changed(|policy| policy.spawn.allowed_commands = vec!["p".to_owned()]));
    sim.spawn(1, ask("p"));
    expect![[r#"
        0s Respond(conn-1, r1, INVALID_REQUEST "gateway.spawn.allowedCommands does not name \"p\"")
        0s Respond(conn-1, r2, spawned r2 sp-1 running pid 101)
    "#]]
    .assert_eq(&sim.take());
}
