//! Reports: executed once, answered when what they change is on disk
//! (`docs/protocol.md`, "Methods" and "Durable state").
//!
//! Owns the way that all reports share; what each changes is in its verb. A report is refused
//! before anything changes, or it is accepted as a whole.

use std::sync::Arc;

use crate::base::ids::{ConnId, RequestId, SpawnId, UserName};
use crate::base::limits::{RESTART_EXPECTED, UNCOMMITTED_BYTES_MAX, UNCOMMITTED_RETRY_AFTER};
use crate::base::time::{Moment, millis};
use crate::hub::answers::{Answer, Asker, Known};
use crate::hub::commits::Waiter;
use crate::hub::effect::Effect;
use crate::hub::records::AnswerKey;
use crate::hub::spawns::news::spawn_reply;
use crate::hub::verbs::spawn::gone;
use crate::hub::{Hub, refusals};
use crate::protocol::cron::CronReply;
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::reply::Reply;
use crate::protocol::request::Idempotency;

/// Who reports.
#[derive(Clone)]
pub(super) enum From {
    /// A peer, who is answered.
    Peer { conn: ConnId, id: RequestId },
    /// A started program, by a line of its output: nobody is answered.
    Spawn(SpawnId),
}

/// Who asked for what.
pub(super) struct Asked {
    pub(super) from: From,
    /// The method's name, which an idempotency key belongs to.
    pub(super) method: &'static str,
}

/// Whether a request was there before, under the same idempotency key.
pub(super) enum Repetition {
    /// It was not: execute it.
    None,
    /// It was, and whoever asks now waits with the first.
    Waits,
    /// It was, and this is its answer.
    Answered(Result<Reply, Box<ProtocolError>>),
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
        let Asked { from, method } = asked;
        let Some(idempotency) = idempotency else {
            match (execute(self, effects), from) {
                (Ok(answer), From::Peer { conn, id }) => match self.reply_of(now, answer) {
                    Ok(reply) => {
                        self.commits.wait(Waiter::Report { conn, id, reply: Box::new(reply) });
                    }
                    Err(error) => self.respond(conn, id, Err(error), effects),
                },
                (Ok(_), From::Spawn(_)) => {}
                (Err(error), from) => self.refuse_report(now, from, Box::new(error), effects),
            }
            return;
        };
        let Some(user) = self.user_of(&from) else { return };
        let key = AnswerKey { user, method: method.to_owned(), key: idempotency.key };
        let hash = idempotency.params_hash;
        let asker = match &from {
            From::Peer { conn, id } => Some((*conn, id.clone())),
            From::Spawn(_) => None,
        };
        let result = match self.repetition(now, &key, &hash, asker.as_ref()) {
            Repetition::Waits => return,
            Repetition::Answered(result) => result,
            Repetition::None => match self.writable(0).and_then(|()| execute(self, effects)) {
                Ok(answer) => {
                    let record = self.answers.begin(now, key.clone(), hash, asker, answer);
                    self.commits.put_answer(record);
                    self.commits.wait(Waiter::Answer(key));
                    return;
                }
                Err(error) => Err(Box::new(error)),
            },
        };
        match (result, from) {
            (Err(error), from) => self.refuse_report(now, from, error, effects),
            (Ok(reply), From::Peer { conn, id }) => self.respond(conn, id, Ok(reply), effects),
            (Ok(_), From::Spawn(_)) => {}
        }
    }

    pub(super) fn refuse_report(
        &mut self,
        now: Moment,
        from: From,
        error: Box<ProtocolError>,
        effects: &mut Vec<Effect>,
    ) {
        match from {
            From::Peer { conn, id } => self.respond(conn, id, Err(error), effects),
            From::Spawn(spawn) => self.child_report_refused(now, &spawn, &error, effects),
        }
    }

    /// Whose idempotency keys count.
    fn user_of(&self, from: &From) -> Option<UserName> {
        match from {
            From::Peer { conn, .. } => self.clients.get(*conn).map(|c| c.grant.user.clone()),
            From::Spawn(spawn) => self.spawns.record(spawn).map(|record| record.user.clone()),
        }
    }

    /// Whether a request with this key is the first of its kind. An asker whose answer is still in
    /// progress waits for it from now on.
    pub(super) fn repetition(
        &mut self,
        now: Moment,
        key: &AnswerKey,
        params_hash: &[u8; 32],
        asker: Option<&Asker>,
    ) -> Repetition {
        Repetition::Answered(match self.answers.look_up(now.at, key, params_hash, asker) {
            Known::New => return Repetition::None,
            Known::InProgress => return Repetition::Waits,
            Known::Done(answer) => self.reply_of(now, answer),
            Known::Conflict => Err(Box::new(ProtocolError::new(
                ErrorCode::Conflict,
                "this idempotencyKey was used with other params",
            ))),
            Known::Full(retry_after) => {
                let message = "too many idempotency keys are remembered";
                let error = ProtocolError::new(ErrorCode::ResourceExhausted, message);
                Err(Box::new(error.retry_after(millis(retry_after))))
            }
        })
    }

    /// An answer as it is sent: a session or spawn is shown as it is now, or is not there any more.
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
            Answer::Spawned { spawn, template } => match self.spawns.record(&spawn) {
                Some(record) => spawn_reply(record, template),
                None => return Err(Box::new(gone(&spawn))),
            },
            Answer::Job(id) => {
                let job = self.cron.jobs.get(&id).ok_or_else(|| refusals::no_such_job(&id))?;
                Reply::Cron(Box::new(CronReply::Job(Arc::new(job.record.clone()))))
            }
            Answer::JobStarted { job, number } => {
                Reply::Cron(Box::new(CronReply::Started(job, number)))
            }
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
