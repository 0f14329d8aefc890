//! Requests about devices: who may make them, and when they are answered.

use std::time::Duration;

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::{DeviceId, PairingId};
use openclaw_gateway::base::limits::DEVICES_LISTED_MAX;
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::hub::policy::Registration;
use openclaw_gateway::protocol::devices::{DeviceReply, DeviceRequest, TokenOf};
use openclaw_gateway::protocol::reply::Reply;
use openclaw_gateway::protocol::request::Request;
use openclaw_gateway::protocol::scope::{Role, ScopeSet};

use crate::peers::{Peer, agent, operator, owner};
use crate::policies::shared;
use crate::sim::{Sim, StoreMode};

const ELSEWHERE: &str = "203.0.113.1";
const SMALL: ScopeSet = ScopeSet::READ.union(ScopeSet::PAIRING);

impl Sim {
    /// Asks something about devices.
    fn ask(&mut self, conn: u64, ask: DeviceRequest) -> &mut Self {
        self.request(conn, Request::Devices(ask))
    }

    /// The request that has waited longest.
    fn oldest(&self) -> PairingId {
        let pending = self.hub.pending_pairings();
        PairingId::new(pending[0]["requestId"].as_str().unwrap())
    }

    fn approve(&mut self, conn: u64) -> &mut Self {
        let id = self.oldest();
        self.ask(conn, DeviceRequest::Approve(id))
    }

    fn reject(&mut self, conn: u64) -> &mut Self {
        let id = self.oldest();
        self.ask(conn, DeviceRequest::Reject(id))
    }

    fn remove(&mut self, conn: u64, device: &str) -> &mut Self {
        self.ask(conn, DeviceRequest::Remove(DeviceId::new(device)))
    }

    fn rotate(&mut self, conn: u64, device: &str) -> &mut Self {
        self.ask(conn, DeviceRequest::RotateToken(token_of(device)))
    }

    fn revoke_tokens(&mut self, conn: u64, device: &str) -> &mut Self {
        self.ask(conn, DeviceRequest::RevokeTokens(token_of(device)))
    }
}

fn token_of(device: &str) -> TokenOf {
    TokenOf { device: DeviceId::new(device), role: None }
}

/// A device with the scopes to see and approve, and no more.
fn small() -> Peer {
    operator().device("small").scopes(SMALL).remote(ELSEWHERE)
}

/// The owner is connection 9; "desk" is an administrator on 1, "a1" an agent on 2, "small" on 3.
#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::new();
    sim.settled().connect(9, owner()).connect(3, small()).approve(9).connect(3, small());
    sim.forget().only(&["Admit", "Refuse", "Respond", "Close"]);
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

