//! The decision about a `connect`: every way in, every refusal that the hub decides.

use std::time::Instant;

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::ConnId;
use openclaw_gateway::base::time::Moment;
use openclaw_gateway::hub::Hub;
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::hub::input::{ConnectRequested, Input};
use openclaw_gateway::hub::policy::{AuthPolicy, SecretKind, SecretWithoutDevice};
use openclaw_gateway::hub::records::DurableState;
use openclaw_gateway::protocol::device::{DeviceFailure, DeviceProof};
use openclaw_gateway::protocol::scope::ScopeSet;

use crate::peers::{Peer, agent, operator};
use crate::policies::{policy, secret, shared};
use crate::sim::Sim;

/// Peers that connect one after another, each on a connection of its own, under one policy.
#[track_caller]
fn check(
    adjust: impl FnOnce(&mut AuthPolicy),
    peers: impl IntoIterator<Item = Peer>,
    expected: Expect,
) {
    let mut sim = Sim::with(|policy| adjust(&mut policy.auth));
    for (conn, peer) in (1..).zip(peers) {
        sim.connect(conn, peer);
    }
    expected.assert_eq(&sim.take());
}

fn with_secret(auth: &mut AuthPolicy) {
    auth.secrets = shared("open sesame");
}

#[test]
fn each_failed_device_proof_is_refused_by_its_own_row() {
    use DeviceFailure as Why;
    let failures = [
        Why::IdMismatch,
        Why::SignatureExpired,
        Why::NonceRequired,
        Why::NonceMismatch,
        Why::SignatureInvalid,
        Why::PublicKeyInvalid,
    ];
    check(
        |_| {},
        failures.map(|failure| operator().device("desk").failing(failure)),
        expect![[r#"
            0s Refuse(conn-1, INVALID_REQUEST "device identity mismatch" {"code":"DEVICE_AUTH_DEVICE_ID_MISMATCH"}) 1008 "device identity mismatch"
            0s Refuse(conn-2, INVALID_REQUEST "device signature expired" {"code":"DEVICE_AUTH_SIGNATURE_EXPIRED"}) 1008 "device signature expired"
            0s Refuse(conn-3, INVALID_REQUEST "device nonce required" {"code":"DEVICE_AUTH_NONCE_REQUIRED"}) 1008 "device nonce required"
            0s Refuse(conn-4, INVALID_REQUEST "device nonce mismatch" {"code":"DEVICE_AUTH_NONCE_MISMATCH"}) 1008 "device nonce mismatch"
            0s Refuse(conn-5, INVALID_REQUEST "device signature invalid (device_auth_signature_invalid)" {"code":"DEVICE_AUTH_SIGNATURE_INVALID"}) 4001 "device signature invalid (device_auth_signature_invalid)"
            0s Refuse(conn-6, INVALID_REQUEST "device public key invalid" {"code":"DEVICE_AUTH_PUBLIC_KEY_INVALID"}) 1008 "device public key invalid"
        "#]],
    );
}

#[test]
fn the_device_less_backend_of_mission_control_gets_in_with_the_secret_from_this_machine_only() {
    check(
        with_secret,
        [
            operator().token("open sesame"),
            operator().token("open sesame").remote("203.0.113.1"),
            operator().token("open sesame").origin("http://localhost:3000"),
            operator().token("wrong"),
            operator(),
            operator().remote("203.0.113.1"),
        ],
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] of default by token)
            0s Refuse(conn-2, NOT_PAIRED "device identity required" {"code":"DEVICE_IDENTITY_REQUIRED"}) 4001 "device identity required"
            0s Refuse(conn-3, NOT_PAIRED "device identity required" {"code":"DEVICE_IDENTITY_REQUIRED"}) 4001 "device identity required"
            0s Refuse(conn-4, UNAUTHORIZED "unauthorized: gateway token mismatch" {"code":"AUTH_TOKEN_MISMATCH"}) 1008 "unauthorized: gateway token mismatch"
            0s Refuse(conn-5, UNAUTHORIZED "unauthorized: gateway token missing" {"code":"AUTH_TOKEN_MISSING"}) 1008 "unauthorized: gateway token missing"
            0s Refuse(conn-6, NOT_PAIRED "device identity required" {"code":"DEVICE_IDENTITY_REQUIRED"}) 4001 "device identity required"
        "#]],
    );
}

