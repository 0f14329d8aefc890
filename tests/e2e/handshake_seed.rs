//! The seed's own client: a UUID for a device id, padded base64, protocol 3, the device token at
//! the root of the parameters, and that token alone on a reconnect.

use serde_json::{Value, json};

use crate::kit::{Connect, Device, Gateway};

const TRANSPORTS: [bool; 2] = [false, true];

fn gateway(tls: bool) -> Gateway {
    Gateway::setup().tls(tls).start()
}

/// The seed's `result` object, field for field.
#[track_caller]
fn check_result(response: &Value) -> String {
    let result = &response["result"];
    assert_eq!(result["protocol"], 3, "{response}");
    assert!(result["sessionId"].as_str().is_some_and(|id| !id.is_empty()), "{response}");
    assert!(result["features"].as_array().unwrap().contains(&json!("logs")), "{response}");
    let token = result["deviceToken"].as_str().expect("a proven device gets a token");
    assert!(token.len() >= 43, "256 bits are 43 characters of base64url: {token}");
    token.to_owned()
}

#[test]
fn seed_client_proves_its_device_and_reconnects_with_the_token_alone() {
    for tls in TRANSPORTS {
        let gateway = gateway(tls);
        let device = Device::with_uuid();

        let mut first = gateway.dial().open();
        let challenge = first.challenge();
        assert!(challenge["protocols"].as_array().unwrap().contains(&json!(3)), "{challenge}");
        assert_eq!(challenge["deviceAuthRequired"], true, "{challenge}");
        assert!(challenge["nonce"].as_str().unwrap().len() >= 32, "128 bits: {challenge}");
        assert!(challenge["ts"].as_u64().unwrap() > 1_700_000_000_000, "{challenge}");
        let token = check_result(&first.admitted(&Connect::seed(&device)));
        assert_eq!(first.request("ping", Value::Null)["ok"], true);
        first.leave();

        let mut second = gateway.dial().open();
        let response = second.admitted(&Connect::device_token_alone(&token));
        assert_eq!(response["result"]["protocol"], 3, "{response}");
        second.ask("logs.tail", json!({}));
        second.leave();
    }
}

#[test]
fn cached_token_beside_the_signature_is_part_of_the_signed_text() {
    for tls in TRANSPORTS {
        let gateway = gateway(tls);
        let device = Device::with_uuid();
        let token = check_result(&gateway.dial().open().admitted(&Connect::seed(&device)));
        let connect = Connect::seed(&device).root_device_token(&token);
        let again = check_result(&gateway.dial().open().admitted(&connect));
        assert_eq!(again, token, "a token in the first half of its life is given again");
    }
}

#[test]
fn device_token_is_accepted_wherever_clients_put_it() {
    let gateway = gateway(false);
    let device = Device::with_uuid();
    let token = check_result(&gateway.dial().open().admitted(&Connect::seed(&device)));
    let bare = || Connect::backend().with("/auth", Value::Null);
    for connect in [
        bare().secret(&token),
        bare().auth_device_token(&token),
        bare().root_device_token(&token),
        Connect::seed(&device).secret(&token),
        Connect::seed(&device).auth_device_token(&token),
    ] {
        gateway.dial().open().admitted(&connect);
    }
}

#[test]
fn answer_to_ping_is_a_bare_ok() {
    let gateway = gateway(false);
    let mut operator = gateway.operator();
    let id = operator.send_request("ping", Value::Null);
    let response = operator.response(&id);
    assert_eq!(response, json!({ "type": "res", "id": id, "ok": true }));
}

#[test]
fn device_token_survives_a_restart_of_the_gateway() {
    let mut gateway = gateway(false);
    let device = Device::with_uuid();
    let token = check_result(&gateway.dial().open().admitted(&Connect::seed(&device)));
    gateway.kill_9();
    gateway.start_again();
    gateway.dial().open().admitted(&Connect::device_token_alone(&token));
}
