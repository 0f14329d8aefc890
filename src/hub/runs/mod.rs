//! Runs: one message to an agent until its final answer (`docs/protocol.md`, "Runs").
//!
//! Owns how a run begins: who may have it, when it is durable, and which connection is given it.
//! How it goes on and ends is in `ending`, the tables are in `table` and `history`, what is kept
//! of it on disk in `record`. Called by the verbs and by the parts of the hub that start runs
//! themselves; those hear of the end in [`Hub::run_ended`].
//!
//! ```text
//!  start_run ─▶ storing ──stored──▶ given ──deltas──▶ final | error | aborted ─▶ ended ─▶ told
//!                  │ not stored  │     │                                           ▲
//!                  ▼             │     └─ agent gone, time over, given up ─────────┤
//!        as if it had never been └──▶ starting ─ the same, or the spawn's end ─────┘
//! ```
//!
//! An agent is asked only what is on disk, and those who wait are answered when the end is, too:
//! so no run is forgotten, whatever dies.

pub(in crate::hub) mod ending;
pub(in crate::hub) mod history;
pub mod record;
pub(in crate::hub) mod restart;
pub(in crate::hub) mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::ids::{AgentName, ConnId, RequestId, RunId, SessionKey, SpawnId, UserName};
use crate::base::limits::{
    AGENT_RETRY_AFTER, RUN_RETRY_AFTER, RUN_TIMEOUT_DEFAULT, RUNS_UNSENT_BYTES_MAX,
};
use crate::base::time::{Moment, millis};
use crate::hub::commits;
use crate::hub::effect::Effect;
use crate::hub::records::SpawnOrigin;
use crate::hub::runs::ending::Ending;
use crate::hub::runs::record::{RunEnd, RunOrigin, RunRecord};
use crate::hub::runs::table::{Awaited, Place, Run, Stage, Waiter};
use crate::hub::spawns::Task;
use crate::hub::{Hub, refusals};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::event::Event;
use crate::protocol::reply::Reply;
use crate::protocol::run::{
    AgentRequest, ChatMessage, ChatRole, RequestKind, RunProgress, RunState, RunStep,
};
use crate::protocol::run_calls::{RunMethod, RunProgressed, RunReply};

/// What an agent is to be asked.
pub(super) struct RunOrder {
    /// The run's id; not used by any run that is still known.
    pub(super) id: RunId,
    /// For whom.
    pub(super) user: UserName,
    /// Who asks.
    pub(super) origin: RunOrigin,
    /// Who is asked.
    pub(super) agent: AgentName,
    /// In which of the agent's sessions.
    pub(super) session: SessionKey,
    /// What.
    pub(super) message: Arc<str>,
    /// With which model.
    pub(super) model: Option<Arc<str>>,
    /// A name for people.
    pub(super) label: Option<Arc<str>>,
    /// A JSON array.
    pub(super) attachments: Option<Arc<str>>,
    /// How long it may take; `None`: `RUN_TIMEOUT_DEFAULT`.
    pub(super) timeout: Option<Duration>,
}

/// A run that has ended.
pub(super) struct RunEnded {
    /// Everything about it; `end` is there.
    pub(super) record: Arc<RunRecord>,
}

impl Hub {
    /// Starts a run: `run_ended` is called for it exactly once, later. Refused before anything
    /// changes: `UNAVAILABLE` when there is no such agent or the store takes no writes,
    /// `CONFLICT` for an id that is known, `RESOURCE_EXHAUSTED` for too many open runs.
    pub(super) fn start_run(
        &mut self,
        now: Moment,
        order: RunOrder,
        _effects: &mut Vec<Effect>,
    ) -> Result<RunId, ProtocolError> {
        let RunOrder { id, user, origin, agent, session, .. } = order;
        let timeout = order.timeout.unwrap_or(RUN_TIMEOUT_DEFAULT);
        let request = AgentRequest {
            run: id.clone(),
            session: session.clone(),
            kind: RequestKind::Message,
            message: order.message,
            model: order.model,
            label: order.label,
            attachments: order.attachments,
        };
        self.check_run(now, &request, &agent, &user)?;
        let message = ChatMessage {
            id: self.history.next_id(now.unix_ms),
            session: session.clone(),
            run: id.clone(),
            role: ChatRole::User,
            agent: agent.clone(),
            user: user.clone(),
            content: Arc::clone(&request.message),
            at_ms: now.unix_ms,
        };
        let started_at_ms = now.unix_ms;
        let record = RunRecord { id, user, origin, agent, session, started_at_ms, end: None };
        let id = record.id.clone();
        let place = Place { message: message.id, timeout };
        if let Some(forgotten) = self.runs.insert(Arc::new(record), request, place) {
            self.commits.mark_run(forgotten, 0);
        }
        self.commits.mark_run(id.clone(), 0);
        let session = self.session_or_new(&message.session, now);
        self.put_session(session);
        self.keep_message(message);
        self.commits.wait(commits::Waiter::Run(id.clone()));
        Ok(id)
    }

