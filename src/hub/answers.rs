//! Idempotency: what was answered to which key (`docs/protocol.md`, "Methods").
//!
//! Owns the table in memory, with those who wait for an answer that is being made durable. Does
//! not execute anything and does not write to disk (`commits`). A full table refuses new keys,
//! because forgetting an answer early would execute its request twice. Called by the verbs that
//! take an `idempotencyKey`.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::base::ids::{ConnId, Cursor, JobId, RequestId, SessionKey, SpawnId};
use crate::base::limits::{IDEMPOTENT_ANSWER_TTL, IDEMPOTENT_ANSWERS_MAX};
use crate::base::time::Moment;
use crate::hub::records::{AnswerKey, AnswerRecord};

/// What a request is answered with, kept as small as it is. `Hub::reply_of` makes it whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A bare `ok`.
    Done,
    /// The cursors of a `logs.append`.
    Appended { first: Cursor, last: Cursor },
    /// A session that was changed, to be shown as it is when the answer is given.
    SessionChanged(SessionKey),
    /// A session that is gone, and whether there was one.
    SessionDeleted { key: SessionKey, deleted: bool },
    /// How this spawn stands then; `template` if `sessions_spawn` asked for it.
    Spawned { spawn: SpawnId, template: bool },
    /// A job, to be shown as it is when the answer is given.
    Job(JobId),
    /// A run of a job that was begun on request.
    JobStarted { job: JobId, number: u64 },
}

impl Answer {
    fn to_json(&self) -> Value {
        match self {
            Self::Done => json!({ "done": true }),
            Self::Spawned { spawn, template } => json!({ "spawn": spawn, "template": template }),
            Self::Job(job) => json!({ "job": job.as_str() }),
            Self::JobStarted { job, number } => json!({ "job": job.as_str(), "run": number }),
            Self::Appended { first, last } => json!({ "first": first.0, "last": last.0 }),
            Self::SessionChanged(key) => json!({ "changed": key.as_str() }),
            Self::SessionDeleted { key, deleted } => {
                json!({ "session": key.as_str(), "deleted": deleted })
            }
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        if value.get("done").is_some() {
            return Some(Self::Done);
        }
        let session = |name: &str| value.get(name)?.as_str().map(SessionKey::new);
        if let Some(key) = session("changed") {
            return Some(Self::SessionChanged(key));
        }
        if let Some(key) = session("session") {
            return Some(Self::SessionDeleted { key, deleted: value.get("deleted")?.as_bool()? });
        }
        if let Some(job) = value.get("job") {
            let job = JobId::new(job.as_str()?);
            return Some(match value.get("run") {
                Some(number) => Self::JobStarted { job, number: number.as_u64()? },
                None => Self::Job(job),
            });
        }
        if let Some(spawn) = value.get("spawn") {
            let template = value.get("template")?.as_bool()?;
            return Some(Self::Spawned { spawn: SpawnId::new(spawn.as_str()?), template });
        }
        let cursor = |name: &str| value.get(name)?.as_u64().map(Cursor);
        Some(Self::Appended { first: cursor("first")?, last: cursor("last")? })
    }
}

/// Someone who waits for an answer.
pub(super) type Asker = (ConnId, RequestId);

struct Entry {
    params_hash: [u8; 32],
    answer: Answer,
    /// `Some` until the answer is on disk.
    waiting: Option<Vec<Asker>>,
    forget_at: Instant,
}

/// What is known of a key.
pub(super) enum Known {
    /// Nothing: execute the request.
    New,
    /// It was answered with this.
    Done(Answer),
    /// It is being made durable; the asker now waits with the first.
    InProgress,
    /// It came with other parameters.
    Conflict,
    /// There is no room for another key until then.
    Full(Duration),
}

/// All of them.
#[derive(Default)]
pub(super) struct Answers {
    by_key: BTreeMap<AnswerKey, Entry>,
    /// By when they are forgotten. Each entry has one place here, and a place without its entry,
    /// because a commit failed, is skipped.
    order: VecDeque<(Instant, AnswerKey)>,
}

impl Answers {
    /// Takes what was on disk at the start; returns the keys that have expired or cannot be read.
    pub(super) fn load(&mut self, mut records: Vec<AnswerRecord>, now: Moment) -> Vec<AnswerKey> {
        let mut unusable = Vec::new();
        records.sort_by_key(|record| record.expires_at_ms);
        for record in records {
            let left = Duration::from_millis(record.expires_at_ms.saturating_sub(now.unix_ms))
                .min(IDEMPOTENT_ANSWER_TTL);
            match Answer::from_json(&record.answer) {
                Some(answer) if !left.is_zero() && self.by_key.len() < IDEMPOTENT_ANSWERS_MAX => {
                    let forget_at = now.at + left;
                    let params_hash = record.params_hash;
                    self.order.push_back((forget_at, record.key.clone()));
                    let entry = Entry { params_hash, answer, waiting: None, forget_at };
                    self.by_key.insert(record.key, entry);
                }
                _ => unusable.push(record.key),
            }
        }
        unusable
    }

