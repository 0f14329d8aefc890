//! What a load is aimed at: an address and the words that the server there understands.

use std::net::SocketAddr;
use std::sync::Arc;

use openclaw_gateway::protocol::device_key::DeviceKey;
use rustls::ClientConfig;

use crate::client::frames;
use crate::client::opening::Identity;

/// The secret that gateways share with the generator. Servers here listen on loopback, for seconds.
pub(crate) const SECRET: &str = "bench-shared-secret";

/// How many bytes the message of a log entry has; the entry has some 250 with what is around it.
const MESSAGE_BYTES: usize = 160;

/// Which words a server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The contract: the gateway, and both minimal servers.
    Gateway,
    /// The reference gateway, protocol 3.
    Reference,
}

/// A server that listens.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) dialect: Dialect,
}

impl Target {
    /// Operators that hear broadcasts, without anything that has to be verified where the server
    /// allows it.
    pub(crate) fn operator(&self) -> Identity {
        match self.dialect {
            Dialect::Gateway => Identity::operator(DeviceKey::from_seed(&[1; 32])),
            Dialect::Reference => Identity::secret(SECRET),
        }
    }

    /// An operator with a device of its own, who signs.
    pub(crate) fn signing_operator(&self, number: u8) -> Identity {
        let identity = Identity::operator(DeviceKey::from_seed(&[100 + number; 32]));
        match self.dialect {
            Dialect::Gateway => identity,
            Dialect::Reference => identity.with_token(SECRET),
        }
    }

    /// Who reports.
    pub(crate) fn producer(&self) -> Identity {
        match self.dialect {
            Dialect::Gateway => agent(0),
            Dialect::Reference => Identity::secret(SECRET),
        }
    }

    /// The cheapest request that there is.
    pub(crate) fn ping(&self) -> Vec<u8> {
        frames::text(match self.dialect {
            Dialect::Gateway => r#"{"type":"req","id":"p","method":"ping"}"#,
            Dialect::Reference => {
                r#"{"type":"req","id":"p","method":"last-heartbeat","params":{}}"#
            }
        })
    }

    /// One report that is broadcast.
    pub(crate) fn report(&self) -> Vec<u8> {
        match self.dialect {
            Dialect::Gateway => append(1),
            Dialect::Reference => frames::text(
                r#"{"type":"req","id":"r","method":"talk.mode","params":{"enabled":true}}"#,
            ),
        }
    }

    /// How the event begins that a report becomes.
    pub(crate) fn event(&self) -> &'static [u8] {
        match self.dialect {
            Dialect::Gateway => b"{\"type\":\"event\",\"event\":\"log\",",
            Dialect::Reference => b"{\"type\":\"event\",\"event\":\"talk.mode\",",
        }
    }
}

/// An agent with a device of its own. Its sessions are those of [`session_key`].
pub(crate) fn agent(number: u8) -> Identity {
    Identity::agent(DeviceKey::from_seed(&[200 + number; 32]), &format!("agent{number}"))
}

/// The key of one of the sessions of agent 0.
pub(crate) fn session_key(number: usize) -> String {
    format!("agent0:session-{number:05}")
}

/// A report that makes a session, complete enough to look like one.
pub(crate) fn session_update(number: usize) -> Vec<u8> {
    let key = session_key(number);
    frames::text(&format!(
        "{{\"type\":\"req\",\"id\":\"u\",\"method\":\"session.update\",\"params\":{{\
         \"key\":\"{key}\",\"kind\":\"chat\",\"model\":\"model-{}\",\"totalTokens\":{},\
         \"contextTokens\":35000,\"messageCount\":12,\"label\":\"Session {number}\"}}}}",
        number % 5,
        1_000 + number
    ))
}

/// A report that adds to a session.
pub(crate) fn session_usage(number: usize) -> Vec<u8> {
    let key = session_key(number);
    frames::text(&format!(
        "{{\"type\":\"req\",\"id\":\"s\",\"method\":\"session.usage\",\"params\":{{\
         \"key\":\"{key}\",\"inputTokens\":120,\"outputTokens\":34,\"cost\":0.0087,\
         \"messages\":2}}}}"
    ))
}

/// A page of sessions.
pub(crate) fn sessions_list(limit: usize) -> Vec<u8> {
    frames::text(&format!(
        "{{\"type\":\"req\",\"id\":\"l\",\"method\":\"sessions.list\",\
         \"params\":{{\"limit\":{limit}}}}}"
    ))
}

/// A `logs.append` with this many entries.
pub(crate) fn append(entries: usize) -> Vec<u8> {
    let message = "m".repeat(MESSAGE_BYTES);
    let entry =
        format!("{{\"level\":\"info\",\"message\":\"{message}\",\"timestamp\":1764000000000}}");
    let entries = vec![entry; entries].join(",");
    frames::text(&format!(
        "{{\"type\":\"req\",\"id\":\"r\",\"method\":\"logs.append\",\
         \"params\":{{\"entries\":[{entries}]}}}}"
    ))
}
