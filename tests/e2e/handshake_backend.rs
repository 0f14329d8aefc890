//! Mission Control's server side: `gateway-client` / `backend`, the shared secret, no device, no
//! `Origin`, and a second `connect` under the same id when the challenge comes late.

use serde_json::{Value, json};

use crate::kit::{Connect, Device, Gateway};

#[test]
fn backend_connects_with_the_shared_secret_and_no_device() {
    for tls in [false, true] {
        let gateway = Gateway::setup().tls(tls).start();
        let mut client = gateway.dial().open();
        let response = client.admitted(&Connect::backend());
        assert_eq!(response["result"].get("deviceToken"), None, "no device was proven");
        assert_eq!(response["payload"]["auth"]["role"], "operator");
        let status = client.ask("status", Value::Null);
        assert!(status.is_object(), "{status}");
        client.leave();
    }
}

#[test]
fn second_connect_with_the_same_id_gets_the_same_answer() {
    let gateway = Gateway::start();
    let mut client = gateway.dial().open();
    let params = Connect::backend().params("unused");
    let frame = json!({ "type": "req", "id": "c-1", "method": "connect", "params": params });
    // As Mission Control's server does it: once before the challenge is read, once after.
    client.send_text(&frame.to_string());
    client.challenge();
    client.send_text(&frame.to_string());
    let first = client.response("c-1");
    let second = client.response("c-1");
    assert_eq!(first["ok"], true, "{first}");
    assert_eq!(first, second);
    assert_eq!(client.request("ping", Value::Null)["ok"], true);
}

#[test]
fn connect_with_another_id_after_the_first_is_an_error_that_leaves_the_connection_open() {
    let gateway = Gateway::start();
    let mut client = gateway.operator();
    let error = client.ask_in_vain("connect", Connect::backend().params("unused"));
    assert_eq!(error["code"], "INVALID_REQUEST", "{error}");
    assert_eq!(client.request("ping", Value::Null)["ok"], true);
}

#[test]
fn password_is_a_shared_secret_too() {
    let gateway = Gateway::setup()
        .without_secret()
        .config("[gateway.auth]\npassword = \"correct horse battery\"")
        .start();
    let connect = Connect::backend().with("/auth", Value::Null).password("correct horse battery");
    gateway.dial().open().admitted(&connect);
}

#[test]
fn secret_without_device_follows_its_switch() {
    // Whether a local peer and one behind a proxy are let in, for each value of the switch.
    for (switch, local, remote) in
        [("loopback", true, false), ("always", true, true), ("never", false, false)]
    {
        let config = format!("[gateway.auth]\nsharedSecretWithoutDevice = \"{switch}\"");
        let gateway = Gateway::setup().config(&config).start();
        let forwarded = || gateway.dial().header("X-Forwarded-For", "192.0.2.7");
        for (who, dial, admitted) in
            [("local", gateway.dial(), local), ("forwarded", forwarded(), remote)]
        {
            let response = dial.open().connect(&Connect::backend());
            assert_eq!(response["ok"], admitted, "{switch}, {who}: {response}");
        }
    }
}

#[test]
fn scopes_granted_are_those_asked_for() {
    let gateway = Gateway::start();
    let mut reader = gateway.dial().open();
    reader.admitted(&Connect::backend().with("/scopes", json!(["operator.read"])));
    reader.ask("logs.tail", json!({}));
    let error = reader.ask_in_vain("logs.append", json!({ "entries": [] }));
    assert_eq!(error["code"], "INVALID_REQUEST", "{error}");
    assert_eq!(error["message"], "missing scope: operator.write", "{error}");
}

#[test]
fn agent_speaks_only_as_itself() {
    let gateway = Gateway::start();
    let mut operator = gateway.operator();
    let device = Device::new();
    let mut agent = gateway.agent("agent1", &device);
    let entry = json!({ "level": "info", "message": "mine", "source": "somebody-else" });
    agent.ask("logs.append", json!({ "entries": [entry] }));
    let log = operator.event("log");
    assert_eq!(log["payload"]["source"], "agent1", "{log}");
}