    /// Whether this may become a run.
    fn check_run(
        &self,
        now: Moment,
        request: &AgentRequest,
        agent: &AgentName,
        user: &UserName,
    ) -> Result<(), ProtocolError> {
        let bytes = request.bytes();
        self.writable(bytes)?;
        if self.runs.get(&request.run).is_some() {
            return Err(ProtocolError::new(ErrorCode::Conflict, "this run id is in use"));
        }
        if bytes > self.policy.limits.backlog_bytes_max / 2 {
            let message = "message and attachments are too long for gateway.limits.backlogBytes";
            return Err(ProtocolError::invalid(message));
        }
        let unsent = "too many messages wait to be handed to their agents";
        let full = self.runs.unsent_bytes() + bytes > RUNS_UNSENT_BYTES_MAX;
        let lack = self.runs.lack_of_room(now.at, agent, user);
        let lack = lack.or_else(|| full.then_some(unsent));
        if let Some(lack) = lack {
            let error = ProtocolError::new(ErrorCode::ResourceExhausted, lack);
            return Err(error.retry_after(millis(RUN_RETRY_AFTER)));
        }
        if self.clients.newest_of_agent(agent, &request.session).is_some() {
            return Ok(());
        }
        if !self.policy.spawn.templates.contains_key(agent) {
            return Err(not_connected(agent));
        }
        self.template_order(task(request, agent, user)).map(|_| ())
    }

    /// Adds a message to its session's history.
    fn keep_message(&mut self, message: ChatMessage) {
        self.commits.mark_message(message.id, message.content.len());
        for gone in self.history.insert(Arc::new(message)) {
            self.commits.mark_message(gone, 0);
        }
    }

    /// A run's record is on disk: who asked is answered, and its agent is asked.
    pub(super) fn run_stored(&mut self, now: Moment, id: &RunId, effects: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(id) else { return };
        let (starters, others): (Vec<Waiter>, Vec<Waiter>) = std::mem::take(&mut run.waiters)
            .into_iter()
            .partition(|waiter| matches!(waiter.what, Awaited::Start { .. }));
        run.waiters = others;
        let given_up = matches!(run.stage, Stage::Storing { given_up: true, .. });
        for Waiter { conn, id: request, what } in starters {
            let repeated = what == Awaited::Start { repeated: true };
            self.answer_open(conn, request, id, repeated, effects);
        }
        if given_up {
            return self.end_run(now, id, Ending::aborted(), effects);
        }
        self.give_run(now, id, effects);
    }

    /// Tells one who asked for a run that it is open; `agent` then waits for its end.
    pub(super) fn answer_open(
        &mut self,
        conn: ConnId,
        request: RequestId,
        id: &RunId,
        repeated: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(run) = self.runs.get_mut(id) else { return };
        let RunRecord { session, started_at_ms, origin, .. } = &*run.record;
        let answered_twice = matches!(origin, RunOrigin::Request { method: RunMethod::Agent, .. });
        let (run_id, session) = (id.clone(), session.clone());
        let reply = if answered_twice {
            run.waiters.push(Waiter { conn, id: request.clone(), what: Awaited::End });
            RunReply::Accepted { run: run_id, session, at_ms: *started_at_ms }
        } else {
            let progressed =
                if repeated { RunProgressed::InFlight } else { RunProgressed::Started };
            RunReply::Open { run: run_id, session, progressed }
        };
        self.respond(conn, request, Ok(Reply::Runs(Box::new(reply))), effects);
    }

    /// Hands a run to its agent's newest connection; ends it if there is none any more.
    fn give_run(&mut self, now: Moment, id: &RunId, effects: &mut Vec<Effect>) {
        let Some(run) = self.runs.get(id) else { return };
        let agent = run.record.agent.clone();
        let ends_at = now.at + run.place.timeout;
        let Some(conn) = self.clients.newest_of_agent(&agent, &run.record.session) else {
            return self.start_agent(now, id, ends_at, effects);
        };
        let Some(request) = self.runs.give(id, conn, ends_at) else { return };
        effects.push(Effect::Send { conn, event: Event::AgentRequest(request) });
        self.tell_step(now, id, RunStep::Started, effects);
    }

