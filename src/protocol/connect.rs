//! The `connect` request: its parameters, typed and checked (`docs/protocol.md`, "Handshake").
//!
//! Owns what a well-formed `connect` is, and nothing of who is let in.
//! Called by the connection threads for the first message.

use std::borrow::Cow;

use crate::base::ids::{AgentName, DeviceId, RequestId};
use crate::base::limits::{
    AGENT_NAME_BYTES_MAX, CLIENT_TEXT_BYTES_MAX, CONNECT_LIST_MAX, CREDENTIAL_BYTES_MAX,
    DEVICE_ID_BYTES_MAX, DEVICE_TEXT_BYTES_MAX,
};
use crate::base::secret::Secret;
use crate::protocol::fields::{Invalid, Object, Place};
use crate::protocol::frame::{self, FrameError, RequestFrame};
use crate::protocol::refusal::Refusal;
use crate::protocol::scope::{Role, ScopeSet};

/// A well-formed `connect`.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The request's id; a second `connect` with the same id gets the same answer.
    pub id: RequestId,
    /// The protocol that the answer names: 3 when the offered range holds it, else 4.
    pub protocol: u8,
    /// Who the client says it is.
    pub client: Client,
    /// The role asked for. `node` is an alias of `agent`.
    pub role: Role,
    /// The role as it stands in the signed text: `operator`, `agent` or `node`.
    pub role_sent: &'static str,
    /// `false` when the frame named no role (a connect by token alone takes the token's).
    pub role_named: bool,
    /// The scopes asked for, as a set. `None` when the frame had no `scopes`.
    pub scopes: Option<ScopeSet>,
    /// The scopes as sent: their order goes into the signed text.
    pub scopes_sent: Vec<String>,
    /// An agent's name: `agent.name`, else `client.id`. `None` for operators.
    pub agent_name: Option<AgentName>,
    /// The device, if one was presented.
    pub device: Option<DeviceClaim>,
    /// `auth.token`
    pub auth_token: Option<Secret>,
    /// `auth.deviceToken`
    pub auth_device_token: Option<Secret>,
    /// `deviceToken` at the root of the params.
    pub root_device_token: Option<Secret>,
    /// `auth.password`
    pub password: Option<Secret>,
    /// `auth.pairingCode`, or `auth.bootstrapToken` as the reference clients call it
    pub pairing_code: Option<Secret>,
}

/// The `client` object. Strings are at most 128 bytes.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// `client.id`; empty only in a connect by device token alone.
    pub id: String,
    /// `client.displayName`
    pub display_name: Option<String>,
    /// `client.version`
    pub version: String,
    /// `client.platform`
    pub platform: String,
    /// `client.mode`
    pub mode: String,
    /// `client.instanceId`
    pub instance_id: Option<String>,
    /// `client.deviceFamily`
    pub device_family: Option<String>,
}

/// The `device` object as claimed, before any proof. Key and signature are kept as sent.
#[derive(Clone, Debug)]
pub struct DeviceClaim {
    /// `device.id`
    pub id: DeviceId,
    /// `device.publicKey`
    pub public_key: String,
    /// `device.signature`
    pub signature: String,
    /// `device.signedAt`, milliseconds since the epoch.
    pub signed_at_ms: i64,
    /// `device.nonce`; `None` when absent or empty.
    pub nonce: Option<String>,
}

/// The protocol versions that we speak, oldest first.
pub const PROTOCOLS: [u8; 2] = [3, 4];

const PARAMS: [&str; 10] = [
    "minProtocol",
    "maxProtocol",
    "client",
    "role",
    "scopes",
    "caps",
    "agent",
    "device",
    "auth",
    "deviceToken",
];
const CLIENT: [&str; 7] =
    ["id", "displayName", "version", "platform", "mode", "instanceId", "deviceFamily"];
const DEVICE: [&str; 5] = ["id", "publicKey", "signature", "signedAt", "nonce"];
const AUTH: [&str; 5] = ["token", "deviceToken", "password", "pairingCode", "bootstrapToken"];
const AGENT: [&str; 1] = ["name"];

/// The refusal of a first message, with the id to answer under.
#[derive(Debug)]
pub struct RefusedFirst<'a> {
    /// The frame's id if it could be read, else `frame::INVALID_ID`.
    pub id: Cow<'a, str>,
    /// The refusal.
    pub refusal: Box<Refusal>,
}

/// What every device token begins with, so that it can be told from a shared secret.
pub const DEVICE_TOKEN_PREFIX: &str = "dt_";

/// Whether this can only be a device token.
pub fn is_device_token(token: &Secret) -> bool {
    token.expose().starts_with(DEVICE_TOKEN_PREFIX)
}

/// Reads the first message of a connection, which must be a `connect`.
pub fn parse_first(text: &str) -> Result<Connect, RefusedFirst<'_>> {
    let frame = match frame::parse(text) {
        Ok(frame) => frame,
        Err(FrameError { id, .. }) => {
            return Err(RefusedFirst { id, refusal: Box::new(Refusal::invalid_handshake()) });
        }
    };
    parse_connect(&frame)
        .map_err(|refusal| RefusedFirst { id: frame.id, refusal: Box::new(refusal) })
}

