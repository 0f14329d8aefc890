//! The admitted connections, and who is behind each.
//!
//! Does not decide who is admitted (`admission`) or who is still alive (`heartbeat`).
//! Every other part of the hub looks a peer up here before it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::base::ids::{AgentName, ConnId, DeviceId, SessionKey, SpawnId};
use crate::hub::policy::SharedSecret;
use crate::protocol::hello::Grant;
use crate::protocol::scope::Role;

/// One admitted connection.
pub(super) struct Client {
    /// What it may do.
    pub(super) grant: Grant,
    /// Where it comes from, behind trusted proxies.
    pub(super) address: IpAddr,
    /// `client.id`, for diagnostics.
    pub(super) client_id: String,
    /// Whether its device has signed on this connection, and not only shown a token.
    pub(super) has_signed: bool,
    /// The shared secret that let it in, if one did, with the scopes that it has by it.
    pub(super) secret: Option<SharedSecret>,
    /// The round trip of its last heartbeat.
    pub(super) rtt: Option<Duration>,
    /// The spawn whose credential let it in.
    pub(super) spawn: Option<SpawnId>,
    /// Whether `Effect::Close` was emitted: nothing that it asks now could be answered.
    pub(super) closing: bool,
    /// Its requests that wait for something to happen.
    pub(super) waits: u32,
}

/// All of them. Ordered, so that the same history gives the same effects.
#[derive(Default)]
pub(super) struct Clients {
    by_conn: BTreeMap<ConnId, Client>,
    operators: usize,
    agents: usize,
    /// The connections of each agent.
    by_agent: BTreeMap<AgentName, BTreeSet<ConnId>>,
}

impl Clients {
    pub(super) fn insert(&mut self, conn: ConnId, client: Client) {
        self.remove(conn);
        *self.count(client.grant.role) += 1;
        if let Some(agent) = &client.grant.agent {
            self.by_agent.entry(agent.clone()).or_default().insert(conn);
        }
        self.by_conn.insert(conn, client);
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Client> {
        let client = self.by_conn.remove(&conn)?;
        *self.count(client.grant.role) -= 1;
        if let Some(agent) = &client.grant.agent
            && let Some(connections) = self.by_agent.get_mut(agent)
        {
            connections.remove(&conn);
            if connections.is_empty() {
                self.by_agent.remove(agent);
            }
        }
        Some(client)
    }

    fn count(&mut self, role: Role) -> &mut usize {
        match role {
            Role::Operator => &mut self.operators,
            Role::Agent => &mut self.agents,
        }
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&Client> {
        self.by_conn.get(&conn)
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Client> {
        self.by_conn.get_mut(&conn)
    }

    /// Whether an answer to this peer could still arrive.
    pub(super) fn answerable(&self, conn: ConnId) -> bool {
        self.get(conn).is_some_and(|client| !client.closing)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Client)> {
        self.by_conn.iter().map(|(conn, client)| (*conn, client))
    }

    /// The open connections of a device. Looks at every connection: for rare events only.
    pub(super) fn of_device(&self, device: &DeviceId) -> Vec<ConnId> {
        self.iter()
            .filter(|(_, client)| client.grant.device.as_ref() == Some(device) && !client.closing)
            .map(|(conn, _)| conn)
            .collect()
    }

    /// The open connections that a spawn's credential let in. Looks at every connection.
    pub(super) fn of_spawn(&self, spawn: &SpawnId) -> Vec<ConnId> {
        self.iter()
            .filter(|(_, client)| client.spawn.as_ref() == Some(spawn) && !client.closing)
            .map(|(conn, _)| conn)
            .collect()
    }

    /// The names of the agents that are connected.
    pub(super) fn agent_names(&self) -> impl Iterator<Item = &AgentName> {
        self.by_agent.keys()
    }

    /// Whether this agent is connected.
    pub(super) fn has_agent(&self, name: &AgentName) -> bool {
        self.by_agent.contains_key(name)
    }

    /// The newest open connection of an agent that speaks of this session: what is for the agent
    /// goes there.
    pub(super) fn newest_of_agent(&self, name: &AgentName, session: &SessionKey) -> Option<ConnId> {
        let speaks = |conn: &ConnId| {
            self.get(*conn).is_some_and(|client| {
                !client.closing && client.grant.session.as_ref().is_none_or(|own| own == session)
            })
        };
        self.by_agent.get(name)?.iter().rev().copied().find(speaks)
    }

    /// A request of this connection no longer waits.
    pub(super) fn waited(&mut self, conn: ConnId) {
        if let Some(client) = self.by_conn.get_mut(&conn) {
            client.waits = client.waits.saturating_sub(1);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_conn.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_conn.len()
    }

    pub(super) fn operators(&self) -> usize {
        self.operators
    }

    pub(super) fn agents(&self) -> usize {
        self.agents
    }
}