#[test]
fn an_administrator_sees_every_device_and_everyone_else_their_own() {
    check(
        |sim| {
            sim.connect(4, operator().device("far").remote(ELSEWHERE));
            sim.only(&["Respond"]);
            for conn in [9, 1, 3] {
                sim.ask(conn, DeviceRequest::List);
            }
            sim.remove(9, "a1").ask(9, DeviceRequest::List);
        },
        expect![[r#"
            0s Refuse(conn-4, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"far","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            0s Respond(conn-9, r2, pending [far] devices [a1 approved here 1 tokens, desk approved here 1 tokens, small approved here 1 tokens])
            0s Respond(conn-1, r3, pending [far] devices [a1 approved here 1 tokens, desk approved here 1 tokens, small approved here 1 tokens])
            0s Respond(conn-3, r4, pending [] devices [small approved here 1 tokens])
            0s Respond(conn-9, r5, removed a1)
            0s Respond(conn-9, r6, pending [far] devices [a1 revoked 0 tokens, desk approved here 1 tokens, small approved here 1 tokens])
        "#]],
    );
}

#[test]
fn nobody_approves_more_for_themselves() {
    check(
        |sim| {
            sim.connect(4, small().scopes(ScopeSet::ADMIN)).approve(3).reject(3);
            sim.connect(5, agent("desk")).approve(1).approve(9);
        },
        expect![[r#"
            0s Refuse(conn-4, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"small","reason":"scope-upgrade","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            0s Respond(conn-3, r2, INVALID_REQUEST "a device cannot approve more for itself; ask another operator")
            0s Respond(conn-3, r3, rejected small)
            0s Refuse(conn-5, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"desk","reason":"role-upgrade","requestId":"pairing-3"}) 1008 "pairing required: device is not approved yet (requestId: pairing-3)"
            0s Respond(conn-1, r4, INVALID_REQUEST "a device cannot approve more for itself; ask another operator")
            0s Close(conn-1, credential_withdrawn)
            0s Respond(conn-9, r5, approved desk agent [])
        "#]],
    );
}

#[test]
fn a_device_may_approve_its_own_new_key_for_what_it_has() {
    check(
        |sim| {
            let with_new_key = || operator().device_with_key("small", "new").remote(ELSEWHERE);
            sim.connect(4, with_new_key().scopes(ScopeSet::ADMIN)).approve(3);
            sim.connect(5, with_new_key().scopes(SMALL)).approve(3);
            sim.connect(6, with_new_key().scopes(SMALL)).connect(7, small());
        },
        expect![[r#"
            0s Refuse(conn-4, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"small","reason":"key-changed","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            0s Respond(conn-3, r2, INVALID_REQUEST "a device cannot approve more for itself; ask another operator")
            0s Refuse(conn-5, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"small","reason":"key-changed","requestId":"pairing-3"}) 1008 "pairing required: device is not approved yet (requestId: pairing-3)"
            0s Close(conn-3, credential_withdrawn)
            0s Admit(conn-6 operator [operator.read,operator.pairing] device small token-4 of default by device)
            0s Refuse(conn-7, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"small","reason":"key-changed","requestId":"pairing-4"}) 1008 "pairing required: device is not approved yet (requestId: pairing-4)"
        "#]],
    );
}

#[test]
fn a_token_that_may_be_stolen_approves_no_key_for_its_device() {
    check(
        |sim| {
            let token = sim.token_of(3);
            sim.connect(4, operator().root_token(&token).terse().remote(ELSEWHERE));
            let thief = operator().device_with_key("small", "thief").remote(ELSEWHERE);
            sim.connect(5, thief.scopes(SMALL)).approve(4);
        },
        expect![[r#"
            0s Admit(conn-4 operator [operator.read,operator.pairing] device small token-3 of default by device-token)
            0s Refuse(conn-5, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"small","reason":"key-changed","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            0s Respond(conn-4, r2, INVALID_REQUEST "a device cannot approve more for itself; ask another operator")
        "#]],
    );
}

#[test]
fn a_connection_that_asked_for_less_than_its_device_has_gives_no_more_than_it_got() {
    check(
        |sim| {
            sim.connect(4, operator().device("desk").scopes(SMALL));
            sim.connect(5, operator().device("far").scopes(ScopeSet::READ).remote(ELSEWHERE));
            sim.approve(4).remove(4, "small").approve(1);
        },
        expect![[r#"
            0s Admit(conn-4 operator [operator.read,operator.pairing] device desk token-1 of default by device)
            0s Refuse(conn-5, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"far","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            0s Respond(conn-4, r2, INVALID_REQUEST "missing scope: operator.admin")
            0s Respond(conn-4, r3, INVALID_REQUEST "missing scope: operator.admin")
            0s Respond(conn-1, r4, approved far operator [operator.read])
        "#]],
    );
}

#[test]
fn a_shared_secret_without_the_admin_scope_manages_nothing() {
    let mut sim = Sim::with(|policy| {
        policy.auth.secrets = shared("open sesame");
        policy.auth.secrets[0].scopes = SMALL;
        policy.auth.registration = Registration::Manual;
    });
    sim.connect(1, operator().token("open sesame"));
    sim.connect(2, operator().device("far").scopes(ScopeSet::READ));
    sim.forget().approve(1).reject(1).remove(1, "far").ask(1, DeviceRequest::List);
    expect![[r#"
        0s Respond(conn-1, r1, INVALID_REQUEST "missing scope: operator.admin")
        0s Respond(conn-1, r2, INVALID_REQUEST "missing scope: operator.admin")
        0s Respond(conn-1, r3, INVALID_REQUEST "missing scope: operator.admin")
        0s Respond(conn-1, r4, pending [] devices [])
    "#]]
    .assert_eq(&sim.take());
}

#[test]
fn decisions_are_answered_when_they_are_on_disk() {
    check(
        |sim| {
            sim.connect(4, operator().device("far").remote(ELSEWHERE));
            sim.store = StoreMode::Held;
            sim.show(&["Persist"]).approve(9).rotate(3, "small").remove(9, "a1");
            sim.note("nobody yet").stored().stored();
            sim.ask(9, DeviceRequest::Forget(DeviceId::new("a1"))).note("nor now").stored();
            sim.connect(5, operator().device("else").remote(ELSEWHERE)).reject(9);
            sim.ask(9, DeviceRequest::OfferCode);
        },
        expect![[r#"
            0s Refuse(conn-4, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"far","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            0s Persist(#6: put device far)
            0s Close(conn-2, credential_withdrawn)
            0s -- nobody yet
            0s -- stored
            0s Respond(conn-9, r2, approved far operator [operator.admin])
            0s Persist(#7: put token of small, put token of small, delete token, put device a1)
            0s -- stored
            0s Respond(conn-3, r3, rotated small operator, token given)
            0s Respond(conn-9, r4, removed a1)
            0s Persist(#8: delete device a1)
            0s -- nor now
            0s -- stored
            0s Respond(conn-9, r5, forgotten a1)
            0s Refuse(conn-5, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"else","reason":"not-paired","requestId":"pairing-3"}) 1008 "pairing required: device is not approved yet (requestId: pairing-3)"
            0s Respond(conn-9, r6, rejected else)
            0s Respond(conn-9, r7, code of 10)
        "#]],
    );
}

#[test]
fn while_the_store_fails_what_takes_away_holds_and_what_gives_is_refused() {
    check(
        |sim| {
            sim.connect(4, operator().device("far").remote(ELSEWHERE));
            sim.store = StoreMode::Held;
            sim.remove(9, "a1").store_fails().approve(9).rotate(3, "small");
            sim.revoke_tokens(9, "small").remove(9, "desk");
            sim.ask(9, DeviceRequest::Forget(DeviceId::new("a1")));
            sim.show(&["Persist"]).store_recovers().stored().approve(9).stored();
        },
        expect![[r#"
            0s Refuse(conn-4, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"far","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            0s Close(conn-2, credential_withdrawn)
            0s -- store fails
            0s Respond(conn-9, r2, UNAVAILABLE "in force, but not on disk yet: the gateway's store takes no writes right now" {"inForce":true})
            0s Respond(conn-9, r3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-3, r4, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-9, r5, UNAVAILABLE "in force, but not on disk yet: the gateway's store takes no writes right now" {"inForce":true})
            0s Close(conn-1, credential_withdrawn)
            0s Respond(conn-9, r6, UNAVAILABLE "in force, but not on disk yet: the gateway's store takes no writes right now" {"inForce":true})
            0s Respond(conn-9, r7, UNAVAILABLE "in force, but not on disk yet: the gateway's store takes no writes right now" {"inForce":true})
            0s -- store recovers
            0s Persist(#7: delete token, delete token, delete token, delete device a1, put device desk)
            0s -- stored
            0s Persist(#8: put device far)
            0s -- stored
            0s Respond(conn-9, r8, approved far operator [operator.admin])
        "#]],
    );
}

#[test]
fn a_decision_whose_commit_fails_holds_and_says_so() {
    check(
        |sim| {
            let far = || operator().device("far").remote(ELSEWHERE);
            sim.connect(4, far());
            sim.store = StoreMode::Held;
            sim.approve(9).store_fails().connect(5, far());
            sim.show(&["Persist"]).store_recovers().stored();
            sim.store = StoreMode::Prompt;
            sim.restart().connect(6, far());
        },
        expect![[r#"
            0s Refuse(conn-4, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"far","reason":"not-paired","requestId":"pairing-2"}) 1008 "pairing required: device is not approved yet (requestId: pairing-2)"
            0s -- store fails
            0s Respond(conn-9, r2, UNAVAILABLE "in force, but not on disk yet: the gateway's store takes no writes right now" {"inForce":true})
            0s Admit(conn-5 operator [operator.admin] device far token-4 of default by device)
            0s -- store recovers
            0s Persist(#7: put token of far, put device far)
            0s -- stored
            0s -- restarted
            0s Persist(#1: reserve 131073)
            0s Persist(#2: put token of far)
            0s Admit(conn-6 operator [operator.admin] device far token-5 of default by device)
        "#]],
    );
}

#[test]
fn a_list_of_very_many_devices_is_cut_and_says_so() {
    let mut sim = Sim::new();
    sim.only(&[]);
    let count = DEVICES_LISTED_MAX + 1;
    for number in 0..count {
        let conn = 2 + number as u64;
        sim.connect(conn, agent(&format!("a{number}"))).closed(conn);
    }
    sim.run_secs(3_600).connect(2, agent("a1000")).connect(1, owner()).log.clear();
    sim.ask(1, DeviceRequest::List);
    let Some(Effect::Respond { result: Ok(Reply::Devices(reply)), .. }) = sim.log.pop() else {
        panic!("no answer")
    };
    let DeviceReply::List(list) = *reply else { panic!("{reply:?}") };
    assert_eq!((list.devices.len(), list.total), (DEVICES_LISTED_MAX, count));
    assert_eq!(list.devices[0].id.as_str(), "a1000", "last seen first");
}

#[test]
fn a_rotated_token_lives_on_for_its_grace() {
    check(
        |sim| {
            let first = sim.token_of(3);
            sim.rotate(1, "small").connect(4, small());
            let second = sim.token_of(4);
            let bare = |token: &str| operator().root_token(token).terse().remote(ELSEWHERE);
            sim.only(&["Admit", "Refuse"]).run_for(Duration::from_secs(299));
            sim.connect(5, bare(&first)).connect(6, bare(&second));
            sim.run_for(Duration::from_secs(1)).connect(7, bare(&first)).connect(8, bare(&second));
            sim.restart().connect(5, bare(&first)).connect(6, bare(&second));
        },
        expect![[r#"
            0s Respond(conn-1, r2, rotated small operator, token kept)
            0s Admit(conn-4 operator [operator.read,operator.pairing] device small token-4 of default by device)
            299s Admit(conn-5 operator [operator.read,operator.pairing] device small token-3 of default by device-token)
            299s Admit(conn-6 operator [operator.read,operator.pairing] device small token-4 of default by device-token)
            300s Refuse(conn-7, UNAUTHORIZED "device token mismatch" {"code":"AUTH_DEVICE_TOKEN_MISMATCH"}) 1008 "device token mismatch"
            300s Admit(conn-8 operator [operator.read,operator.pairing] device small token-4 of default by device-token)
            300s -- restarted
            300s Refuse(conn-5, UNAUTHORIZED "device token mismatch" {"code":"AUTH_DEVICE_TOKEN_MISMATCH"}) 1008 "device token mismatch"
            300s Admit(conn-6 operator [operator.read,operator.pairing] device small token-4 of default by device-token)
        "#]],
    );
}

#[test]
fn only_the_device_that_signed_is_told_its_new_token() {
    check(
        |sim| {
            let token = sim.token_of(3);
            sim.connect(4, operator().root_token(&token).terse().remote(ELSEWHERE));
            sim.rotate(4, "small").rotate(1, "small").rotate(9, "small").rotate(3, "small");
            let role = Some(Role::Agent);
            let of = TokenOf { device: DeviceId::new("small"), role };
            sim.ask(3, DeviceRequest::RotateToken(of)).rotate(9, "nobody");
        },
        expect![[r#"
            0s Admit(conn-4 operator [operator.read,operator.pairing] device small token-3 of default by device-token)
            0s Respond(conn-4, r2, rotated small operator, token kept)
            0s Respond(conn-1, r3, rotated small operator, token kept)
            0s Respond(conn-9, r4, rotated small operator, token kept)
            0s Respond(conn-3, r5, rotated small operator, token given)
            0s Respond(conn-3, r6, NOT_FOUND "the device has another role, and so no such token")
            0s Respond(conn-9, r7, NOT_FOUND "unknown deviceId")
        "#]],
    );
}

#[test]
fn revoked_tokens_close_those_who_came_by_them_alone() {
    check(
        |sim| {
            let token = sim.token_of(3);
            let bare = || operator().root_token(&token).terse().remote(ELSEWHERE);
            sim.connect(4, bare()).revoke_tokens(9, "small").connect(5, bare());
            sim.rotate(3, "small").connect(6, small()).revoke_tokens(9, "small");
        },
        expect![[r#"
            0s Admit(conn-4 operator [operator.read,operator.pairing] device small token-3 of default by device-token)
            0s Close(conn-4, credential_withdrawn)
            0s Respond(conn-9, r2, tokens of small operator revoked)
            0s Refuse(conn-5, UNAUTHORIZED "device token mismatch" {"code":"AUTH_DEVICE_TOKEN_MISMATCH"}) 1008 "device token mismatch"
            0s Respond(conn-3, r3, rotated small operator, token given)
            0s Admit(conn-6 operator [operator.read,operator.pairing] device small token-4 of default by device)
            0s Respond(conn-9, r4, tokens of small operator revoked)
        "#]],
    );
}

#[test]
fn who_removes_their_own_device_hears_the_close() {
    check(
        |sim| {
            sim.remove(3, "small").connect(4, small()).remove(9, "nobody");
        },
        expect![[r#"
            0s Close(conn-3, credential_withdrawn)
            0s Refuse(conn-4, UNAUTHORIZED "device revoked" {"code":"DEVICE_REVOKED"}) 4001 "device revoked"
            0s Respond(conn-9, r3, NOT_FOUND "unknown deviceId")
        "#]],
    );
}

#[test]
fn the_owner_is_let_in_whatever_is_locked_or_off_or_broken() {
    let mut sim = Sim::with(|policy| {
        policy.auth.devices_enabled = false;
        policy.auth.secrets = shared("open sesame");
    });
    for conn in 1..=11 {
        sim.connect(conn, operator().token("wrong"));
    }
    sim.store_fails().forget();
    sim.connect(12, operator().token("open sesame")).connect(13, owner().token("wrong"));
    sim.ask(13, DeviceRequest::ClearRateLimit(None)).ask(13, DeviceRequest::OfferCode);
    sim.connect(14, operator().token("open sesame"));
    let mut as_agent = agent("a1").bare();
    as_agent.context = owner().context;
    sim.connect(15, as_agent);
    expect![[r#"
        0s Refuse(conn-12, UNAUTHORIZED "auth rate limit: too many failed authentication attempts (retry in 60 s)" {"code":"AUTH_RATE_LIMITED"} retry 60000) 4001 "auth rate limit: too many failed authentication attempts (retry in 60 s)"
        0s Admit(conn-13 operator [operator.admin] of default by owner)
        0s Respond(conn-13, r1, cleared 1)
        0s Respond(conn-13, r2, CONFLICT "a pairing code admits nobody unless gateway.auth.deviceAuth is enabled and its registration is auto")
        0s Admit(conn-14 operator [operator.admin] of default by token)
        0s Refuse(conn-15, INVALID_REQUEST "invalid connect params: role must be operator on the control socket" {"code":"INVALID_HANDSHAKE"}) 1008 "invalid connect params: role must be operator on the control socket"
    "#]].assert_eq(&sim.take());
}
