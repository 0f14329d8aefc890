//! What was said in each session: messages and answers, oldest first. Bounded, per session and in
//! all; the oldest messages are forgotten first.
//!
//! Does not write to disk (`work`) and does not decide what becomes a message (`runs`). Called by
//! `runs` and by the verbs `chat.history`, `sessions.reset` and `sessions.delete`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::ids::SessionKey;
use crate::base::limits::{
    HISTORY_ANSWER_BYTES_MAX, HISTORY_BYTES_MAX, HISTORY_BYTES_PER_SESSION_MAX,
    HISTORY_MESSAGES_MAX, HISTORY_MESSAGES_PER_SESSION_MAX,
};
use crate::base::time::UTC_MS_MAX;
use crate::hub::commits::Commits;
use crate::hub::records::Change;
use crate::protocol::run::ChatMessage;

/// The messages of one session, by id.
#[derive(Default)]
struct Conversation {
    ids: BTreeSet<u64>,
    bytes: usize,
}

/// See the module.
#[derive(Default)]
pub(in crate::hub) struct History {
    by_id: BTreeMap<u64, Arc<ChatMessage>>,
    sessions: BTreeMap<SessionKey, Conversation>,
    bytes: usize,
    last_id: u64,
}

impl History {
    /// What was on disk, as far as there is room.
    pub(in crate::hub) fn load(commits: &mut Commits, mut messages: Vec<Arc<ChatMessage>>) -> Self {
        let mut history = Self::default();
        messages.sort_by_key(|message| message.id);
        for message in messages {
            // Ids follow the time; one beyond all time is damage, and leaves no room for others.
            if message.id > UTC_MS_MAX {
                commits.lazily(Change::DeleteMessage(message.id));
                continue;
            }
            for surplus in history.insert(message) {
                commits.lazily(Change::DeleteMessage(surplus));
            }
        }
        history
    }

    /// An id that no message ever had: the time, unless messages come faster than that.
    pub(in crate::hub) fn next_id(&self, now_ms: u64) -> u64 {
        now_ms.max(self.last_id + 1)
    }

    /// Adds a message, whose id is greater than all others; returns the ids of what had to go.
    pub(in crate::hub) fn insert(&mut self, message: Arc<ChatMessage>) -> Vec<u64> {
        let session = message.session.clone();
        let bytes = message.content.len();
        self.last_id = self.last_id.max(message.id);
        let conversation = self.sessions.entry(session.clone()).or_default();
        conversation.ids.insert(message.id);
        conversation.bytes += bytes;
        self.bytes += bytes;
        self.by_id.insert(message.id, message);
        let mut gone = Vec::new();
        while let Some(oldest) = self.surplus(&session) {
            self.remove(oldest);
            gone.push(oldest);
        }
        gone
    }

    /// The message that has to go next, if one has to.
    fn surplus(&self, session: &SessionKey) -> Option<u64> {
        let conversation = self.sessions.get(session)?;
        if conversation.ids.len() > HISTORY_MESSAGES_PER_SESSION_MAX
            || conversation.bytes > HISTORY_BYTES_PER_SESSION_MAX
        {
            return conversation.ids.first().copied();
        }
        let full = self.by_id.len() > HISTORY_MESSAGES_MAX || self.bytes > HISTORY_BYTES_MAX;
        self.by_id.first_key_value().filter(|_| full).map(|(id, _)| *id)
    }

    /// Forgets one message.
    pub(in crate::hub) fn remove(&mut self, id: u64) {
        let Some(message) = self.by_id.remove(&id) else { return };
        self.bytes -= message.content.len();
        if let Some(conversation) = self.sessions.get_mut(&message.session) {
            conversation.ids.remove(&id);
            conversation.bytes -= message.content.len();
            if conversation.ids.is_empty() {
                self.sessions.remove(&message.session);
            }
        }
    }

    /// The messages of a session.
    pub(in crate::hub) fn ids(&self, session: &SessionKey) -> BTreeSet<u64> {
        self.sessions.get(session).map(|one| one.ids.clone()).unwrap_or_default()
    }

    pub(in crate::hub) fn get(&self, id: u64) -> Option<&Arc<ChatMessage>> {
        self.by_id.get(&id)
    }

    /// The newest messages of a session before this id, oldest first, and whether there are older
    /// ones. At most `limit`, and no more bytes than an answer takes, but at least one.
    pub(in crate::hub) fn page(
        &self,
        session: &SessionKey,
        limit: usize,
        before: Option<u64>,
    ) -> (Vec<Arc<ChatMessage>>, bool) {
        let Some(conversation) = self.sessions.get(session) else { return (Vec::new(), false) };
        let mut page: Vec<Arc<ChatMessage>> = Vec::new();
        let mut bytes = 0;
        for id in conversation.ids.range(..before.unwrap_or(u64::MAX)).rev() {
            let Some(message) = self.by_id.get(id) else { continue };
            bytes += message.content.len();
            if page.len() == limit || (!page.is_empty() && bytes > HISTORY_ANSWER_BYTES_MAX) {
                page.reverse();
                return (page, true);
            }
            page.push(Arc::clone(message));
        }
        page.reverse();
        (page, false)
    }

    /// Whether the sessions and the sums are those of the messages, and all is within bounds.
    pub(in crate::hub) fn is_consistent(&self) -> bool {
        let of = |conversation: &Conversation| -> usize {
            let messages = conversation.ids.iter().filter_map(|id| self.by_id.get(id));
            messages.map(|message| message.content.len()).sum()
        };
        self.by_id.len() <= HISTORY_MESSAGES_MAX
            && self.bytes <= HISTORY_BYTES_MAX
            && self.sessions.values().map(|one| one.ids.len()).sum::<usize>() == self.by_id.len()
            && self.sessions.values().map(|one| one.bytes).sum::<usize>() == self.bytes
            && self.sessions.values().all(|one| {
                of(one) == one.bytes
                    && one.ids.len() <= HISTORY_MESSAGES_PER_SESSION_MAX
                    && one.bytes <= HISTORY_BYTES_PER_SESSION_MAX
            })
    }
}
