//! Device tokens: made, recognised, renewed, ended (`docs/protocol.md`, "Device token").
//!
//! Known by their hash; the text of a device's current token stays in memory alone, so that a
//! reconnect is given the same one until half its life is over. Does not decide who may have one
//! (`admission`) and does not write to disk (`commits`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::ids::DeviceId;
use crate::base::limits::TOKENS_PER_DEVICE_MAX;
use crate::base::secret::Secret;
use crate::base::time::millis;
use crate::hub::entropy::Entropy;

use crate::hub::records::{DeviceRecord, TokenRecord};
use crate::protocol::connect::DEVICE_TOKEN_PREFIX;
use crate::protocol::hello::IssuedToken;
use crate::protocol::scope::{Role, ScopeSet};

/// The hash that a token is known by.
pub(super) type TokenHash = [u8; 32];

/// What is known of a device's tokens for one role.
#[derive(Default)]
struct Family {
    /// Oldest first, at most `TOKENS_PER_DEVICE_MAX`.
    live: Vec<TokenHash>,
    /// The newest, with its text, when this process issued it.
    current: Option<Current>,
}

struct Current {
    token: IssuedToken,
    hash: TokenHash,
    scopes: ScopeSet,
}

/// All live tokens: at most `TOKENS_PER_DEVICE_MAX` for each device and role.
#[derive(Default)]
pub(super) struct Tokens {
    by_hash: BTreeMap<TokenHash, TokenRecord>,
    families: BTreeMap<(DeviceId, Role), Family>,
    /// Tokens that the disk knows otherwise, because the store failed: those that it lacks, and
    /// those that it still has.
    unsaved: BTreeSet<TokenHash>,
}

/// What `Tokens::issue` did.
pub(super) struct Issue {
    /// The token to give out.
    pub(super) token: IssuedToken,
    /// Its hash.
    pub(super) hash: TokenHash,
    /// Whether it is new, and so must be made durable before it is given out.
    pub(super) is_new: bool,
    /// Tokens that ended by this and leave the disk.
    pub(super) ended: Vec<TokenHash>,
}

impl Tokens {
    /// Takes a token that was on disk at the start, oldest first; returns one that is too many.
    pub(super) fn load(&mut self, record: TokenRecord) -> Option<TokenHash> {
        let family = self.families.entry((record.device.clone(), record.role)).or_default();
        family.live.push(record.hash);
        self.by_hash.insert(record.hash, record);
        let surplus = *family.live.first().filter(|_| family.live.len() > TOKENS_PER_DEVICE_MAX)?;
        self.end(&surplus);
        Some(surplus)
    }

    /// The live token with this hash.
    pub(super) fn find(&self, hash: &TokenHash, unix_ms: u64) -> Option<&TokenRecord> {
        self.by_hash.get(hash).filter(|record| unix_ms < record.expires_at_ms)
    }

    /// The device's current token until half its life is over, else a new one.
    pub(super) fn issue(
        &mut self,
        unix_ms: u64,
        device: &DeviceRecord,
        ttl: Duration,
        entropy: &mut Entropy,
    ) -> Issue {
        let key = (device.id.clone(), device.role);
        if let Some(current) = self.families.get(&key).and_then(|family| family.current.as_ref())
            && current.scopes == device.scopes
            && unix_ms >= current.token.issued_at_ms
            && unix_ms - current.token.issued_at_ms < millis(ttl) / 2
        {
            let token = current.token.clone();
            return Issue { token, hash: current.hash, is_new: false, ended: Vec::new() };
        }
        let text = Secret::new(format!("{DEVICE_TOKEN_PREFIX}{}", entropy.hex_256()));
        let hash = text.hash().0;
        let expires_at_ms = unix_ms.saturating_add(millis(ttl));
        let token = IssuedToken { token: text, issued_at_ms: unix_ms, expires_at_ms };
        let ended = self.make_room(&key, unix_ms);
        let family = self.families.entry(key).or_default();
        family.live.push(hash);
        family.current = Some(Current { token: token.clone(), hash, scopes: device.scopes });
        self.by_hash.insert(
            hash,
            TokenRecord {
                hash,
                device: device.id.clone(),
                role: device.role,
                scopes: device.scopes,
                issued_at_ms: unix_ms,
                expires_at_ms,
            },
        );
        Issue { token, hash, is_new: true, ended }
    }

