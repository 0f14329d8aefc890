//! A started program that connects back, with the credential that it was started with
//! (`docs/protocol.md`, "Credentials").

use crate::base::secret::Secret;
use crate::hub::Hub;
use crate::hub::admission::Admission;
use crate::hub::input::ConnectRequested;
use crate::protocol::hello::Grant;
use crate::protocol::refusal::Refusal;
use crate::protocol::scope::{Role, ScopeSet};

impl Hub {
    /// The program of a spawn, which presents what it was started with: an agent whose name and
    /// session are the spawn's, whatever it calls itself and whatever device it brings. What was
    /// presented cannot be guessed, so no lock-out holds it up.
    pub(in crate::hub) fn admission_by_spawn(
        &self,
        asked: &ConnectRequested,
    ) -> Result<Option<Admission>, Box<Refusal>> {
        let hash = asked.connect.auth_token.as_ref().map(Secret::hash);
        let Some(spawn) = hash.and_then(|hash| self.spawns.by_token(&hash.0)) else {
            return Ok(None);
        };
        if asked.connect.role_named && asked.connect.role != Role::Agent {
            return Err(Box::new(Refusal::token_mismatch()));
        }
        let grant = Grant {
            role: Role::Agent,
            scopes: ScopeSet::NONE,
            agent: Some(spawn.agent.clone()),
            session: Some(spawn.session.clone()),
            device: None,
            user: spawn.user.clone(),
            is_owner: false,
        };
        let mut admission = Admission::new(asked, grant, "spawn");
        admission.spawn = Some(spawn.id.clone());
        Ok(Some(admission))
    }
}
