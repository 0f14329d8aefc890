//! What a person decides about devices: approve, reject, revoke, forget
//! (`docs/protocol.md`, "Registration").
//!
//! Called by the verbs `device.pair.*`, which have found out on whose authority. Every change takes
//! effect at once and is durable with the next commit.

use crate::base::close_reason::CloseReason;
use crate::base::ids::{DeviceId, PairingId, UserName};
use crate::base::limits::DEVICES_MAX;
use crate::base::secret::SecretHash;
use crate::base::time::Moment;
use crate::hub::effect::Effect;
use crate::hub::pairing::Pairing;
use crate::hub::records::{DeviceRecord, DeviceState};
use crate::hub::{Hub, refusals};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::event::Event;
use crate::protocol::refusal::PairingReason;
use crate::protocol::scope::{Role, ScopeSet};

/// On whose authority a device is approved.
#[derive(Clone, Debug)]
pub struct Approver {
    /// The owner of the devices that it approves.
    pub user: UserName,
    /// What it may give at most: nobody approves scopes that they lack.
    pub scopes: ScopeSet,
}

impl Hub {
    /// Approves a device that waits; it is let in when it connects again.
    ///
    /// # Errors
    /// `NOT_FOUND` for a request that does not wait, `INVALID_REQUEST` for scopes that the
    /// approver lacks, `CONFLICT` for a device that was revoked meanwhile, `RESOURCE_EXHAUSTED` at
    /// a device limit, `UNAVAILABLE` while the store fails.
    pub fn approve_pairing(
        &mut self,
        now: Moment,
        id: &PairingId,
        approver: &Approver,
        effects: &mut Vec<Effect>,
    ) -> Result<DeviceRecord, ProtocolError> {
        let Some(pairing) = self.pairings.get(id) else { return Err(unknown_request()) };
        let ask = pairing.ask.clone();
        if !approver.scopes.contains(ask.scopes) {
            let message = "the request asks for scopes that its approver lacks";
            return Err(ProtocolError::invalid(message));
        }
        if self.devices.is_revoked(&ask.device, &ask.public_key) {
            let message = "the device was revoked; forget it first";
            return Err(ProtocolError::new(ErrorCode::Conflict, message));
        }
        if !self.commits.is_healthy() {
            return Err(refusals::not_stored());
        }
        let before = self.devices.get(&ask.device).cloned();
        let user = before.as_ref().map_or(&approver.user, |before| &before.user).clone();
        let was_operator = before.as_ref().is_some_and(|before| before.role == Role::Operator);
        if ask.role == Role::Operator && !was_operator {
            self.check_operator_limit(&user).map_err(|refusal| refusal.error)?;
        }
        if before.is_none() && self.devices.len() >= DEVICES_MAX {
            return Err(ProtocolError::new(ErrorCode::ResourceExhausted, "too many devices"));
        }
        let Some(pairing) = self.pairings.take(id) else { return Err(unknown_request()) };
        let scopes = match (&before, ask.reason) {
            (Some(before), PairingReason::ScopeUpgrade) => before.scopes.union(ask.scopes),
            (Some(_) | None, _) => ask.scopes,
        };
        let record = DeviceRecord {
            id: ask.device.clone(),
            public_key: ask.public_key,
            state: DeviceState::Approved,
            user,
            role: ask.role,
            scopes,
            agent: ask.agent.clone().filter(|_| ask.role == Role::Agent),
            display_name: ask.display_name,
            client_id: ask.client_id,
            platform: ask.platform,
            address: ask.address,
            created_at_ms: before.as_ref().map_or(now.unix_ms, |before| before.created_at_ms),
            last_seen_ms: now.unix_ms,
        };
        self.take_name_from_other(&record, effects);
        // What the device was before ends, where that was something else.
        if before.is_some_and(|before| {
            before.public_key != record.public_key || before.role != record.role
        }) {
            self.withdraw(&record.id, effects);
        }
        self.commits.put_device(&record);
        self.devices.put(record.clone());
        let resolved = pairing.resolved("approved", now.unix_ms);
        effects.push(Effect::Broadcast(Event::PairResolved(resolved)));
        self.dispatch_commit(effects);
        Ok(record)
    }

