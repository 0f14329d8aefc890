//! How a run goes on and ends: what its agent says, that it goes away, that somebody gives it up,
//! that its time is over.
//!
//! Every ending passes through [`Hub::end_run`], once per run. Called by the verbs `run.update`
//! and `chat.abort`, by `closed`, and when deadlines come.

use std::sync::Arc;

use crate::base::ids::{ConnId, RunId};
use crate::base::limits::RUN_ABORT_GRACE;
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::clients::Clients;
use crate::hub::commits;
use crate::hub::effect::Effect;
use crate::hub::runs::RunEnded;
use crate::hub::runs::record::{RunEnd, RunRecord};
use crate::hub::runs::table::{Awaited, Overdue, Stage, Waiter};
use crate::hub::spawns::ended::SpawnEnded;
use crate::protocol::event::Event;
use crate::protocol::reply::Reply;
use crate::protocol::run::{
    AgentRequest, ChatMessage, ChatRole, ChatUpdate, RequestKind, RunState, RunStep,
};
use crate::protocol::run_calls::{RunReply, RunReport};
use crate::protocol::spawn::SpawnStatus;

/// The word with which an agent is told to give a run up.
const ABORT: &str = "abort";

/// How a run is to end.
pub(in crate::hub) struct Ending {
    pub(in crate::hub) state: RunState,
    /// The whole answer; `None`: what was said so far.
    pub(in crate::hub) text: Option<Arc<str>>,
    pub(in crate::hub) error: Option<Arc<str>>,
    pub(in crate::hub) timed_out: bool,
    pub(in crate::hub) usage: Option<Arc<str>>,
}

impl Ending {
    pub(in crate::hub) fn failed(error: impl Into<Arc<str>>) -> Self {
        let error = Some(error.into());
        Self { state: RunState::Error, text: None, error, timed_out: false, usage: None }
    }

    pub(in crate::hub) fn aborted() -> Self {
        Self { state: RunState::Aborted, ..Self::failed("aborted") }
    }
}

impl Hub {
    /// An agent says something about a run that is its own and open.
    pub(in crate::hub) fn run_continued(
        &mut self,
        now: Moment,
        id: &RunId,
        report: RunReport,
        effects: &mut Vec<Effect>,
    ) {
        let RunReport { run: _, state, text, usage, error } = report;
        if state != RunState::Delta {
            let error = match state {
                RunState::Final => None,
                RunState::Aborted => error.or_else(|| Some("aborted".into())),
                RunState::Delta | RunState::Error => {
                    error.or_else(|| Some("the agent reported an error".into()))
                }
            };
            let ending = Ending { state, text, error, timed_out: false, usage };
            return self.end_run(now, id, ending, effects);
        }
        if let Some(text) = &text {
            self.make_room_for_text(text.len());
            self.runs.said(id, text);
        }
        let Some(run) = self.runs.get_mut(id) else { return };
        run.seq += 1;
        let session = run.record.session.clone();
        if let Some(text) = text.clone().filter(|text| !text.is_empty()) {
            let progress = run.progress(now, RunStep::Said(text));
            effects.push(Effect::Broadcast(Event::RunProgress(Arc::new(progress))));
        }
        let (seq, at_ms) = (run.seq, now.unix_ms);
        let update = ChatUpdate { run: id.clone(), session, seq, state, text, usage, error, at_ms };
        effects.push(Effect::Broadcast(Event::Chat(Arc::new(update))));
    }

    /// Ends an open run, tells everybody, and those who wait once it is on disk.
    pub(in crate::hub) fn end_run(
        &mut self,
        now: Moment,
        id: &RunId,
        ending: Ending,
        effects: &mut Vec<Effect>,
    ) {
        let Some(run) = self.runs.get_mut(id).filter(|run| run.is_open()) else { return };
        let Ending { state, text, error, timed_out, usage } = ending;
        run.seq += 1;
        // Clients that follow the stream alone must have heard the whole answer.
        let unheard = text.as_deref().and_then(|text| text.strip_prefix(&*run.said));
        if let Some(rest) = unheard.filter(|rest| !rest.is_empty()) {
            let progress = run.progress(now, RunStep::Said(rest.into()));
            effects.push(Effect::Broadcast(Event::RunProgress(Arc::new(progress))));
            run.seq += 1;
        }
        let text = text.or_else(|| (!run.said.is_empty()).then(|| Arc::from(&*run.said)));
        let failure = error.clone().filter(|_| state == RunState::Error);
        let step = match failure {
            Some(error) => RunStep::Failed(error),
            None => RunStep::Ended { aborted: state == RunState::Aborted },
        };
        let progress = run.progress(now, step);
        effects.push(Effect::Broadcast(Event::RunProgress(Arc::new(progress))));
        let at_ms = now.unix_ms;
        let update = ChatUpdate {
            run: id.clone(),
            session: run.record.session.clone(),
            seq: run.seq,
            state,
            text: text.clone().filter(|_| state == RunState::Final),
            usage: usage.clone(),
            error: error.clone(),
            at_ms,
        };
        effects.push(Effect::Broadcast(Event::Chat(Arc::new(update))));
        let end = RunEnd { state, text, error, timed_out, usage, at_ms };
        let record = RunRecord { end: Some(end), ..RunRecord::clone(&run.record) };
        self.close_run(now, Arc::new(record), effects);
    }

