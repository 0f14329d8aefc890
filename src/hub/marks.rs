//! Which runs, messages and approvals a commit writes as they are when it starts.
//!
//! What is true of them stays true when a commit fails: it is marked again, and written when the
//! store takes writes again. Owns no record itself. Called by `commits`, and by `durability` for
//! what goes to the disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::ids::{AllowedId, ApprovalId, RunId};
use crate::hub::approvals::Approvals;
use crate::hub::records::Change;
use crate::hub::runs::history::History;
use crate::hub::runs::table::Runs;

/// See the module. One that is no longer there is deleted.
#[derive(Default)]
pub(super) struct Marks {
    pub(super) runs: BTreeSet<RunId>,
    pub(super) messages: BTreeSet<u64>,
    pub(super) approvals: BTreeSet<ApprovalId>,
    pub(super) allowed: BTreeSet<AllowedId>,
}

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.runs.len() + self.messages.len() + self.approvals.len() + self.allowed.len()
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        self.runs.append(&mut other.runs);
        self.messages.append(&mut other.messages);
        self.approvals.append(&mut other.approvals);
        self.allowed.append(&mut other.allowed);
    }

    /// What goes to the disk.
    pub(super) fn changes(
        &self,
        runs: &Runs,
        history: &History,
        approvals: &Approvals,
    ) -> Vec<Change> {
        let runs = self.runs.iter().map(|id| match runs.get(id) {
            Some(run) => Change::PutRun(Arc::clone(&run.record)),
            None => Change::DeleteRun(id.clone()),
        });
        let messages = self.messages.iter().map(|id| match history.get(*id) {
            Some(message) => Change::PutMessage(Arc::clone(message)),
            None => Change::DeleteMessage(*id),
        });
        let asked = self.approvals.iter().map(|id| match approvals.get(id) {
            Some(approval) => Change::PutApproval(Arc::clone(approval)),
            None => Change::DeleteApproval(id.clone()),
        });
        let allowed = self.allowed.iter().map(|id| match approvals.allowed(id) {
            Some(command) => Change::PutAllowed(Arc::clone(command)),
            None => Change::DeleteAllowed(id.clone()),
        });
        runs.chain(messages).chain(asked).chain(allowed).collect()
    }
}
