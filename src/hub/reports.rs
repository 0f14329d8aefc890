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
use crate::protocol::reply::Reply;
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
            let done = execute(self, effects).map_err(Box::new);
            match done.and_then(|answer| self.reply_of(now, answer)) {
                Ok(reply) => self.commits.wait(Waiter::Report { conn, id, reply: Box::new(reply) }),
                Err(error) => self.respond(conn, id, Err(error), effects),
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
        let error = match self.answers.look_up(now.at, &key, &hash, &asker) {
            Known::InProgress => return,
            Known::Done(answer) => {
                let reply = self.reply_of(now, answer);
                return self.respond(conn, id, reply, effects);
            }
            Known::Conflict => ProtocolError::new(
                ErrorCode::Conflict,
                "this idempotencyKey was used with other params",
            ),
            Known::Full(retry_after) => ProtocolError::new(
                ErrorCode::ResourceExhausted,
                "too many idempotency keys are remembered",
            )
            .retry_after(millis(retry_after)),
            Known::New => match self.writable(0).and_then(|()| execute(self, effects)) {
                Ok(answer) => {
                    let record = self.answers.begin(now, key.clone(), hash, asker, answer);
                    self.commits.put_answer(record);
                    self.commits.wait(Waiter::Answer(key));
                    return;
                }
                Err(error) => error,
            },
        };
        self.respond(conn, id, Err(Box::new(error)), effects);
    }

    /// An answer as it is sent: a session is shown as it is now, or is not there any more.
    pub(super) fn reply_of(
        &self,
        now: Moment,
        answer: Answer,
    ) -> Result<Reply, Box<ProtocolError>> {
        Ok(match answer {
            Answer::Done => Reply::Empty,
            Answer::Appended { first, last } => Reply::LogsAppended { first, last },
            Answer::SessionChanged(key) => {
                let session =
                    self.sessions.get(&key).ok_or_else(|| refusals::no_such_session(&key))?;
                Reply::SessionChanged { session: session.clone(), now_ms: now.unix_ms }
            }
            Answer::SessionDeleted { key, deleted } => Reply::SessionDeleted { key, deleted },
        })
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
