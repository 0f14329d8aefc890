//! Devices over the wire: waiting, approval, removal, tokens.

use serde_json::{Value, json};

use crate::kit::{Client, Connect, Device, Gateway, SECRET};

/// Nobody registers by themselves here.
fn gateway() -> Gateway {
    Gateway::setup().config("[gateway.auth.deviceAuth]\nregistration = \"manual\"").start()
}

/// Lets the owner approve a device that asks for what `connect` asks for.
#[track_caller]
fn approve(gateway: &Gateway, owner: &mut Client, connect: &Connect<'_>) {
    let refusal = gateway.dial().open().refused(connect);
    assert_eq!(refusal.details_code(), "PAIRING_REQUIRED", "{refusal:?}");
    let id = &refusal.error["details"]["requestId"];
    owner.ask("device.pair.approve", json!({ "requestId": id }));
}

#[track_caller]
fn fails(client: &mut Client, method: &str, params: Value) -> String {
    client.ask_in_vain(method, params)["message"].as_str().unwrap().to_owned()
}

fn statuses(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let devices = list["devices"].as_array().unwrap().iter();
    devices.map(|device| (text(&device["deviceId"]), text(&device["status"]))).collect()
}

#[test]
fn a_waiting_device_is_seen_approved_and_let_in() {
    let gateway = gateway();
    let mut owner = gateway.owner();
    let device = Device::new();
    let refusal = gateway.dial().open().refused(&Connect::operator(&device));
    let id = refusal.error["details"]["requestId"].clone();

    let requested = owner.event("device.pair.requested");
    assert_eq!(requested["payload"]["requestId"], id, "{requested}");
    let list = owner.ask("device.pair.list", json!({}));
    assert_eq!(list["pending"], json!([requested["payload"]]), "{list}");
    assert_eq!(list["devices"], json!([]), "{list}");

    let approved = owner.ask("device.pair.approve", json!({ "requestId": id }));
    assert_eq!(approved["device"]["deviceId"], device.id(), "{approved}");
    assert_eq!(approved["device"]["scopes"], json!(["operator.admin"]), "{approved}");
    let resolved = owner.event("device.pair.resolved");
    assert_eq!(resolved["payload"]["decision"], "approved", "{resolved}");
    assert_eq!(
        fails(&mut owner, "device.pair.approve", json!({ "requestId": id })),
        "unknown requestId"
    );

    let mut desk = gateway.dial().open();
    desk.admitted(&Connect::operator(&device));
    let list = desk.ask("device.pair.list", json!({}));
    assert_eq!(list["paired"], list["devices"], "{list}");
    assert_eq!(list["paired"][0]["connected"], true, "{list}");
    assert_eq!(list["paired"][0]["tokens"].as_array().unwrap().len(), 1, "{list}");
    assert!(!list.to_string().contains("dt_"), "a token was shown: {list}");
}

#[test]
fn a_removed_device_is_cut_off_at_once_and_stays_out_over_a_kill() {
    let mut gateway = gateway();
    let device = Device::new();
    let mut owner = gateway.owner();
    approve(&gateway, &mut owner, &Connect::operator(&device));
    let mut desk = gateway.dial().open();
    let hello = desk.admitted(&Connect::operator(&device));
    let token = hello["result"]["deviceToken"].as_str().unwrap().to_owned();

    owner.ask("device.pair.remove", json!({ "deviceId": device.id() }));
    assert_eq!(desk.closed(), (4001, "credential withdrawn".to_owned()));
    for _ in 0..2 {
        let refusal = gateway.dial().open().refused(&Connect::operator(&device));
        assert_eq!(refusal.details_code(), "DEVICE_REVOKED", "{refusal:?}");
        assert_eq!(refusal.close_code, 4001, "{refusal:?}");
        let refusal = gateway.dial().open().refused(&Connect::device_token_alone(&token));
        assert_eq!(refusal.details_code(), "AUTH_DEVICE_TOKEN_MISMATCH", "{refusal:?}");
        // The answer came after the commit, so a kill right behind it changes nothing.
        gateway.kill_9();
        gateway.start_again();
    }

    let mut owner = gateway.owner();
    let list = owner.ask("device.pair.list", json!({}));
    assert_eq!(statuses(&list), [(device.id().to_owned(), "revoked".to_owned())]);
    assert_eq!(list["paired"], json!([]), "{list}");
    owner.ask("device.pair.forget", json!({ "deviceId": device.id() }));
    approve(&gateway, &mut owner, &Connect::operator(&device));
    gateway.dial().open().admitted(&Connect::operator(&device));
}

