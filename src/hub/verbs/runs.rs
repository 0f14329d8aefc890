//! `chat.send`, `agent` and `sessions.send`, which start runs; `agent.wait`.
//!
//! Owns which agent and session a request means, and what a repeated one is answered with: the
//! run's id is the idempotency key, so the table of runs is the memory of these methods.

use std::sync::Arc;

use crate::base::ids::{AgentName, ConnId, RequestId, RunId, SessionKey};
use crate::base::limits::{
    RUN_RETRY_AFTER, RUN_WAITERS_MAX, SESSION_KEY_BYTES_MAX, WAITS_PER_CONNECTION_MAX,
};
use crate::base::time::{Moment, millis};
use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::hub::reports::From;
use crate::hub::runs::record::RunOrigin;
use crate::hub::runs::table::{Awaited, Stage, Waiter};
use crate::hub::runs::{RunOrder, not_connected};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::event::Event;
use crate::protocol::reply::Reply;
use crate::protocol::run::{AgentRequest, RequestKind};
use crate::protocol::run_calls::{RunAsk, RunMethod, RunReply, RunRequest};
use crate::protocol::session::owner;

/// The session of an agent that is asked without one.
const MAIN: &str = "main";

impl Hub {
    /// Answers a request of this family.
    pub(in crate::hub) fn run_request(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        request: RunRequest,
        effects: &mut Vec<Effect>,
    ) {
        let result = match request {
            RunRequest::Start(ask) => self.run_asked(now, conn, &id, ask, effects),
            RunRequest::Control { session, action } => {
                self.control(session, action, effects).map(Some)
            }
            RunRequest::Wait { run, timeout } => {
                self.agent_wait(now.after(timeout), now, conn, &id, &run)
            }
            RunRequest::History(ask) => self.chat_history(ask).map(Some),
            RunRequest::Abort { session, run } => {
                self.chat_abort(now, session, run, effects).map(Some)
            }
            RunRequest::Update(report) => {
                return self.run_update(now, From::Peer { conn, id }, report, effects);
            }
        };
        match result {
            Ok(None) => {}
            Ok(Some(reply)) => {
                self.respond(conn, id, Ok(Reply::Runs(Box::new(reply))), effects);
            }
            Err(error) => self.respond(conn, id, Err(Box::new(error)), effects),
        }
    }