    /// Ends what has expired, then the oldest, until one more token fits.
    fn make_room(&mut self, key: &(DeviceId, Role), unix_ms: u64) -> Vec<TokenHash> {
        let Some(family) = self.families.get(key) else { return Vec::new() };
        let mut ended: Vec<TokenHash> = Vec::new();
        let alive = |hash: &&TokenHash| self.find(hash, unix_ms).is_some();
        ended.extend(family.live.iter().filter(|hash| !alive(hash)));
        let live: Vec<TokenHash> = family.live.iter().filter(alive).copied().collect();
        let surplus = (live.len() + 1).saturating_sub(TOKENS_PER_DEVICE_MAX);
        ended.extend(&live[..surplus]);
        for hash in &ended {
            self.end(hash);
        }
        ended
    }

    /// Lets the live tokens of a device and role end no later than this, and gives none of them
    /// out again; returns those whose life this has cut.
    pub(super) fn outdate(
        &mut self,
        device: &DeviceId,
        role: Role,
        ends_at_ms: u64,
    ) -> Vec<TokenRecord> {
        let Some(family) = self.families.get_mut(&(device.clone(), role)) else {
            return Vec::new();
        };
        family.current = None;
        let mut cut = Vec::new();
        for hash in &family.live {
            if let Some(record) = self.by_hash.get_mut(hash)
                && ends_at_ms < record.expires_at_ms
            {
                record.expires_at_ms = ends_at_ms;
                cut.push(record.clone());
            }
        }
        cut
    }

    /// The live tokens of a device, oldest first.
    pub(super) fn of_device(
        &self,
        device: &DeviceId,
        role: Role,
        unix_ms: u64,
    ) -> impl Iterator<Item = &TokenRecord> {
        let family = self.families.get(&(device.clone(), role));
        let live = family.into_iter().flat_map(|family| &family.live);
        live.filter_map(move |hash| self.find(hash, unix_ms))
    }

    /// Ends one token.
    pub(super) fn end(&mut self, hash: &TokenHash) {
        self.unsaved.remove(hash);
        let Some(record) = self.by_hash.remove(hash) else { return };
        let key = (record.device, record.role);
        if let Some(family) = self.families.get_mut(&key) {
            family.live.retain(|live| live != hash);
            if family.current.as_ref().is_some_and(|current| current.hash == *hash) {
                family.current = None;
            }
            if family.live.is_empty() {
                self.families.remove(&key);
            }
        }
    }

    /// Ends every token of a device; returns their hashes.
    pub(super) fn end_all(&mut self, device: &DeviceId) -> Vec<TokenHash> {
        let mut ended = Vec::new();
        for role in [Role::Operator, Role::Agent] {
            if let Some(family) = self.families.get(&(device.clone(), role)) {
                ended.extend_from_slice(&family.live);
            }
        }
        for hash in &ended {
            self.end(hash);
        }
        ended
    }

    pub(super) fn get(&self, hash: &TokenHash) -> Option<&TokenRecord> {
        self.by_hash.get(hash)
    }

    /// Marks a token, live or ended, as known otherwise to the disk.
    pub(super) fn mark_unsaved(&mut self, hash: TokenHash) {
        self.unsaved.insert(hash);
    }

    /// Takes the tokens that the disk knows otherwise.
    pub(super) fn take_unsaved(&mut self) -> BTreeSet<TokenHash> {
        std::mem::take(&mut self.unsaved)
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }
}
