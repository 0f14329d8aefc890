//! Peers, as their `connect` describes them, in few words.

use std::net::IpAddr;

use openclaw_gateway::base::ids::{AgentName, ConnId, DeviceId, RequestId};
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::hub::input::ConnectRequested;
use openclaw_gateway::protocol::connect::{Client, Connect, DeviceClaim};
use openclaw_gateway::protocol::device::{DeviceFailure, DeviceProof, PublicKey};
use openclaw_gateway::protocol::peer::PeerContext;
use openclaw_gateway::protocol::scope::{Role, ScopeSet};

/// A `connect` in the making.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) connect: Connect,
    pub(crate) context: PeerContext,
    pub(crate) proof: DeviceProof,
}

/// An operator on this machine that asks for everything, without a device.
pub(crate) fn operator() -> Peer {
    Peer {
        connect: Connect {
            id: RequestId::new("c"),
            protocol: 3,
            client: Client { id: "ui".to_owned(), ..Client::default() },
            role: Role::Operator,
            role_sent: "operator",
            role_named: true,
            scopes: Some(ScopeSet::ADMIN),
            scopes_sent: vec!["operator.admin".to_owned()],
            agent_name: None,
            device: None,
            auth_token: None,
            auth_device_token: None,
            root_device_token: None,
            password: None,
            pairing_code: None,
        },
        context: PeerContext {
            address: IpAddr::from([127, 0, 0, 1]),
            local: true,
            origin: None,
            host: Some("localhost:8080".to_owned()),
            tls: false,
            is_owner: false,
        },
        proof: DeviceProof::Absent,
    }
}

/// Whoever connects over the control socket.
pub(crate) fn owner() -> Peer {
    let mut peer = operator();
    peer.context = PeerContext::owner(None);
    peer
}

/// An agent on this machine with a device of the same name.
pub(crate) fn agent(name: &str) -> Peer {
    let mut peer = operator().device(name);
    peer.connect.role = Role::Agent;
    peer.connect.role_sent = "agent";
    peer.connect.scopes = None;
    peer.connect.scopes_sent = Vec::new();
    peer.connect.client.id = name.to_owned();
    peer.connect.agent_name = Some(AgentName::new(name));
    peer
}

/// The key that a name stands for.
pub(crate) fn key(name: &str) -> PublicKey {
    PublicKey(Secret::new(name).hash().0)
}

impl Peer {
    /// With a device of this id that signed with the key of the same name.
    pub(crate) fn device(self, id: &str) -> Self {
        self.device_with_key(id, id)
    }

    /// With a device of this id that signed with the key of another name.
    pub(crate) fn device_with_key(mut self, id: &str, key_name: &str) -> Self {
        self.connect.device = Some(DeviceClaim {
            id: DeviceId::new(id),
            public_key: key_name.to_owned(),
            signature: "signature".to_owned(),
            signed_at_ms: 0,
            nonce: Some("nonce".to_owned()),
        });
        self.proof = DeviceProof::Valid(key(key_name));
        self
    }

    /// With a proof that failed.
    pub(crate) fn failing(mut self, failure: DeviceFailure) -> Self {
        self.proof = DeviceProof::Failed(failure);
        self
    }

    /// From this address elsewhere.
    pub(crate) fn remote(mut self, address: &str) -> Self {
        self.context.address = address.parse().unwrap();
        self.context.local = false;
        self
    }

    /// From a page of this origin.
    pub(crate) fn origin(mut self, origin: &str) -> Self {
        self.context.origin = Some(origin.to_owned());
        self
    }

    /// Asking for these scopes.
    pub(crate) fn scopes(mut self, scopes: impl Into<Option<ScopeSet>>) -> Self {
        self.connect.scopes = scopes.into();
        self
    }

    /// With this `auth.token`.
    pub(crate) fn token(mut self, token: &str) -> Self {
        self.connect.auth_token = Some(Secret::new(token));
        self
    }

    /// With this `auth.password`.
    pub(crate) fn password(mut self, password: &str) -> Self {
        self.connect.password = Some(Secret::new(password));
        self
    }

    /// With this `auth.deviceToken`.
    pub(crate) fn device_token(mut self, token: &str) -> Self {
        self.connect.auth_device_token = Some(Secret::new(token));
        self
    }

    /// With this `deviceToken` at the root, as the seed and Mission Control send it.
    pub(crate) fn root_token(mut self, token: &str) -> Self {
        self.connect.root_device_token = Some(Secret::new(token));
        self
    }

    /// With this `auth.pairingCode`.
    pub(crate) fn code(mut self, code: &str) -> Self {
        self.connect.pairing_code = Some(Secret::new(code));
        self
    }

    /// Under this agent name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.connect.agent_name = Some(AgentName::new(name));
        self
    }

    /// Without a device.
    pub(crate) fn bare(mut self) -> Self {
        self.connect.device = None;
        self.proof = DeviceProof::Absent;
        self
    }

    /// Without a word about role and scopes, as a connect by device token alone may be.
    pub(crate) fn terse(mut self) -> Self {
        self.connect.role = Role::Operator;
        self.connect.role_named = false;
        self.connect.agent_name = None;
        self.scopes(None)
    }

    /// The input, on this connection.
    pub(crate) fn on(self, conn: u64) -> ConnectRequested {
        ConnectRequested {
            conn: ConnId(conn),
            peer: self.context,
            connect: self.connect,
            proof: self.proof,
        }
    }
}
