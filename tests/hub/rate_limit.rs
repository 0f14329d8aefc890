//! The rate limit, as peers meet it.

use expect_test::{Expect, expect};
use openclaw_gateway::hub::policy::SecretKind;
use openclaw_gateway::protocol::device::DeviceFailure;
use openclaw_gateway::protocol::scope::ScopeSet;

use crate::peers::operator;
use crate::policies::{secret, shared};
use crate::sim::Sim;

const ELSEWHERE: &str = "203.0.113.1";

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(|policy| policy.auth.secrets = shared("open sesame"));
    sim.connect(1, operator().device("desk").token("open sesame").remote(ELSEWHERE));
    sim.forget();
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

fn fail(sim: &mut Sim, times: usize) {
    sim.only(&[]);
    for _ in 0..times {
        sim.connect(9, operator().token("wrong").remote(ELSEWHERE));
    }
    sim.only(&["Admit", "Refuse"]);
}

#[test]
fn ten_wrong_secrets_lock_an_address_out_for_a_minute_and_no_other() {
    check(
        |sim| {
            fail(sim, 10);
            let right = || operator().device("d2").token("open sesame");
            sim.connect(2, right().remote(ELSEWHERE));
            sim.connect(3, right().remote("203.0.113.2"));
            sim.run_secs(59).connect(4, right().remote(ELSEWHERE));
            sim.run_secs(1).connect(5, right().remote(ELSEWHERE));
        },
        expect![[r#"
            0s Refuse(conn-2, UNAUTHORIZED "auth rate limit: too many failed authentication attempts (retry in 60 s)" {"code":"AUTH_RATE_LIMITED"} retry 60000) 4001 "auth rate limit: too many failed authentication attempts (retry in 60 s)"
            0s Admit(conn-3 operator [operator.admin] device d2 token-2 of default by device)
            59s Refuse(conn-4, UNAUTHORIZED "auth rate limit: too many failed authentication attempts (retry in 1 s)" {"code":"AUTH_RATE_LIMITED"} retry 1000) 4001 "auth rate limit: too many failed authentication attempts (retry in 1 s)"
            60s Admit(conn-5 operator [operator.admin] device d2 token-2 of default by device)
        "#]],
    );
}

#[test]
fn an_approved_device_with_nothing_to_guess_at_passes_a_lock_out() {
    check(
        |sim| {
            let stale = sim.token_of(1);
            fail(sim, 10);
            let desk = || operator().device("desk").remote(ELSEWHERE);
            sim.connect(2, desk());
            sim.connect(3, desk().root_token(&stale));
            sim.connect(4, desk().token("open sesame"));
            sim.connect(5, desk().code("123456"));
            sim.connect(6, operator().device("other").remote(ELSEWHERE));
            sim.note("clients put their device token into either slot")
                .connect(7, desk().token(&stale));
        },
        expect![[r#"
            0s Admit(conn-2 operator [operator.admin] device desk token-1 of default by device)
            0s Admit(conn-3 operator [operator.admin] device desk token-1 of default by device)
            0s Refuse(conn-4, UNAUTHORIZED "auth rate limit: too many failed authentication attempts (retry in 60 s)" {"code":"AUTH_RATE_LIMITED"} retry 60000) 4001 "auth rate limit: too many failed authentication attempts (retry in 60 s)"
            0s Refuse(conn-5, UNAUTHORIZED "auth rate limit: too many failed authentication attempts (retry in 60 s)" {"code":"AUTH_RATE_LIMITED"} retry 60000) 4001 "auth rate limit: too many failed authentication attempts (retry in 60 s)"
            0s Refuse(conn-6, UNAUTHORIZED "auth rate limit: too many failed authentication attempts (retry in 60 s)" {"code":"AUTH_RATE_LIMITED"} retry 60000) 4001 "auth rate limit: too many failed authentication attempts (retry in 60 s)"
            0s -- clients put their device token into either slot
            0s Admit(conn-7 operator [operator.admin] device desk token-1 of default by device)
        "#]],
    );
}

#[test]
fn missing_credentials_do_not_count() {
    check(
        |sim| {
            sim.only(&[]);
            for _ in 0..50 {
                sim.connect(9, operator().remote(ELSEWHERE));
                sim.connect(9, operator().device("unknown").remote(ELSEWHERE));
            }
            sim.only(&["Admit", "Refuse"]);
            sim.connect(2, operator().device("desk").token("open sesame").remote(ELSEWHERE));
        },
        expect![[r#"
            0s Admit(conn-2 operator [operator.admin] device desk token-1 of default by device)
        "#]],
    );
}

#[test]
fn a_wrong_secret_beside_a_valid_signature_counts_and_a_stale_device_token_does_not() {
    check(
        |sim| {
            let desk = || operator().device("desk").remote(ELSEWHERE);
            sim.only(&[]);
            for _ in 0..50 {
                sim.connect(9, desk().root_token("dt_stale")).closed(9);
            }
            sim.only(&["Refuse"]);
            for conn in 2..13 {
                sim.connect(conn, desk().token("wrong"));
            }
        },
        expect![[r#"
            0s Refuse(conn-12, UNAUTHORIZED "auth rate limit: too many failed authentication attempts (retry in 60 s)" {"code":"AUTH_RATE_LIMITED"} retry 60000) 4001 "auth rate limit: too many failed authentication attempts (retry in 60 s)"
        "#]],
    );
}

#[test]
fn a_valid_signature_does_not_reset_the_count_of_guesses_at_the_secret() {
    check(
        |sim| {
            for _ in 0..9 {
                fail(sim, 1);
                sim.only(&[]).connect(2, operator().device("desk").remote(ELSEWHERE)).closed(2);
            }
            fail(sim, 1);
            sim.connect(3, operator().token("open sesame").remote(ELSEWHERE));
        },
        expect![[r#"
            0s Refuse(conn-3, UNAUTHORIZED "auth rate limit: too many failed authentication attempts (retry in 60 s)" {"code":"AUTH_RATE_LIMITED"} retry 60000) 4001 "auth rate limit: too many failed authentication attempts (retry in 60 s)"
        "#]],
    );
}

#[test]
fn who_has_one_of_several_secrets_cannot_go_on_guessing_at_the_others() {
    let mut sim = Sim::with(|policy| {
        policy.auth.secrets = vec![
            secret("ann", SecretKind::Token, "of ann", ScopeSet::READ),
            secret("bob", SecretKind::Token, "of bob", ScopeSet::ADMIN),
        ];
    });
    sim.only(&["Refuse"]);
    for conn in 0..10 {
        sim.only(&[]).connect(2 * conn, operator().token("guess"));
        sim.only(&["Refuse"]).connect(2 * conn + 1, operator().token("of ann"));
    }
    expect![[r#"
        0s Refuse(conn-19, UNAUTHORIZED "auth rate limit: too many failed authentication attempts (retry in 60 s)" {"code":"AUTH_RATE_LIMITED"} retry 60000) 4001 "auth rate limit: too many failed authentication attempts (retry in 60 s)"
    "#]].assert_eq(&sim.take());
}

#[test]
fn failed_signatures_lock_out_too() {
    check(
        |sim| {
            sim.only(&[]);
            let forged = operator().device("desk").failing(DeviceFailure::SignatureInvalid);
            for _ in 0..10 {
                sim.connect(9, forged.clone().remote(ELSEWHERE));
            }
            sim.only(&["Refuse"]).connect(2, forged.remote(ELSEWHERE));
        },
        expect![[r#"
            0s Refuse(conn-2, UNAUTHORIZED "auth rate limit: too many failed authentication attempts (retry in 60 s)" {"code":"AUTH_RATE_LIMITED"} retry 60000) 4001 "auth rate limit: too many failed authentication attempts (retry in 60 s)"
        "#]],
    );
}
