//! Sessions: what is known of an agent's conversation, and how it is shown.
//!
//! Owns the row of `tick` and `sessions.*` and its encoding; who may report what is in `methods`,
//! the table itself is the hub's. Called by `event`, `reply`, and by the store, which keeps a
//! [`Session`] as it is.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::base::ids::SessionKey;
use crate::base::limits::SESSION_ACTIVE_WINDOW;
use crate::protocol::cost::{Cost, push_nanos};
use crate::protocol::json::{ObjectWriter, push_array};

/// The kind of a session that nobody gave one: what the product page shows.
pub const KIND_DEFAULT: &str = "chat";

/// One session. Token and message counts are at most `COUNT_MAX`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its key, such as `agent1:chat`.
    pub key: SessionKey,
    /// What kind of conversation.
    pub kind: Arc<str>,
    /// The model that answers.
    pub model: Option<Arc<str>>,
    /// A name for people.
    pub label: Option<Arc<str>>,
    /// How much the agent is asked to think.
    pub thinking: Option<Arc<str>>,
    /// How much the agent is asked to tell of its work.
    pub verbose: Option<Arc<str>>,
    /// Whether the agent is asked to show its reasoning.
    pub reasoning: Option<Arc<str>>,
    /// Tokens in all.
    pub total_tokens: u64,
    /// Tokens read, as far as they were reported apart.
    pub input_tokens: u64,
    /// Tokens written, as far as they were reported apart.
    pub output_tokens: u64,
    /// The size of the context.
    pub context_tokens: u64,
    /// Messages exchanged.
    pub message_count: u64,
    /// What it has cost.
    pub cost: Cost,
    /// Whether its agent says that it is going on.
    pub active: bool,
    /// When it was first heard of, Unix milliseconds.
    pub created_at_ms: u64,
    /// When something was last reported about it, Unix milliseconds.
    pub updated_at_ms: u64,
}

impl Session {
    /// A session of which nothing is known but its key.
    pub fn new(key: SessionKey, now_ms: u64) -> Self {
        Self {
            key,
            kind: Arc::from(KIND_DEFAULT),
            model: None,
            label: None,
            thinking: None,
            verbose: None,
            reasoning: None,
            total_tokens: 0,
            input_tokens: 0,
            output_tokens: 0,
            context_tokens: 0,
            message_count: 0,
            cost: Cost(0),
            active: true,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
        }
    }

    /// Whether it goes on at this moment: its agent says so, and has reported within
    /// `SESSION_ACTIVE_WINDOW`.
    pub fn is_active(&self, now_ms: u64) -> bool {
        let window = u64::try_from(SESSION_ACTIVE_WINDOW.as_millis()).unwrap_or(u64::MAX);
        self.active && now_ms.saturating_sub(self.updated_at_ms) < window
    }

    fn write_members(&self, row: &mut ObjectWriter<'_>, now_ms: u64) {
        row.str("key", self.key.as_str()).str("kind", &self.kind);
        row.opt_str("model", self.model.as_deref());
        row.u64("totalTokens", self.total_tokens).u64("inputTokens", self.input_tokens);
        row.u64("outputTokens", self.output_tokens).u64("contextTokens", self.context_tokens);
        row.u64("messageCount", self.message_count);
        push_nanos(row.key("cost"), self.cost.0.into());
        row.u64("updatedAt", self.updated_at_ms).bool("active", self.is_active(now_ms));
        row.opt_str("label", self.label.as_deref());
        row.opt_str("agent", owner(self.key.as_str()));
    }

    /// Appends its row, as `tick` shows it at this moment.
    pub(super) fn write_row(&self, out: &mut Vec<u8>, now_ms: u64) {
        let mut row = ObjectWriter::open(out);
        self.write_members(&mut row, now_ms);
        row.close();
    }

