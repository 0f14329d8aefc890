//! Pairing: devices that wait for approval, and the one-time pairing code
//! (`docs/protocol.md`, "Registration").
//!
//! Owns the pending requests, bounded per address and in all, and their lives. Does not decide
//! who has to wait (`registration`) and does not approve (`device_admin`).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::base::ids::{AgentName, DeviceId, PairingId};
use crate::base::limits::{
    PAIRING_CHANGES_MAX, PAIRING_CODE_TTL, PAIRING_TTL, PAIRINGS_MAX, PAIRINGS_PER_ADDRESS_MAX,
};
use crate::base::secret::SecretHash;
use crate::base::time::{Moment, millis};

use crate::hub::records::DeviceRecord;
use crate::protocol::device::PublicKey;
use crate::protocol::refusal::PairingReason;
use crate::protocol::scope::{Role, ScopeSet};

/// What a device asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) device: DeviceId,
    pub(super) public_key: PublicKey,
    pub(super) reason: PairingReason,
    pub(super) role: Role,
    pub(super) scopes: ScopeSet,
    pub(super) agent: Option<AgentName>,
    pub(super) client_id: String,
    pub(super) display_name: Option<String>,
    pub(super) platform: String,
    pub(super) address: IpAddr,
}

/// A request that waits.
#[derive(Clone, Debug)]
pub(super) struct Pairing {
    pub(super) id: PairingId,
    pub(super) ask: Ask,
    /// How often the device asked for something else before.
    changes: u32,
    forget_at: Instant,
    created_at_ms: u64,
}

impl Pairing {
    /// As operators see it: `device.pair.requested` and `device.pair.list`.
    pub(super) fn to_json(&self) -> Value {
        let ask = &self.ask;
        let mut shown = json!({
            "requestId": self.id.as_str(),
            "deviceId": ask.device.as_str(),
            "publicKey": ask.public_key.to_base64url(),
            "reason": ask.reason.as_str(),
            "role": ask.role.as_str(),
            "scopes": ask.scopes.names().collect::<Vec<_>>(),
            "clientId": ask.client_id,
            "platform": ask.platform,
            "remoteIp": ask.address.to_string(),
            "ts": self.created_at_ms,
            "expiresAtMs": self.created_at_ms.saturating_add(millis(PAIRING_TTL)),
        });
        if let Some(name) = &ask.display_name {
            shown["displayName"] = json!(name);
        }
        if let Some(agent) = &ask.agent {
            shown["agent"] = json!(agent.as_str());
        }
        shown
    }

    /// `device.pair.resolved`
    pub(super) fn resolved(&self, decision: &str, unix_ms: u64) -> Value {
        json!({
            "requestId": self.id.as_str(),
            "deviceId": self.ask.device.as_str(),
            "decision": decision,
            "ts": unix_ms,
        })
    }
}

/// What became of a request to wait.
pub(super) enum Pending {
    /// The device waits already, for just this.
    Known(PairingId),
    /// It waits now; what it waited for before, if it asked for something else, is withdrawn.
    New(Box<Pairing>, Option<Box<Pairing>>),
    /// There are too many, or it has asked for too much else; try again then.
    Full(Duration),
}

/// See the module.
pub(super) struct Pairings {
    /// Oldest first: they all live equally long. At most `PAIRINGS_MAX`, so searched through.
    waiting: VecDeque<Pairing>,
    code: Option<Code>,
}

struct Code {
    hash: SecretHash,
    good_until: Instant,
}

impl Pairings {
    pub(super) fn new(code: Option<SecretHash>, now: Instant) -> Self {
        let mut pairings = Self { waiting: VecDeque::new(), code: None };
        if let Some(hash) = code {
            pairings.offer_code(hash, now);
        }
        pairings
    }

