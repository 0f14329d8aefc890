//! An agent that speaks: its name, and the sessions that it may speak of.
//!
//! An agent speaks only as itself. One that the gateway started speaks only of the session that it
//! was started for. Made from a grant or from a child's `OutputContext`; asked by the methods.

use crate::base::ids::{AgentName, SessionKey};
use crate::protocol::hello::Grant;
use crate::protocol::scope::Role;
use crate::protocol::session::owner;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker<'a> {
    /// Its name.
    pub(super) agent: &'a AgentName,
    /// The one session that it speaks of; `None`: all that are its own by their key.
    pub(super) session: Option<&'a SessionKey>,
}

impl<'a> Speaker<'a> {
    /// The agent that this is the grant of; `None` for an operator, who may speak of anything.
    pub(super) fn of(grant: &'a Grant) -> Option<Self> {
        let agent = grant.agent.as_ref().filter(|_| grant.role == Role::Agent)?;
        Some(Self { agent, session: grant.session.as_ref() })
    }

    /// Whether it may speak of this session; if not, what its key must be.
    pub(super) fn check(self, key: &str) -> Result<(), String> {
        match self.session {
            Some(session) if session.as_str() == key => Ok(()),
            Some(session) => Err(format!("must be {session}, the session of this spawn")),
            None if owner(key) == Some(self.agent.as_str()) => Ok(()),
            None => Err(format!("must begin with {0}: or agent:{0}:", self.agent)),
        }
    }
}
