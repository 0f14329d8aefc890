//! What is worth an audit line, as data (`docs/protocol.md`, "Audit").
//!
//! Owns the names of the events and who stands behind one. Writes nothing and never holds a secret:
//! `shell::audit` has the file, `shell::refusals` turns floods of refusals into numbers.
//! Made by the parts of the hub that decide, and by connection threads for what never reaches it.

use std::net::IpAddr;

use crate::base::ids::{ConnId, DeviceId, UserName};
use crate::hub::Hub;
use crate::hub::admission::Admission;
use crate::hub::effect::{DiagnosticValue, Effect};
use crate::hub::records::{SpawnOrigin, SpawnRecord};
use crate::hub::spawns::Asker;
use crate::protocol::hello::Grant;
use crate::protocol::peer::PeerContext;

/// What happened. The names are those of `audit.events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditKind {
    /// A peer was let in.
    AuthSuccess,
    /// A peer was not let in; several of one address in one line.
    AuthFailure,
    /// A device was approved without a person, by what it presented.
    DeviceRegistered,
    /// A device waits for approval.
    DevicePending,
    /// A person approved a device.
    DeviceApproved,
    /// A device was removed or forgotten.
    DeviceRevoked,
    /// A device was given a new token.
    TokenIssued,
    /// A device's tokens were ended, or will be soon.
    TokenRevoked,
    /// A program runs.
    SpawnStarted,
    /// A spawn that was let in has ended, however.
    SpawnEnded,
    /// A program was asked for that may not run.
    SpawnRefused,
    /// A command waits for a person's decision.
    ApprovalRequested,
    /// That decision, or why there is none.
    ApprovalResolved,
    /// A session was deleted.
    SessionDeleted,
    /// The configuration was read again.
    ConfigReloaded,
    /// The gateway was told to stop.
    Shutdown,
}

impl AuditKind {
    /// Every one, in the order of their declaration.
    pub const ALL: [Self; 16] = [
        Self::AuthSuccess,
        Self::AuthFailure,
        Self::DeviceRegistered,
        Self::DevicePending,
        Self::DeviceApproved,
        Self::DeviceRevoked,
        Self::TokenIssued,
        Self::TokenRevoked,
        Self::SpawnStarted,
        Self::SpawnEnded,
        Self::SpawnRefused,
        Self::ApprovalRequested,
        Self::ApprovalResolved,
        Self::SessionDeleted,
        Self::ConfigReloaded,
        Self::Shutdown,
    ];

    /// Its name in the file and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthSuccess => "auth.success",
            Self::AuthFailure => "auth.failure",
            Self::DeviceRegistered => "device.registered",
            Self::DevicePending => "device.pending",
            Self::DeviceApproved => "device.approved",
            Self::DeviceRevoked => "device.revoked",
            Self::TokenIssued => "token.issued",
            Self::TokenRevoked => "token.revoked",
            Self::SpawnStarted => "spawn.started",
            Self::SpawnEnded => "spawn.ended",
            Self::SpawnRefused => "spawn.refused",
            Self::ApprovalRequested => "approval.requested",
            Self::ApprovalResolved => "approval.resolved",
            Self::SessionDeleted => "session.deleted",
            Self::ConfigReloaded => "config.reloaded",
            Self::Shutdown => "shutdown",
        }
    }

    /// The one with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// A bit of its own.
    pub fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Who is behind an event, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The connection.
    pub conn: Option<ConnId>,
    /// Where it comes from, behind trusted proxies; `None` on the control socket.
    pub address: Option<IpAddr>,
    /// Whether it came by the control socket.
    pub is_owner: bool,
    /// Its device.
    pub device: Option<DeviceId>,
    /// Whose credential it presented.
    pub user: Option<UserName>,
}

impl Actor {
    /// A peer of whom no more is known than where it comes from.
    pub fn stranger(conn: ConnId, peer: &PeerContext) -> Self {
        let is_owner = peer.is_owner;
        let address = (!is_owner).then_some(peer.address);
        Self { conn: Some(conn), address, is_owner, device: None, user: None }
    }

