//! One answer of every kind about devices, with the id of its request.

use std::net::IpAddr;

use openclaw_gateway::base::ids::{DeviceId, PairingId};
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::protocol::devices::{Bearer, DeviceList, DeviceReply, DeviceView, TokenView};
use openclaw_gateway::protocol::reply::Reply;
use openclaw_gateway::protocol::scope::{Role, ScopeSet};

use crate::samples::{DEVICE, NOW, pairing_request};

const REVOKED: &str = "device-550e8400-e29b-41d4";
const LIFE_MS: u64 = 86_400_000;

fn desk() -> DeviceView {
    DeviceView {
        id: DeviceId::new(DEVICE),
        is_revoked: false,
        is_connected: true,
        user: "default".to_owned(),
        role: Role::Operator,
        scopes: ScopeSet::ADMIN,
        agent: None,
        display_name: Some("Mission Control".to_owned()),
        client_id: "openclaw-control-ui".to_owned(),
        platform: "web".to_owned(),
        address: IpAddr::from([127, 0, 0, 1]),
        created_at_ms: NOW,
        last_seen_ms: NOW,
        tokens: vec![TokenView {
            role: Role::Operator,
            scopes: ScopeSet::ADMIN,
            issued_at_ms: NOW,
            expires_at_ms: NOW + LIFE_MS,
        }],
    }
}

fn revoked() -> DeviceView {
    DeviceView {
        id: DeviceId::new(REVOKED),
        is_revoked: true,
        is_connected: false,
        role: Role::Agent,
        scopes: ScopeSet::NONE,
        agent: Some("agent1".to_owned()),
        display_name: None,
        client_id: "agent1".to_owned(),
        platform: "linux".to_owned(),
        address: IpAddr::from([10, 0, 0, 7]),
        tokens: Vec::new(),
        ..desk()
    }
}

fn list() -> DeviceList {
    DeviceList { pending: vec![pairing_request()], devices: vec![desk(), revoked()], total: 2 }
}

pub(crate) fn device_replies() -> impl Iterator<Item = (&'static str, Reply)> {
    let request = PairingId::new("pair-1");
    let device = DeviceId::new(DEVICE);
    let role = Role::Operator;
    [
        ("list-1", DeviceReply::List(list())),
        ("approve-1", DeviceReply::Approved { request: request.clone(), device: desk() }),
        ("reject-1", DeviceReply::Rejected { request, device: device.clone() }),
        ("remove-1", DeviceReply::Removed { device: DeviceId::new(REVOKED), at_ms: NOW }),
        ("forget-1", DeviceReply::Forgotten(DeviceId::new(REVOKED))),
        (
            "code-1",
            DeviceReply::Code { code: Secret::new("K7WQ2MXH4C"), expires_at_ms: NOW + 600_000 },
        ),
        (
            "rotate-1",
            DeviceReply::Rotated {
                device: device.clone(),
                role,
                scopes: ScopeSet::ADMIN,
                at_ms: NOW,
                bearer: Some(Bearer {
                    token: Secret::new("dt_469da4fc2cfcfb4343d3d123"),
                    expires_at_ms: NOW + LIFE_MS,
                }),
            },
        ),
        (
            "rotate-2",
            DeviceReply::Rotated {
                device: DeviceId::new(REVOKED),
                role: Role::Agent,
                scopes: ScopeSet::NONE,
                at_ms: NOW,
                bearer: None,
            },
        ),
        ("revoke-1", DeviceReply::TokensRevoked { device, role, at_ms: NOW }),
        ("clear-1", DeviceReply::RateLimitCleared(3)),
    ]
    .into_iter()
    .map(|(id, reply)| (id, Reply::Devices(Box::new(reply))))
}