    /// Looks a key up; an asker whose answer is in progress is remembered.
    pub(super) fn look_up(
        &mut self,
        now: Instant,
        key: &AnswerKey,
        params_hash: &[u8; 32],
        asker: Option<&Asker>,
    ) -> Known {
        match self.by_key.get_mut(key) {
            Some(entry) if entry.forget_at > now => {
                if entry.params_hash != *params_hash {
                    return Known::Conflict;
                }
                let Some(waiting) = &mut entry.waiting else {
                    return Known::Done(entry.answer.clone());
                };
                // Bounded by the requests that its connection may have in progress.
                waiting.extend(asker.cloned());
                Known::InProgress
            }
            _ if self.order.len() < IDEMPOTENT_ANSWERS_MAX => Known::New,
            _ => {
                Known::Full(self.order.front().map_or(Duration::ZERO, |(forget_at, _)| {
                    forget_at.saturating_duration_since(now)
                }))
            }
        }
    }

    /// Remembers an answer that is being made durable; returns the record to store.
    pub(super) fn begin(
        &mut self,
        now: Moment,
        key: AnswerKey,
        params_hash: [u8; 32],
        asker: Option<Asker>,
        answer: Answer,
    ) -> AnswerRecord {
        let until = now.after(IDEMPOTENT_ANSWER_TTL);
        let record_answer = answer.to_json();
        let waiting = Some(asker.into_iter().collect());
        let entry = Entry { params_hash, answer, waiting, forget_at: until.at };
        self.by_key.insert(key.clone(), entry);
        self.order.push_back((until.at, key.clone()));
        AnswerRecord { key, params_hash, answer: record_answer, expires_at_ms: until.unix_ms }
    }

    /// The answer is on disk: everyone who waits gets it.
    pub(super) fn stored(&mut self, key: &AnswerKey) -> Option<(Answer, Vec<Asker>)> {
        let entry = self.by_key.get_mut(key)?;
        let waiting = entry.waiting.take()?;
        Some((entry.answer.clone(), waiting))
    }

    /// The answer did not become durable: the key is free again, and everyone who waits is told.
    pub(super) fn failed(&mut self, key: &AnswerKey) -> Vec<Asker> {
        self.by_key.remove(key).and_then(|entry| entry.waiting).unwrap_or_default()
    }

    /// When the next answer is forgotten.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.order.front().map(|(forget_at, _)| *forget_at)
    }

    /// Forgets what is due; returns the keys that leave the disk. An answer that is still being
    /// made durable is forgotten here too once it is, since its place in the order stays.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<AnswerKey> {
        let mut forgotten = Vec::new();
        while let Some((forget_at, _)) = self.order.front()
            && *forget_at <= now
            && let Some((forget_at, key)) = self.order.pop_front()
        {
            match self.by_key.get(&key) {
                Some(entry) if entry.waiting.is_some() && entry.forget_at == forget_at => {
                    // The store has been busy with it for the whole time: look again later.
                    let again = now + IDEMPOTENT_ANSWER_TTL;
                    self.order.push_back((again, key.clone()));
                    if let Some(entry) = self.by_key.get_mut(&key) {
                        entry.forget_at = again;
                    }
                }
                Some(entry) if entry.forget_at == forget_at => {
                    self.by_key.remove(&key);
                    forgotten.push(key);
                }
                _ => {}
            }
        }
        forgotten
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::UserName;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    fn start() -> Moment {
        Moment { at: Instant::now(), unix_ms: 1_000 }
    }

    fn key(number: usize) -> AnswerKey {
        let user = UserName::new("ann");
        AnswerKey { user, method: "logs.append".to_owned(), key: number.to_string() }
    }

    #[test]
    fn a_full_table_refuses_a_new_key_until_the_oldest_is_forgotten_and_keeps_the_old_ones() {
        let now = start();
        let later = now.after(Duration::from_secs(1));
        let asker = || Some((ConnId(1), RequestId::new("r")));
        let answer = Answer::Appended { first: Cursor(1), last: Cursor(1) };
        let mut answers = Answers::default();
        for number in 0..IDEMPOTENT_ANSWERS_MAX {
            answers.begin(now, key(number), [0; 32], asker(), answer.clone());
            answers.stored(&key(number));
        }
        let new = key(IDEMPOTENT_ANSWERS_MAX);
        let left = IDEMPOTENT_ANSWER_TTL - Duration::from_secs(1);
        let full = answers.look_up(later.at, &new, &[0; 32], asker().as_ref());
        assert!(matches!(full, Known::Full(retry_after) if retry_after == left));
        let old = answers.look_up(later.at, &key(0), &[0; 32], asker().as_ref());
        assert!(matches!(old, Known::Done(done) if done == answer));
        let over = now.after(IDEMPOTENT_ANSWER_TTL);
        assert_eq!(answers.expire(over.at).len(), IDEMPOTENT_ANSWERS_MAX);
        assert!(matches!(answers.look_up(over.at, &new, &[0; 32], asker().as_ref()), Known::New));
        assert_eq!((answers.len(), answers.deadline()), (0, None));
    }

    #[test]
    fn an_answer_that_cannot_be_read_back_leaves_the_disk() {
        let now = start();
        let record = |number, answer| AnswerRecord {
            key: key(number),
            params_hash: [0; 32],
            answer,
            expires_at_ms: now.unix_ms + 1,
        };
        let mut answers = Answers::default();
        let readable = Answer::Appended { first: Cursor(1), last: Cursor(2) }.to_json();
        let unusable = answers.load(vec![record(1, json!({})), record(2, readable)], now);
        assert_eq!(unusable, [key(1)]);
        assert_eq!(answers.len(), 1);
    }
}
