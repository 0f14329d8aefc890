//! The handshake, many at once: TCP, TLS, upgrade, challenge, signed `connect`, hello.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use openclaw_gateway::protocol::device_key::{DeviceKey, SignedFields};

use super::conn::{Conn, Scratch};
use super::frames;
use super::poller::Poller;
use crate::target::Target;

/// The id of the `connect` request.
const CONNECT_ID: &str = "c";
/// A handshake that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who connects.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    key: Option<DeviceKey>,
    id: String,
    public: String,
    role: &'static str,
    client: String,
    mode: &'static str,
    scopes: Vec<String>,
    token: Option<String>,
}

impl Identity {
    /// An operator with a device.
    pub(crate) fn operator(key: DeviceKey) -> Self {
        Self::device(key, "operator", "gateway-client", "backend", &["operator.admin"])
    }

    /// An agent of this name with a device.
    pub(crate) fn agent(key: DeviceKey, name: &str) -> Self {
        Self::device(key, "agent", name, "node", &[])
    }

    fn device(
        key: DeviceKey,
        role: &'static str,
        client: &str,
        mode: &'static str,
        scopes: &[&str],
    ) -> Self {
        Self {
            id: key.public_key().device_id(),
            public: key.public_text(),
            key: Some(key),
            role,
            client: client.to_owned(),
            mode,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            token: None,
        }
    }

    /// An operator with the shared secret and without a device.
    pub(crate) fn secret(token: &str) -> Self {
        Self {
            key: None,
            id: String::new(),
            public: String::new(),
            role: "operator",
            client: "gateway-client".to_owned(),
            mode: "backend",
            scopes: vec!["operator.admin".to_owned()],
            token: Some(token.to_owned()),
        }
    }

    /// The same, with the shared secret beside the device.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// The `connect` frame for a challenge.
    pub(crate) fn connect(&self, nonce: &str) -> Vec<u8> {
        let Self { id, public, role, client, mode, .. } = self;
        let scopes = self.scopes.join("\",\"");
        let scopes = if scopes.is_empty() { String::new() } else { format!("\"{scopes}\"") };
        let token = self.token.as_deref().unwrap_or_default();
        let auth = match token {
            "" => String::new(),
            token => format!(",\"auth\":{{\"token\":\"{token}\"}}"),
        };
        let device = self.key.as_ref().map_or_else(String::new, |key| {
            let signed_at_ms = unix_ms();
            let fields = SignedFields {
                device_id: id,
                client_id: client,
                client_mode: mode,
                role,
                scopes: &self.scopes,
                signed_at_ms,
                token,
                nonce,
                platform: "linux",
                device_family: "",
            };
            let signature = key.sign(&fields.v2());
            format!(
                ",\"device\":{{\"id\":\"{id}\",\"publicKey\":\"{public}\",\
                 \"signature\":\"{signature}\",\"signedAt\":{signed_at_ms},\"nonce\":\"{nonce}\"}}"
            )
        });
        frames::text(&format!(
            "{{\"type\":\"req\",\"id\":\"{CONNECT_ID}\",\"method\":\"connect\",\"params\":{{\
             \"minProtocol\":3,\"maxProtocol\":3,\"client\":{{\"id\":\"{client}\",\
             \"version\":\"1.0.0\",\"platform\":\"linux\",\"mode\":\"{mode}\"}},\
             \"role\":\"{role}\",\"scopes\":[{scopes}]{device}{auth}}}}}"
        ))
    }
}

fn unix_ms() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How far one handshake is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Challenge,
    Hello,
    Done,
}

/// A handshake under way.
pub(crate) struct Opening {
    conn: Conn,
    stage: Stage,
}