#[test]
fn secret_without_device_follows_its_switches() {
    check(
        |auth| {
            with_secret(auth);
            auth.secret_without_device = SecretWithoutDevice::Always;
            auth.browser_needs_device = false;
        },
        [
            operator().token("open sesame").remote("203.0.113.1"),
            operator().token("open sesame").remote("203.0.113.1").origin("https://mc.example"),
            operator().remote("203.0.113.1"),
        ],
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] of default by token)
            0s Admit(conn-2 operator [operator.admin] of default by token)
            0s Refuse(conn-3, UNAUTHORIZED "unauthorized: gateway token missing" {"code":"AUTH_TOKEN_MISSING"}) 1008 "unauthorized: gateway token missing"
        "#]],
    );
    check(
        |auth| {
            with_secret(auth);
            auth.secret_without_device = SecretWithoutDevice::Never;
        },
        [operator().token("open sesame"), operator()],
        expect![[r#"
            0s Refuse(conn-1, NOT_PAIRED "device identity required" {"code":"DEVICE_IDENTITY_REQUIRED"}) 4001 "device identity required"
            0s Refuse(conn-2, NOT_PAIRED "device identity required" {"code":"DEVICE_IDENTITY_REQUIRED"}) 4001 "device identity required"
        "#]],
    );
}

#[test]
fn a_password_is_taken_in_its_own_place_and_in_that_of_the_token() {
    check(
        |auth| {
            auth.secrets = vec![secret("default", SecretKind::Password, "pw", ScopeSet::ALL)];
        },
        [
            operator().password("pw"),
            operator().token("pw"),
            operator().password("wrong"),
            operator(),
        ],
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] of default by password)
            0s Admit(conn-2 operator [operator.admin] of default by token)
            0s Refuse(conn-3, UNAUTHORIZED "unauthorized: gateway password mismatch" {"code":"AUTH_PASSWORD_MISMATCH"}) 1008 "unauthorized: gateway password mismatch"
            0s Refuse(conn-4, UNAUTHORIZED "unauthorized: gateway password missing" {"code":"AUTH_PASSWORD_MISSING"}) 1008 "unauthorized: gateway password missing"
        "#]],
    );
}

