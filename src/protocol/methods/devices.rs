//! The parameters of `device.pair.*`, `device.token.*` and `auth.rateLimit.clear`
//! (`docs/protocol.md`, "Devices").
//!
//! Reads only; whether there is such a device or request is the hub's to say. Called by `request`.

use std::net::IpAddr;

use crate::base::ids::{DeviceId, PairingId};
use crate::base::limits::{CLIENT_TEXT_BYTES_MAX, DEVICE_ID_BYTES_MAX};
use crate::protocol::devices::{DeviceMethod, DeviceRequest, TokenOf};
use crate::protocol::fields::{Invalid, Object};
use crate::protocol::scope::Role;

/// The known parameters of all of them; each ignores those of the others.
pub(in crate::protocol) const PARAMS: [&str; 4] = ["requestId", "deviceId", "role", "address"];

/// Reads the parameters of `method`.
pub(in crate::protocol) fn read(
    method: DeviceMethod,
    params: &Object<'_, 4>,
) -> Result<DeviceRequest, Invalid> {
    Ok(match method {
        DeviceMethod::List => DeviceRequest::List,
        DeviceMethod::Approve => DeviceRequest::Approve(request_id(params)?),
        DeviceMethod::Reject => DeviceRequest::Reject(request_id(params)?),
        DeviceMethod::Remove => DeviceRequest::Remove(device_id(params)?),
        DeviceMethod::Forget => DeviceRequest::Forget(device_id(params)?),
        DeviceMethod::OfferCode => DeviceRequest::OfferCode,
        DeviceMethod::RotateToken => DeviceRequest::RotateToken(token_of(params)?),
        DeviceMethod::RevokeTokens => DeviceRequest::RevokeTokens(token_of(params)?),
        DeviceMethod::ClearRateLimit => DeviceRequest::ClearRateLimit(address(params)?),
    })
}

fn request_id(params: &Object<'_, 4>) -> Result<PairingId, Invalid> {
    Ok(PairingId::new(params.required("requestId", CLIENT_TEXT_BYTES_MAX)?))
}

fn device_id(params: &Object<'_, 4>) -> Result<DeviceId, Invalid> {
    Ok(DeviceId::new(params.required("deviceId", DEVICE_ID_BYTES_MAX)?))
}

fn token_of(params: &Object<'_, 4>) -> Result<TokenOf, Invalid> {
    let role = match params.string("role", CLIENT_TEXT_BYTES_MAX)? {
        Some(text) => Some(
            Role::parse(&text)
                .ok_or_else(|| params.invalid("role", "must be operator, agent or node"))?,
        ),
        None => None,
    };
    Ok(TokenOf { device: device_id(params)?, role })
}

/// An IPv4 address written as IPv6 is that IPv4 address, as everywhere.
fn address(params: &Object<'_, 4>) -> Result<Option<IpAddr>, Invalid> {
    let Some(text) = params.string("address", CLIENT_TEXT_BYTES_MAX)? else { return Ok(None) };
    let address: IpAddr =
        text.parse().map_err(|_| params.invalid("address", "must be an IP address"))?;
    Ok(Some(address.to_canonical()))
}
