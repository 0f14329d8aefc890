//! The `connect` that this client sends (`docs/protocol.md`, "Handshake").
//!
//! Pure: nonce and clock are arguments. Called by `connection`.

use serde_json::{Value, json};

use super::identity::Identity;
use crate::base::secret::Secret;
use crate::protocol::device_key::SignedFields;

/// As whom a connection is made.
#[derive(Clone, Debug)]
pub(super) enum Login {
    /// Over the local socket, which lets in who owns the gateway's state.
    Owner,
    /// A device that proves itself.
    Device(Box<DeviceLogin>),
    /// A program that the gateway started, with the credential that it was given.
    Started(Started),
}

/// What the gateway told a program that it started.
#[derive(Clone, Debug)]
pub(in crate::app) struct Started {
    /// `OPENCLAW_AGENT_TOKEN`
    pub(super) token: Secret,
    /// `OPENCLAW_AGENT_NAME`; whatever it says, the gateway knows whose credential it is.
    pub(super) agent: Option<String>,
    /// `OPENCLAW_SESSION`, the only session that it may speak of.
    pub(super) session: Option<String>,
}

/// What a device presents.
#[derive(Clone, Debug)]
pub(super) struct DeviceLogin {
    identity: Identity,
    /// The agent to be; without one, an operator.
    agent: Option<String>,
    scopes: Vec<String>,
    token: Option<Secret>,
    pairing_code: Option<Secret>,
}

/// The operator's `client.id`; an agent's is its name.
const CLIENT_ID: &str = "openclaw-cli";
const CLIENT_MODE: &str = "cli";
const PLATFORM: &str = std::env::consts::OS;

impl Login {
    /// A device, with what helps an unknown one to be registered.
    pub(super) fn device(
        identity: Identity,
        agent: Option<String>,
        scopes: Vec<String>,
        token: Option<Secret>,
        pairing_code: Option<Secret>,
    ) -> Self {
        // Agents report; they have no scopes.
        let scopes = if agent.is_some() { Vec::new() } else { scopes };
        Self::Device(Box::new(DeviceLogin { identity, agent, scopes, token, pairing_code }))
    }

    /// The id of the device that proves itself.
    pub(super) fn device_id(&self) -> Option<String> {
        match self {
            Self::Owner | Self::Started(_) => None,
            Self::Device(device) => Some(device.identity.key.public_key().device_id()),
        }
    }

    /// The parameters of the `connect` that answers a challenge.
    pub(super) fn params(&self, nonce: &str, now_unix_ms: u64) -> Value {
        match self {
            Self::Owner => {
                let scopes = vec!["operator.admin".to_owned()];
                common(CLIENT_ID, "operator", &scopes)
            }
            Self::Device(device) => device.params(nonce, now_unix_ms),
            Self::Started(started) => {
                let client_id = started.agent.as_deref().unwrap_or(CLIENT_ID);
                let mut params = common(client_id, "agent", &[]);
                params["auth"]["token"] = json!(started.token.expose());
                params
            }
        }
    }
}

impl DeviceLogin {
    fn params(&self, nonce: &str, now_unix_ms: u64) -> Value {
        let client_id = self.agent.as_deref().unwrap_or(CLIENT_ID);
        let role = if self.agent.is_some() { "agent" } else { "operator" };
        let mut params = common(client_id, role, &self.scopes);
        let key = &self.identity.key;
        let device_id = key.public_key().device_id();
        let signed_at_ms = i64::try_from(now_unix_ms).unwrap_or(i64::MAX);
        let signed = SignedFields {
            device_id: &device_id,
            client_id,
            client_mode: CLIENT_MODE,
            role,
            scopes: &self.scopes,
            signed_at_ms,
            token: self.token.as_ref().map(Secret::expose).unwrap_or_default(),
            nonce,
            platform: PLATFORM,
            device_family: "",
        };
        params["device"] = json!({
            "id": device_id,
            "publicKey": key.public_text(),
            "signature": key.sign(&signed.v3()),
            "signedAt": signed_at_ms,
            "nonce": nonce,
        });
        if let Some(token) = &self.token {
            params["auth"]["token"] = json!(token.expose());
        }
        if let Some(code) = &self.pairing_code {
            params["auth"]["pairingCode"] = json!(code.expose());
        }
        params
    }
}

fn common(client_id: &str, role: &str, scopes: &[String]) -> Value {
    json!({
        "minProtocol": 3,
        "maxProtocol": 4,
        "client": {
            "id": client_id,
            "displayName": format!("{client_id} (command line)"),
            "version": env!("CARGO_PKG_VERSION"),
            "platform": PLATFORM,
            "mode": CLIENT_MODE,
        },
        "role": role,
        "scopes": scopes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::connect::parse_first;
    use crate::protocol::device::{DeviceProof, prove};
    use crate::protocol::device_key::DeviceKey;

    const NOW: u64 = 1_795_373_022_123;

    #[track_caller]
    fn check(agent: Option<&str>, token: Option<&str>) {
        let key = DeviceKey::from_seed(&[7; 32]);
        let public = key.public_key();
        let scopes = vec!["operator.read".to_owned(), "operator.write".to_owned()];
        let agent = agent.map(str::to_owned);
        let token = token.map(Secret::new);
        let login = Login::device(Identity { key }, agent.clone(), scopes, token, None);
        let params = login.params("nonce-1", NOW);
        let frame = json!({ "type": "req", "id": "1", "method": "connect", "params": params });
        let text = frame.to_string();
        let connect = parse_first(&text).unwrap();
        assert_eq!(connect.agent_name.as_ref().map(ToString::to_string), agent);
        assert_eq!(prove(&connect, "nonce-1", NOW), DeviceProof::Valid(public));
        assert!(matches!(prove(&connect, "nonce-2", NOW), DeviceProof::Failed(_)));
    }

    #[test]
    fn what_the_client_signs_is_what_the_gateway_proves() {
        check(None, None);
        check(None, Some("secret"));
        check(Some("agent1"), None);
        check(Some("agent1"), Some("secret"));
    }

    #[test]
    fn a_started_program_presents_its_credential_and_no_device() {
        let token = Secret::new("ocs_1");
        let login = Login::Started(Started { token, agent: Some("a".into()), session: None });
        let params = login.params("nonce", NOW);
        assert_eq!((&params["role"], &params["auth"]["token"]), (&json!("agent"), &json!("ocs_1")));
        assert!(params.get("device").is_none(), "{params}");
    }

    #[test]
    fn the_owner_presents_nothing() {
        let params = Login::Owner.params("nonce", NOW);
        assert!(params.get("device").is_none() && params.get("auth").is_none(), "{params}");
    }
}