/// Checks a `connect` request in the order of the contract: shape, then protocol range, then role.
/// Origin, proof and credentials come after, elsewhere.
pub fn parse_connect(frame: &RequestFrame<'_>) -> Result<Connect, Refusal> {
    if frame.method != "connect" {
        return Err(Refusal::invalid_handshake());
    }
    let raw = read(frame).map_err(|invalid| Refusal::invalid_connect_params(&invalid.0))?;
    let protocol = negotiate(raw.min_protocol, raw.max_protocol)?;
    let (role, role_sent) = match raw.role.as_deref() {
        None | Some("operator") => (Role::Operator, "operator"),
        Some("agent") => (Role::Agent, "agent"),
        Some("node") => (Role::Agent, "node"),
        Some(_) => return Err(Refusal::invalid_role()),
    };
    let connect = Connect {
        id: RequestId::new(&*frame.id),
        protocol,
        role,
        role_sent,
        role_named: raw.role.is_some(),
        agent_name: agent_name(role, raw.agent_name, &raw.client.id)
            .map_err(|invalid| Refusal::invalid_connect_params(&invalid.0))?,
        client: raw.client,
        scopes: raw.scopes.as_ref().map(|scopes| ScopeSet::parse_all(scopes.iter().map(|s| &**s))),
        scopes_sent: raw.scopes.unwrap_or_default(),
        device: raw.device,
        auth_token: raw.auth_token,
        auth_device_token: raw.auth_device_token,
        root_device_token: raw.root_device_token,
        password: raw.password,
        pairing_code: raw.pairing_code,
    };
    Ok(connect)
}

/// The params with every type checked, but not yet what they mean together.
struct RawConnect {
    min_protocol: u64,
    max_protocol: u64,
    client: Client,
    role: Option<String>,
    scopes: Option<Vec<String>>,
    agent_name: Option<String>,
    device: Option<DeviceClaim>,
    auth_token: Option<Secret>,
    auth_device_token: Option<Secret>,
    root_device_token: Option<Secret>,
    password: Option<Secret>,
    pairing_code: Option<Secret>,
}

type Params<'a> = Object<'a, 10>;

fn read(frame: &RequestFrame<'_>) -> Result<RawConnect, Invalid> {
    let mut params = Object::empty(Place::Root, &PARAMS);
    if let Some(raw) = frame.params {
        params.fill(raw.get())?;
    }
    let auth =
        params.object("auth", &AUTH)?.unwrap_or_else(|| Object::empty(Place::In("auth"), &AUTH));
    let device = params.object("device", &DEVICE)?;
    // What stands in the signed text must not be able to look like another of its fields.
    let signed = device.is_some();
    let auth_device_token = credential(&auth, "deviceToken", signed)?;
    let root_device_token = credential(&params, "deviceToken", signed)?;
    let auth_token = credential(&auth, "token", signed)?;
    let is_device_token = auth_token.as_ref().is_some_and(is_device_token);
    let token_alone = device.is_none()
        && (is_device_token || auth_device_token.is_some() || root_device_token.is_some());
    let (min_protocol, max_protocol) = protocol_range(&params, token_alone)?;
    params.strings("caps", CONNECT_LIST_MAX, CLIENT_TEXT_BYTES_MAX)?;
    let agent_name = match params.object("agent", &AGENT)? {
        Some(agent) => agent.string("name", AGENT_NAME_BYTES_MAX)?.map(Cow::into_owned),
        None => None,
    };
    Ok(RawConnect {
        min_protocol,
        max_protocol,
        client: client(&params, token_alone)?,
        role: params.string("role", CLIENT_TEXT_BYTES_MAX)?.map(Cow::into_owned),
        scopes: scopes(&params)?,
        agent_name,
        device: device.map(|device| claim(&device)).transpose()?,
        auth_token,
        auth_device_token,
        root_device_token,
        password: credential(&auth, "password", false)?,
        pairing_code: match credential(&auth, "pairingCode", signed)? {
            Some(code) => Some(code),
            None => credential(&auth, "bootstrapToken", signed)?,
        },
    })
}

fn protocol_range(params: &Params<'_>, token_alone: bool) -> Result<(u64, u64), Invalid> {
    match (params.u64("minProtocol")?, params.u64("maxProtocol")?) {
        (Some(min), Some(max)) => Ok((min, max)),
        (None, None) if token_alone => Ok((PROTOCOLS[0].into(), PROTOCOLS[0].into())),
        (None, _) => Err(params.invalid("minProtocol", "is required")),
        (_, None) => Err(params.invalid("maxProtocol", "is required")),
    }
}

/// The oldest of ours that the range holds: everything that speaks 4 also speaks 3 if it says so.
fn negotiate(min: u64, max: u64) -> Result<u8, Refusal> {
    PROTOCOLS
        .into_iter()
        .find(|version| min <= u64::from(*version) && u64::from(*version) <= max)
        .ok_or_else(|| Refusal::protocol_mismatch(min, max))
}