    /// Starts a run or, for a key that is known, says how far it has come. `None`: the answer
    /// comes later, or is out.
    fn run_asked(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: &RequestId,
        ask: RunAsk,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<RunReply>, ProtocolError> {
        let Some(client) = self.clients.get(conn) else { return Ok(None) };
        let user = client.grant.user.clone();
        let (method, params_hash) = (ask.method, ask.params_hash);
        let origin = RunOrigin::Request { method, params_hash };
        if let Some(run) = ask.key.as_ref().and_then(|key| self.runs.get(key)) {
            if run.record.user != user || run.record.origin != origin {
                let message = "this idempotencyKey was used with other params, or by another user";
                return Err(ProtocolError::new(ErrorCode::Conflict, message));
            }
            let run = run.record.id.clone();
            return self.run_repeated(conn, id, &run, method, effects);
        }
        let (agent, session) = self.route(ask.agent, ask.session)?;
        let key = ask.key.unwrap_or_else(|| RunId::new(format!("run-{}", self.entropy.hex_128())));
        let order = RunOrder {
            id: key,
            user,
            origin,
            agent,
            session,
            message: ask.message,
            model: ask.model,
            label: ask.label,
            attachments: ask.attachments,
            timeout: ask.timeout,
        };
        let run = self.start_run(now, order, effects)?;
        self.await_run(conn, id, &run, Awaited::Start { repeated: false })?;
        Ok(None)
    }

    fn run_repeated(
        &mut self,
        conn: ConnId,
        id: &RequestId,
        run_id: &RunId,
        method: RunMethod,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<RunReply>, ProtocolError> {
        let Some(run) = self.runs.get(run_id) else { return Ok(None) };
        match (&run.stage, run.record.outcome()) {
            (Stage::Storing { .. }, _) => {
                self.await_run(conn, id, run_id, Awaited::Start { repeated: true })?;
                Ok(None)
            }
            (Stage::Ended { told: true }, Some(outcome)) => Ok(Some(match method {
                RunMethod::Agent => RunReply::AgentEnded(outcome),
                RunMethod::ChatSend | RunMethod::SessionsSend => RunReply::Ended(outcome),
            })),
            // An end that is on its way to the disk is not the end yet.
            (Stage::Starting { .. } | Stage::Given(_) | Stage::Ended { .. }, _) => {
                self.check_waiters(run_id)?;
                self.answer_open(conn, id.clone(), run_id, true, effects);
                Ok(None)
            }
        }
    }

    fn await_run(
        &mut self,
        conn: ConnId,
        id: &RequestId,
        run: &RunId,
        what: Awaited,
    ) -> Result<(), ProtocolError> {
        self.check_waiters(run)?;
        if let Some(run) = self.runs.get_mut(run) {
            run.waiters.push(Waiter { conn, id: id.clone(), what });
        }
        self.runs.reschedule(run);
        Ok(())
    }

    /// Whether one more may wait for this run; those who are gone make room.
    fn check_waiters(&mut self, run: &RunId) -> Result<(), ProtocolError> {
        let Some(run) = self.runs.get_mut(run) else { return Ok(()) };
        if run.waiters.len() >= RUN_WAITERS_MAX {
            run.waiters.retain(|waiter| self.clients.answerable(waiter.conn));
        }
        let full = run.waiters.len() >= RUN_WAITERS_MAX;
        let id = run.record.id.clone();
        self.runs.reschedule(&id);
        if full {
            let error = "too many requests wait for this run";
            let error = ProtocolError::new(ErrorCode::ResourceExhausted, error);
            return Err(error.retry_after(millis(RUN_RETRY_AFTER)));
        }
        Ok(())
    }

    fn agent_wait(
        &mut self,
        until: Moment,
        now: Moment,
        conn: ConnId,
        id: &RequestId,
        run_id: &RunId,
    ) -> Result<Option<RunReply>, ProtocolError> {
        let Some(run) = self.runs.get(run_id) else { return Err(no_such_run(run_id)) };
        match (&run.stage, run.record.outcome()) {
            (Stage::Ended { told: true }, Some(outcome)) => {
                return Ok(Some(RunReply::Waited(outcome)));
            }
            _ if until.at <= now.at => {
                let started_at_ms = run.record.started_at_ms;
                return Ok(Some(RunReply::StillOpen { run: run_id.clone(), started_at_ms }));
            }
            _ => {}
        }
        self.begin_wait(conn)?;
        let waits = self.await_run(conn, id, run_id, Awaited::EndUntil(until.at));
        if waits.is_err() {
            self.clients.waited(conn);
        }
        waits.map(|()| None)
    }

    /// A request of this connection waits from here on, if not too many do.
    pub(in crate::hub) fn begin_wait(&mut self, conn: ConnId) -> Result<(), ProtocolError> {
        self.check_waits(conn)?;
        if let Some(client) = self.clients.get_mut(conn) {
            client.waits += 1;
        }
        Ok(())
    }

    /// Whether one more request of this connection may wait.
    pub(in crate::hub) fn check_waits(&self, conn: ConnId) -> Result<(), ProtocolError> {
        match self.clients.get(conn) {
            Some(client) if client.waits >= WAITS_PER_CONNECTION_MAX => {
                let error = "too many requests of this connection wait";
                let error = ProtocolError::new(ErrorCode::ResourceExhausted, error);
                Err(error.retry_after(millis(RUN_RETRY_AFTER)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Passes a control message on. It is no run: the agent need not answer it.
    fn control(
        &mut self,
        session: SessionKey,
        action: Arc<str>,
        effects: &mut Vec<Effect>,
    ) -> Result<RunReply, ProtocolError> {
        let (agent, session) = self.route(None, Some(session))?;
        let conn = self.clients.newest_of_agent(&agent, &session);
        let conn = conn.ok_or_else(|| not_connected(&agent))?;
        let request = Box::new(AgentRequest {
            run: RunId::new(format!("run-{}", self.entropy.hex_128())),
            session,
            kind: RequestKind::Control,
            message: action,
            model: None,
            label: None,
            attachments: None,
        });
        effects.push(Effect::Send { conn, event: Event::AgentRequest(request.clone()) });
        Ok(RunReply::Controlled(request))
    }

    /// Which agent and which of its sessions are meant. A session key that names no agent is one
    /// of the named agent's, or of the default agent's.
    pub(in crate::hub) fn route(
        &self,
        agent: Option<AgentName>,
        session: Option<SessionKey>,
    ) -> Result<(AgentName, SessionKey), ProtocolError> {
        let named = session.as_ref().and_then(|key| owner(key.as_str())).map(AgentName::new);
        match (named, agent, session) {
            (Some(owner), Some(agent), _) if owner != agent => {
                let problem = "agentId and sessionKey name different agents";
                Err(ProtocolError::invalid(problem))
            }
            (Some(owner), _, Some(session)) => Ok((owner, session)),
            (_, agent, session) => {
                let agent = agent.or_else(|| self.policy.spawn.default_agent.clone());
                let agent = agent.ok_or_else(|| {
                    let problem = "no agent is named, and gateway.agents.default is not set";
                    ProtocolError::invalid(problem)
                })?;
                let session = session.as_ref().map_or(MAIN, SessionKey::as_str);
                let session = format!("{agent}:{session}");
                if session.len() > SESSION_KEY_BYTES_MAX {
                    return Err(ProtocolError::invalid("sessionKey is too long"));
                }
                Ok((agent, SessionKey::new(session)))
            }
        }
    }
}

pub(in crate::hub) fn no_such_run(run: &RunId) -> ProtocolError {
    use crate::base::limits::ECHO_CHARS_MAX;
    use crate::protocol::safe_text::echo;
    let run = echo(run.as_str(), ECHO_CHARS_MAX);
    ProtocolError::new(ErrorCode::NotFound, format!("no such run: {run}"))
}
