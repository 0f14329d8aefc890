//! Mission Control 2.3.0 in a browser: a 64-hex device id, base64url, protocol 3 to 4, the cached
//! token at the root beside the device, an `Origin`, and `/gateway-ws` after a failure on `/`.

use serde_json::{Value, json};

use crate::kit::{Connect, Device, Gateway};

const ORIGIN: &str = "http://localhost:3000";

#[track_caller]
fn check_hello(response: &Value) -> String {
    let result = &response["result"];
    let payload = &response["payload"];
    assert_eq!(result["protocol"], 3, "3 is in the range 3 to 4: {response}");
    assert_eq!(payload["type"], "hello-ok", "{response}");
    assert_eq!(payload["protocol"], 3, "{response}");
    assert_eq!(payload["server"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(payload["server"]["connId"].is_string(), "{response}");
    let methods = payload["features"]["methods"].as_array().unwrap();
    for method in ["ping", "health", "status", "logs.tail", "logs.append", "system-presence"] {
        assert!(methods.contains(&json!(method)), "{method} is not in {methods:?}");
    }
    assert!(payload["features"]["events"].as_array().unwrap().contains(&json!("log")));
    assert!(payload["snapshot"]["presence"].is_array(), "{response}");
    assert!(payload["snapshot"]["stateVersion"]["presence"].is_u64(), "{response}");
    assert!(payload["snapshot"]["uptimeMs"].is_u64(), "{response}");
    assert_eq!(payload["policy"]["maxPayload"], 25 * 1024 * 1024);
    assert_eq!(payload["policy"]["tickIntervalMs"], 30_000);
    let auth = &payload["auth"];
    assert_eq!(auth["role"], "operator");
    assert!(auth["scopes"].as_array().unwrap().contains(&json!("operator.admin")), "{auth}");
    let life = auth["expiresAtMs"].as_u64().unwrap() - auth["issuedAtMs"].as_u64().unwrap();
    assert_eq!(life, 86_400_000, "a day");
    assert_eq!(auth["deviceToken"], result["deviceToken"]);
    result["deviceToken"].as_str().expect("Mission Control caches it").to_owned()
}

#[test]
fn browser_connects_on_each_path_and_again_with_its_cached_token() {
    for tls in [false, true] {
        let gateway = Gateway::setup().tls(tls).start();
        let device = Device::new();
        let mut token: Option<String> = None;
        for path in ["/", "/gateway-ws", "/gw", "/gateway", "/ws", "/?token=in-the-url"] {
            let mut client = gateway.dial().path(path).origin(ORIGIN).open();
            let mut connect = Connect::mission_control(&device);
            if let Some(token) = &token {
                connect = connect.root_device_token(token);
            }
            let response = client.admitted(&connect);
            token = Some(check_hello(&response));
            let tick = client.event("tick");
            assert_eq!(tick["payload"]["snapshot"]["sessions"], json!([]), "{tick}");
            assert_eq!(tick.get("seq"), None, "a state event carries no seq");
            assert_eq!(client.request("ping", Value::Null)["ok"], true);
            client.leave();
        }
        let diagnostics = gateway.diagnostics();
        assert!(!diagnostics.contains("in-the-url"), "the query string is never logged");
        assert!(!diagnostics.contains(token.as_deref().unwrap()), "a token is never logged");
    }
}

#[test]
fn upgrade_on_any_other_path_is_not_found() {
    let gateway = Gateway::start();
    for path in ["/other", "/gateway-ws/x", "//", "/health"] {
        let refused = gateway.dial().path(path).origin(ORIGIN).try_open().err();
        assert_eq!(refused.as_deref(), Some("HTTP 404"), "{path}");
    }
}

#[test]
fn signature_over_the_longer_text_is_accepted_too() {
    let gateway = Gateway::start();
    let device = Device::new();
    let connect = Connect::mission_control(&device)
        .with("/client/platform", json!(" Web "))
        .with("/client/deviceFamily", json!("Desktop"))
        .signed_as_v3();
    gateway.dial().origin(ORIGIN).open().admitted(&connect);
}

#[test]
fn stale_cached_token_beside_a_valid_signature_is_replaced() {
    let gateway = Gateway::start();
    let device = Device::new();
    let token = check_hello(
        &gateway.dial().origin(ORIGIN).open().admitted(&Connect::mission_control(&device)),
    );
    let connect = Connect::mission_control(&device).root_device_token("dt_of_another_gateway");
    let response = gateway.dial().origin(ORIGIN).open().admitted(&connect);
    let given = check_hello(&response);
    assert_ne!(given, "dt_of_another_gateway");
    assert!(!token.is_empty());
}

#[test]
fn approved_browser_connects_after_a_restart() {
    let mut gateway = Gateway::start();
    let device = Device::new();
    gateway.dial().origin(ORIGIN).open().admitted(&Connect::mission_control(&device));
    gateway.kill_9();
    gateway.start_again();
    gateway.dial().origin(ORIGIN).open().admitted(&Connect::mission_control(&device));
}