#[test]
fn a_user_is_granted_what_was_asked_and_its_secret_may_give() {
    check(
        |auth| {
            auth.secrets = vec![
                secret("ann", SecretKind::Token, "of ann", ScopeSet::READ),
                secret("bob", SecretKind::Token, "of bob", ScopeSet::ADMIN),
            ];
        },
        [
            operator().token("of ann"),
            operator().token("of bob"),
            operator().token("of bob").scopes(ScopeSet::WRITE),
            operator().token("of bob").scopes(None),
        ],
        expect![[r#"
            0s Admit(conn-1 operator [operator.read] of ann by token)
            0s Admit(conn-2 operator [operator.admin] of bob by token)
            0s Admit(conn-3 operator [operator.write] of bob by token)
            0s Admit(conn-4 operator [operator.read] of bob by token)
        "#]],
    );
}

#[test]
fn nobody_gets_in_with_nothing_unless_signatures_are_not_required_of_local_peers() {
    check(
        |_| {},
        [operator(), operator().token("guess"), agent("a1").bare()],
        expect![[r#"
            0s Refuse(conn-1, NOT_PAIRED "device identity required" {"code":"DEVICE_IDENTITY_REQUIRED"}) 4001 "device identity required"
            0s Refuse(conn-2, UNAUTHORIZED "unauthorized: gateway token mismatch: none is configured; set OPENCLAW_GATEWAY_TOKEN or gateway.auth.token" {"code":"AUTH_TOKEN_MISMATCH"}) 1008 "unauthorized: gateway token mismatch: none is configured; set OPENCLAW_GATEWAY_TOKEN or gateway.auth.token"
            0s Refuse(conn-3, NOT_PAIRED "device identity required" {"code":"DEVICE_IDENTITY_REQUIRED"}) 4001 "device identity required"
        "#]],
    );
    check(
        |auth| auth.require_signature = false,
        [operator(), operator().origin("http://localhost:3000"), operator().remote("203.0.113.1")],
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] of default by none)
            0s Refuse(conn-2, NOT_PAIRED "device identity required" {"code":"DEVICE_IDENTITY_REQUIRED"}) 4001 "device identity required"
            0s Refuse(conn-3, NOT_PAIRED "device identity required" {"code":"DEVICE_IDENTITY_REQUIRED"}) 4001 "device identity required"
        "#]],
    );
    check(
        |auth| {
            with_secret(auth);
            auth.require_signature = false;
        },
        [operator()],
        expect![[r#"
            0s Refuse(conn-1, UNAUTHORIZED "unauthorized: gateway token missing" {"code":"AUTH_TOKEN_MISSING"}) 1008 "unauthorized: gateway token missing"
        "#]],
    );
}

#[test]
fn with_devices_off_the_secret_alone_decides() {
    check(
        |auth| {
            with_secret(auth);
            auth.devices_enabled = false;
        },
        [
            operator().device("desk").remote("203.0.113.1").token("open sesame"),
            operator().device("desk").failing(DeviceFailure::SignatureInvalid).token("open sesame"),
            operator().device("desk"),
            operator().token("wrong"),
            operator().device_token("dt_1"),
        ],
        expect![[r#"
            0s Admit(conn-1 operator [operator.admin] of default by token)
            0s Admit(conn-2 operator [operator.admin] of default by token)
            0s Refuse(conn-3, UNAUTHORIZED "unauthorized: gateway token missing" {"code":"AUTH_TOKEN_MISSING"}) 1008 "unauthorized: gateway token missing"
            0s Refuse(conn-4, UNAUTHORIZED "unauthorized: gateway token mismatch" {"code":"AUTH_TOKEN_MISMATCH"}) 1008 "unauthorized: gateway token mismatch"
            0s Refuse(conn-5, UNAUTHORIZED "unauthorized: gateway token missing" {"code":"AUTH_TOKEN_MISSING"}) 1008 "unauthorized: gateway token missing"
        "#]],
    );
}

#[test]
fn an_agent_without_device_may_not_take_the_name_of_one_with_a_device() {
    check(
        with_secret,
        [
            agent("a1"),
            agent("a1").bare().token("open sesame"),
            agent("a2").bare().token("open sesame"),
        ],
        expect![[r#"
            0s Admit(conn-1 agent [] named a1 device a1 token-1 of default by device)
            0s Refuse(conn-2, NOT_PAIRED "device identity required" {"code":"DEVICE_IDENTITY_REQUIRED"}) 4001 "device identity required"
            0s Admit(conn-3 agent [] named a2 of default by token)
        "#]],
    );
}

#[test]
fn admissions_are_reported_in_the_words_of_the_seed_and_without_a_secret() {
    let mut sim = Sim::with(|policy| with_secret(&mut policy.auth));
    sim.only(&["Diagnose"]);
    sim.connect(1, operator().device("desk").token("open sesame"));
    sim.connect(2, operator().token("open sesame"));
    for conn in 3..6 {
        sim.connect(conn, operator().token("wrong"));
    }
    sim.run_secs(120);
    expect![[r#"
        0s INFO "WebSocket connection established" client_id=ui device_id=desk role=operator conn=conn-1 peer=127.0.0.1
        0s INFO "Device signature verified" device_id=desk valid=true
        0s INFO "WebSocket connection established" client_id=ui role=operator conn=conn-2 peer=127.0.0.1
        120s WARN "Heartbeat timeout" client_id=ui missed_pongs=3 conn=conn-1
        120s WARN "Heartbeat timeout" client_id=ui missed_pongs=3 conn=conn-2
    "#]].assert_eq(&sim.take());
}

#[test]
fn who_may_only_read_cannot_report_as_an_agent() {
    let read_only = |auth: &mut AuthPolicy| {
        auth.secrets = vec![
            secret("eve", SecretKind::Token, "may read", ScopeSet::READ),
            secret("ada", SecretKind::Token, "may write", ScopeSet::WRITE),
        ];
        auth.secret_without_device = SecretWithoutDevice::Always;
    };
    let deviceless = |name: &str| {
        let mut peer = agent(name).remote("203.0.113.1");
        peer.connect.device = None;
        peer.proof = DeviceProof::Absent;
        peer
    };
    check(
        read_only,
        [
            deviceless("a1").token("may read"),
            agent("a1").remote("203.0.113.1").token("may read"),
            deviceless("a1").token("may write"),
            agent("a1").remote("203.0.113.1").token("may write"),
        ],
        expect![[r#"
            0s Refuse(conn-1, INVALID_REQUEST "invalid role: an agent reports, and this secret lacks operator.write" {"code":"INVALID_ROLE"}) 1008 "invalid role: an agent reports, and this secret lacks operator.write"
            0s Refuse(conn-2, NOT_PAIRED "pairing required: device is not approved yet" {"code":"PAIRING_REQUIRED","deviceId":"a1","reason":"not-paired","requestId":"pairing-1"}) 1008 "pairing required: device is not approved yet (requestId: pairing-1)"
            0s Admit(conn-3 agent [] named a1 of ada by token)
            0s Admit(conn-4 agent [] named a1 device a1 token-1 of ada by device)
        "#]],
    );
}

#[test]
fn until_the_first_commit_has_ended_the_gateway_is_starting() {
    let now = Moment { at: Instant::now(), unix_ms: 1 };
    let mut hub = Hub::new(policy(), DurableState::default(), [7; 32], now);
    let peer = operator().device("desk");
    let asked = ConnectRequested {
        conn: ConnId(1),
        peer: peer.context,
        connect: peer.connect,
        proof: peer.proof,
    };
    let mut effects = Vec::new();
    hub.handle(now, Input::ConnectRequested(Box::new(asked)), &mut effects);
    let refused = effects.iter().find_map(|effect| match effect {
        Effect::Refuse { error, reason, .. } => Some((error.message.as_str(), reason.code())),
        _ => None,
    });
    assert_eq!(refused, Some(("gateway starting; retry shortly", Some(1013))));
}