    /// What follows from a run's end, once everybody has heard of it.
    fn close_run(&mut self, now: Moment, record: Arc<RunRecord>, effects: &mut Vec<Effect>) {
        let id = record.id.clone();
        self.runs.end(now.at, Arc::clone(&record));
        self.make_room_for_text(0);
        self.commits.mark_run(id.clone(), record.text_bytes());
        let end = record.end.as_ref();
        if let Some(RunEnd { state: RunState::Final, text: Some(text), .. }) = end
            && !text.is_empty()
        {
            let message = ChatMessage {
                id: self.history.next_id(now.unix_ms),
                session: record.session.clone(),
                run: id.clone(),
                role: ChatRole::Assistant,
                agent: record.agent.clone(),
                user: record.user.clone(),
                content: Arc::clone(text),
                at_ms: now.unix_ms,
            };
            effects.push(Effect::Broadcast(Event::ChatMessage(Arc::new(message.clone()))));
            self.keep_message(message);
        }
        self.run_ended(now, &RunEnded { record }, effects);
        if self.commits.is_healthy() {
            self.commits.wait(commits::Waiter::RunEnd(id));
        } else {
            self.run_told(&id, effects);
        }
    }

    /// Forgets the oldest answers, as far as `more` bytes need their room.
    fn make_room_for_text(&mut self, more: usize) {
        while let Some(textless) = self.runs.shed_text(more) {
            self.commits.mark_run(textless, 0);
        }
    }

    /// The end of a run is as durable as it will be: everyone who waits is answered.
    pub(in crate::hub) fn run_told(&mut self, id: &RunId, effects: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(id) else { return };
        let Some(outcome) = run.record.outcome() else { return };
        run.stage = Stage::Ended { told: true };
        let waiters = std::mem::take(&mut run.waiters);
        self.runs.reschedule(id);
        for Waiter { conn, id, what } in waiters {
            match what {
                Awaited::End => {
                    let reply = Reply::Runs(Box::new(RunReply::AgentEnded(outcome.clone())));
                    self.respond_again(conn, id, reply, effects);
                }
                Awaited::EndUntil(_) => {
                    self.clients.waited(conn);
                    let reply = Reply::Runs(Box::new(RunReply::Waited(outcome.clone())));
                    self.respond(conn, id, Ok(reply), effects);
                }
                // It is answered first, by the same commit or an earlier one.
                Awaited::Start { .. } => {}
            }
        }
    }

    /// Gives up an open run; whether there was one. Its agent is told, and has a moment to say how
    /// it ended.
    pub(in crate::hub) fn abort_run(
        &mut self,
        now: Moment,
        id: &RunId,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(run) = self.runs.get_mut(id) else { return false };
        match &mut run.stage {
            Stage::Storing { given_up, .. } => *given_up = true,
            Stage::Given(conn) => {
                if matches!(run.ends_at, Some((_, Overdue::Aborted))) {
                    return true;
                }
                let conn = *conn;
                let grace = now.at + RUN_ABORT_GRACE;
                run.ends_at = Some((grace, Overdue::Aborted));
                effects.extend(abort_request(&self.clients, conn, &run.record));
                self.runs.reschedule(id);
            }
            Stage::Starting { spawn, conn, .. } => {
                if matches!(run.ends_at, Some((_, Overdue::Aborted))) {
                    return true;
                }
                run.ends_at = Some((now.at + RUN_ABORT_GRACE, Overdue::Aborted));
                let spawn = spawn.clone();
                let told = conn.and_then(|conn| abort_request(&self.clients, conn, &run.record));
                effects.extend(told);
                self.runs.reschedule(id);
                self.cancel_spawn(now, &spawn, None, effects);
            }
            Stage::Ended { .. } => return false,
        }
        true
    }