    /// Makes this the pairing code, for one use within its time.
    pub(super) fn offer_code(&mut self, hash: SecretHash, now: Instant) {
        self.code = Some(Code { hash, good_until: now + PAIRING_CODE_TTL });
    }

    /// Whether this is the code and it is still good.
    pub(super) fn code_matches(&self, presented: &SecretHash, now: Instant) -> bool {
        self.code
            .as_ref()
            .is_some_and(|code| code.hash.matches(presented) & (now < code.good_until))
    }

    /// Takes the code: it was used.
    pub(super) fn use_code(&mut self) -> Option<UsedCode> {
        self.code.take().map(UsedCode)
    }

    /// Gives a code back whose use did not become durable.
    pub(super) fn give_back(&mut self, code: UsedCode) {
        self.code.get_or_insert(code.0);
    }

    /// Lets a device wait. `id` is used when the request is new. A device that asks for something
    /// else gets another id: who approves an id approves what it stood for when they read it.
    pub(super) fn ask(&mut self, now: Moment, ask: Ask, id: impl FnOnce() -> PairingId) -> Pending {
        let same_device = |pairing: &Pairing| {
            pairing.ask.device == ask.device && pairing.ask.public_key == ask.public_key
        };
        let before = self.waiting.iter().position(same_device);
        if let Some(index) = before
            && self.waiting[index].ask == ask
        {
            return Pending::Known(self.waiting[index].id.clone());
        }
        let changes = before.map_or(0, |index| self.waiting[index].changes + 1);
        if let Some(index) = before.filter(|_| changes > PAIRING_CHANGES_MAX) {
            let forget_at = self.waiting[index].forget_at;
            return Pending::Full(forget_at.saturating_duration_since(now.at));
        }
        let others = || {
            let waiting = self.waiting.iter().enumerate();
            waiting.filter(|(index, _)| Some(*index) != before).map(|(_, pairing)| pairing)
        };
        let from_address = || others().filter(|pairing| pairing.ask.address == ask.address);
        let first_to_go = if from_address().count() >= PAIRINGS_PER_ADDRESS_MAX {
            from_address().next()
        } else if others().count() >= PAIRINGS_MAX {
            others().next()
        } else {
            None
        };
        if let Some(first_to_go) = first_to_go {
            return Pending::Full(first_to_go.forget_at.saturating_duration_since(now.at));
        }
        let withdrawn = before.and_then(|index| self.waiting.remove(index));
        let forget_at = now.at + PAIRING_TTL;
        let pairing = Pairing { id: id(), ask, changes, forget_at, created_at_ms: now.unix_ms };
        self.waiting.push_back(pairing.clone());
        Pending::New(Box::new(pairing), withdrawn.map(Box::new))
    }

    pub(super) fn get(&self, id: &PairingId) -> Option<&Pairing> {
        self.waiting.iter().find(|pairing| pairing.id == *id)
    }

    /// Takes a request that was decided.
    pub(super) fn take(&mut self, id: &PairingId) -> Option<Pairing> {
        let index = self.waiting.iter().position(|pairing| pairing.id == *id)?;
        self.waiting.remove(index)
    }

    /// Takes the request of a device that is now approved for all that it asked for, by something
    /// else than a person's answer.
    pub(super) fn take_answered(&mut self, device: &DeviceRecord) -> Option<Pairing> {
        let index = self.waiting.iter().position(|pairing| {
            let ask = &pairing.ask;
            (&ask.device, ask.public_key, ask.role) == (&device.id, device.public_key, device.role)
                && device.scopes.contains(ask.scopes)
        })?;
        self.waiting.remove(index)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|pairing| pairing.forget_at)
    }

    /// A request that has waited for its whole life.
    pub(super) fn expire_one(&mut self, now: Instant) -> Option<Pairing> {
        self.waiting.pop_front_if(|pairing| pairing.forget_at <= now)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pairing> {
        self.waiting.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// A code that was taken and may have to be given back.
pub(super) struct UsedCode(Code);
