//! Registration: who is approved by signing, and who has to wait
//! (`docs/protocol.md`, "Registration" and "Credentials").
//!
//! Decides for every valid signature whether its device is known as it asks to be, becomes known
//! at once, or waits for approval. Approval by a person is in `device_admin`.

use crate::base::ids::{AgentName, DeviceId, PairingId, UserName};
use crate::base::limits::DEVICES_MAX;
use crate::base::time::Moment;
use crate::hub::admission::{Admission, asked_or_default, grantable};
use crate::hub::audit::{Actor, AuditKind, audit, text};
use crate::hub::credentials::Presented;
use crate::hub::effect::Effect;
use crate::hub::input::ConnectRequested;
use crate::hub::pairing::{Ask, Pending, UsedCode};
use crate::hub::policy::Registration;
use crate::hub::rate_limit::Credential;
use crate::hub::records::{Change, DeviceRecord, DeviceState};
use crate::hub::tokens::TokenHash;
use crate::hub::{DEFAULT_USER, Hub, refusals};
use crate::protocol::connect::DeviceClaim;
use crate::protocol::device::PublicKey;
use crate::protocol::event::Event;
use crate::protocol::hello::IssuedToken;
use crate::protocol::refusal::{PairingReason, Refusal};
use crate::protocol::scope::{Role, ScopeSet};

/// What a registration changed, so that it can be taken back when it does not become durable.
pub(super) struct Registered {
    /// The record before; `None` for a new device.
    pub(super) before: Option<DeviceRecord>,
    /// The pairing code that it used up.
    pub(super) code: Option<UsedCode>,
}

/// Why a device may register without a person's approval, and with how much authority.
struct Sponsor {
    user: UserName,
    /// The most that it may be approved for.
    ceiling: ScopeSet,
    /// Whether the pairing code is used up by this.
    by_code: bool,
}

impl Hub {
    pub(super) fn decide_by_signature(
        &mut self,
        now: Moment,
        asked: &ConnectRequested,
        key: PublicKey,
        effects: &mut Vec<Effect>,
    ) -> Result<Admission, Box<Refusal>> {
        let Some(claim) = &asked.connect.device else {
            // A proof comes of a claim; without one there is nothing that it could have proven.
            return Err(Box::new(Refusal::device_identity_required()));
        };
        if self.devices.is_revoked(&claim.id, &key) {
            return Err(Box::new(Refusal::device_revoked()));
        }
        let presented = self.evaluate(now, asked);
        match self.devices.get(&claim.id).cloned() {
            Some(device) if device.public_key == key => {
                self.limiter.succeeded(asked.peer.address, Credential::Signature);
                self.known_device(now, asked, device, &presented, effects)
            }
            // Wrong beside an unknown key, so the person who typed it is told so.
            _ if presented.wrong_token => Err(Box::new(Refusal::token_mismatch())),
            _ if presented.wrong_password => Err(Box::new(Refusal::password_mismatch())),
            Some(_) => {
                let reason = PairingReason::KeyChanged;
                Err(self.let_wait(now, asked, claim, key, reason, effects))
            }
            None => self.unknown_device(now, asked, claim, key, &presented, effects),
        }
    }

    fn known_device(
        &mut self,
        now: Moment,
        asked: &ConnectRequested,
        device: DeviceRecord,
        presented: &Presented,
        effects: &mut Vec<Effect>,
    ) -> Result<Admission, Box<Refusal>> {
        let connect = &asked.connect;
        let nameless = device.role == Role::Agent && device.agent.is_none();
        let grows = connect.scopes.is_some_and(|scopes| !device.scopes.contains(scopes));
        let reason = if connect.role != device.role {
            PairingReason::RoleUpgrade
        } else if nameless {
            PairingReason::NotPaired
        } else if grows {
            PairingReason::ScopeUpgrade
        } else {
            return Ok(self.admission_by_device(now, asked, &device));
        };
        let name = device.agent.clone().or_else(|| connect.agent_name.clone());
        let Some(sponsor) = self.sponsor(asked, &device.id, name.as_ref(), presented) else {
            let Some(claim) = &connect.device else {
                return Err(Box::new(Refusal::device_identity_required()));
            };
            return Err(self.let_wait(now, asked, claim, device.public_key, reason, effects));
        };
        let given = grantable(asked_or_default(connect), sponsor.ceiling);
        let mut upgraded = device.clone();
        if connect.role == device.role {
            upgraded.scopes = device.scopes.union(given);
        } else {
            if connect.role == Role::Operator {
                self.check_operator_limit(&device.user)?;
            }
            upgraded.role = connect.role;
            upgraded.scopes = given;
        }
        if upgraded.role == Role::Agent {
            upgraded.agent = name;
        }
        if upgraded == device {
            // Its sponsor cannot give more than it has; so be it.
            return Ok(self.admission_by_device(now, asked, &device));
        }
        self.register(now, asked, upgraded, sponsor.by_code, effects)
    }