    /// An approval passes a name on: the device that had it loses it, and its connections.
    fn take_name_from_other(&mut self, record: &DeviceRecord, effects: &mut Vec<Effect>) {
        let owner = record.agent.as_ref().and_then(|name| self.devices.owner_of(name));
        let Some(owner) = owner.filter(|owner| **owner != record.id).cloned() else { return };
        if let Some(mut other) = self.devices.get(&owner).cloned() {
            other.agent = None;
            self.commits.put_device(&other);
            self.devices.put(other);
        }
        self.withdraw(&owner, effects);
    }

    /// Turns a device that waits away; it may ask again. Returns which it was.
    ///
    /// # Errors
    /// `NOT_FOUND` for a request that does not wait.
    pub fn reject_pairing(
        &mut self,
        now: Moment,
        id: &PairingId,
        effects: &mut Vec<Effect>,
    ) -> Result<DeviceId, ProtocolError> {
        let Some(pairing) = self.pairings.take(id) else { return Err(unknown_request()) };
        let resolved = pairing.resolved("rejected", now.unix_ms);
        effects.push(Effect::Broadcast(Event::PairResolved(resolved)));
        Ok(pairing.ask.device)
    }

    /// Revokes a device: its tokens end and its connections are closed at once, and its key cannot
    /// register again until it is forgotten. Works while the store fails, too: the revocation then
    /// reaches the disk when the store has recovered.
    ///
    /// # Errors
    /// `NOT_FOUND` for a device that is not known.
    pub fn revoke_device(
        &mut self,
        id: &DeviceId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ProtocolError> {
        let Some(mut record) = self.devices.get(id).cloned() else { return Err(unknown_device()) };
        record.state = DeviceState::Revoked;
        self.withdraw(id, effects);
        self.devices.put(record);
        self.save_device(id.clone());
        self.dispatch_commit(effects);
        Ok(())
    }

    /// Forgets a device, revoked or not: its id, key and name are free again.
    ///
    /// # Errors
    /// `NOT_FOUND` for a device that is not known.
    pub fn forget_device(
        &mut self,
        id: &DeviceId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ProtocolError> {
        if self.devices.get(id).is_none() {
            return Err(unknown_device());
        }
        self.withdraw(id, effects);
        self.devices.remove(id);
        self.save_device(id.clone());
        self.dispatch_commit(effects);
        Ok(())
    }

    /// Makes this the one-time pairing code, for ten minutes.
    pub fn offer_pairing_code(&mut self, now: Moment, code: SecretHash) {
        self.pairings.offer_code(code, now.at);
    }

    /// The requests that wait, as `device.pair.list` shows them.
    pub fn pending_pairings(&self) -> Vec<serde_json::Value> {
        self.pairings.iter().map(Pairing::to_json).collect()
    }

    /// Writes a record, or that there is none any more, now or when the store has recovered.
    fn save_device(&mut self, id: DeviceId) {
        if !self.commits.is_healthy() {
            self.devices.mark_unsaved(id);
        } else if let Some(record) = self.devices.get(&id) {
            self.commits.put_device(record);
        } else {
            self.commits.delete_device(id);
        }
    }

    /// Ends the tokens and closes the connections of a device.
    pub(super) fn withdraw(&mut self, id: &DeviceId, effects: &mut Vec<Effect>) {
        self.end_tokens(id);
        for conn in self.clients.of_device(id) {
            self.close(conn, CloseReason::CredentialWithdrawn, effects);
        }
    }
}

fn unknown_request() -> ProtocolError {
    ProtocolError::new(ErrorCode::NotFound, "unknown requestId")
}

fn unknown_device() -> ProtocolError {
    ProtocolError::new(ErrorCode::NotFound, "unknown deviceId")
}
