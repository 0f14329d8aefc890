//! What a person decides about devices.

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::{DeviceId, PairingId, UserName};
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::hub::Approver;
use openclaw_gateway::hub::policy::Registration;
use openclaw_gateway::protocol::scope::ScopeSet;

use crate::peers::{agent, operator};
use crate::sim::{Sim, StoreMode};

const ELSEWHERE: &str = "203.0.113.1";

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::new();
    sim.settled().show(&["Pair", "Persist"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

/// Approves, or tries to, the request that has waited longest.
fn approve(sim: &mut Sim, scopes: ScopeSet) -> &mut Sim {
    let pending = sim.hub.pending_pairings();
    let id = PairingId::new(pending[0]["requestId"].as_str().unwrap());
    let approver = Approver { user: UserName::new("ann"), scopes };
    let mut effects = Vec::new();
    let result = sim.hub.approve_pairing(sim.now, &id, &approver, &mut effects);
    sim.note(&match result {
        Ok(device) => format!("approved {}", device.id),
        Err(error) => format!("not approved: {}", error.message),
    });
    sim.perform_now(effects);
    sim
}

fn revoke<'s>(sim: &'s mut Sim, device: &str) -> &'s mut Sim {
    let mut effects = Vec::new();
    sim.hub.revoke_device(&DeviceId::new(device), &mut effects).unwrap();
    sim.note(&format!("revoked {device}"));
    sim.perform_now(effects);
    sim
}