    fn unknown_device(
        &mut self,
        now: Moment,
        asked: &ConnectRequested,
        claim: &DeviceClaim,
        key: PublicKey,
        presented: &Presented,
        effects: &mut Vec<Effect>,
    ) -> Result<Admission, Box<Refusal>> {
        let connect = &asked.connect;
        let name = connect.agent_name.as_ref();
        let Some(sponsor) = self.sponsor(asked, &claim.id, name, presented) else {
            let reason = PairingReason::NotPaired;
            return Err(self.let_wait(now, asked, claim, key, reason, effects));
        };
        if connect.role == Role::Operator {
            self.check_operator_limit(&sponsor.user)?;
        }
        if self.devices.len() >= DEVICES_MAX {
            return Err(Box::new(Refusal::device_limit_reached(DEVICES_MAX)));
        }
        let record = DeviceRecord {
            id: claim.id.clone(),
            public_key: key,
            state: DeviceState::Approved,
            user: sponsor.user,
            role: connect.role,
            scopes: grantable(asked_or_default(connect), sponsor.ceiling),
            agent: name.filter(|_| connect.role == Role::Agent).cloned(),
            display_name: connect.client.display_name.clone(),
            client_id: connect.client.id.clone(),
            platform: connect.client.platform.clone(),
            address: asked.peer.address,
            created_at_ms: now.unix_ms,
            last_seen_ms: now.unix_ms,
        };
        self.register(now, asked, record, sponsor.by_code, effects)
    }

    pub(super) fn check_operator_limit(&self, user: &UserName) -> Result<(), Box<Refusal>> {
        let limit = self.policy.auth.devices_per_user_max;
        if self.devices.operators_of(user) >= limit {
            return Err(Box::new(Refusal::device_limit_reached(limit)));
        }
        Ok(())
    }

    /// The registration rule.
    fn sponsor(
        &self,
        asked: &ConnectRequested,
        device: &DeviceId,
        name: Option<&AgentName>,
        presented: &Presented,
    ) -> Option<Sponsor> {
        let role = asked.connect.role;
        if role == Role::Agent {
            // A name never passes to another device without approval, whoever vouches for it.
            let owner = self.devices.owner_of(name?);
            if owner.is_some_and(|owner| owner != device) {
                return None;
            }
        }
        let shared = presented.shared.as_ref().map(|(secret, _)| secret);
        let user = shared.map_or_else(|| UserName::new(DEFAULT_USER), |secret| secret.user.clone());
        let sponsor = |ceiling| Some(Sponsor { user: user.clone(), ceiling, by_code: false });
        match self.policy.auth.registration {
            Registration::Manual => None,
            Registration::Open => sponsor(ScopeSet::ALL),
            Registration::Auto => {
                if let Some(secret) = shared {
                    // Who may not report does not get to by calling it an agent.
                    let vouches = role == Role::Operator || secret.scopes.contains(ScopeSet::WRITE);
                    vouches.then(|| sponsor(secret.scopes)).flatten()
                } else if presented.code {
                    sponsor(ScopeSet::ALL).map(|by| Sponsor { by_code: true, ..by })
                } else if !asked.peer.local {
                    None
                } else if role == Role::Agent {
                    // Reports go by role; nothing on this machine becomes an operator this way,
                    // and no operator ceases to be one by connecting as an agent once.
                    let known = self.devices.get(device);
                    if known.is_some_and(|known| known.role != role) {
                        return None;
                    }
                    sponsor(ScopeSet::NONE)
                } else if !self.devices.any_operator() {
                    sponsor(ScopeSet::ALL)
                } else {
                    None
                }
            }
        }
    }

