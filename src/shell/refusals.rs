//! Reports of refused connects, to the diagnostics and the audit file alike: who is refused by the
//! hub, and who is refused before it hears of them.
//!
//! Owns the table, which connection threads and the hub thread share: one lock for a refusal, held
//! for no more than a look into it, and never on the way of a message. The summaries of a minute
//! are written by whoever comes next, or by the main thread's watch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::ids::ConnId;
use crate::hub::audit::{Actor, AuditEvent, AuditKind};
use crate::hub::effect::{Diagnostic, DiagnosticValue};
use crate::protocol::peer::PeerContext;
use crate::shell::audit::Audit;
use crate::shell::refusal_log::{RefusalLog, Summary};
use crate::shell::{clock, diagnostics};

/// See the module.
#[derive(Debug, Default)]
pub struct Refusals {
    log: Mutex<RefusalLog>,
    audit: Audit,
}

impl Refusals {
    /// Reports to this audit file, too.
    pub fn new(audit: Audit) -> Self {
        Self { log: Mutex::default(), audit }
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

    /// Takes what the hub or a connection has to say for the audit file. Refusals are reported at
    /// once, or with the others of their minute.
    pub fn report(&self, event: AuditEvent) {
        let Some(address) = event.actor.address.filter(|_| event.kind == AuditKind::AuthFailure)
        else {
            return self.audit.record(event);
        };
        let reason = event.what.iter().find_map(|member| match member {
            ("reason", DiagnosticValue::Text(reason)) => Some(reason.as_str()),
            _ => None,
        });
        let (is_first, due) = {
            let mut log = self.lock();
            let now = clock::instant();
            let due = log.due(now);
            (log.refused(now, address, reason.unwrap_or_default()), due)
        };
        self.summarise_these(due);
        if is_first {
            diagnose("Connect refused", fields(&event));
            self.audit.record(event);
        }
    }

    /// Writes the summaries that are due.
    pub fn summarise(&self) {
        let due = self.lock().due(clock::instant());
        self.summarise_these(due);
    }

    /// Writes everything that there is to say yet, and waits for the audit file: the end.
    pub fn finish(&self) {
        let left = self.lock().drain();
        self.summarise_these(left);
        self.audit.finish();
    }

    fn summarise_these(&self, summaries: Vec<Summary>) {
        for Summary { address, reasons } in summaries {
            let others = || "others".to_owned();
            let numbers = [
                ("count", DiagnosticValue::Number(reasons.count())),
                ("reasons", DiagnosticValue::Text(reasons.to_string())),
            ];
            let peer = address.map_or_else(others, |peer| peer.to_string());
            let fields = [("peer", DiagnosticValue::Text(peer))].into_iter().chain(numbers.clone());
            diagnose("Connects refused", fields.collect());
            let what = match address {
                Some(_) => numbers.to_vec(),
                None => {
                    let peer = ("peer", DiagnosticValue::Text(others()));
                    [peer].into_iter().chain(numbers).collect()
                }
            };
            let actor = Actor { address, ..Actor::default() };
            self.audit.record(AuditEvent { kind: AuditKind::AuthFailure, actor, what });
        }
    }

    fn lock(&self) -> MutexGuard<'_, RefusalLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
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
