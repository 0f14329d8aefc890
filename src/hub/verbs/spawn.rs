//! `spawn`, `sessions_spawn`, `spawn.list`, `spawn.logs`, `spawn.cancel` and `sessions_kill`.
//!
//! Owns what these are answered with (`docs/protocol.md`, "Spawn"); what happens to a spawn is in
//! `spawns`. A request that starts one is answered when it runs, waits or has failed.

use std::cmp::Reverse;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::ids::{AgentName, ConnId, RequestId, SessionKey, SpawnId, UserName};
use crate::base::limits::{ECHO_CHARS_MAX, SPAWNS_LISTED_MAX};
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::answers::Answer;
use crate::hub::effect::Effect;
use crate::hub::records::{AnswerKey, SpawnOrigin, SpawnRecord};
use crate::hub::reports::Repetition;
use crate::hub::spawns::{Asker, Program, SpawnOrder, Task};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::reply::Reply;
use crate::protocol::request::{Idempotency, LogsTail};
use crate::protocol::safe_text::echo;
use crate::protocol::session::owner;
use crate::protocol::spawn::{SpawnAsk, SpawnLine, SpawnReply, SpawnRequest, TemplateAsk};

/// The agent of a program that was given no session.
const AGENT: &str = "spawn";

impl Hub {
    pub(in crate::hub) fn spawn_request(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        request: SpawnRequest,
        effects: &mut Vec<Effect>,
    ) {
        match request {
            SpawnRequest::Spawn(ask) => {
                let once = ask.idempotency.clone();
                let order = |hub: &Self, user, origin| hub.command_order(*ask, user, origin);
                self.start_for(now, Requester { conn, id, template: false }, once, effects, order);
            }
            SpawnRequest::Template(ask) => {
                let once = ask.idempotency.clone();
                let order = |hub: &Self, user, origin| hub.task_order(*ask, user, origin);
                self.start_for(now, Requester { conn, id, template: true }, once, effects, order);
            }
            SpawnRequest::List => {
                let reply = Reply::Spawn(Box::new(SpawnReply::List(self.spawn_lines())));
                self.respond(conn, id, Ok(reply), effects);
            }
            SpawnRequest::Logs { id: spawn, tail } => {
                let result = self.spawn_logs(conn, &spawn, tail);
                self.respond(conn, id, result, effects);
            }
            SpawnRequest::Cancel { id: spawn, grace_ms } => {
                let result = self.spawn_cancel(now, conn, &spawn, grace_ms, effects);
                self.respond(conn, id, result, effects);
            }
            SpawnRequest::KillSession(session) => {
                let result = self.sessions_kill(now, session, effects);
                self.respond(conn, id, result, effects);
            }
        }
    }

    /// Starts what a request asks for, unless it is a repetition.
    fn start_for(
        &mut self,
        now: Moment,
        requester: Requester,
        once: Option<Idempotency>,
        effects: &mut Vec<Effect>,
        order: impl FnOnce(&Self, UserName, SpawnOrigin) -> Result<SpawnOrder, ProtocolError>,
    ) {
        let Requester { conn, id, template } = requester;
        let Some(client) = self.clients.get(conn) else { return };
        let (user, device) = (client.grant.user.clone(), client.grant.device.clone());
        let method = if template { "sessions_spawn" } else { "spawn" };
        let key = once.map(|once| {
            let key = AnswerKey { user: user.clone(), method: method.to_owned(), key: once.key };
            (key, once.params_hash)
        });
        if let Some((key, hash)) = &key {
            let asker = (conn, id.clone());
            match self.repetition(now, key, hash, Some(&asker)) {
                Repetition::None => {}
                Repetition::Waits => return,
                Repetition::Answered(result) => return self.respond(conn, id, result, effects),
            }
        }
        let origin = SpawnOrigin::Request { id: id.clone(), device };
        let mut order = match order(self, user, origin) {
            Ok(order) => order,
            Err(error) => return self.respond(conn, id, Err(Box::new(error)), effects),
        };
        order.asker = Some(Asker { conn, id: id.clone(), once: None, template });
        // Whoever asked hears of a refusal from there.
        let Ok(spawn) = self.start_spawn(now, order, effects) else { return };
        if let Some((key, hash)) = key {
            let answer = Answer::Spawned { spawn: spawn.clone(), template };
            let asker = Some((conn, id));
            let record = self.answers.begin(now, key.clone(), hash, asker, answer);
            self.spawns.set_once(&spawn, key, record);
        }
    }