    /// Appends all that is known of it: its row, and what is asked for one session at a time.
    pub(super) fn write_whole(&self, out: &mut Vec<u8>, now_ms: u64) {
        let mut row = ObjectWriter::open(out);
        self.write_members(&mut row, now_ms);
        row.opt_str("thinking", self.thinking.as_deref());
        row.opt_str("verbose", self.verbose.as_deref());
        row.opt_str("reasoning", self.reasoning.as_deref());
        row.u64("createdAt", self.created_at_ms);
        row.close();
    }
}

/// The agent that a session key names: `NAME` in `NAME:…` and in `agent:NAME:…`.
pub fn owner(key: &str) -> Option<&str> {
    let name = |key: &'_ str| {
        let (name, rest) = key.split_once(':')?;
        (!name.is_empty() && !rest.is_empty()).then_some(name.len())
    };
    // An agent called `agent` must not own what `agent:NAME:` says is another's.
    match key.strip_prefix("agent:") {
        Some(rest) if rest.contains(':') => name(rest).and_then(|len| rest.get(..len)),
        Some(_) | None => name(key).and_then(|len| key.get(..len)),
    }
}

/// Rows that many receivers see: encoded by the first who needs the text.
#[derive(Debug, Default)]
pub struct SessionRows {
    at_ms: u64,
    rows: Vec<Arc<Session>>,
    json: OnceLock<Box<[u8]>>,
}

impl SessionRows {
    /// The rows as they are at this moment.
    pub fn new(at_ms: u64, rows: Vec<Arc<Session>>) -> Self {
        Self { at_ms, rows, json: OnceLock::new() }
    }

    /// The sessions shown, in their order.
    pub fn sessions(&self) -> &[Arc<Session>] {
        &self.rows
    }

    /// The JSON array of the rows.
    pub(super) fn json(&self) -> &[u8] {
        self.json.get_or_init(|| {
            let mut out = Vec::with_capacity(self.rows.len().saturating_mul(256));
            push_array(&mut out, &self.rows, |out, session| session.write_row(out, self.at_ms));
            out.into_boxed_slice()
        })
    }
}

impl PartialEq for SessionRows {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, &self.rows) == (other.at_ms, &other.rows)
    }
}

/// Sums over sessions. Wide enough for any number of sessions at their limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionTotals {
    /// How many.
    pub sessions: usize,
    /// Tokens in all.
    pub total_tokens: u128,
    /// See [`Session::input_tokens`].
    pub input_tokens: u128,
    /// See [`Session::output_tokens`].
    pub output_tokens: u128,
    /// Messages exchanged.
    pub message_count: u128,
    /// Billionths.
    pub cost_nanos: u128,
}

impl SessionTotals {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut totals = ObjectWriter::open(out);
        for (key, number) in [
            ("totalTokens", self.total_tokens),
            ("inputTokens", self.input_tokens),
            ("outputTokens", self.output_tokens),
            ("messageCount", self.message_count),
        ] {
            totals.raw(key, &number.to_string());
        }
        push_nanos(totals.key("cost"), self.cost_nanos);
        totals.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_agent() {
        for (key, agent) in [
            ("agent1:chat", Some("agent1")),
            ("agent1:chat:more", Some("agent1")),
            ("agent:agent1:chat", Some("agent1")),
            ("agent:chat", Some("agent")),
            ("agent:agent1:", None),
            ("agent::chat", None),
            ("agent:", None),
            (":chat", None),
            ("agent1:", None),
            ("chat", None),
            ("", None),
        ] {
            assert_eq!(owner(key), agent, "{key}");
        }
    }

    #[test]
    fn a_session_is_active_while_its_agent_says_so_and_reports() {
        let mut session = Session::new(SessionKey::new("a:b"), 1_000);
        let hour = 3_600_000;
        assert!(session.is_active(1_000) && session.is_active(1_000 + hour - 1));
        assert!(!session.is_active(1_000 + hour));
        assert!(session.is_active(0), "a clock that was set back ends nothing");
        session.active = false;
        assert!(!session.is_active(1_000));
    }
}
