//! Registration: each mode, each sponsor, what has to wait, and names.

use expect_test::{Expect, expect};
use openclaw_gateway::base::limits::{PAIRING_TTL, PAIRINGS_MAX};
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::hub::policy::{AuthPolicy, Registration, SecretKind};
use openclaw_gateway::protocol::scope::ScopeSet;

use crate::peers::{agent, operator};
use crate::policies::{secret, shared};
use crate::sim::Sim;

const ELSEWHERE: &str = "203.0.113.1";

#[track_caller]
fn check(adjust: impl FnOnce(&mut AuthPolicy), story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(|policy| adjust(&mut policy.auth));
    sim.show(&["Pair"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn auto_lets_in_the_first_local_operator_and_local_agents_with_free_names() {
    check(
        |_| {},
        |sim| {
            sim.connect(1, operator().device("desk")).connect(2, operator().device("laptop"));
            sim.connect(3, agent("a1")).connect(4, agent("a2").scopes(ScopeSet::ADMIN));
            sim.connect(5, agent("a3").named("a1"));
            sim.connect(6, operator().device("far").remote(ELSEWHERE));
            sim.connect(7, agent("a4").remote(ELSEWHERE));
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] device desk token-1 of default by device)
            0s Broadcast(pair requested pairing-1 "not-paired")
            0s Refuse(conn-2, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"laptop","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s Admit(conn-3 agent [] named a1 device a1 token-2 of default by device)
            0s Admit(conn-4 agent [] named a2 device a2 token-3 of default by device)
            0s Broadcast(pair requested pairing-2 "not-paired")
            0s Refuse(conn-5, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"a3","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            0s Broadcast(pair requested pairing-3 "not-paired")
            0s Refuse(conn-6, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"far","reason":"not-paired","requestId":"pairing-3"}) 1008 "pairing required: device is not approved yet (requestId: pairing-3)"
            0s Broadcast(pair requested pairing-4 "not-paired")
            0s Refuse(conn-7, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"a4","reason":"not-paired","requestId":"pairing-4"}) 1008 "pairing required: device is not approved yet (requestId: pairing-4)"
        "#]],
    );
}

#[test]
fn auto_lets_in_who_presents_the_secret_with_what_the_secret_may_give() {
    check(
        |auth| {
            auth.secrets = vec![secret("ann", SecretKind::Token, "of ann", ScopeSet::WRITE)];
        },
        |sim| {
            sim.connect(1, operator().device("desk").token("of ann").remote(ELSEWHERE));
            sim.connect(2, operator().device("other").token("wrong").remote(ELSEWHERE));
            sim.connect(3, agent("a1").token("of ann").remote(ELSEWHERE));
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.write] device desk token-1 of ann by device)
            0s Refuse(conn-2, UNAUTHORIZED "unauthorized: gateway token mismatch" {"code":"AUTH_TOKEN_MISMATCH"}) 1008 "unauthorized: gateway token mismatch"
            0s Admit(conn-3 agent [] named a1 device a1 token-2 of ann by device)
        "#]],
    );
}

#[test]
fn the_pairing_code_works_once_and_for_ten_minutes() {
    let with_code = |auth: &mut AuthPolicy| {
        auth.pairing_code = Some(Secret::new("4711").hash());
    };
    check(
        with_code,
        |sim| {
            sim.connect(1, operator().device("d1").code("0000").remote(ELSEWHERE));
            sim.connect(2, operator().device("d1").code("4711").remote(ELSEWHERE));
            sim.connect(3, operator().device("d2").code("4711").remote(ELSEWHERE));
        },
        expect![[r#"
            0s Broadcast(pair requested pairing-1 "not-paired")
            0s Refuse(conn-1, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"d1","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s Broadcast(pair resolved pairing-1 "approved")
            0s Admit(conn-2 operator [operator.admin] device d1 token-1 of default by device)
            0s Broadcast(pair requested pairing-2 "not-paired")
            0s Refuse(conn-3, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"d2","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
        "#]],
    );
    check(
        with_code,
        |sim| {
            sim.run_secs(600);
            sim.connect(1, operator().device("d1").code("4711").remote(ELSEWHERE));
        },
        expect![[r#"
            600s Broadcast(pair requested pairing-1 "not-paired")
            600s Refuse(conn-1, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"d1","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
        "#]],
    );
}

#[test]
fn open_registers_any_valid_signature_but_no_name_or_id_that_belongs_to_another() {
    check(
        |auth| auth.registration = Registration::Open,
        |sim| {
            sim.connect(1, operator().device("desk").remote(ELSEWHERE));
            sim.connect(2, agent("a1").remote(ELSEWHERE));
            sim.connect(3, agent("a2").named("a1").remote(ELSEWHERE));
            sim.connect(4, operator().device_with_key("desk", "new key").remote(ELSEWHERE));
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] device desk token-1 of default by device)
            0s Admit(conn-2 agent [] named a1 device a1 token-2 of default by device)
            0s Broadcast(pair requested pairing-1 "not-paired")
            0s Refuse(conn-3, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"a2","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s Broadcast(pair requested pairing-2 "key-changed")
            0s Refuse(conn-4, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"key-changed","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
        "#]],
    );
}

#[test]
fn manual_makes_everyone_wait() {
    check(
        |auth| {
            auth.registration = Registration::Manual;
            auth.secrets = shared("open sesame");
            auth.pairing_code = Some(Secret::new("4711").hash());
        },
        |sim| {
            sim.connect(1, operator().device("desk"));
            sim.connect(2, operator().device("desk").token("open sesame"));
            sim.connect(3, operator().device("desk").code("4711"));
        },
        expect![[r#"
            0s Broadcast(pair requested pairing-1 "not-paired")
            0s Refuse(conn-1, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s Refuse(conn-2, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s Refuse(conn-3, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
        "#]],
    );
}

#[test]
fn a_known_device_that_asks_for_more_or_for_another_role_waits() {
    check(
        |_| {},
        |sim| {
            let desk = || operator().device("desk").scopes(ScopeSet::READ);
            sim.connect(1, desk()).connect(2, desk().scopes(None));
            sim.connect(3, desk().scopes(ScopeSet::WRITE))
                .connect(4, desk().scopes(ScopeSet::NONE));
            sim.connect(5, agent("desk")).connect(6, agent("a1"));
            sim.connect(7, operator().device("a1"));
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.read] device desk token-1 of default by device)
            0s Admit(conn-2 operator [operator.read] device desk token-1 of default by device)
            0s Broadcast(pair requested pairing-1 "scope-upgrade")
            0s Refuse(conn-3, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"scope-upgrade","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s Admit(conn-4 operator [] device desk token-1 of default by device)
            0s Broadcast(pair resolved pairing-1 "withdrawn")
            0s Broadcast(pair requested pairing-2 "role-upgrade")
            0s Refuse(conn-5, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"role-upgrade","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            0s Admit(conn-6 agent [] named a1 device a1 token-2 of default by device)
            0s Broadcast(pair requested pairing-3 "role-upgrade")
            0s Refuse(conn-7, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"a1","reason":"role-upgrade","requestId":"pairing-3"}) 1008 "pairing required: device is not approved yet (requestId: pairing-3)"
        "#]],
    );
}

#[test]
fn the_secret_raises_a_known_device_up_to_what_the_secret_may_give() {
    check(
        |auth| {
            auth.secrets = vec![secret("ann", SecretKind::Token, "of ann", ScopeSet::WRITE)];
        },
        |sim| {
            let desk = || operator().device("desk").remote(ELSEWHERE);
            sim.connect(1, desk().token("of ann").scopes(ScopeSet::READ));
            sim.connect(2, desk().token("of ann").scopes(ScopeSet::ADMIN));
            sim.connect(3, desk().scopes(ScopeSet::WRITE));
            sim.connect(4, desk().scopes(ScopeSet::ADMIN));
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.read] device desk token-1 of ann by device)
            0s Admit(conn-2 operator [operator.read,operator.write] device desk token-2 of ann by device)
            0s Admit(conn-3 operator [operator.write] device desk token-2 of ann by device)
            0s Broadcast(pair requested pairing-1 "scope-upgrade")
            0s Refuse(conn-4, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"scope-upgrade","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
        "#]],
    );
}

#[test]
fn a_user_has_no_more_operator_devices_than_the_limit() {
    check(
        |auth| {
            auth.secrets = vec![
                secret("ann", SecretKind::Token, "of ann", ScopeSet::ADMIN),
                secret("bob", SecretKind::Token, "of bob", ScopeSet::ADMIN),
            ];
            auth.devices_per_user_max = 2;
        },
        |sim| {
            for (conn, device) in (1..).zip(["d1", "d2", "d3", "d1"]) {
                sim.connect(conn, operator().device(device).token("of ann"));
            }
            sim.connect(5, operator().device("d4").token("of bob"));
            sim.connect(6, agent("a1").token("of ann"));
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] device d1 token-1 of ann by device)
            0s Admit(conn-2 operator [operator.admin] device d2 token-2 of ann by device)
            0s Refuse(conn-3, RESOURCE_EXHAUSTED "device limit reached: 2 devices are approved for this user (free a place with: openclaw-gateway devices revoke DEVICE)" {"code":"DEVICE_LIMIT_REACHED","limit":2}) 1008 "device limit reached"
            0s Admit(conn-4 operator [operator.admin] device d1 token-1 of ann by device)
            0s Admit(conn-5 operator [operator.admin] device d4 token-3 of bob by device)
            0s Admit(conn-6 agent [] named a1 device a1 token-4 of ann by device)
        "#]],
    );
}

#[test]
fn a_request_that_is_repeated_keeps_its_id_until_it_asks_for_something_else_or_expires() {
    check(
        |auth| auth.registration = Registration::Manual,
        |sim| {
            let desk = || operator().device("desk").remote(ELSEWHERE);
            sim.connect(1, desk()).run_secs(200).connect(2, desk());
            sim.connect(3, desk().scopes(ScopeSet::READ))
                .run_secs(299)
                .connect(4, desk().scopes(ScopeSet::READ));
            sim.run_secs(1).connect(5, desk().scopes(ScopeSet::READ));
        },
        expect![[r#"
            0s Broadcast(pair requested pairing-1 "not-paired")
            0s Refuse(conn-1, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            200s Refuse(conn-2, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            200s Broadcast(pair resolved pairing-1 "withdrawn")
            200s Broadcast(pair requested pairing-2 "not-paired")
            200s Refuse(conn-3, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            499s Refuse(conn-4, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            500s Broadcast(pair resolved pairing-2 "expired")
            500s Broadcast(pair requested pairing-3 "not-paired")
            500s Refuse(conn-5, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"not-paired","requestId":"pairing-3"}) 1008 "pairing required: device is not approved yet (requestId: pairing-3)"
        "#]],
    );
}

#[test]
fn a_device_that_waits_asks_for_something_else_only_so_often() {
    let mut sim = Sim::with(|_| {});
    sim.connect(1, operator().device("desk"));
    sim.show(&["Pair", "Refuse"]);
    let ask = |sim: &mut Sim, conn: u64| {
        let scopes = if conn.is_multiple_of(2) { ScopeSet::READ } else { ScopeSet::WRITE };
        sim.connect(conn, operator().device("far").remote(ELSEWHERE).scopes(scopes));
        sim.take()
    };
    for conn in 2..8 {
        assert!(ask(&mut sim, conn).contains("Broadcast(pair requested"), "{conn}");
    }
    for conn in [8, 10] {
        let shown = ask(&mut sim, conn);
        assert!(shown.contains("retry in 300 s") && !shown.contains("Broadcast"), "{shown}");
    }
    // What waits can be approved still, and comes to its end.
    assert!(ask(&mut sim, 11).contains("PAIRING_REQUIRED"));
    sim.run_for(PAIRING_TTL);
    sim.take();
    assert!(ask(&mut sim, 12).contains("Broadcast(pair requested"));
}

#[test]
fn one_address_has_three_requests_waiting_and_all_together_a_hundred() {
    let mut sim = Sim::with(|policy| policy.auth.registration = Registration::Manual);
    for device in 1..5 {
        sim.connect(device, operator().device(&format!("d{device}")).remote(ELSEWHERE));
    }
    expect![[r#"
        0s Refuse(conn-1, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"d1","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
        0s Refuse(conn-2, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"d2","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
        0s Refuse(conn-3, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"d3","reason":"not-paired","requestId":"pairing-3"}) 1008 "pairing required: device is not approved yet (requestId: pairing-3)"
        0s Refuse(conn-4, RESOURCE_EXHAUSTED "pairing required: too many devices wait for approval; retry in 300 s, or approve or reject one (openclaw-gateway devices list)" {"code":"PAIRING_QUEUE_FULL"} retry 300000) 1008 "pairing required: too many devices wait for approval; retry in 300 s, or approve or reject one (openclaw-gateway devices li"
    "#]].assert_eq(&sim.take());
    let mut refused = 0;
    for number in 0..PAIRINGS_MAX {
        let address = format!("203.0.114.{}", number / 3);
        sim.connect(9, operator().device(&format!("e{number}")).remote(&address));
        refused += usize::from(sim.take().contains("PAIRING_QUEUE_FULL"));
    }
    assert_eq!(refused, 3);
}

#[test]
fn an_agent_keeps_the_name_that_it_registered_under() {
    check(
        |_| {},
        |sim| {
            sim.connect(1, agent("a1")).connect(2, agent("a1").named("a9"));
            sim.connect(3, agent("a2").named("a9")).connect(4, agent("a1"));
        },
        expect![[r#"
            0s Admit(conn-1 agent [] named a1 device a1 token-1 of default by device)
            0s Admit(conn-2 agent [] named a1 device a1 token-1 of default by device)
            0s Admit(conn-3 agent [] named a9 device a2 token-2 of default by device)
            0s Admit(conn-4 agent [] named a1 device a1 token-1 of default by device)
        "#]],
    );
}

#[test]
fn a_device_that_is_let_in_with_another_role_loses_what_came_with_the_old_one() {
    check(
        |auth| auth.secrets = shared("shared"),
        |sim| {
            sim.show(&["Pair", "Close"]);
            let desk = || operator().device("desk").token("shared").remote(ELSEWHERE);
            // More scopes are no reason to end anything.
            sim.connect(1, desk().scopes(ScopeSet::READ)).connect(2, desk());
            let builder = agent("desk").token("shared").remote(ELSEWHERE);
            sim.connect(3, builder);
            sim.connect(4, operator().device("desk").device_token("token-2").bare());
            sim.connect(5, desk());
        },
        expect![[r#"
            0s Admit(conn-1 operator [operator.read] device desk token-1 of default by device)
            0s Admit(conn-2 operator [operator.admin] device desk token-2 of default by device)
            0s Close(conn-1, credential_withdrawn)
            0s Close(conn-2, credential_withdrawn)
            0s Admit(conn-3 agent [] named desk device desk token-3 of default by device)
            0s Refuse(conn-4, UNAUTHORIZED "device token mismatch" {"code":"AUTH_DEVICE_TOKEN_MISMATCH"}) 1008 "device token mismatch"
            0s Close(conn-3, credential_withdrawn)
            0s Admit(conn-5 operator [operator.admin] device desk token-4 of default by device)
        "#]],
    );
}
