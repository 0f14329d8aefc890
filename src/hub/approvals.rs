//! Approvals: the commands that agents ask about, and those that they may always run. Bounded.
//!
//! Owns both tables, and what is due when: an open request has its time, and one that was decided
//! is kept for a while, so that an answer that was lost can be asked for again. Decides nothing
//! (`verbs::exec_approval`) and does not write to disk (`marks`).
//!
//! ```text
//!  open ── decided ─▶ deciding ── on disk, or the store fails ─▶ told ── kept for a while ─▶ gone
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::base::ids::{AgentName, AllowedId, ApprovalId, ConnId, RequestId};
use crate::base::limits::{
    ALLOWED_COMMANDS_MAX, APPROVAL_KEPT, APPROVALS_ANSWER_BYTES_MAX, APPROVALS_KEPT_MAX,
    APPROVALS_OPEN_MAX, APPROVALS_OPEN_PER_AGENT_MAX,
};
use crate::base::time::Moment;
use crate::hub::commits::Commits;
use crate::hub::entropy::hex;
use crate::hub::records::Change;
use crate::protocol::approvals::{AllowedCommand, Approval, CommandAsked, Decision, Resolution};

/// Someone who waits for a decision.
pub(super) struct Waiter {
    pub(super) conn: ConnId,
    pub(super) id: RequestId,
    /// Whether its request was answered before, because it asked for two answers.
    pub(super) again: bool,
}

struct Entry {
    approval: Arc<Approval>,
    /// Who asked: the request ends with this connection.
    conn: Option<ConnId>,
    waiters: Vec<Waiter>,
    /// Whether those who waited have been answered: a decision is told once it is on disk.
    told: bool,
    /// When it expires or, once it is decided, is forgotten.
    due: Instant,
}

