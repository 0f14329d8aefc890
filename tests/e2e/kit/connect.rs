//! The `connect` request as different clients send it, correct or wrong in one chosen way.

use serde_json::{Value, json};

use super::{Device, SECRET};

/// Which of the two signed texts a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignedText {
    V2,
    V3,
}

type Edit = Box<dyn Fn(&mut Value)>;

/// A `connect` in the making. The nonce and the time come in when it is sent.
pub(crate) struct Connect<'a> {
    params: Value,
    device: Option<&'a Device>,
    signed_text: SignedText,
    signed_at_skew_ms: i64,
    edits: Vec<Edit>,
}

impl<'a> Connect<'a> {
    fn new(client: Value, role: Option<&str>, scopes: &[&str]) -> Self {
        let mut params = json!({
            "minProtocol": 3,
            "maxProtocol": 4,
            "client": client,
            "scopes": scopes,
        });
        if let Some(role) = role {
            params["role"] = json!(role);
        }
        Self {
            params,
            device: None,
            signed_text: SignedText::V2,
            signed_at_skew_ms: 0,
            edits: Vec::new(),
        }
    }

    /// A person's client with a device of its own.
    pub(crate) fn operator(device: &'a Device) -> Self {
        let client = json!({
            "id": "e2e-operator", "version": "1.0.0", "platform": "linux", "mode": "ui",
        });
        Self::new(client, Some("operator"), &["operator.admin"]).device(device)
    }

    /// A program that reports, with a device of its own.
    pub(crate) fn agent(name: &str, device: &'a Device) -> Self {
        let client = json!({
            "id": name, "version": "1.0.0", "platform": "linux", "mode": "node",
        });
        Self::new(client, Some("agent"), &[]).device(device)
    }

    /// Mission Control's server side: the shared secret, no device, protocol 3 exactly.
    pub(crate) fn backend() -> Self {
        let client = json!({
            "id": "gateway-client", "displayName": "Mission Control", "version": "2.3.0",
            "platform": "server", "mode": "backend",
        });
        let scopes = ["operator.admin", "operator.write", "operator.read"];
        Self::new(client, Some("operator"), &scopes).protocols(3, 3).secret(SECRET)
    }

    /// A client that presents nothing at all.
    pub(crate) fn bare() -> Self {
        let client = json!({
            "id": "e2e-bare", "version": "1.0.0", "platform": "linux", "mode": "cli",
        });
        Self::new(client, Some("operator"), &["operator.admin"])
    }

    /// Mission Control 2.3.0 in a browser, with exactly the parameters that it sends.
    pub(crate) fn mission_control(device: &'a Device) -> Self {
        let client = json!({
            "id": "openclaw-control-ui", "displayName": "Mission Control", "version": "2.3.0",
            "platform": "web", "mode": "ui",
            "instanceId": format!("mc-{}", super::unix_ms()),
        });
        let mut connect = Self::new(client, Some("operator"), &["operator.admin"]);
        connect.params["caps"] = json!(["tool-events"]);
        connect.device(device)
    }

    /// The seed's example, field for field.
    pub(crate) fn seed(device: &'a Device) -> Self {
        let client = json!({
            "id": "gateway-client", "displayName": "Mission Control", "version": "2026.03.04",
            "platform": "web", "mode": "ui", "instanceId": "mc-1709582400",
        });
        Self::new(client, Some("operator"), &["operator.admin"]).protocols(3, 3).device(device)
    }

    /// The seed's reconnect: a device token at the root of the parameters and nothing else.
    pub(crate) fn device_token_alone(token: &str) -> Self {
        let mut connect = Self::new(Value::Null, None, &[]);
        connect.params = json!({ "deviceToken": token });
        connect
    }

    pub(crate) fn device(mut self, device: &'a Device) -> Self {
        self.device = Some(device);
        self
    }

    pub(crate) fn protocols(mut self, min: u64, max: u64) -> Self {
        self.params["minProtocol"] = json!(min);
        self.params["maxProtocol"] = json!(max);
        self
    }

