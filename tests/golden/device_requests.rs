//! The parameters of requests about devices.

use openclaw_gateway::base::ids::{DeviceId, PairingId};
use openclaw_gateway::protocol::devices::{DeviceRequest, TokenOf};
use openclaw_gateway::protocol::request::{Call, Request};
use openclaw_gateway::protocol::scope::Role;
use serde_json::{Value, json};

use crate::requests::call;
use crate::samples::owner;

#[track_caller]
fn check_device_params(method: &str, params: &Value, expected: Result<DeviceRequest, &str>) {
    let expected = expected
        .map(|ask| Call::Request(Request::Devices(ask)))
        .map_err(|what| format!("invalid {method} params: {what}"));
    assert_eq!(call(method, params, &owner()).map_err(|error| error.message), expected);
}

#[test]
fn parameters_about_devices_are_read_and_checked() {
    let token_of = |role| TokenOf { device: DeviceId::new("d"), role };
    check_device_params("device.pair.list", &json!({}), Ok(DeviceRequest::List));
    check_device_params(
        "device.pair.approve",
        &json!({"requestId": "p"}),
        Ok(DeviceRequest::Approve(PairingId::new("p"))),
    );
    check_device_params(
        "device.pair.reject",
        &json!({"requestId": ""}),
        Err("requestId must be a non-empty string"),
    );
    check_device_params(
        "device.pair.remove",
        &json!({"deviceId": 1}),
        Err("deviceId must be a string"),
    );
    check_device_params(
        "device.pair.forget",
        &json!({"deviceId": "d".repeat(129)}),
        Err("deviceId must be at most 128 bytes long"),
    );
    for (role, read) in
        [("operator", Role::Operator), ("agent", Role::Agent), ("node", Role::Agent)]
    {
        let params = json!({"deviceId": "d", "role": role});
        let ask = DeviceRequest::RotateToken(token_of(Some(read)));
        check_device_params("device.token.rotate", &params, Ok(ask));
    }
    check_device_params(
        "device.token.revoke",
        &json!({"deviceId": "d"}),
        Ok(DeviceRequest::RevokeTokens(token_of(None))),
    );
    check_device_params(
        "device.token.revoke",
        &json!({"deviceId": "d", "role": "king"}),
        Err("role must be operator, agent or node"),
    );
    check_device_params(
        "auth.rateLimit.clear",
        &json!({"address": "::ffff:10.0.0.1"}),
        Ok(DeviceRequest::ClearRateLimit(Some([10, 0, 0, 1].into()))),
    );
    check_device_params(
        "auth.rateLimit.clear",
        &json!({}),
        Ok(DeviceRequest::ClearRateLimit(None)),
    );
    check_device_params(
        "auth.rateLimit.clear",
        &json!({"address": "everyone"}),
        Err("address must be an IP address"),
    );
}