    fn register(
        &mut self,
        now: Moment,
        asked: &ConnectRequested,
        record: DeviceRecord,
        by_code: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<Admission, Box<Refusal>> {
        if !self.commits.is_healthy() {
            return Err(Box::new(refusals::store_failing()));
        }
        let code = if by_code { self.pairings.use_code() } else { None };
        if let Some(answered) = self.pairings.take_answered(&record) {
            let resolved = answered.resolved("approved", now.unix_ms);
            effects.push(Effect::Broadcast(Event::PairResolved(resolved)));
        }
        self.commits.put_device(&record);
        let before = self.devices.put(record.clone());
        if before.as_ref().is_some_and(|before| before.role != record.role) {
            // What came with the old role ends with it, as after an approval.
            self.withdraw(&record.id, effects);
        }
        let mut admission = self.admission_by_device(now, asked, &record);
        admission.registered = Some(Registered { before, code });
        Ok(admission)
    }

    /// The device's token, made durable with the next commit when it is new; and whether it is.
    pub(super) fn issue_token(
        &mut self,
        now: Moment,
        device: &DeviceRecord,
    ) -> ((IssuedToken, TokenHash), bool) {
        let ttl = self.policy.auth.token_ttl;
        let issue = self.tokens.issue(now.unix_ms, device, ttl, &mut self.entropy);
        for hash in issue.ended {
            self.commits.lazily(Change::DeleteToken(hash));
        }
        if issue.is_new {
            if !self.commits.is_healthy() {
                self.tokens.mark_unsaved(issue.hash);
            } else if let Some(record) = self.tokens.get(&issue.hash) {
                self.commits.put_token(record);
            }
        }
        ((issue.token, issue.hash), issue.is_new)
    }

    /// Ends a device's tokens, here at once and on disk with the next commit that succeeds.
    pub(super) fn end_tokens(&mut self, device: &DeviceId) {
        for hash in self.tokens.end_all(device) {
            if self.commits.is_healthy() {
                self.commits.delete_token(hash);
            } else {
                self.tokens.mark_unsaved(hash);
            }
        }
    }

    /// Makes a device wait for approval, and tells who may approve.
    fn let_wait(
        &mut self,
        now: Moment,
        asked: &ConnectRequested,
        claim: &DeviceClaim,
        key: PublicKey,
        reason: PairingReason,
        effects: &mut Vec<Effect>,
    ) -> Box<Refusal> {
        let connect = &asked.connect;
        let ask = Ask {
            device: claim.id.clone(),
            public_key: key,
            reason,
            role: connect.role,
            scopes: asked_or_default(connect),
            agent: connect.agent_name.clone().filter(|_| connect.role == Role::Agent),
            client_id: connect.client.id.clone(),
            display_name: connect.client.display_name.clone(),
            platform: connect.client.platform.clone(),
            address: asked.peer.address,
        };
        let entropy = &mut self.entropy;
        let id = || PairingId::new(entropy.hex_128());
        let id = match self.pairings.ask(now, ask, id) {
            Pending::Known(id) => id,
            Pending::Full(retry_after) => return Box::new(Refusal::too_many_pairings(retry_after)),
            Pending::New(pairing, withdrawn) => {
                if let Some(withdrawn) = withdrawn {
                    let resolved = withdrawn.resolved("withdrawn", now.unix_ms);
                    effects.push(Effect::Broadcast(Event::PairResolved(resolved)));
                }
                effects.push(Effect::Broadcast(Event::PairRequested(pairing.to_json())));
                effects.push(audit(
                    AuditKind::DevicePending,
                    Actor::stranger(asked.conn, &asked.peer),
                    [
                        text("subject", &claim.id),
                        text("request", pairing.id.as_str()),
                        text("role", connect.role),
                        text("scopes", asked_or_default(connect)),
                        text("reason", reason.as_str()),
                    ],
                ));
                pairing.id
            }
        };
        Box::new(Refusal::pairing_required(id.as_str(), claim.id.as_str(), reason))
    }
}