#[test]
fn a_rejected_device_may_ask_again() {
    let gateway = gateway();
    let mut owner = gateway.owner();
    let device = Device::new();
    for _ in 0..2 {
        let refusal = gateway.dial().open().refused(&Connect::operator(&device));
        let id = &refusal.error["details"]["requestId"];
        let rejected = owner.ask("device.pair.reject", json!({ "requestId": id }));
        assert_eq!(rejected["deviceId"], device.id(), "{rejected}");
        let resolved = owner.event("device.pair.resolved");
        assert_eq!(resolved["payload"]["decision"], "rejected", "{resolved}");
    }
}

#[test]
fn a_device_without_the_admin_scope_manages_itself_alone() {
    let gateway = gateway();
    let mut owner = gateway.owner();
    let (small, other) = (Device::new(), Device::new());
    let scopes = json!(["operator.read", "operator.pairing"]);
    let connect = || Connect::operator(&small).with("/scopes", scopes.clone());
    approve(&gateway, &mut owner, &connect());
    approve(&gateway, &mut owner, &Connect::operator(&other));
    let mut client = gateway.dial().open();
    client.admitted(&connect());

    let list = client.ask("device.pair.list", json!({}));
    assert_eq!(statuses(&list), [(small.id().to_owned(), "approved".to_owned())]);
    for device in [other.id(), "nobody"] {
        let params = json!({ "deviceId": device });
        for method in ["device.pair.remove", "device.token.rotate", "device.token.revoke"] {
            let message = fails(&mut client, method, params.clone());
            assert_eq!(message, "missing scope: operator.admin", "{method} {device}");
        }
    }
    // It asks for more, and finds the request; only the answer is not its own to give.
    let refusal = gateway.dial().open().refused(&Connect::operator(&small));
    assert_eq!(refusal.error["details"]["reason"], "scope-upgrade", "{refusal:?}");
    let id = refusal.error["details"]["requestId"].clone();
    let list = client.ask("device.pair.list", json!({}));
    assert_eq!(list["pending"][0]["requestId"], id, "{list}");
    let message = fails(&mut client, "device.pair.approve", json!({ "requestId": id }));
    assert_eq!(message, "a device cannot approve more for itself; ask another operator");
    let message = fails(&mut client, "device.pair.code", json!({}));
    assert_eq!(message, "device.pair.code is taken from the local control socket only");

    client.send_request("device.pair.remove", json!({ "deviceId": small.id() }));
    assert_eq!(client.closed().0, 4001);
}

#[test]
fn a_rotated_token_reaches_its_device_and_nobody_else() {
    let gateway = gateway();
    let mut owner = gateway.owner();
    let device = Device::new();
    approve(&gateway, &mut owner, &Connect::operator(&device));
    let params = json!({ "deviceId": device.id() });
    let mut desk = gateway.dial().open();
    let hello = desk.admitted(&Connect::operator(&device));
    let first = hello["result"]["deviceToken"].as_str().unwrap().to_owned();

    let told = owner.ask("device.token.rotate", params.clone());
    assert_eq!(told.get("token"), None, "{told}");
    let mut by_token = gateway.dial().open();
    by_token.admitted(&Connect::device_token_alone(&first));
    let told = by_token.ask("device.token.rotate", params.clone());
    assert_eq!(told.get("token"), None, "a bearer earns no token: {told}");
    let told = desk.ask("device.token.rotate", params.clone());
    let second = told["token"].as_str().expect("the device that signed is told").to_owned();
    assert_ne!(first, second);
    for token in [&first, &second] {
        gateway.dial().open().admitted(&Connect::device_token_alone(token));
    }

    let mut by_token = gateway.dial().open();
    by_token.admitted(&Connect::device_token_alone(&second));
    owner.ask("device.token.revoke", params);
    assert_eq!(by_token.closed(), (4001, "credential withdrawn".to_owned()));
    for token in [&first, &second] {
        let refusal = gateway.dial().open().refused(&Connect::device_token_alone(token));
        assert_eq!(refusal.details_code(), "AUTH_DEVICE_TOKEN_MISMATCH", "{refusal:?}");
    }
    desk.ask("status", json!({}));
    gateway.dial().open().admitted(&Connect::operator(&device));
}

#[test]
fn the_backend_of_mission_control_may_approve_too() {
    let gateway = gateway();
    let device = Device::new();
    let refusal = gateway.dial().open().refused(&Connect::mission_control(&device));
    let id = refusal.error["details"]["requestId"].clone();
    let mut backend = gateway.dial().open();
    backend.admitted(&Connect::backend().secret(SECRET));
    backend.ask("device.pair.approve", json!({ "requestId": id }));
    gateway.dial().open().admitted(&Connect::mission_control(&device));
}