impl Entry {
    fn is_open(&self) -> bool {
        self.approval.resolution.is_none()
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Approvals {
    by_id: BTreeMap<ApprovalId, Entry>,
    due: BTreeSet<(Instant, ApprovalId)>,
    open: usize,
    allowed: BTreeMap<AllowedId, Arc<AllowedCommand>>,
}

impl Approvals {
    /// What was on disk; what was open is denied.
    pub(super) fn load(
        commits: &mut Commits,
        approvals: Vec<Arc<Approval>>,
        allowed: Vec<Arc<AllowedCommand>>,
        now: Moment,
    ) -> Self {
        let mut loaded = Self::default();
        for approval in approvals {
            let id = approval.id.clone();
            let decided_at = approval.resolution.as_ref().map_or(now.unix_ms, |end| end.at_ms);
            let age = Duration::from_millis(now.unix_ms.saturating_sub(decided_at));
            let left = APPROVAL_KEPT.saturating_sub(age);
            if left.is_zero() || loaded.by_id.len() >= APPROVALS_KEPT_MAX {
                commits.lazily(Change::DeleteApproval(id));
                continue;
            }
            let approval = if approval.resolution.is_some() {
                approval
            } else {
                commits.mark_approval(id.clone());
                let resolution = denied("the gateway was restarted", now);
                Arc::new(Approval { resolution: Some(resolution), ..Approval::clone(&approval) })
            };
            let due = now.at + left;
            loaded.due.insert((due, id.clone()));
            let waiters = Vec::new();
            loaded.by_id.insert(id, Entry { approval, conn: None, waiters, told: true, due });
        }
        for command in allowed {
            if loaded.allowed.len() < ALLOWED_COMMANDS_MAX {
                loaded.allowed.insert(command.id.clone(), command);
            }
        }
        loaded
    }

    pub(super) fn get(&self, id: &ApprovalId) -> Option<&Arc<Approval>> {
        self.by_id.get(id).map(|entry| &entry.approval)
    }

    /// The decision about a request, once it can be told.
    pub(super) fn decision(&self, id: &ApprovalId) -> Option<&Arc<Approval>> {
        self.by_id.get(id).filter(|entry| entry.told).map(|entry| &entry.approval)
    }

    /// Why there is no place for another open request; `None` if there is one.
    pub(super) fn lack_of_room(&self, agent: Option<&AgentName>) -> Option<&'static str> {
        let of_agent = self.open().filter(|open| open.command.agent.as_ref() == agent).count();
        if of_agent >= APPROVALS_OPEN_PER_AGENT_MAX {
            return Some("too many of your requests wait for approval");
        }
        if self.open >= APPROVALS_OPEN_MAX {
            return Some("too many requests wait for approval");
        }
        let full = self.by_id.len() >= APPROVALS_KEPT_MAX && self.oldest_told().is_none();
        full.then_some("too many decisions are on their way to the disk")
    }

    /// The request that is forgotten first.
    fn oldest_told(&self) -> Option<&ApprovalId> {
        let told = |id: &&ApprovalId| self.by_id.get(*id).is_some_and(|entry| entry.told);
        self.due.iter().map(|(_, id)| id).find(told)
    }

    /// Inserts an open request, for which there is room; returns the one that had to be forgotten
    /// for it.
    pub(super) fn insert(
        &mut self,
        approval: Arc<Approval>,
        conn: ConnId,
        due: Instant,
    ) -> Option<ApprovalId> {
        let id = approval.id.clone();
        self.due.insert((due, id.clone()));
        let (conn, waiters) = (Some(conn), Vec::new());
        self.by_id.insert(id, Entry { approval, conn, waiters, told: false, due });
        self.open += 1;
        let full = self.by_id.len() > APPROVALS_KEPT_MAX;
        let oldest = self.oldest_told().filter(|_| full).cloned()?;
        self.forget(&oldest);
        Some(oldest)
    }

    fn forget(&mut self, id: &ApprovalId) {
        if let Some(entry) = self.by_id.remove(id) {
            self.due.remove(&(entry.due, id.clone()));
        }
    }

    /// Someone waits for a decision that has not been told; `false` if it has, or too many do.
    pub(super) fn wait(&mut self, id: &ApprovalId, waiter: Waiter, max: usize) -> bool {
        let Some(entry) = self.by_id.get_mut(id) else { return false };
        let waits = !entry.told && entry.waiters.len() < max;
        if waits {
            entry.waiters.push(waiter);
        }
        waits
    }

    /// Decides an open request; returns it.
    pub(super) fn resolve(
        &mut self,
        now: Moment,
        id: &ApprovalId,
        resolution: Resolution,
    ) -> Option<Arc<Approval>> {
        let entry = self.by_id.get_mut(id).filter(|entry| entry.is_open())?;
        Arc::make_mut(&mut entry.approval).resolution = Some(resolution);
        self.due.remove(&(entry.due, id.clone()));
        entry.due = now.at + APPROVAL_KEPT;
        entry.conn = None;
        self.due.insert((entry.due, id.clone()));
        self.open -= 1;
        Some(Arc::clone(&entry.approval))
    }

    /// A decision is as durable as it will be; returns it with those who wait for it.
    pub(super) fn tell(&mut self, id: &ApprovalId) -> Option<(Arc<Approval>, Vec<Waiter>)> {
        let entry = self.by_id.get_mut(id).filter(|entry| !entry.is_open())?;
        entry.told = true;
        Some((Arc::clone(&entry.approval), std::mem::take(&mut entry.waiters)))
    }

    /// Forgets the decided requests whose time has come, as far as they stand before open ones;
    /// returns one of these whose time has come.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        forgotten: &mut Vec<ApprovalId>,
    ) -> Option<ApprovalId> {
        while let Some((at, id)) = self.due.first().cloned()
            && at <= now
        {
            match self.by_id.get_mut(&id) {
                Some(entry) if entry.is_open() => return Some(id),
                Some(entry) if !entry.told => {
                    // The store has been busy with it for the whole time: look again later.
                    entry.due = now + APPROVAL_KEPT;
                    self.due.remove(&(at, id.clone()));
                    self.due.insert((entry.due, id));
                }
                Some(_) | None => {
                    self.forget(&id);
                    forgotten.push(id);
                }
            }
        }
        None
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The open requests that a connection has made.
    pub(super) fn of(&self, conn: ConnId) -> Vec<ApprovalId> {
        let of = |entry: &&Entry| entry.conn == Some(conn);
        self.by_id.values().filter(of).map(|entry| entry.approval.id.clone()).collect()
    }

    fn open(&self) -> impl Iterator<Item = &Arc<Approval>> {
        let open = self.by_id.values().filter(|entry| entry.is_open());
        open.map(|entry| &entry.approval)
    }

    /// The open requests and what is always allowed, each oldest first, as far as one answer holds
    /// them; and whether that is all.
    pub(super) fn list(&self) -> (Vec<Arc<Approval>>, Vec<Arc<AllowedCommand>>, bool) {
        let mut pending: Vec<_> = self.open().cloned().collect();
        pending.sort_by_key(|approval| approval.created_at_ms);
        let mut allowed: Vec<_> = self.allowed.values().cloned().collect();
        allowed.sort_by_key(|command| command.created_at_ms);
        let mut room = APPROVALS_ANSWER_BYTES_MAX;
        let mut fits = |bytes: usize| {
            room = room.saturating_sub(bytes);
            room > 0
        };
        let all = pending.len() + allowed.len();
        pending.retain(|approval| fits(approval.command.bytes()));
        allowed.retain(|command| fits(command.bytes()));
        let truncated = pending.len() + allowed.len() < all;
        (pending, allowed, truncated)
    }

    /// What lets this be run without asking.
    pub(super) fn allowing(&self, command: &CommandAsked) -> Option<&Arc<AllowedCommand>> {
        self.allowed.get(&allowed_id(command.agent.as_ref()?, command))
    }

    /// Whether one more command can be allowed always.
    pub(super) fn has_room_to_allow(&self) -> bool {
        self.allowed.len() < ALLOWED_COMMANDS_MAX
    }

    /// Allows a command always. Nothing to allow where no agent is named.
    pub(super) fn allow(&mut self, now: Moment, approval: &Approval) -> Option<AllowedId> {
        let command = &approval.command;
        let agent = command.agent.clone()?;
        let id = allowed_id(&agent, command);
        let allowed = AllowedCommand {
            id: id.clone(),
            agent,
            command: Arc::clone(&command.command),
            cwd: command.cwd.clone(),
            host: command.host.clone(),
            by: approval.resolution.as_ref()?.by.clone()?,
            created_at_ms: now.unix_ms,
        };
        self.allowed.insert(id.clone(), Arc::new(allowed));
        Some(id)
    }

    pub(super) fn allowed(&self, id: &AllowedId) -> Option<&Arc<AllowedCommand>> {
        self.allowed.get(id)
    }

    /// Withdraws what was always allowed; whether there was such a thing.
    pub(super) fn withdraw(&mut self, id: &AllowedId) -> bool {
        self.allowed.remove(id).is_some()
    }

    pub(super) fn is_consistent(&self) -> bool {
        self.open().count() == self.open
            && self.open <= APPROVALS_OPEN_MAX
            && self.by_id.len() <= APPROVALS_KEPT_MAX
            && self.allowed.len() <= ALLOWED_COMMANDS_MAX
            && self.due.len() == self.by_id.len()
            && self.by_id.values().all(|entry| {
                entry.conn.is_some() == entry.is_open()
                    && !(entry.told && (entry.is_open() || !entry.waiters.is_empty()))
            })
    }
}

/// A denial that nobody spoke.
pub(super) fn denied(reason: &str, now: Moment) -> Resolution {
    let (decision, reason) = (Decision::Deny, Some(Arc::from(reason)));
    Resolution { decision, reason, by: None, at_ms: now.unix_ms }
}

/// The same for the same agent, command, directory and kind of place, and for nothing else.
fn allowed_id(agent: &AgentName, command: &CommandAsked) -> AllowedId {
    let CommandAsked { command, cwd, host, .. } = command;
    let mut digest = Sha256::new();
    for part in [Some(agent.as_str()), Some(&**command), cwd.as_deref(), host.as_deref()] {
        // Lengths tell "a" and "bc" from "ab" and "c"; an absent part is as long as none can be.
        digest.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
        digest.update(part.unwrap_or_default());
    }
    AllowedId::new(format!("al-{}", hex(&digest.finalize()[..16])))
}
