//! Reports of what strangers can cause without end: refused connects, to the diagnostics and the
//! audit file alike, whether the hub refuses them or somebody before it; and devices that ask to
//! be approved, to the audit file.
//!
//! Owns the tables, which connection threads and the hub thread share: one lock for a refusal, held
//! for no more than a look into it, and never on the way of a message. The summaries of a minute
//! are written by whoever comes next, or by the main thread's watch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::ids::ConnId;
use crate::base::limits::PAIRINGS_PER_ADDRESS_MAX;
use crate::hub::audit::{Actor, AuditEvent, AuditKind};
use crate::hub::effect::{Diagnostic, DiagnosticValue};
use crate::protocol::peer::PeerContext;
use crate::shell::audit::Audit;
use crate::shell::refusal_log::{RefusalLog, Summary};
use crate::shell::{clock, diagnostics};

/// See the module.
#[derive(Debug, Default)]
pub struct Refusals {
    logs: Mutex<Logs>,
    audit: Audit,
}

#[derive(Debug)]
struct Logs {
    failures: RefusalLog,
    pendings: RefusalLog,
}

impl Default for Logs {
    fn default() -> Self {
        let pendings_whole = u32::try_from(PAIRINGS_PER_ADDRESS_MAX).unwrap_or(u32::MAX);
        Self { failures: RefusalLog::new(1), pendings: RefusalLog::new(pendings_whole) }
    }
}

impl Logs {
    /// Where events of this kind are counted, if they are.
    fn of(&mut self, kind: AuditKind) -> Option<&mut RefusalLog> {
        match kind {
            AuditKind::AuthFailure => Some(&mut self.failures),
            AuditKind::DevicePending => Some(&mut self.pendings),
            _ => None,
        }
    }

    /// What each table has to say.
    fn each(
        &mut self,
        mut say: impl FnMut(&mut RefusalLog) -> Vec<Summary>,
    ) -> Vec<(AuditKind, Summary)> {
        let failures = say(&mut self.failures).into_iter().map(|one| (AuditKind::AuthFailure, one));
        let pendings = say(&mut self.pendings).into_iter();
        failures.chain(pendings.map(|one| (AuditKind::DevicePending, one))).collect()
    }
}

impl Refusals {
    /// Reports to this audit file, too.
    pub fn new(audit: Audit) -> Self {
        Self { logs: Mutex::default(), audit }
    }

    /// The audit file.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// A peer was refused before the hub heard of it. `reason` is a `details.code` or the name of a
    /// close reason.
    pub fn refused(&self, peer: &PeerContext, conn: ConnId, reason: &str) {
        self.report(AuditEvent::refused(Actor::stranger(conn, peer), None, reason));
    }

    /// Takes what the hub or a connection has to say for the audit file. What strangers can cause is
    /// reported at once, or with the others of its minute.
    pub fn report(&self, event: AuditEvent) {
        let Some(address) = event.actor.address else { return self.audit.record(event) };
        let reason = event.what.iter().find_map(|member| match member {
            ("reason", DiagnosticValue::Text(reason)) => Some(reason.as_str()),
            _ => None,
        });
        let (is_whole, due) = {
            let mut logs = self.lock();
            let now = clock::instant();
            let Some(log) = logs.of(event.kind) else {
                drop(logs);
                return self.audit.record(event);
            };
            let is_whole = log.refused(now, address, reason.unwrap_or_default());
            (is_whole, logs.each(|log| log.due(now)))
        };
        self.summarise_these(due);
        if is_whole {
            if event.kind == AuditKind::AuthFailure {
                diagnose("Connect refused", fields(&event));
            }
            self.audit.record(event);
        }
    }

    /// Writes the summaries that are due.
    pub fn summarise(&self) {
        let now = clock::instant();
        let due = self.lock().each(|log| log.due(now));
        self.summarise_these(due);
    }

    /// Writes everything that there is to say yet, and waits for the audit file: the end.
    pub fn finish(&self) {
        let left = self.lock().each(RefusalLog::drain);
        self.summarise_these(left);
        self.audit.finish();
    }

    fn summarise_these(&self, summaries: Vec<(AuditKind, Summary)>) {
        for (kind, Summary { address, reasons }) in summaries {
            let others = || "others".to_owned();
            let numbers = [
                ("count", DiagnosticValue::Number(reasons.count())),
                ("reasons", DiagnosticValue::Text(reasons.to_string())),
            ];
            let peer = address.map_or_else(others, |peer| peer.to_string());
            let peer = ("peer", DiagnosticValue::Text(peer));
            if kind == AuditKind::AuthFailure {
                let fields = [peer.clone()].into_iter().chain(numbers.clone());
                diagnose("Connects refused", fields.collect());
            }
            let what = match address {
                Some(_) => numbers.to_vec(),
                None => [peer].into_iter().chain(numbers).collect(),
            };
            let actor = Actor { address, ..Actor::default() };
            self.audit.record(AuditEvent { kind, actor, what });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `client_id`, `reason`, `conn`, `peer`.
fn fields(event: &AuditEvent) -> Vec<(&'static str, DiagnosticValue)> {
    let mut fields = event.what.clone();
    for (name, _) in &mut fields {
        if *name == "client" {
            *name = "client_id";
        }
    }
    let conn = event.actor.conn.map(|conn| ("conn", DiagnosticValue::Text(conn.to_string())));
    let peer = event.actor.address.map(|at| ("peer", DiagnosticValue::Text(at.to_string())));
    fields.into_iter().chain(conn).chain(peer).collect()
}

fn diagnose(msg: &'static str, fields: Vec<(&'static str, DiagnosticValue)>) {
    diagnostics::diagnose(&Diagnostic { level: log::Level::Warn, msg, fields });
}