#[test]
fn an_approved_device_is_let_in_when_it_comes_again() {
    check(
        |sim| {
            let far = || operator().device("far").remote(ELSEWHERE);
            sim.connect(3, far());
            approve(sim, ScopeSet::READ);
            approve(sim, ScopeSet::ADMIN).connect(4, far());
        },
        expect![[r#"
            0s Broadcast(pair requested pairing-1 "not-paired")
            0s Refuse(conn-3, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"far","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s -- not approved: the request asks for scopes that its approver lacks
            0s -- approved far
            0s Broadcast(pair resolved pairing-1 "approved")
            0s Persist(#4: put device far)
            0s Persist(#5: put token of far)
            0s Admit(conn-4 operator [operator.admin] device far token-3 of ann by device)
        "#]],
    );
}

#[test]
fn a_rejected_device_waits_anew() {
    check(
        |sim| {
            let far = || operator().device("far").remote(ELSEWHERE);
            sim.connect(3, far());
            let pending = sim.hub.pending_pairings();
            let id = PairingId::new(pending[0]["requestId"].as_str().unwrap());
            let mut effects = Vec::new();
            sim.hub.reject_pairing(sim.now, &id, &mut effects).unwrap();
            assert!(sim.hub.reject_pairing(sim.now, &id, &mut effects).is_err());
            sim.perform_now(effects);
            sim.connect(4, far());
        },
        expect![[r#"
            0s Broadcast(pair requested pairing-1 "not-paired")
            0s Refuse(conn-3, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"far","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s Broadcast(pair resolved pairing-1 "rejected")
            0s Broadcast(pair requested pairing-2 "not-paired")
            0s Refuse(conn-4, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"far","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
        "#]],
    );
}

#[test]
fn revoking_closes_connections_ends_tokens_and_keeps_the_key_out_under_any_id() {
    check(
        |sim| {
            let token = sim.token_of(1);
            revoke(sim, "desk").connect(3, operator().device("desk"));
            sim.connect(4, operator().root_token(&token).terse());
            sim.connect(5, operator().device_with_key("new id", "desk"));
            sim.connect(6, operator().device_with_key("desk", "new key"));
            let mut effects = Vec::new();
            sim.hub.forget_device(&DeviceId::new("desk"), &mut effects).unwrap();
            sim.note("forgotten").perform_now(effects);
            sim.connect(7, operator().device("desk"));
        },
        expect![[r#"
            0s -- revoked desk
            0s Close(conn-1, credential_withdrawn)
            0s Persist(#4: delete token, put device desk)
            0s Refuse(conn-3, UNAUTHORIZED "device revoked" {"code":"DEVICE_REVOKED"}) 4001 "device revoked"
            0s Refuse(conn-4, UNAUTHORIZED "device token mismatch" {"code":"AUTH_DEVICE_TOKEN_MISMATCH"}) 1008 "device token mismatch"
            0s Refuse(conn-5, UNAUTHORIZED "device revoked" {"code":"DEVICE_REVOKED"}) 4001 "device revoked"
            0s Refuse(conn-6, UNAUTHORIZED "device revoked" {"code":"DEVICE_REVOKED"}) 4001 "device revoked"
            0s -- forgotten
            0s Persist(#5: delete device desk)
            0s Persist(#6: put device desk, put token of desk)
            0s Admit(conn-7 operator [operator.admin] device desk token-3 of default by device)
        "#]],
    );
}

#[test]
fn a_revocation_holds_while_the_store_fails_and_is_stored_when_it_recovers() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.store_fails();
            revoke(sim, "desk").connect(3, operator().device("desk")).store_recovers().stored();
        },
        expect![[r#"
            0s -- store fails
            0s -- revoked desk
            0s Close(conn-1, credential_withdrawn)
            0s Refuse(conn-3, UNAUTHORIZED "device revoked" {"code":"DEVICE_REVOKED"}) 4001 "device revoked"
            0s -- store recovers
            0s Persist(#4: delete token, put device desk)
            0s -- stored
        "#]],
    );
}

#[test]
fn approving_a_changed_key_closes_what_the_old_key_had() {
    check(
        |sim| {
            sim.connect(3, operator().device_with_key("desk", "new key").remote(ELSEWHERE));
            approve(sim, ScopeSet::ADMIN);
            sim.connect(4, operator().device_with_key("desk", "new key").remote(ELSEWHERE));
            sim.connect(5, operator().device("desk"));
        },
        expect![[r#"
            0s Broadcast(pair requested pairing-1 "key-changed")
            0s Refuse(conn-3, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"key-changed","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s -- approved desk
            0s Close(conn-1, credential_withdrawn)
            0s Broadcast(pair resolved pairing-1 "approved")
            0s Persist(#4: delete token, put device desk)
            0s Persist(#5: put token of desk)
            0s Admit(conn-4 operator [operator.admin] device desk token-3 of default by device)
            0s Broadcast(pair requested pairing-2 "key-changed")
            0s Refuse(conn-5, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"key-changed","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
        "#]],
    );
}

#[test]
fn a_name_passes_to_another_agent_by_approval_only() {
    check(
        |sim| {
            sim.connect(3, agent("a2").named("a1"));
            approve(sim, ScopeSet::ADMIN).connect(4, agent("a2").named("a1"));
            sim.connect(5, agent("a1"));
        },
        expect![[r#"
            0s Broadcast(pair requested pairing-1 "not-paired")
            0s Refuse(conn-3, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"a2","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s -- approved a2
            0s Close(conn-2, credential_withdrawn)
            0s Broadcast(pair resolved pairing-1 "approved")
            0s Persist(#4: put device a1, delete token, put device a2)
            0s Persist(#5: put token of a2)
            0s Admit(conn-4 agent [] named a1 device a2 token-3 of ann by device)
            0s Broadcast(pair requested pairing-2 "not-paired")
            0s Refuse(conn-5, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"a1","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
        "#]],
    );
}

#[test]
fn a_pairing_code_may_be_offered_at_any_time() {
    let mut sim = Sim::with(|policy| policy.auth.registration = Registration::Auto);
    sim.run_secs(1_000);
    sim.hub.offer_pairing_code(sim.now, Secret::new("4711").hash());
    sim.run_secs(599);
    sim.connect(1, operator().device("far").remote(ELSEWHERE).code("4711"));
    expect![[r#"
        1599s Admit(conn-1 operator [operator.admin] device far token-1 of default by device)
    "#]]
    .assert_eq(&sim.take());
}

#[test]
fn a_request_of_a_device_that_was_revoked_meanwhile_is_not_approved() {
    check(
        |sim| {
            sim.connect(3, agent("a1").scopes(ScopeSet::READ).remote(ELSEWHERE));
            revoke(sim, "a1");
            approve(sim, ScopeSet::ADMIN);
        },
        expect![[r#"
            0s Broadcast(pair requested pairing-1 "scope-upgrade")
            0s Refuse(conn-3, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"a1","reason":"scope-upgrade","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s -- revoked a1
            0s Close(conn-2, credential_withdrawn)
            0s Persist(#4: delete token, put device a1)
            0s -- not approved: the device was revoked; forget it first
        "#]],
    );
}