    /// The order for a command.
    pub(in crate::hub) fn command_order(
        &self,
        ask: SpawnAsk,
        user: UserName,
        origin: SpawnOrigin,
    ) -> Result<SpawnOrder, ProtocolError> {
        let policy = &self.policy.spawn;
        let agent = match ask.session.as_ref().map(|session| owner(session.as_str())) {
            None => AgentName::new(AGENT),
            Some(Some(agent)) => AgentName::new(agent),
            Some(None) => {
                let what = "session must begin with an agent's name and a colon";
                return Err(ProtocolError::invalid_params("spawn", what));
            }
        };
        let allowed_dirs = ask.cwd.is_some().then(|| policy.allowed_dirs.clone());
        Ok(SpawnOrder {
            origin,
            user,
            template: None,
            agent,
            session: ask.session,
            label: None,
            model: None,
            timeout: ask.timeout_ms.map(Duration::from_millis),
            asker: None,
            program: Program {
                command: ask.command,
                args: ask.args,
                env: ask.env,
                cwd: ask.cwd.map(PathBuf::from),
                allowed_dirs,
                stdin: ask.stdin,
                reports: ask.reports,
                run_as: policy.run_as.clone(),
            },
        })
    }

    /// The order for a template.
    fn task_order(
        &self,
        ask: TemplateAsk,
        user: UserName,
        origin: SpawnOrigin,
    ) -> Result<SpawnOrder, ProtocolError> {
        let Some(agent) = ask.agent.or_else(|| self.policy.spawn.default_agent.clone()) else {
            let message = "no agent named, and gateway.agents.default is not configured";
            return Err(ProtocolError::new(ErrorCode::NotFound, message));
        };
        let mut order = self.template_order(Task {
            agent,
            text: ask.task,
            model: ask.model,
            label: ask.label,
            session: None,
            user,
            origin,
        })?;
        order.timeout = ask.timeout_ms.map(Duration::from_millis);
        Ok(order)
    }

    /// The spawns, open ones first, the newest first.
    fn spawn_lines(&self) -> Vec<SpawnLine> {
        let mut records: Vec<_> = self.spawns.records().collect();
        let place = |record: &SpawnRecord| {
            (!record.status.is_terminal(), record.created_at_ms, record.id.clone())
        };
        records.sort_by_cached_key(|record| Reverse(place(record)));
        records.truncate(SPAWNS_LISTED_MAX);
        let line = |record: &SpawnRecord| SpawnLine {
            shown: record.shown(),
            command: record.command.clone(),
            agent: record.agent.clone(),
            session: record.session.clone(),
            label: record.label.clone(),
            created_at_ms: record.created_at_ms,
            started_at_ms: record.started_at_ms,
        };
        records.into_iter().map(line).collect()
    }

    /// The spawn that this peer means.
    fn find_spawn(&self, conn: ConnId, id: &str) -> Result<SpawnId, Box<ProtocolError>> {
        let grant = self.clients.get(conn).map(|client| &client.grant);
        let found = grant.and_then(|g| self.spawns.find(id, &g.user, g.device.as_ref()));
        found.ok_or_else(|| {
            let message = format!("no such spawn: {}", echo(id, ECHO_CHARS_MAX));
            Box::new(ProtocolError::new(ErrorCode::NotFound, message))
        })
    }

    /// The entries of its session while it was open.
    fn spawn_logs(
        &self,
        conn: ConnId,
        id: &str,
        mut tail: LogsTail,
    ) -> Result<Reply, Box<ProtocolError>> {
        let id = self.find_spawn(conn, id)?;
        let record = self.spawns.record(&id);
        let Some(record) = record else { return Err(Box::new(gone(&id))) };
        tail.filter.session = Some(record.session.clone());
        tail.filter.source = Some(record.agent.to_string());
        let (after, through) = (record.log_after, record.log_through);
        Ok(Reply::LogsTail(self.journal.tail_between(&tail, after, through)))
    }

    fn spawn_cancel(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: &str,
        grace_ms: Option<u64>,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Box<ProtocolError>> {
        let id = self.find_spawn(conn, id)?;
        self.cancel_spawn(now, &id, grace_ms.map(Duration::from_millis), effects);
        let Some(record) = self.spawns.record(&id) else { return Err(Box::new(gone(&id))) };
        Ok(Reply::Spawn(Box::new(SpawnReply::Cancelled(record.shown()))))
    }

    fn sessions_kill(
        &mut self,
        now: Moment,
        session: SessionKey,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Box<ProtocolError>> {
        let spawns = self.spawns.of_session(&session);
        if spawns.is_empty() {
            let message = format!("no spawn runs in session {}", echo(session.as_str(), 256));
            return Err(Box::new(ProtocolError::new(ErrorCode::NotFound, message)));
        }
        for id in &spawns {
            self.cancel_spawn(now, id, None, effects);
        }
        let reply = SpawnReply::SessionKilled { session, spawns: spawns.len() };
        Ok(Reply::Spawn(Box::new(reply)))
    }
}

/// Who asked for a spawn.
struct Requester {
    conn: ConnId,
    id: RequestId,
    /// Whether by `sessions_spawn`.
    template: bool,
}

/// A spawn that is not kept any more.
pub(in crate::hub) fn gone(id: &SpawnId) -> ProtocolError {
    ProtocolError::new(ErrorCode::NotFound, format!("{id} is not kept any more"))
}
