//! Reports: executed once, answered when what they change is on disk
//! (`docs/protocol.md`, "Methods" and "Durable state").
//!
//! Owns the way that all reports share; what each changes is in its verb. A report is refused
//! before anything changes, or it is accepted as a whole.

use crate::base::ids::{ConnId, RequestId};
use crate::base::limits::{RESTART_EXPECTED, UNCOMMITTED_BYTES_MAX, UNCOMMITTED_RETRY_AFTER};
use crate::base::time::{Moment, millis};
use crate::hub::answers::{Answer, Known};
use crate::hub::commits::Waiter;
use crate::hub::effect::Effect;
use crate::hub::records::AnswerKey;
use crate::hub::{Hub, refusals};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::request::Idempotency;

/// Who asked for what.
pub(super) struct Asked {
    pub(super) conn: ConnId,
    pub(super) id: RequestId,
    /// The method's name, which an idempotency key belongs to.
    pub(super) method: &'static str,
}

impl Hub {
    /// Executes a report, unless it is a repetition. `execute` changes the hub and notes what is
    /// to be written, or changes nothing and says why.
    pub(super) fn report(
        &mut self,
        now: Moment,
        asked: Asked,
        idempotency: Option<Idempotency>,
        effects: &mut Vec<Effect>,
        execute: impl FnOnce(&mut Self, &mut Vec<Effect>) -> Result<Answer, ProtocolError>,
    ) {
        let Asked { conn, id, method } = asked;
        let Some(idempotency) = idempotency else {
            match execute(self, effects) {
                Ok(answer) => {
                    self.commits.wait(Waiter::Report { conn, id, reply: Box::new(answer.reply()) })
                }
                Err(error) => self.respond(conn, id, Err(Box::new(error)), effects),
            }
            return;
        };
        let Some(client) = self.clients.get(conn) else { return };
        let key = AnswerKey {
            user: client.grant.user.clone(),
            method: method.to_owned(),
            key: idempotency.key,
        };
        let hash = idempotency.params_hash;
        let asker = (conn, id.clone());
        let result = match self.answers.look_up(now.at, &key, &hash, &asker) {
            Known::InProgress => return,
            Known::Done(answer) => Ok(answer.reply()),
            Known::Conflict => Err(ProtocolError::new(
                ErrorCode::Conflict,
                "this idempotencyKey was used with other params",
            )),
            Known::Full(retry_after) => Err(ProtocolError::new(
                ErrorCode::ResourceExhausted,
                "too many idempotency keys are remembered",
            )
            .retry_after(millis(retry_after))),
            Known::New => match self.writable(0).and_then(|()| execute(self, effects)) {
                Ok(answer) => {
                    let record = self.answers.begin(now, key.clone(), hash, asker, answer);
                    self.commits.put_answer(record);
                    self.commits.wait(Waiter::Answer(key));
                    return;
                }
                Err(error) => Err(error),
            },
        };
        self.respond(conn, id, result.map_err(Box::new), effects);
    }

    /// Whether a change of so many bytes can be taken on now.
    pub(super) fn writable(&self, bytes: usize) -> Result<(), ProtocolError> {
        if self.stopping.is_some() {
            return Err(refusals::request_while_stopping(RESTART_EXPECTED));
        }
        if !self.commits.is_healthy() {
            return Err(refusals::not_stored());
        }
        if self.commits.uncommitted_bytes() + bytes > UNCOMMITTED_BYTES_MAX {
            return Err(ProtocolError::new(
                ErrorCode::ResourceExhausted,
                "too many reports are waiting for the disk",
            )
            .retry_after(millis(UNCOMMITTED_RETRY_AFTER)));
        }
        Ok(())
    }
}
