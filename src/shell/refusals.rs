//! Diagnostics of peers that are refused before the hub hears of them.
//!
//! Owns the table, which connection threads share: one lock for a refusal, never on the way of a
//! message. The summaries of a minute are written by whoever comes next, or
//! by the main thread's watch. What the hub refuses, it reports itself in the same words.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::base::ids::ConnId;
use crate::hub::effect::{Diagnostic, DiagnosticValue};
use crate::hub::refusal_log::{RefusalLog, Summary};
use crate::shell::{clock, diagnostics};

/// See the module.
#[derive(Debug, Default)]
pub struct Refusals {
    log: Mutex<RefusalLog>,
}

impl Refusals {
    /// A peer at `address` was refused: reports it at once, or with the others of its minute.
    /// `reason` is a `details.code` or the name of a close reason.
    pub fn refused(&self, address: IpAddr, conn: ConnId, reason: &str) {
        let (is_first, due) = {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock::instant();
            let due = log.due(now);
            (log.refused(now, address), due)
        };
        summarise(due);
        if is_first {
            let fields = vec![
                ("reason", DiagnosticValue::Text(reason.to_owned())),
                ("conn", DiagnosticValue::Text(conn.to_string())),
                ("peer", DiagnosticValue::Text(address.to_string())),
            ];
            let level = log::Level::Warn;
            diagnostics::diagnose(&Diagnostic { level, msg: "Connect refused", fields });
        }
    }

    /// Writes the summaries that are due.
    pub fn summarise(&self) {
        let due = self.log.lock().unwrap_or_else(PoisonError::into_inner).due(clock::instant());
        summarise(due);
    }
}

fn summarise(due: Vec<Summary>) {
    for summary in due {
        let peer = summary.address.map_or_else(|| "others".to_owned(), |peer| peer.to_string());
        let fields = vec![
            ("peer", DiagnosticValue::Text(peer)),
            ("count", DiagnosticValue::Number(summary.count)),
        ];
        let level = log::Level::Warn;
        diagnostics::diagnose(&Diagnostic { level, msg: "Connects refused", fields });
    }
}
