//! `sessions.list`, `get`, `usage`, `patch`, `reset` and `delete`: operators and the sessions.
//!
//! Reads are from memory and show what is accepted; changes are answered when on disk
//! (`docs/protocol.md`, "Sessions").

use crate::base::ids::{AgentName, ConnId, RequestId, SessionKey};
use crate::base::limits::ECHO_CHARS_MAX;
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::commits::Waiter;
use crate::hub::effect::Effect;
use crate::hub::verbs::session_reports::set_text;
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::reply::Reply;
use crate::protocol::request::{SessionsList, SessionsPatch};
use crate::protocol::safe_text::echo;
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
        let session = self.sessions.get(key).cloned().ok_or_else(|| not_found(key))?;
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
        let SessionsPatch { key, label, model, thinking, verbose, reasoning } = patch;
        self.change_session(now, conn, id, &key, effects, |session| {
            set_text(&mut session.label, label);
            set_text(&mut session.model, model);
            set_text(&mut session.thinking, thinking);
            set_text(&mut session.verbose, verbose);
            set_text(&mut session.reasoning, reasoning);
        });
    }

    /// Begins a session anew: its counts are zero, its name and settings stay.
    pub(in crate::hub) fn sessions_reset(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        key: &SessionKey,
        effects: &mut Vec<Effect>,
    ) {
        if self.writable(0).is_ok() && self.sessions.get(key).is_some() {
            self.commits.clear_messages(self.history.ids(key));
        }
        self.change_session(now, conn, id, key, effects, |session| {
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
        });
    }

    fn change_session(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        key: &SessionKey,
        effects: &mut Vec<Effect>,
        change: impl FnOnce(&mut Session),
    ) {
        let known = self.sessions.get(key).map(|session| Session::clone(session));
        let session =
            self.writable(0).map_err(Box::new).and_then(|()| known.ok_or_else(|| not_found(key)));
        match session {
            Ok(mut session) => {
                change(&mut session);
                let session = self.put_session(session);
                let reply = Reply::SessionChanged { session, now_ms: now.unix_ms };
                self.commits.wait(Waiter::Report { conn, id, reply: Box::new(reply) });
            }
            Err(error) => self.respond(conn, id, Err(error), effects),
        }
    }

    /// Forgets a session. One that is not there is deleted already.
    pub(in crate::hub) fn sessions_delete(
        &mut self,
        conn: ConnId,
        id: RequestId,
        key: SessionKey,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(error) = self.writable(0) {
            return self.respond(conn, id, Err(Box::new(error)), effects);
        }
        self.commits.clear_messages(self.history.ids(&key));
        let removed = self.sessions.remove(&key);
        let deleted = removed.is_some();
        if deleted {
            self.commits.touch_session(&key, removed.as_ref());
            self.ticks.changed();
        }
        let reply = Box::new(Reply::SessionDeleted { key, deleted });
        self.commits.wait(Waiter::Report { conn, id, reply });
    }
}

fn not_found(key: &SessionKey) -> Box<ProtocolError> {
    let key = echo(key.as_str(), ECHO_CHARS_MAX);
    Box::new(ProtocolError::new(ErrorCode::NotFound, format!("no such session: {key}")))
}
