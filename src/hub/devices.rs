//! The known devices: approved and revoked, with the indexes that the registration rule needs.
//!
//! Owns the records in memory. Does not decide who registers (`registration`), does not write to
//! disk (`commits`). An agent's name belongs to one device; a revoked device keeps its name until
//! it is forgotten, because a name never passes on without approval.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::ids::{AgentName, DeviceId, UserName};
use crate::hub::records::{DeviceRecord, DeviceState};
use crate::protocol::device::PublicKey;
use crate::protocol::scope::Role;

/// All of them, by id.
#[derive(Default)]
pub(super) struct Devices {
    by_id: BTreeMap<DeviceId, DeviceRecord>,
    names: BTreeMap<AgentName, DeviceId>,
    /// With a count, since two ids may have been registered with one key.
    revoked_keys: BTreeMap<[u8; 32], usize>,
    operators_by_user: BTreeMap<UserName, usize>,
    /// Records that differ from the disk and go with the next commit, whatever causes it.
    unsaved: BTreeSet<DeviceId>,
}

impl Devices {
    /// Inserts or replaces a record; returns the one before.
    pub(super) fn put(&mut self, record: DeviceRecord) -> Option<DeviceRecord> {
        let before = self.remove(&record.id);
        if let Some(name) = &record.agent {
            self.names.insert(name.clone(), record.id.clone());
        }
        match record.state {
            DeviceState::Revoked => {
                *self.revoked_keys.entry(record.public_key.0).or_default() += 1;
            }
            DeviceState::Approved if record.role == Role::Operator => {
                *self.operators_by_user.entry(record.user.clone()).or_default() += 1;
            }
            DeviceState::Approved => {}
        }
        self.by_id.insert(record.id.clone(), record);
        before
    }

    /// Forgets a device altogether.
    pub(super) fn remove(&mut self, id: &DeviceId) -> Option<DeviceRecord> {
        let record = self.by_id.remove(id)?;
        if let Some(name) = &record.agent
            && self.names.get(name) == Some(id)
        {
            self.names.remove(name);
        }
        match record.state {
            DeviceState::Revoked => decrement(&mut self.revoked_keys, &record.public_key.0),
            DeviceState::Approved if record.role == Role::Operator => {
                decrement(&mut self.operators_by_user, &record.user);
            }
            DeviceState::Approved => {}
        }
        Some(record)
    }

    pub(super) fn get(&self, id: &DeviceId) -> Option<&DeviceRecord> {
        self.by_id.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &DeviceRecord> {
        self.by_id.values()
    }

    /// The record of a device that may connect.
    pub(super) fn approved(&self, id: &DeviceId) -> Option<&DeviceRecord> {
        self.get(id).filter(|record| record.state == DeviceState::Approved)
    }

    /// Whether this key, under whatever id, or this id, with whatever key, was revoked.
    pub(super) fn is_revoked(&self, id: &DeviceId, key: &PublicKey) -> bool {
        self.revoked_keys.contains_key(&key.0)
            || self.get(id).is_some_and(|record| record.state == DeviceState::Revoked)
    }

    /// The device that a name is bound to.
    pub(super) fn owner_of(&self, name: &AgentName) -> Option<&DeviceId> {
        self.names.get(name)
    }

    pub(super) fn any_operator(&self) -> bool {
        !self.operators_by_user.is_empty()
    }

    pub(super) fn operators_of(&self, user: &UserName) -> usize {
        self.operators_by_user.get(user).copied().unwrap_or(0)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Notes that a device connected. The record is kept to the hour, so that reconnects rarely
    /// change it, and written with whatever is committed next.
    pub(super) fn seen(&mut self, id: &DeviceId, unix_ms: u64) {
        const HOUR_MS: u64 = 3_600_000;
        let hour = unix_ms - unix_ms % HOUR_MS;
        if let Some(record) = self.by_id.get_mut(id)
            && record.last_seen_ms < hour
        {
            record.last_seen_ms = hour;
            self.unsaved.insert(id.clone());
        }
    }

    /// Marks a record as different from the disk.
    pub(super) fn mark_unsaved(&mut self, id: DeviceId) {
        self.unsaved.insert(id);
    }

    /// Takes the ids whose records differ from the disk.
    pub(super) fn take_unsaved(&mut self) -> BTreeSet<DeviceId> {
        std::mem::take(&mut self.unsaved)
    }

    pub(super) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
