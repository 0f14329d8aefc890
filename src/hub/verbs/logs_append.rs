//! `logs.append {entries, idempotencyKey?}`: an agent's log entries, durable when answered.
//!
//! Seen live at once, answered when on disk (`docs/protocol.md`, "logs.append").

use crate::base::limits::UNCOMMITTED_RETRY_AFTER;
use crate::base::time::{Moment, millis};
use crate::hub::Hub;
use crate::hub::answers::Answer;
use crate::hub::effect::Effect;
use crate::hub::journal::entry_bytes;
use crate::hub::reports::{Asked, From};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::event::Event;
use crate::protocol::log_entry::LogDraft;
use crate::protocol::request::LogsAppend;

impl Hub {
    pub(in crate::hub) fn logs_append(
        &mut self,
        now: Moment,
        from: From,
        append: LogsAppend,
        effects: &mut Vec<Effect>,
    ) {
        let LogsAppend { entries, idempotency } = append;
        let asked = Asked { from, method: "logs.append" };
        self.report(now, asked, idempotency, effects, |hub, effects| {
            hub.append_entries(entries, effects)
        });
    }

    /// Gives the entries their cursors and shows them live, all or none.
    pub(in crate::hub) fn append_entries(
        &mut self,
        entries: Vec<LogDraft>,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, ProtocolError> {
        self.writable(entries.iter().map(entry_bytes).sum())?;
        if !self.journal.has_cursors(entries.len()) {
            return Err(ProtocolError::new(
                ErrorCode::Unavailable,
                "the next journal positions are still being reserved",
            )
            .retry_after(millis(UNCOMMITTED_RETRY_AFTER)));
        }
        let mut cursors = None;
        for draft in entries {
            let record = self.journal.append(draft);
            let (first, _) = cursors.unwrap_or((record.cursor, record.cursor));
            cursors = Some((first, record.cursor));
            self.commits.append_entry(record.clone());
            effects.push(Effect::Broadcast(Event::Log(record)));
        }
        cursors
            .map(|(first, last)| Answer::Appended { first, last })
            .ok_or_else(|| ProtocolError::invalid("invalid logs.append params: entries is empty"))
    }
}
