//! The params of `connect`: what is taken, what is refused, and how the refusal names it.

use expect_test::{Expect, expect};
use openclaw_gateway::protocol::connect::{Connect, parse_connect, parse_first};
use openclaw_gateway::protocol::scope::{Role, ScopeSet};
use serde_json::{Value, json};

use crate::samples::{captured, parse_frame};

fn base() -> Value {
    json!({
        "minProtocol": 3, "maxProtocol": 4,
        "client": {"id": "cli", "mode": "cli", "version": "1.0", "platform": "linux"},
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut params = base();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = params.pointer_mut(parent).unwrap();
    parent[name] = value;
    params
}

fn parse(params: &Value) -> Result<Connect, String> {
    let text = json!({"type": "req", "id": "1", "method": "connect", "params": params}).to_string();
    parse_connect(&parse_frame(&text)).map_err(|refusal| {
        assert!(refusal.close.code().is_some());
        refusal.error.message
    })
}

#[track_caller]
fn accepted(params: &Value) -> Connect {
    parse(params).unwrap_or_else(|message| panic!("{message} for {params}"))
}

#[test]
fn a_captured_connect_of_mission_control_is_read_completely() {
    let frames = captured();
    let connect = accepted(&frames[1]["params"]);
    expect![[r#"
        Connect {
            id: RequestId(
                "1",
            ),
            protocol: 3,
            client: Client {
                id: "openclaw-control-ui",
                display_name: Some(
                    "Mission Control",
                ),
                version: "2.3.0",
                platform: "web",
                mode: "ui",
                instance_id: Some(
                    "mc-1795346724505",
                ),
                device_family: None,
            },
            role: Operator,
            role_sent: "operator",
            role_named: true,
            scopes: Some(
                ScopeSet(
                    4,
                ),
            ),
            scopes_sent: [
                "operator.admin",
            ],
            agent_name: None,
            device: Some(
                DeviceClaim {
                    id: DeviceId(
                        "d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce",
                    ),
                    public_key: "SkIwxIpNpCv_7mHygF4GG-SqIK_wF4YvRZltYz3JURU",
                    signature: "76lPXAOFcqvYkM4Xp2nc4rX3v58DfkTC3IlZHqHeyg4RguYJNuzCv-teTuqPdOjbyu9AiGS71oi_kR1IMeHyDA",
                    signed_at_ms: 1795346724505,
                    nonce: Some(
                        "d00f59c1b692ab858414ba83ded5f28f",
                    ),
                },
            ),
            auth_token: None,
            auth_device_token: None,
            root_device_token: Some(
                Secret(…),
            ),
            password: None,
            pairing_code: None,
        }
    "#]].assert_debug_eq(&connect);
    assert_eq!(connect.root_device_token.unwrap().expose(), "dt_469da4fc2cfcfb4343d3d123");
}

#[test]
fn the_protocol_is_three_if_the_range_holds_it_else_four_else_none() {
    for (min, max, expected) in [
        (3, 3, Ok(3)),
        (3, 4, Ok(3)),
        (4, 4, Ok(4)),
        (0, 100, Ok(3)),
        (4, 100, Ok(4)),
        (1, 3, Ok(3)),
        (1, 2, Err(3)),
        (5, 9, Err(4)),
        (4, 3, Err(3)),
    ] {
        let text = json!({
            "type": "req", "id": "1", "method": "connect",
            "params": {"minProtocol": min, "maxProtocol": max, "client": {"id": "a", "mode": "b"}},
        })
        .to_string();
        match (parse_connect(&parse_frame(&text)), expected) {
            (Ok(connect), Ok(protocol)) => assert_eq!(connect.protocol, protocol),
            (Err(refusal), Err(protocol)) => {
                let details = refusal.error.details.unwrap();
                assert_eq!(details["code"], "PROTOCOL_MISMATCH");
                assert_eq!(details["expectedProtocol"], protocol);
                assert_eq!(details["clientMinProtocol"], min);
                assert_eq!(details["clientMaxProtocol"], max);
            }
            (found, _) => panic!("{min} to {max}: {found:?}"),
        }
    }
}

#[test]
fn roles_have_an_alias_and_a_default() {
    for (role, expected, sent, named) in [
        (Value::Null, Role::Operator, "operator", false),
        (json!("operator"), Role::Operator, "operator", true),
        (json!("agent"), Role::Agent, "agent", true),
        (json!("node"), Role::Agent, "node", true),
    ] {
        let connect = accepted(&with("/role", role));
        assert_eq!((connect.role, connect.role_sent, connect.role_named), (expected, sent, named));
    }
    for role in ["", "Operator", "admin", "operator "] {
        let message = parse(&with("/role", json!(role))).unwrap_err();
        assert_eq!(message, "invalid role: must be operator, agent or node");
    }
}

#[test]
fn scopes_are_kept_in_order_and_unknown_ones_grant_nothing() {
    let connect = accepted(&with("/scopes", json!(["operator.write", "x.y", "operator.admin"])));
    assert_eq!(connect.scopes_sent, ["operator.write", "x.y", "operator.admin"]);
    assert_eq!(connect.scopes, Some(ScopeSet::WRITE.union(ScopeSet::ADMIN)));
    assert_eq!(accepted(&base()).scopes, None);
    assert_eq!(accepted(&with("/scopes", json!([]))).scopes, Some(ScopeSet::NONE));
}

#[test]
fn an_agent_is_named_by_its_name_else_by_its_client_id() {
    let mut params = with("/role", json!("agent"));
    let name = |params: &Value| accepted(params).agent_name.map(|name| name.to_string());
    assert_eq!(name(&params).as_deref(), Some("cli"));
    params["agent"] = json!({"name": "agent-1._x"});
    assert_eq!(name(&params).as_deref(), Some("agent-1._x"));
    params["role"] = json!("operator");
    assert_eq!(name(&params), None);
}

#[test]
fn a_device_token_alone_needs_nothing_else() {
    for params in [
        json!({"deviceToken": "dt_1"}),
        json!({"auth": {"deviceToken": "dt_1"}}),
        json!({"auth": {"token": "dt_1"}}),
        json!({"deviceToken": "dt_1", "client": {"displayName": "x"}}),
    ] {
        let connect = accepted(&params);
        assert_eq!((connect.protocol, connect.role_named), (3, false));
        assert_eq!((&*connect.client.id, connect.scopes), ("", None));
    }
    // Beside a device, or in the place of a shared secret, it is not alone.
    let device = json!({"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1});
    assert!(parse(&json!({"deviceToken": "dt_1", "device": device})).is_err());
    assert!(parse(&json!({"auth": {"token": "not-ours"}})).is_err());
    // What is there must still be right.
    assert!(parse(&json!({"deviceToken": "dt_1", "client": {"id": 1}})).is_err());
    assert!(parse(&json!({"deviceToken": "dt_1", "minProtocol": 3})).is_err());
    assert!(parse(&json!({"deviceToken": ""})).is_err());
}

#[test]
fn null_and_empty_credentials_count_as_absent_and_unknown_fields_are_ignored() {
    let mut params = base();
    params["auth"] = json!({"token": "", "password": null, "setupToken": 7});
    params["device"] = Value::Null;
    params["scopes"] = Value::Null;
    params["locale"] = json!(["de"]);
    params["client"]["modelIdentifier"] = json!(1);
    let connect = accepted(&params);
    assert!(connect.auth_token.is_none() && connect.password.is_none());
    assert!(connect.device.is_none() && connect.scopes.is_none());
}

fn device(field: &str, value: Value) -> Value {
    let mut params = base();
    params["device"] = json!({
        "id": "device-1", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n",
    });
    params["device"][field] = value;
    params
}

/// The refusals of many params, one a line.
#[track_caller]
fn check(cases: &[Value], expected: &Expect) {
    let mut lines = String::new();
    for params in cases {
        let message = parse(params).expect_err("the params are wrong");
        let message = message.strip_prefix("invalid connect params: ").expect("it says so");
        lines.push_str(message);
        lines.push('\n');
    }
    expected.assert_eq(&lines);
}

#[test]
fn wrong_types_are_refused_by_the_name_of_the_field() {
    check(
        &[
            json!([]),
            json!("x"),
            json!({}),
            with("/minProtocol", json!("3")),
            with("/minProtocol", json!(-3)),
            with("/maxProtocol", json!(3.5)),
            with("/maxProtocol", json!(1e300)),
            with("/maxProtocol", Value::Null),
            with("/client", Value::Null),
            with("/client", json!("cli")),
            with("/client/id", json!(7)),
            with("/client/id", json!("")),
            with("/client/mode", Value::Null),
            with("/client/version", json!({})),
            with("/client/deviceFamily", json!([])),
            with("/role", json!(1)),
            with("/scopes", json!("operator.read")),
            with("/scopes", json!(["operator.read", 1])),
            with("/scopes", json!([""])),
            with("/caps", json!([null])),
            with("/agent", json!("agent1")),
            with("/auth", json!("secret")),
            with("/auth", json!({"token": ["secret"]})),
            with("/deviceToken", json!(1)),
            with("/device", json!("d")),
            device("id", Value::Null),
            device("publicKey", json!(1)),
            device("signature", Value::Null),
            device("signedAt", Value::Null),
            device("signedAt", json!("2026-11-22")),
            device("signedAt", json!(1.5)),
            device("nonce", json!(7)),
        ],
        &expect![[r#"
            must be an object
            must be an object
            minProtocol is required
            minProtocol must be a whole number, 0 or more
            minProtocol must be a whole number, 0 or more
            maxProtocol must be a whole number, 0 or more
            maxProtocol must be a whole number, 0 or more
            maxProtocol is required
            client is required
            client must be an object
            client.id must be a string
            client.id must be a non-empty string
            client.mode must be a non-empty string
            client.version must be a string
            client.deviceFamily must be a string
            role must be a string
            scopes must be an array
            scopes[1] must be a string
            scopes[0] must be a non-empty string
            caps[0] must be a string
            agent must be an object
            auth must be an object
            auth.token must be a string
            deviceToken must be a string
            device must be an object
            device.id must be a non-empty string
            device.publicKey must be a string
            device.signature must be a non-empty string
            device.signedAt is required
            device.signedAt must be a whole number
            device.signedAt must be a whole number
            device.nonce must be a string
        "#]],
    );
}

#[test]
fn fields_that_are_signed_cannot_pass_for_each_other() {
    let long = "x".repeat(129);
    let agent = |name: &str| {
        let mut params = with("/role", json!("agent"));
        params["agent"] = json!({ "name": name });
        params
    };
    let mut signed_token = device("nonce", json!("n"));
    signed_token["auth"] = json!({"token": "a|b"});
    let mut agent_by_id = with("/client/id", json!("my agent"));
    agent_by_id["role"] = json!("agent");
    check(
        &[
            with("/client/id", json!("a|b")),
            with("/client/mode", json!("a\nb")),
            with("/client/platform", json!("a|b")),
            with("/client/deviceFamily", json!("a\u{0}b")),
            with("/client/displayName", json!("a\u{1b}[2J")),
            with("/client/id", json!(long)),
            with("/scopes", json!(["operator.read,operator.admin"])),
            with("/scopes", json!(["a|b"])),
            with("/scopes", json!(vec!["a"; 65])),
            with("/scopes", json!([long])),
            signed_token,
            device("id", json!("a|b")),
            device("id", json!("")),
            device("id", json!("é")),
            device("id", json!(long)),
            agent(""),
            agent("a:b"),
            agent(&"x".repeat(65)),
            agent_by_id,
        ],
        &expect![[r#"
            client.id may not contain | or control characters
            client.mode may not contain | or control characters
            client.platform may not contain | or control characters
            client.deviceFamily may not contain | or control characters
            client.displayName may not contain control characters
            client.id must be at most 128 bytes long
            scopes[0] may not contain a comma
            scopes[0] may not contain | or control characters
            scopes must have at most 64 elements
            scopes[0] must be at most 128 bytes long
            auth.token may not contain | or control characters
            device.id may hold only letters, digits and . _ : -
            device.id must be a non-empty string
            device.id may hold only letters, digits and . _ : -
            device.id must be at most 128 bytes long
            agent.name must be 1 to 64 letters, digits and . _ -
            agent.name must be 1 to 64 letters, digits and . _ -
            agent.name must be at most 64 bytes long
            client.id (the agent's name, as there is no agent.name) must be 1 to 64 letters, digits and . _ -
        "#]],
    );
    // Unsigned, a secret may hold anything.
    assert!(parse(&with("/auth", json!({"token": "a|b", "password": "c\td"}))).is_ok());
}

#[track_caller]
fn check_first(text: &str, id: &str, message: &str) {
    let refused = parse_first(text).unwrap_err();
    assert_eq!((&*refused.id, &*refused.refusal.error.message), (id, message));
    assert_eq!(refused.refusal.close.code(), Some(1008));
}

#[test]
fn the_first_message_must_be_a_connect() {
    let expected = "invalid handshake: first request must be connect";
    check_first("", "invalid", expected);
    check_first("hello", "invalid", expected);
    check_first(r#"{"type":"req","id":"7","method":"ping"}"#, "7", expected);
    check_first(r#"{"type":"event","id":"7","method":"connect"}"#, "7", expected);
    check_first(r#"{"type":"req","method":"connect"}"#, "invalid", expected);
    check_first(
        r#"{"type":"req","id":"7","method":"connect"}"#,
        "7",
        "invalid connect params: minProtocol is required",
    );
    check_first(
        r#"{"type":"req","id":"7","method":"connect","params":{"client":{},"client":{}}}"#,
        "7",
        "invalid connect params: has client twice",
    );
}
