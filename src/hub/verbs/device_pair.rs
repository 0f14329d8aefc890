//! `device.pair.list`, `approve`, `reject`, `remove`, `forget` and `code`.
//!
//! Finds out whether the caller may; `device_admin` does it. `forget` and `code` are the owner's
//! alone, which the table of methods sees to.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::devices::{Answer, Caller, decided};
use crate::base::ids::{DeviceId, PairingId};
use crate::base::limits::{DEVICES_LISTED_MAX, PAIRING_CODE_TTL};
use crate::base::pairing_code;
use crate::base::time::{Moment, millis};
use crate::hub::Hub;
use crate::hub::audit::{AuditKind, audit, text};
use crate::hub::effect::Effect;
use crate::hub::pairing::{Ask, Pairing};
use crate::hub::policy::Registration;
use crate::hub::records::{DeviceRecord, DeviceState, TokenRecord};
use crate::protocol::devices::{DeviceList, DeviceReply, DeviceView, TokenView};
use crate::protocol::error::{ErrorCode, ProtocolError};

impl Hub {
    pub(super) fn list_devices(&self, now: Moment, caller: &Caller) -> DeviceReply {
        let shown = self.pairings.iter().filter(|pairing| caller.manages(&pairing.ask.device));
        let pending = shown.map(Pairing::to_json).collect();
        let mut records: Vec<&DeviceRecord> =
            self.devices.iter().filter(|record| caller.manages(&record.id)).collect();
        let total = records.len();
        records.sort_by_key(|record| Reverse(record.last_seen_ms));
        records.truncate(DEVICES_LISTED_MAX);
        let connected: BTreeSet<&DeviceId> =
            self.clients.iter().filter_map(|(_, client)| client.grant.device.as_ref()).collect();
        let devices = records
            .into_iter()
            .map(|record| self.device_view(now, record, connected.contains(&record.id)))
            .collect();
        DeviceReply::List(DeviceList { pending, devices, total })
    }

    fn device_view(&self, now: Moment, record: &DeviceRecord, is_connected: bool) -> DeviceView {
        let tokens = self.tokens.of_device(&record.id, record.role, now.unix_ms);
        DeviceView {
            id: record.id.clone(),
            is_revoked: record.state == DeviceState::Revoked,
            is_connected,
            user: record.user.to_string(),
            role: record.role,
            scopes: record.scopes,
            agent: record.agent.as_ref().map(ToString::to_string),
            display_name: record.display_name.clone(),
            client_id: record.client_id.clone(),
            platform: record.platform.clone(),
            address: record.address,
            created_at_ms: record.created_at_ms,
            last_seen_ms: record.last_seen_ms,
            tokens: tokens.map(token_view).collect(),
        }
    }

    pub(super) fn pair_approve(
        &mut self,
        now: Moment,
        caller: &Caller,
        request: PairingId,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, ProtocolError> {
        if let Some(pairing) = self.pairings.get(&request) {
            caller.check(&pairing.ask.device)?;
            self.check_not_for_itself(caller, &pairing.ask)?;
        }
        let record = self.approve_pairing(now, &request, &caller.approver, effects)?;
        effects.push(decided("Device approved", &record.id, caller));
        let what = [
            text("subject", &record.id),
            text("request", request.as_str()),
            text("owner", &record.user),
            text("role", record.role),
            text("scopes", record.scopes),
        ];
        effects.push(audit(AuditKind::DeviceApproved, self.actor(caller.conn), what));
        let is_connected = !self.clients.of_device(&record.id).is_empty();
        let device = self.device_view(now, &record, is_connected);
        Ok(Answer::Stored(DeviceReply::Approved { request, device }))
    }

    /// A device that has signed may approve a new key of its own, for what it has, but never more
    /// for itself. One that only showed a token may not: that may be stolen, and a key would
    /// outlive it.
    fn check_not_for_itself(&self, caller: &Caller, ask: &Ask) -> Result<(), ProtocolError> {
        let has = |record: &DeviceRecord| {
            record.role == ask.role
                && record.scopes.contains(ask.scopes)
                && record.agent == ask.agent
        };
        let may = caller.has_signed && self.devices.approved(&ask.device).is_some_and(has);
        if may || !caller.is(&ask.device) {
            return Ok(());
        }
        Err(ProtocolError::invalid("a device cannot approve more for itself; ask another operator"))
    }

    pub(super) fn pair_reject(
        &mut self,
        now: Moment,
        caller: &Caller,
        request: PairingId,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, ProtocolError> {
        if let Some(pairing) = self.pairings.get(&request) {
            caller.check(&pairing.ask.device)?;
        }
        let device = self.reject_pairing(now, &request, effects)?;
        effects.push(decided("Device rejected", &device, caller));
        Ok(Answer::Now(DeviceReply::Rejected { request, device }))
    }

    pub(super) fn pair_remove(
        &mut self,
        now: Moment,
        caller: &Caller,
        device: DeviceId,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, ProtocolError> {
        caller.check(&device)?;
        self.revoke_device(&device, effects)?;
        effects.push(decided("Device removed", &device, caller));
        let what = [text("subject", &device), text("reason", "removed")];
        effects.push(audit(AuditKind::DeviceRevoked, self.actor(caller.conn), what));
        Ok(Answer::Stored(DeviceReply::Removed { device, at_ms: now.unix_ms }))
    }

    pub(super) fn pair_forget(
        &mut self,
        caller: &Caller,
        device: DeviceId,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, ProtocolError> {
        self.forget_device(&device, effects)?;
        effects.push(decided("Device forgotten", &device, caller));
        let what = [text("subject", &device), text("reason", "forgotten")];
        effects.push(audit(AuditKind::DeviceRevoked, self.actor(caller.conn), what));
        Ok(Answer::Stored(DeviceReply::Forgotten(device)))
    }

    pub(super) fn pair_code(&mut self, now: Moment) -> Result<Answer, ProtocolError> {
        let auth = &self.policy.auth;
        if !auth.devices_enabled || auth.registration != Registration::Auto {
            return Err(ProtocolError::new(
                ErrorCode::Conflict,
                "a pairing code admits nobody unless gateway.auth.deviceAuth is enabled and its \
                 registration is auto",
            ));
        }
        let code = pairing_code::from_random(self.entropy.bytes());
        self.offer_pairing_code(now, code.hash());
        let expires_at_ms = now.unix_ms.saturating_add(millis(PAIRING_CODE_TTL));
        Ok(Answer::Now(DeviceReply::Code { code, expires_at_ms }))
    }
}

pub(super) fn token_view(token: &TokenRecord) -> TokenView {
    TokenView {
        role: token.role,
        scopes: token.scopes,
        issued_at_ms: token.issued_at_ms,
        expires_at_ms: token.expires_at_ms,
    }
}
