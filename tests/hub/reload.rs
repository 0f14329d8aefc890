//! Another policy while peers are here.

use expect_test::{Expect, expect};
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::hub::policy::{Policy, SecretKind};
use openclaw_gateway::protocol::scope::ScopeSet;

use crate::peers::operator;
use crate::policies::{policy, secret};
use crate::sessions::{update, updated};
use crate::shell::ask;
use crate::sim::{Sim, StoreMode};

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

#[test]
fn limits_that_were_lowered_hold_at_once_for_what_is_kept_and_shown() {
    let mut sim = Sim::new();
    sim.settled().only(&["Admit", "Tick"]);
    for number in 0..5 {
        let key = format!("a1:{number}");
        sim.request(2, updated(update(&key))).append(2, &[&key]);
        sim.run_secs(1);
    }
    let lower = |policy: &mut Policy| {
        policy.limits.sessions_max = 2;
        policy.limits.journal_entries_max = 3;
        policy.limits.snapshot_sessions_max = 1;
        policy.limits.message_bytes_max = 64 << 10;
    };
    sim.input(changed(lower)).run_secs(31).forget();
    assert_eq!((sim.hub.gauges().sessions, sim.hub.gauges().journal_entries), (2, 3));
    // On disk, too, although nobody reports: with higher limits it would be back after a restart.
    assert_eq!((sim.disk.sessions.len(), sim.disk.journal.len()), (2, 3));
    // Those that were heard last are left, and of these one is shown.
    sim.connect(3, operator().device("desk"));
    assert_eq!(sim.hello(3).message_bytes_max, 64 << 10);
    sim.request(2, updated(update("a1:4"))).append(2, &["last"]);
    let kept: Vec<_> = sim.disk.sessions.iter().map(|session| session.key.as_str()).collect();
    assert_eq!(kept, ["a1:3", "a1:4"]);
    assert_eq!(sim.disk.journal.len(), 3);
    expect![[r#"
        36s Admit(conn-3 operator [operator.admin] device desk token-1 of default by device)
        36s Send(conn-3, tick [a1:4 0] of 2)
        36s Broadcast(tick [a1:4 0] of 2)
    "#]]
    .assert_eq(&sim.take());
}

#[test]
fn a_failing_disk_brings_no_more_sessions_back_than_there_may_be() {
    let mut sim = Sim::new();
    sim.settled();
    for number in 0..4 {
        sim.request(2, updated(update(&format!("a1:{number}"))));
    }
    sim.store = StoreMode::Held;
    // The first commit is with the store, the second waits for it.
    sim.request(2, updated(update("a1:0"))).request(2, updated(update("a1:1")));
    sim.input(changed(|policy| policy.limits.sessions_max = 1));
    sim.store_fails();
    assert_eq!(sim.hub.gauges().sessions, 1);
    sim.store = StoreMode::Prompt;
    sim.store_recovers().run_secs(1);
    assert_eq!((sim.hub.gauges().sessions, sim.disk.sessions.len()), (1, 1));
}

#[test]
fn what_a_reload_makes_forget_is_forgotten_by_a_disk_that_failed_meanwhile() {
    let mut sim = Sim::new();
    sim.settled();
    for number in 0..4 {
        let key = format!("a1:{number}");
        sim.request(2, updated(update(&key))).append(2, &[&key]);
    }
    sim.store = StoreMode::Held;
    sim.input(changed(|policy| {
        policy.limits.sessions_max = 1;
        policy.limits.journal_entries_max = 1;
    }));
    sim.store_fails();
    sim.store = StoreMode::Prompt;
    sim.store_recovers().run_secs(1);
    assert_eq!((sim.disk.sessions.len(), sim.disk.journal.len()), (1, 1));
}

#[test]
fn programs_that_run_go_on_although_fewer_may() {
    let mut sim = Sim::with(|policy| policy.spawn.allowed_commands = vec!["p".to_owned()]);
    sim.settled();
    sim.spawn(1, ask("p")).spawn(1, ask("p"));
    sim.input(changed(|policy| {
        policy.spawn.allowed_commands = vec!["p".to_owned()];
        policy.spawn.concurrent_max = 1;
    }));
    let open = |sim: &Sim| (sim.hub.gauges().spawns_running, sim.hub.gauges().spawns_queued);
    sim.spawn(1, ask("p"));
    assert_eq!(open(&sim), (2, 1));
    sim.ends(1, 0);
    assert_eq!(open(&sim), (1, 1), "one more than may ran");
    sim.ends(2, 0);
    assert_eq!(open(&sim), (1, 0));
}