    fn admitted(conn: ConnId, address: IpAddr, grant: &Grant) -> Self {
        Self {
            conn: Some(conn),
            address: (!grant.is_owner).then_some(address),
            is_owner: grant.is_owner,
            device: grant.device.clone(),
            user: Some(grant.user.clone()),
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEvent {
    /// What happened.
    pub kind: AuditKind,
    /// Who did it.
    pub actor: Actor,
    /// What and why: further members of the line, in order.
    pub what: Vec<(&'static str, DiagnosticValue)>,
}

impl AuditEvent {
    /// A `connect` that was refused; `reason` is its `details.code`, or the name of a close reason.
    pub fn refused(actor: Actor, client_id: Option<String>, reason: &str) -> Self {
        let client = client_id.map(|id| ("client", DiagnosticValue::Text(id)));
        let reason = ("reason", DiagnosticValue::Text(reason.to_owned()));
        let what = client.into_iter().chain([reason]).collect();
        Self { kind: AuditKind::AuthFailure, actor, what }
    }
}

/// A member that is text.
pub(super) fn text(name: &'static str, value: impl ToString) -> (&'static str, DiagnosticValue) {
    (name, DiagnosticValue::Text(value.to_string()))
}

/// The effect.
pub(super) fn audit(
    kind: AuditKind,
    actor: Actor,
    what: impl IntoIterator<Item = (&'static str, DiagnosticValue)>,
) -> Effect {
    Effect::Audit(Box::new(AuditEvent { kind, actor, what: what.into_iter().collect() }))
}

/// A spawn that may not run. Its arguments are nobody's business here: they may hold secrets.
pub(super) fn spawn_refused(actor: Actor, record: &SpawnRecord, reason: &str) -> Effect {
    let reason = text("reason", reason);
    audit(AuditKind::SpawnRefused, actor, spawn_members(record).into_iter().chain([reason]))
}

/// What is said of every spawn.
pub(super) fn spawn_members(record: &SpawnRecord) -> Vec<(&'static str, DiagnosticValue)> {
    vec![
        text("spawn", &record.id),
        text("command", &record.command),
        text("agent", &record.agent),
        text("session", &record.session),
    ]
}

impl Hub {
    /// Who is behind an admitted connection.
    pub(super) fn actor(&self, conn: ConnId) -> Actor {
        match self.clients.get(conn) {
            Some(client) => Actor::admitted(conn, client.address, &client.grant),
            None => Actor { conn: Some(conn), ..Actor::default() },
        }
    }

    /// Who asked for a spawn, while somebody waits for its answer; else whose authority it has.
    pub(super) fn spawn_actor(&self, asker: Option<&Asker>, record: &SpawnRecord) -> Actor {
        if let Some(asker) = asker {
            return self.actor(asker.conn);
        }
        let device = match &record.origin {
            SpawnOrigin::Request { device, .. } => device.clone(),
            SpawnOrigin::Run(_) | SpawnOrigin::Cron { .. } => None,
        };
        Actor { device, user: Some(record.user.clone()), ..Actor::default() }
    }
}

impl Admission {
    fn actor(&self) -> Actor {
        Actor::admitted(self.conn, self.peer.address, &self.grant)
    }

    /// It is let in.
    pub(super) fn audit_success(&self) -> Effect {
        let grant = &self.grant;
        let agent = grant.agent.as_ref().map(|agent| text("agent", agent));
        let what = [
            text("client", &self.client.id),
            text("role", grant.role),
            text("scopes", grant.scopes),
            text("by", self.mode),
        ];
        audit(AuditKind::AuthSuccess, self.actor(), what.into_iter().chain(agent))
    }

    /// Its device is registered, durably.
    pub(super) fn audit_registered(&self) -> Option<Effect> {
        let registered = self.registered.as_ref()?;
        let was_known = DiagnosticValue::Bool(registered.before.is_some());
        let what = [
            text("role", self.grant.role),
            text("scopes", self.grant.scopes),
            ("wasKnown", was_known),
        ];
        Some(audit(AuditKind::DeviceRegistered, self.actor(), what))
    }

    /// It is given a token that nobody had before.
    pub(super) fn audit_token(&self) -> Option<Effect> {
        let (token, _) = self.token.as_ref().filter(|_| self.token_is_new)?;
        let expires = ("expiresAtMs", DiagnosticValue::Number(token.expires_at_ms));
        let subject = self.grant.device.as_ref().map(|device| text("subject", device));
        let what = subject.into_iter().chain([text("role", self.grant.role), expires]);
        Some(audit(AuditKind::TokenIssued, self.actor(), what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_bit_and_a_name_of_its_own() {
        let mut bits = 0;
        for kind in AuditKind::ALL {
            assert_eq!(bits & kind.bit(), 0, "{kind:?}");
            bits |= kind.bit();
            assert_eq!(AuditKind::parse(kind.name()), Some(kind));
        }
        assert_eq!(bits.count_ones() as usize, AuditKind::ALL.len());
        assert_eq!(AuditKind::parse("auth"), None);
    }
}
