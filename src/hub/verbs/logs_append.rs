//! `logs.append {entries, idempotencyKey?}`: an agent's log entries, durable when answered.
//!
//! Seen live at once, answered when on disk (`docs/protocol.md`, "Reports").

use crate::base::ids::{ConnId, RequestId};
use crate::base::limits::{RESTART_EXPECTED, UNCOMMITTED_BYTES_MAX, UNCOMMITTED_RETRY_AFTER};
use crate::base::time::{Moment, millis};
use crate::hub::answers::{Appended, Known};
use crate::hub::commits::Waiter;
use crate::hub::effect::Effect;
use crate::hub::journal::entry_bytes;
use crate::hub::records::AnswerKey;
use crate::hub::{Hub, refusals};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::event::Event;
use crate::protocol::log_entry::LogDraft;
use crate::protocol::request::LogsAppend;

const METHOD: &str = "logs.append";

impl Hub {
    pub(in crate::hub) fn logs_append(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        append: LogsAppend,
        effects: &mut Vec<Effect>,
    ) {
        let LogsAppend { entries, idempotency } = append;
        let Some(idempotency) = idempotency else {
            match self.append_entries(entries, effects) {
                Ok(appended) => self.commits.wait(Waiter::Append { conn, id, appended }),
                Err(error) => self.respond(conn, id, Err(Box::new(error)), effects),
            }
            return;
        };
        let Some(client) = self.clients.get(conn) else { return };
        let key = AnswerKey {
            user: client.grant.user.clone(),
            method: METHOD.to_owned(),
            key: idempotency.key,
        };
        let hash = idempotency.params_hash;
        let asker = (conn, id.clone());
        let result = match self.answers.look_up(now.at, &key, &hash, &asker) {
            Known::InProgress => return,
            Known::Done(appended) => Ok(appended.reply()),
            Known::Conflict => Err(ProtocolError::new(
                ErrorCode::Conflict,
                "this idempotencyKey was used with other params",
            )),
            Known::Full(retry_after) => Err(ProtocolError::new(
                ErrorCode::ResourceExhausted,
                "too many idempotency keys are remembered",
            )
            .retry_after(millis(retry_after))),
            Known::New => match self.append_entries(entries, effects) {
                Ok(appended) => {
                    let record = self.answers.begin(now, key.clone(), hash, asker, appended);
                    self.commits.put_answer(record);
                    self.commits.wait(Waiter::Answer(key));
                    return;
                }
                Err(error) => Err(error),
            },
        };
        self.respond(conn, id, result.map_err(Box::new), effects);
    }

    /// Gives the entries their cursors and shows them live, all or none.
    fn append_entries(
        &mut self,
        entries: Vec<LogDraft>,
        effects: &mut Vec<Effect>,
    ) -> Result<Appended, ProtocolError> {
        if self.stopping.is_some() {
            return Err(refusals::request_while_stopping(RESTART_EXPECTED));
        }
        if !self.commits.is_healthy() {
            return Err(refusals::not_stored());
        }
        let bytes: usize = entries.iter().map(entry_bytes).sum();
        if self.commits.uncommitted_bytes() + bytes > UNCOMMITTED_BYTES_MAX {
            return Err(ProtocolError::new(
                ErrorCode::ResourceExhausted,
                "too many reports are waiting for the disk",
            )
            .retry_after(millis(UNCOMMITTED_RETRY_AFTER)));
        }
        if !self.journal.has_cursors(entries.len()) {
            return Err(ProtocolError::new(
                ErrorCode::Unavailable,
                "the next journal positions are still being reserved",
            )
            .retry_after(millis(UNCOMMITTED_RETRY_AFTER)));
        }
        let mut appended: Option<Appended> = None;
        for draft in entries {
            let record = self.journal.append(draft);
            let first = appended.map_or(record.cursor, |appended| appended.first);
            appended = Some(Appended { first, last: record.cursor });
            self.commits.append_entry(record.clone());
            effects.push(Effect::Broadcast(Event::Log(record)));
        }
        appended
            .ok_or_else(|| ProtocolError::invalid("invalid logs.append params: entries is empty"))
    }
}