    /// Something is to be done about a run now: somebody has waited for long enough, or it has
    /// taken too long.
    pub(in crate::hub) fn run_due(&mut self, now: Moment, id: &RunId, effects: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(id) else { return };
        let (over, waiting): (Vec<Waiter>, Vec<Waiter>) = std::mem::take(&mut run.waiters)
            .into_iter()
            .partition(|waiter| matches!(waiter.what, Awaited::EndUntil(until) if until <= now.at));
        run.waiters = waiting;
        let started_at_ms = run.record.started_at_ms;
        let overdue = run.ends_at.take_if(|(at, _)| *at <= now.at);
        let (given, spawn) = match &run.stage {
            Stage::Given(conn) => (abort_request(&self.clients, *conn, &run.record), None),
            Stage::Starting { spawn, .. } => (None, Some(spawn.clone())),
            Stage::Storing { .. } | Stage::Ended { .. } => (None, None),
        };
        let timeout = run.place.timeout;
        self.runs.reschedule(id);
        for Waiter { conn, id: request, .. } in over {
            self.clients.waited(conn);
            let reply = RunReply::StillOpen { run: id.clone(), started_at_ms };
            self.respond(conn, request, Ok(Reply::Runs(Box::new(reply))), effects);
        }
        match overdue {
            None => {}
            Some((_, Overdue::Aborted)) => self.end_run(now, id, Ending::aborted(), effects),
            Some((_, Overdue::TimedOut)) => {
                effects.extend(given);
                let error = format!("the agent gave no answer within {} s", timeout.as_secs());
                let ending = Ending { timed_out: true, ..Ending::failed(error) };
                self.end_run(now, id, ending, effects);
                if let Some(spawn) = spawn {
                    self.cancel_spawn(now, &spawn, None, effects);
                }
            }
        }
    }

    /// A spawn that was started for a run has ended: so has the run, if it is still open.
    pub(in crate::hub) fn run_spawn_ended(
        &mut self,
        now: Moment,
        id: &RunId,
        ended: &SpawnEnded,
        effects: &mut Vec<Effect>,
    ) {
        let Some(run) = self.runs.get(id) else { return };
        if !matches!(&run.stage, Stage::Starting { spawn, .. } if *spawn == ended.spawn) {
            return;
        }
        let is_silent = run.said.is_empty();
        let ending = match ended.status {
            _ if matches!(run.ends_at, Some((_, Overdue::Aborted))) => Ending::aborted(),
            SpawnStatus::Completed => Ending {
                state: RunState::Final,
                text: ended
                    .text
                    .as_deref()
                    .filter(|_| is_silent)
                    .map(|text| text.trim_end().into()),
                error: None,
                timed_out: false,
                usage: None,
            },
            SpawnStatus::Timeout => Ending {
                timed_out: true,
                ..Ending::failed(format!("the agent's program {} took too long", ended.spawn))
            },
            status @ (SpawnStatus::Queued
            | SpawnStatus::Running
            | SpawnStatus::Failed
            | SpawnStatus::Cancelled
            | SpawnStatus::Lost) => {
                let why = ended.error.clone().unwrap_or_else(|| status.to_string());
                Ending::failed(format!("the agent's program {} ended: {why}", ended.spawn))
            }
        };
        self.end_run(now, id, ending, effects);
    }

    /// A connection is gone: the runs that it was given have failed.
    pub(in crate::hub) fn runs_left(
        &mut self,
        now: Moment,
        conn: ConnId,
        effects: &mut Vec<Effect>,
    ) {
        // One that was started has ended when its program has.
        let given = |stage: &Stage| matches!(stage, Stage::Given(to) if *to == conn);
        let left: Vec<_> =
            self.runs.open().filter(|run| given(&run.stage)).map(|r| r.record.clone()).collect();
        for record in left {
            let error = if self.stopping.is_some() {
                "the gateway was stopped".to_owned()
            } else {
                format!("agent disconnected: {}", record.agent)
            };
            self.end_run(now, &record.id, Ending::failed(error), effects);
        }
    }
}

/// Tells an agent to give a run up, unless its connection was told to go: nothing is sent behind
/// that, and the run ends with the connection.
fn abort_request(clients: &Clients, conn: ConnId, record: &RunRecord) -> Option<Effect> {
    clients.get(conn).filter(|client| !client.closing)?;
    let request = AgentRequest {
        run: record.id.clone(),
        session: record.session.clone(),
        kind: RequestKind::Control,
        message: ABORT.into(),
        model: None,
        label: None,
        attachments: None,
    };
    Some(Effect::Send { conn, event: Event::AgentRequest(Box::new(request)) })
}