    /// `auth.token`
    pub(crate) fn secret(mut self, secret: &str) -> Self {
        self.params["auth"]["token"] = json!(secret);
        self
    }

    /// `auth.password`
    pub(crate) fn password(mut self, password: &str) -> Self {
        self.params["auth"]["password"] = json!(password);
        self
    }

    /// `auth.deviceToken`
    pub(crate) fn auth_device_token(mut self, token: &str) -> Self {
        self.params["auth"]["deviceToken"] = json!(token);
        self
    }

    /// `deviceToken` at the root, as the seed and Mission Control send it.
    pub(crate) fn root_device_token(mut self, token: &str) -> Self {
        self.params["deviceToken"] = json!(token);
        self
    }

    /// Signs the longer text, which ends with platform and device family.
    pub(crate) fn signed_as_v3(mut self) -> Self {
        self.signed_text = SignedText::V3;
        self
    }

    /// Signs with a clock that is off by this much.
    pub(crate) fn clock_off_by_ms(mut self, skew: i64) -> Self {
        self.signed_at_skew_ms = skew;
        self
    }

    /// Sets a field before signing. The path is a JSON pointer.
    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Self {
        put(&mut self.params, pointer, value);
        self
    }

    /// Sets a field after signing, which spoils the signature where the field is part of the text.
    pub(crate) fn then_set(mut self, pointer: &'static str, value: Value) -> Self {
        self.edits.push(Box::new(move |params| put(params, pointer, value.clone())));
        self
    }

    /// The parameters for a challenge.
    pub(crate) fn params(&self, nonce: &str) -> Value {
        let mut params = self.params.clone();
        if let Some(device) = self.device {
            let signed_at = super::unix_ms() + self.signed_at_skew_ms;
            let text = self.text_to_sign(device, signed_at, nonce);
            params["device"] = json!({
                "id": device.id(),
                "publicKey": device.public_key(),
                "signature": device.sign(&text),
                "signedAt": signed_at,
                "nonce": nonce,
            });
        }
        for edit in &self.edits {
            edit(&mut params);
        }
        params
    }

    fn text_to_sign(&self, device: &Device, signed_at: i64, nonce: &str) -> String {
        let text = |pointer: &str| {
            self.params.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let token = ["/auth/token", "/auth/deviceToken", "/deviceToken"]
            .into_iter()
            .map(text)
            .find(|token| !token.is_empty())
            .unwrap_or_default();
        let scopes = self.params["scopes"].as_array().cloned().unwrap_or_default();
        let scopes: Vec<_> = scopes.iter().filter_map(Value::as_str).collect();
        let nine = [
            device.id().to_owned(),
            text("/client/id"),
            text("/client/mode"),
            text("/role"),
            scopes.join(","),
            signed_at.to_string(),
            token,
            nonce.to_owned(),
        ]
        .join("|");
        match self.signed_text {
            SignedText::V2 => format!("v2|{nine}"),
            SignedText::V3 => {
                let platform = text("/client/platform").trim().to_ascii_lowercase();
                let family = text("/client/deviceFamily").trim().to_ascii_lowercase();
                format!("v3|{nine}|{platform}|{family}")
            }
        }
    }
}

fn put(params: &mut Value, pointer: &str, value: Value) {
    let (parent, field) = pointer.rsplit_once('/').expect("a JSON pointer begins with a slash");
    let parent = params.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent} in the params"));
    let object = parent.as_object_mut().unwrap();
    match value {
        Value::Null => object.remove(field),
        value => object.insert(field.to_owned(), value),
    };
}

/// How a `connect` was refused: the error response, then the close.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The response's `error`.
    pub(crate) error: Value,
    /// The close code.
    pub(crate) close_code: u16,
    /// The close reason.
    pub(crate) close_reason: String,
}

impl Refusal {
    pub(crate) fn message(&self) -> &str {
        self.error["message"].as_str().expect("an error has a message")
    }

    pub(crate) fn details_code(&self) -> &str {
        self.error["details"]["code"].as_str().unwrap_or_default()
    }
}
