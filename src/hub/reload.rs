//! Another policy while peers are here (`docs/protocol.md`, "Reload").
//!
//! Owns which part of a policy may change while the hub runs: who gets in, how often one may be
//! wrong, what may be started, what happens to requests for approval, how much is kept and shown.
//! The rest is what the tables were built with, and stays. Everyone stays connected whose
//! credential is still good.

use crate::base::close_reason::CloseReason;
use crate::base::ids::ConnId;
use crate::hub::Hub;
use crate::hub::clients::Client;
use crate::hub::effect::Effect;
use crate::hub::policy::{AuthPolicy, HubLimits, Policy};

impl Hub {
    /// Applies `Input::PolicyChanged`.
    pub(super) fn policy_changed(&mut self, policy: Policy, effects: &mut Vec<Effect>) {
        let Policy { version: _, auth, heartbeat: _, limits, spawn, approvals, cron: _ } = policy;
        self.limiter.set_policy(auth.rate_limit);
        let pairing_code = self.policy.auth.pairing_code.take();
        self.policy.auth = AuthPolicy { pairing_code, ..auth };
        self.spawns.carry_over();
        self.policy.spawn = spawn;
        self.policy.approvals = approvals;
        self.set_limits(limits);
        let withdrawn: Vec<ConnId> = self
            .clients
            .iter()
            .filter(|(_, client)| !self.still_holds(client))
            .map(|(conn, _)| conn)
            .collect();
        for conn in withdrawn {
            self.close(conn, CloseReason::CredentialWithdrawn, effects);
        }
        self.give_places(effects);
    }

    fn set_limits(&mut self, limits: HubLimits) {
        self.policy.limits = limits;
        self.journal.set_limits(limits.journal_entries_max, limits.journal_bytes_max);
        self.save_trim();
        self.sessions.set_max(limits.sessions_max);
        self.forget_surplus_sessions();
        self.ticks.set_limits(limits.tick_coalesce, limits.snapshot_sessions_max);
        self.presence.set_delay(limits.tick_coalesce);
    }

    /// Whether the shared secret that let a peer in, if one did, still gives what it has.
    fn still_holds(&self, client: &Client) -> bool {
        client.secret.as_ref().is_none_or(|held| {
            self.policy.auth.secrets.iter().any(|secret| {
                secret.kind == held.kind
                    && secret.hash.0 == held.hash.0
                    && secret.user == client.grant.user
                    && secret.scopes.contains(held.scopes)
            })
        })
    }
}