    /// Starts the agent of a run from its template; ends the run if there is none.
    fn start_agent(
        &mut self,
        now: Moment,
        id: &RunId,
        ends_at: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(run) = self.runs.get(id) else { return };
        let RunRecord { agent, user, .. } = &*run.record;
        let Stage::Storing { request, .. } = &run.stage else { return };
        let order = if self.policy.spawn.templates.contains_key(agent) {
            self.template_order(task(request, agent, user))
        } else {
            Err(not_connected(agent))
        };
        match order.and_then(|order| self.start_spawn(now, order, effects)) {
            Ok(spawn) => {
                self.runs.starting(id, spawn, ends_at);
                self.tell_step(now, id, RunStep::Started, effects);
            }
            Err(error) => self.end_run(now, id, Ending::failed(error.message), effects),
        }
    }

    /// A program that was started connects: it may be for a run.
    pub(super) fn run_agent_arrived(
        &mut self,
        conn: ConnId,
        spawn: &SpawnId,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(request) = self.runs.arrived(spawn, conn) {
            effects.push(Effect::Send { conn, event: Event::AgentRequest(request) });
        }
    }

    /// Tells everybody of the next step of a run.
    pub(super) fn tell_step(
        &mut self,
        now: Moment,
        id: &RunId,
        step: RunStep,
        effects: &mut Vec<Effect>,
    ) {
        let Some(run) = self.runs.get_mut(id) else { return };
        run.seq += 1;
        let progress = run.progress(now, step);
        effects.push(Effect::Broadcast(Event::RunProgress(Arc::new(progress))));
    }

    /// A run's record is not on disk: there was no such run.
    pub(super) fn run_not_stored(&mut self, now: Moment, id: &RunId, effects: &mut Vec<Effect>) {
        let Some(Run { record, waiters, place, .. }) = self.runs.remove_open(id) else { return };
        self.history.remove(place.message);
        for Waiter { conn, id, what } in waiters {
            if let Awaited::EndUntil(_) = what {
                self.clients.waited(conn);
            }
            self.respond(conn, id, Err(Box::new(refusals::not_stored())), effects);
        }
        let end = RunEnd {
            state: RunState::Error,
            text: None,
            error: Some(refusals::not_stored().message.into()),
            timed_out: false,
            usage: None,
            at_ms: now.unix_ms,
        };
        let record = Arc::new(RunRecord { end: Some(end), ..RunRecord::clone(&record) });
        self.run_ended(now, &RunEnded { record }, effects);
    }

    /// A run has ended: whoever started it from inside the hub hears of it here, exactly once for
    /// each `Ok` of `start_run`, also when its record could not be stored (then `end` says so), and
    /// at the start after a restart for those that were open.
    pub(super) fn run_ended(&mut self, now: Moment, ended: &RunEnded, effects: &mut Vec<Effect>) {
        if let Some(end) = &ended.record.end {
            self.runs.outcomes.add(end.state, 1);
        }
        match &ended.record.origin {
            RunOrigin::Request { .. } => {}
            RunOrigin::Cron { job, number } => {
                self.cron_run_ended(now, (job, *number), ended, effects);
            }
        }
    }
}

impl Run {
    /// What is told of a step, numbered as the last that was counted.
    pub(super) fn progress(&self, now: Moment, step: RunStep) -> RunProgress {
        RunProgress {
            run: self.record.id.clone(),
            session: self.record.session.clone(),
            seq: self.seq,
            step,
            at_ms: now.unix_ms,
        }
    }
}

/// What the template of an agent is started with for a run.
fn task(request: &AgentRequest, agent: &AgentName, user: &UserName) -> Task {
    Task {
        agent: agent.clone(),
        text: request.message.to_string(),
        model: request.model.clone(),
        label: request.label.clone(),
        session: Some(request.session.clone()),
        user: user.clone(),
        origin: SpawnOrigin::Run(request.run.clone()),
    }
}

/// What a request for an agent is refused with that is not there.
pub(super) fn not_connected(agent: &AgentName) -> ProtocolError {
    let message = format!("agent not connected: {agent}");
    ProtocolError::new(ErrorCode::Unavailable, message).retry_after(millis(AGENT_RETRY_AFTER))
}