impl Opening {
    /// Sends the upgrade. `number` spreads connections over source addresses.
    pub(crate) fn start(target: &Target, number: usize) -> Result<Self> {
        let source = Ipv4Addr::new(127, 0, 0, 1 + u8::try_from(number % 64).unwrap_or_default());
        let conn = Conn::open(target.address, target.tls.as_ref(), source)?;
        Ok(Self { conn, stage: Stage::Challenge })
    }

    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    /// Takes what arrived; true when the hello is here.
    pub(crate) fn step(&mut self, scratch: &mut Scratch, identity: &Identity) -> Result<bool> {
        let mut stage = self.stage;
        let mut answer = Vec::new();
        let mut refused = None;
        let is_alive = self.conn.receive(scratch, |text| match stage {
            Stage::Challenge => {
                if let Some(nonce) = nonce(text) {
                    answer = identity.connect(nonce);
                    stage = Stage::Hello;
                }
            }
            Stage::Hello if is_response(text) => {
                if !contains(&text[..text.len().min(80)], b"\"ok\":true") {
                    refused = Some(String::from_utf8_lossy(text).into_owned());
                }
                stage = Stage::Done;
            }
            Stage::Hello | Stage::Done => {}
        })?;
        self.stage = stage;
        if let Some(refused) = refused {
            bail!("connect refused: {refused}");
        }
        if !is_alive {
            bail!("closed during the handshake");
        }
        if !answer.is_empty() {
            self.conn.send(&answer)?;
        }
        Ok(stage == Stage::Done)
    }

    pub(crate) fn into_conn(self) -> Conn {
        self.conn
    }
}

/// Opens `count` connections, `at_once` handshakes at a time; `identity` says as whom.
pub(crate) fn open_all<'i>(
    target: &Target,
    count: usize,
    at_once: usize,
    identity: impl Fn(usize) -> &'i Identity,
) -> Result<Vec<Conn>> {
    let mut poller = Poller::new()?;
    let mut scratch = Scratch::new();
    let mut slots: Vec<Option<Opening>> = Vec::new();
    let mut running = 0;
    let mut done: Vec<(usize, Conn)> = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while done.len() < count {
        while running < at_once && slots.len() < count {
            let opening = Opening::start(target, slots.len())?;
            poller.add(opening.conn(), slots.len())?;
            slots.push(Some(opening));
            running += 1;
        }
        let ready: Vec<_> = poller.wait(Duration::from_millis(100))?.collect();
        for index in ready {
            let Some(opening) = slots.get_mut(index).and_then(Option::as_mut) else {
                // Opened already, and something has arrived since; whoever gets it reads on.
                continue;
            };
            if opening.step(&mut scratch, identity(index)).with_context(|| format!("#{index}"))? {
                if let Some(opening) = slots.get_mut(index).and_then(Option::take) {
                    let conn = opening.into_conn();
                    poller.remove(&conn)?;
                    done.push((index, conn));
                }
                running -= 1;
            }
        }
        if Instant::now() > deadline {
            bail!("{} of {count} handshakes done within {PATIENCE:?}", done.len());
        }
    }
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, conn)| conn).collect())
}

/// The nonce in a challenge.
fn nonce(text: &[u8]) -> Option<&str> {
    const KEY: &[u8] = b"\"nonce\":\"";
    let start = text.windows(KEY.len()).position(|part| part == KEY)? + KEY.len();
    let rest = text.get(start..)?;
    let end = rest.iter().position(|&byte| byte == b'"')?;
    std::str::from_utf8(rest.get(..end)?).ok()
}

/// Whether this is a response and no event.
pub(crate) fn is_response(text: &[u8]) -> bool {
    text.starts_with(b"{\"type\":\"res\"")
}

/// Whether this is a response that says `ok`. The ids of the generator have one letter.
pub(crate) fn is_success(text: &[u8]) -> bool {
    is_response(text) && text.get(21..32) == Some(b"\",\"ok\":true")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_response_and_no_success() {
        for (text, response, success) in [
            (r#"{"type":"res","id":"p","ok":true}"#, true, true),
            (r#"{"type":"res","id":"p","ok":false,"error":{}}"#, true, false),
            (r#"{"type":"event","event":"tick"}"#, false, false),
        ] {
            assert_eq!(is_response(text.as_bytes()), response, "{text}");
            assert_eq!(is_success(text.as_bytes()), success, "{text}");
        }
    }
}
