//! The life of device tokens.

use std::time::Duration;

use expect_test::{Expect, expect};
use openclaw_gateway::protocol::scope::ScopeSet;

use crate::peers::{agent, operator};
use crate::policies::shared;
use crate::sim::{Sim, StoreMode};

const ELSEWHERE: &str = "203.0.113.1";

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(|policy| policy.auth.token_ttl = Duration::from_secs(1_000));
    sim.only(&["Admit", "Refuse"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn the_current_token_is_given_again_until_half_its_life_is_over() {
    check(
        |sim| {
            let desk = || operator().device("desk");
            sim.connect(1, desk()).run_secs(499).connect(2, desk());
            sim.run_secs(1).connect(3, desk()).run_secs(1).connect(4, desk());
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] device desk token-1 of default by device)
            499s Admit(conn-2 operator [operator.admin] device desk token-1 of default by device)
            500s Admit(conn-3 operator [operator.admin] device desk token-2 of default by device)
            501s Admit(conn-4 operator [operator.admin] device desk token-2 of default by device)
        "#]],
    );
}

#[test]
fn a_token_alone_lets_its_device_in_until_it_expires_and_earns_no_other() {
    check(
        |sim| {
            sim.connect(1, operator().device("desk"));
            let token = sim.token_of(1);
            let bare = || operator().remote(ELSEWHERE);
            sim.connect(2, bare().root_token(&token).terse());
            sim.connect(3, bare().device_token(&token).scopes(ScopeSet::READ));
            sim.connect(4, bare().token(&token).origin("https://mc.example"));
            sim.connect(5, agent("a9").bare().device_token(&token));
            sim.connect(6, bare().device_token("dt_guess"));
            sim.run_secs(999).connect(7, bare().root_token(&token));
            sim.run_secs(1).connect(8, bare().root_token(&token));
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] device desk token-1 of default by device)
            0s Admit(conn-2 operator [operator.admin] device desk token-1 of default by device-token)
            0s Admit(conn-3 operator [operator.read] device desk token-1 of default by device-token)
            0s Admit(conn-4 operator [operator.admin] device desk token-1 of default by device-token)
            0s Refuse(conn-5, UNAUTHORIZED "device token mismatch" {"code":"AUTH_DEVICE_TOKEN_MISMATCH"}) 1008 "device token mismatch"
            0s Refuse(conn-6, UNAUTHORIZED "device token mismatch" {"code":"AUTH_DEVICE_TOKEN_MISMATCH"}) 1008 "device token mismatch"
            999s Admit(conn-7 operator [operator.admin] device desk token-1 of default by device-token)
            1000s Refuse(conn-8, UNAUTHORIZED "device token mismatch" {"code":"AUTH_DEVICE_TOKEN_MISMATCH"}) 1008 "device token mismatch"
        "#]],
    );
}

#[test]
fn an_agent_that_comes_by_token_alone_keeps_its_name() {
    check(
        |sim| {
            sim.connect(1, agent("a1"));
            let token = sim.token_of(1);
            sim.connect(2, operator().root_token(&token).terse());
        },
        expect![[r#"
            0s Admit(conn-1 agent [] named a1 device a1 token-1 of default by device)
            0s Admit(conn-2 agent [] named a1 device a1 token-1 of default by device-token)
        "#]],
    );
}

#[test]
fn after_a_restart_a_new_token_is_issued_and_the_old_one_still_works() {
    check(
        |sim| {
            let desk = || operator().device("desk");
            sim.connect(1, desk());
            let first = sim.token_of(1);
            sim.restart().connect(1, desk());
            let second = sim.token_of(1);
            let bare = || operator().remote(ELSEWHERE);
            sim.connect(2, bare().root_token(&first)).connect(3, bare().root_token(&second));
            sim.restart().connect(1, desk());
            sim.connect(2, bare().root_token(&first)).connect(3, bare().root_token(&second));
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] device desk token-1 of default by device)
            0s -- restarted
            0s Admit(conn-1 operator [operator.admin] device desk token-2 of default by device)
            0s Admit(conn-2 operator [operator.admin] device desk token-1 of default by device-token)
            0s Admit(conn-3 operator [operator.admin] device desk token-2 of default by device-token)
            0s -- restarted
            0s Admit(conn-1 operator [operator.admin] device desk token-3 of default by device)
            0s Refuse(conn-2, UNAUTHORIZED "device token mismatch" {"code":"AUTH_DEVICE_TOKEN_MISMATCH"}) 1008 "device token mismatch"
            0s Admit(conn-3 operator [operator.admin] device desk token-2 of default by device-token)
        "#]],
    );
}

#[test]
fn a_valid_signature_outranks_a_stale_token_and_one_of_another_device() {
    check(
        |sim| {
            sim.connect(1, operator().device("desk")).connect(2, agent("a1"));
            let of_agent = sim.token_of(2);
            sim.connect(3, operator().device("desk").root_token("dt_stale"));
            sim.connect(4, operator().device("desk").device_token(&of_agent));
            sim.connect(5, operator().device("unknown").device_token(&of_agent));
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] device desk token-1 of default by device)
            0s Admit(conn-2 agent [] named a1 device a1 token-2 of default by device)
            0s Admit(conn-3 operator [operator.admin] device desk token-1 of default by device)
            0s Admit(conn-4 operator [operator.admin] device desk token-1 of default by device)
            0s Refuse(conn-5, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"unknown","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
        "#]],
    );
}

#[test]
fn a_stale_device_token_in_place_of_the_shared_one_is_named_for_what_it_is() {
    let mut sim = Sim::with(|policy| policy.auth.secrets = shared("open sesame"));
    let stale = format!("dt_{}", "0".repeat(64));
    sim.connect(1, operator().token(&stale)).connect(2, operator().token("neither"));
    expect![[r#"
        0s Refuse(conn-1, UNAUTHORIZED "device token mismatch" {"code":"AUTH_DEVICE_TOKEN_MISMATCH"}) 1008 "device token mismatch"
        0s Refuse(conn-2, UNAUTHORIZED "unauthorized: gateway token mismatch" {"code":"AUTH_TOKEN_MISMATCH"}) 1008 "unauthorized: gateway token mismatch"
    "#]].assert_eq(&sim.take());
}

#[test]
fn a_new_token_is_given_out_only_when_it_is_on_disk() {
    check(
        |sim| {
            sim.connect(1, operator().device("desk")).run_secs(600);
            sim.store = StoreMode::Held;
            sim.connect(2, operator().device("desk")).connect(3, operator().device("desk"));
            sim.note("nobody yet").stored();
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] device desk token-1 of default by device)
            600s -- nobody yet
            600s -- stored
            600s Admit(conn-2 operator [operator.admin] device desk token-2 of default by device)
            600s Admit(conn-3 operator [operator.admin] device desk token-2 of default by device)
        "#]],
    );
}

#[test]
fn while_the_store_fails_an_approved_device_gets_a_token_that_is_stored_later() {
    check(
        |sim| {
            sim.connect(1, operator().device("desk")).run_secs(600);
            sim.show(&["Persist"]);
            sim.store = StoreMode::Held;
            sim.connect(2, operator().device("desk")).store_fails().store_recovers().stored();
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] device desk token-1 of default by device)
            600s Persist(#3: put token of desk)
            600s -- store fails
            600s Admit(conn-2 operator [operator.admin] device desk token-2 of default by device)
            600s -- store recovers
            600s Persist(#4: put token of desk)
            600s -- stored
        "#]],
    );
}