fn client(params: &Params<'_>, token_alone: bool) -> Result<Client, Invalid> {
    let object = match params.object("client", &CLIENT)? {
        Some(object) => object,
        None if token_alone => return Ok(Client::default()),
        None => return Err(params.invalid("client", "is required")),
    };
    let text = |name| -> Result<Option<String>, Invalid> {
        match object.string(name, CLIENT_TEXT_BYTES_MAX)? {
            Some(text) => unambiguous(&object, name, &text).map(|()| Some(text.into_owned())),
            None => Ok(None),
        }
    };
    let required = |name| match text(name)? {
        Some(text) if !text.is_empty() => Ok(text),
        None if token_alone => Ok(String::new()),
        Some(_) | None => Err(object.invalid(name, "must be a non-empty string")),
    };
    Ok(Client {
        id: required("id")?,
        mode: required("mode")?,
        display_name: printable(&object, "displayName")?,
        version: printable(&object, "version")?.unwrap_or_default(),
        platform: text("platform")?.unwrap_or_default(),
        instance_id: printable(&object, "instanceId")?,
        device_family: text("deviceFamily")?,
    })
}

fn printable<const N: usize>(
    object: &Object<'_, N>,
    name: &str,
) -> Result<Option<String>, Invalid> {
    match object.string(name, CLIENT_TEXT_BYTES_MAX)? {
        Some(text) if text.chars().any(char::is_control) => {
            Err(object.invalid(name, "may not contain control characters"))
        }
        Some(text) => Ok(Some(text.into_owned())),
        None => Ok(None),
    }
}

fn unambiguous<const N: usize>(
    object: &Object<'_, N>,
    name: &str,
    text: &str,
) -> Result<(), Invalid> {
    if text.chars().any(|character| character == '|' || character.is_control()) {
        return Err(object.invalid(name, "may not contain | or control characters"));
    }
    Ok(())
}

fn scopes(params: &Params<'_>) -> Result<Option<Vec<String>>, Invalid> {
    let Some(scopes) = params.strings("scopes", CONNECT_LIST_MAX, CLIENT_TEXT_BYTES_MAX)? else {
        return Ok(None);
    };
    for (index, scope) in scopes.iter().enumerate() {
        let name = format!("scopes[{index}]");
        unambiguous(params, &name, scope)?;
        if scope.contains(',') {
            return Err(params.invalid(&name, "may not contain a comma"));
        }
    }
    Ok(Some(scopes.into_iter().map(Cow::into_owned).collect()))
}

/// An empty credential counts as absent.
fn credential<const N: usize>(
    object: &Object<'_, N>,
    name: &str,
    signed: bool,
) -> Result<Option<Secret>, Invalid> {
    let Some(text) = object.string(name, CREDENTIAL_BYTES_MAX)?.filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    if signed {
        unambiguous(object, name, &text)?;
    }
    Ok(Some(Secret::new(text)))
}

fn claim(device: &Object<'_, 5>) -> Result<DeviceClaim, Invalid> {
    let id = device.required("id", DEVICE_ID_BYTES_MAX)?;
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte)) {
        return Err(device.invalid("id", "may hold only letters, digits and . _ : -"));
    }
    let nonce = device.string("nonce", DEVICE_TEXT_BYTES_MAX)?;
    let nonce = nonce.as_deref().map(str::trim).filter(|nonce| !nonce.is_empty());
    Ok(DeviceClaim {
        id: DeviceId::new(id),
        // Even an empty one is a malformed key, which has an error of its own.
        public_key: device
            .string("publicKey", DEVICE_TEXT_BYTES_MAX)?
            .ok_or_else(|| device.invalid("publicKey", "is required"))?
            .into_owned(),
        signature: device.required("signature", DEVICE_TEXT_BYTES_MAX)?.into_owned(),
        signed_at_ms: device
            .i64("signedAt")?
            .ok_or_else(|| device.invalid("signedAt", "is required"))?,
        nonce: nonce.map(str::to_owned),
    })
}

/// `agent.name`, else `client.id`. A connect by token alone may name neither.
fn agent_name(
    role: Role,
    named: Option<String>,
    client_id: &str,
) -> Result<Option<AgentName>, Invalid> {
    let (field, name) = match named {
        Some(name) => ("agent.name", name),
        None if client_id.is_empty() => return Ok(None),
        None => ("client.id (the agent's name, as there is no agent.name)", client_id.to_owned()),
    };
    if role != Role::Agent {
        return Ok(None);
    }
    if is_agent_name(&name) {
        Ok(Some(AgentName::new(name)))
    } else {
        Err(Invalid(format!(
            "{field} must be 1 to {AGENT_NAME_BYTES_MAX} letters, digits and . _ -"
        )))
    }
}

/// Whether a text is fit to be an agent's name.
pub fn is_agent_name(text: &str) -> bool {
    (1..=AGENT_NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
