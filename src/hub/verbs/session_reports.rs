//! `session.update` and `session.usage`: what agents report about their sessions.
//!
//! The first says what is, the second what comes on top; numbers only grow through it. Seen in the
//! next `tick`, answered when on disk (`docs/protocol.md`, "Sessions").

use std::sync::Arc;

use crate::base::ids::SessionKey;
use crate::base::limits::{COST_NANOS_MAX, COUNT_MAX};
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::answers::Answer;
use crate::hub::effect::Effect;
use crate::hub::reports::{Asked, From};
use crate::protocol::error::ProtocolError;
use crate::protocol::request::{SessionUpdate, SessionUsage};
use crate::protocol::session::Session;

impl Hub {
    pub(in crate::hub) fn session_update(
        &mut self,
        now: Moment,
        from: From,
        update: SessionUpdate,
        effects: &mut Vec<Effect>,
    ) {
        let asked = Asked { from, method: "session.update" };
        let idempotency = update.idempotency.clone();
        self.report(now, asked, idempotency, effects, |hub, _| {
            hub.writable(0)?;
            let mut session = hub.session_or_new(&update.key, now);
            apply(&mut session, update);
            hub.put_session(session);
            Ok(Answer::Done)
        });
    }

    pub(in crate::hub) fn session_usage(
        &mut self,
        now: Moment,
        from: From,
        usage: SessionUsage,
        effects: &mut Vec<Effect>,
    ) {
        let asked = Asked { from, method: "session.usage" };
        let idempotency = usage.idempotency.clone();
        self.report(now, asked, idempotency, effects, |hub, _| {
            hub.writable(0)?;
            let mut session = hub.session_or_new(&usage.key, now);
            add(&mut session, usage)?;
            hub.put_session(session);
            Ok(Answer::Done)
        });
    }

    /// A copy of a session that is reported now, or a new one.
    pub(in crate::hub) fn session_or_new(&self, key: &SessionKey, now: Moment) -> Session {
        let known = self.sessions.get(key).map(|session| Session::clone(session));
        let mut session = known.unwrap_or_else(|| Session::new(key.clone(), now.unix_ms));
        session.updated_at_ms = now.unix_ms;
        session
    }

    /// Inserts or replaces a session, to be written with the next commit and shown in the next
    /// tick.
    pub(in crate::hub) fn put_session(&mut self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        self.commits.touch_session(&session.key, self.sessions.get(&session.key));
        if let Some(displaced) = self.sessions.put(Arc::clone(&session)) {
            self.commits.touch_session(&displaced.key, Some(&displaced));
        }
        self.ticks.changed();
        session
    }
}

/// Sets a text; an empty one takes back what was there.
pub(super) fn set_text(place: &mut Option<Arc<str>>, said: Option<Arc<str>>) {
    if let Some(text) = said {
        *place = Some(text).filter(|text| !text.is_empty());
    }
}

fn apply(session: &mut Session, update: SessionUpdate) {
    session.kind = update.kind.unwrap_or_else(|| Arc::clone(&session.kind));
    set_text(&mut session.model, update.model);
    set_text(&mut session.label, update.label);
    for (place, said) in [
        (&mut session.total_tokens, update.total_tokens),
        (&mut session.input_tokens, update.input_tokens),
        (&mut session.output_tokens, update.output_tokens),
        (&mut session.context_tokens, update.context_tokens),
        (&mut session.message_count, update.message_count),
    ] {
        *place = said.unwrap_or(*place);
    }
    session.cost = update.cost.unwrap_or(session.cost);
    session.active = update.active.unwrap_or(session.active);
}

/// Adds a use, all of it or, if a sum would be too great, nothing.
fn add(session: &mut Session, usage: SessionUsage) -> Result<(), ProtocolError> {
    let both = usage.input_tokens.saturating_add(usage.output_tokens);
    for (place, more, param, sum) in [
        (&mut session.input_tokens, usage.input_tokens, "inputTokens", "inputTokens"),
        (&mut session.output_tokens, usage.output_tokens, "outputTokens", "outputTokens"),
        (&mut session.total_tokens, both, "inputTokens", "totalTokens"),
        (&mut session.message_count, usage.messages, "messages", "messageCount"),
    ] {
        *place = place
            .checked_add(more)
            .filter(|number| *number <= COUNT_MAX)
            .ok_or_else(|| too_much(param, sum, COUNT_MAX))?;
    }
    session.cost = session
        .cost
        .checked_add(usage.cost)
        .ok_or_else(|| too_much("cost", "cost", COST_NANOS_MAX / 1_000_000_000))?;
    if usage.model.is_some() {
        session.model = usage.model;
    }
    session.active = true;
    Ok(())
}

fn too_much(param: &str, sum: &str, max: u64) -> ProtocolError {
    let what = format!("{param} would take the session's {sum} over {max}");
    ProtocolError::invalid_params("session.usage", &what)
}
