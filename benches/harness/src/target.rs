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
            Dialect::Gateway => Identity::agent(DeviceKey::from_seed(&[2; 32]), "producer"),
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
