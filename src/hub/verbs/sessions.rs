//! `sessions.list`, `get`, `usage`, `patch`, `reset` and `delete`: operators and the sessions.
//!
//! Reads are from memory and show what is accepted; changes are answered when on disk
//! (`docs/protocol.md`, "Sessions").

use crate::base::ids::{AgentName, ConnId, RequestId, SessionKey};
use crate::base::time::Moment;
use crate::hub::answers::Answer;
use crate::hub::audit::{AuditKind, audit, text};
use crate::hub::effect::Effect;
use crate::hub::reports::{Asked, From};
use crate::hub::verbs::session_reports::set_text;
use crate::hub::{Hub, refusals};
use crate::protocol::error::ProtocolError;
use crate::protocol::reply::Reply;
use crate::protocol::request::{SessionNamed, SessionsList, SessionsPatch};
use crate::protocol::session::Session;

impl Hub {
    pub(in crate::hub) fn sessions_list(&self, now: Moment, ask: &SessionsList) -> Reply {
        Reply::SessionsList(self.sessions.page(ask, now.unix_ms))
    }

    pub(in crate::hub) fn sessions_get(
        &self,
        now: Moment,
        key: &SessionKey,
    ) -> Result<Reply, Box<ProtocolError>> {
        let session =
            self.sessions.get(key).cloned().ok_or_else(|| refusals::no_such_session(key))?;
        Ok(Reply::SessionsGet { session, now_ms: now.unix_ms })
    }

    pub(in crate::hub) fn sessions_usage(&self, now: Moment, agent: Option<&AgentName>) -> Reply {
        let totals = self.sessions.totals(agent.map(AgentName::as_str));
        Reply::SessionsUsage { totals, now_ms: now.unix_ms }
    }

    /// Sets what an operator may set. That is no activity: the session keeps its place.
    pub(in crate::hub) fn sessions_patch(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        patch: SessionsPatch,
        effects: &mut Vec<Effect>,
    ) {
        let SessionsPatch { key, label, model, thinking, verbose, reasoning, idempotency } = patch;
        let asked = Asked { from: From::Peer { conn, id }, method: "sessions.patch" };
        self.report(now, asked, idempotency, effects, |hub, _| {
            hub.change_session(key, |session| {
                set_text(&mut session.label, label);
                set_text(&mut session.model, model);
                set_text(&mut session.thinking, thinking);
                set_text(&mut session.verbose, verbose);
                set_text(&mut session.reasoning, reasoning);
            })
        });
    }

    /// Begins a session anew: its counts are zero, its name and settings stay.
    pub(in crate::hub) fn sessions_reset(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        named: SessionNamed,
        effects: &mut Vec<Effect>,
    ) {
        let asked = Asked { from: From::Peer { conn, id }, method: "sessions.reset" };
        self.report(now, asked, named.idempotency, effects, |hub, _| {
            if hub.writable(0).is_ok() && hub.sessions.get(&named.key).is_some() {
                hub.commits.clear_messages(hub.history.ids(&named.key));
            }
            hub.change_session(named.key, |session| {
                let new = Session::new(session.key.clone(), now.unix_ms);
                *session = Session {
                    kind: session.kind.clone(),
                    model: session.model.clone(),
                    label: session.label.clone(),
                    thinking: session.thinking.clone(),
                    verbose: session.verbose.clone(),
                    reasoning: session.reasoning.clone(),
                    created_at_ms: session.created_at_ms,
                    ..new
                };
            })
        });
    }

    fn change_session(
        &mut self,
        key: SessionKey,
        change: impl FnOnce(&mut Session),
    ) -> Result<Answer, ProtocolError> {
        self.writable(0)?;
        let known = self.sessions.get(&key).map(|session| Session::clone(session));
        let mut session = known.ok_or_else(|| *refusals::no_such_session(&key))?;
        change(&mut session);
        self.put_session(session);
        Ok(Answer::SessionChanged(key))
    }

    /// Forgets a session. One that is not there is deleted already.
    pub(in crate::hub) fn sessions_delete(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        named: SessionNamed,
        effects: &mut Vec<Effect>,
    ) {
        let SessionNamed { key, idempotency } = named;
        let asked = Asked { from: From::Peer { conn, id }, method: "sessions.delete" };
        self.report(now, asked, idempotency, effects, |hub, effects| {
            hub.writable(0)?;
            hub.commits.clear_messages(hub.history.ids(&key));
            let removed = hub.sessions.remove(&key);
            let deleted = removed.is_some();
            if deleted {
                hub.commits.touch_session(&key, removed.as_ref());
                let what = [text("session", &key)];
                effects.push(audit(AuditKind::SessionDeleted, hub.actor(conn), what));
                hub.ticks.changed();
            }
            Ok(Answer::SessionDeleted { key, deleted })
        });
    }
}
