//! What becomes of a spawn's process, as the shell tells it.
//!
//! News of a spawn that has ended are no news.

use std::sync::Arc;

use super::{Asker, Ending, Leftovers, Phase};
use crate::base::close_reason::CloseReason;
use crate::base::ids::{ConnId, SpawnId};
use crate::base::limits::SPAWN_START_WAIT_MAX;
use crate::base::time::Moment;
use crate::hub::audit::{AuditKind, audit, spawn_members, spawn_refused};
use crate::hub::child::{ChildMarks, ChildNews, ChildOrder, Exit, NotFound, ProgramFound};
use crate::hub::commits::Waiter;
use crate::hub::effect::{Diagnostic, DiagnosticValue, Effect};
use crate::hub::{Hub, refusals};
use crate::protocol::error::ProtocolError;
use crate::protocol::event::Event;
use crate::protocol::reply::Reply;
use crate::protocol::spawn::{SpawnReply, SpawnStatus};

impl Hub {
    /// Applies `Input::Child`.
    pub(in crate::hub) fn child_news(
        &mut self,
        now: Moment,
        news: ChildNews,
        effects: &mut Vec<Effect>,
    ) {
        match news {
            ChildNews::Resolved { spawn, outcome } => self.resolved(now, &spawn, outcome, effects),
            ChildNews::Held { spawn, outcome } => self.held(now, &spawn, outcome, effects),
            ChildNews::Started(spawn) => self.started(now, &spawn, effects),
            ChildNews::StartFailed { spawn, error } => {
                self.end_unstarted(now, &spawn, error, effects);
            }
            ChildNews::Output { spawn, lines } => self.child_output(now, &spawn, lines, effects),
            ChildNews::OutputEnded(spawn) => {
                if let Some(open) = self.spawns.get_mut(&spawn) {
                    open.output_ended = true;
                    self.end_if_done(now, &spawn, effects);
                }
            }
            ChildNews::Exited { spawn, exit, leftovers } => {
                self.exited(now, &spawn, exit, leftovers, effects);
            }
            ChildNews::LeftoversEnded(spawn) => self.leftovers_ended(now, &spawn, effects),
            ChildNews::EarlierEnded { spawn, was_running } => {
                self.earlier_ended(now, &spawn, was_running, effects);
            }
        }
    }

    fn resolved(
        &mut self,
        now: Moment,
        id: &SpawnId,
        outcome: Result<ProgramFound, NotFound>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(spawn) = self.spawns.get_mut(id).filter(|s| s.phase == Phase::Resolving) else {
            return;
        };
        match outcome {
            Ok(found) => {
                spawn.phase = Phase::Queued(found);
                if spawn.placed {
                    self.launch_if_ready(id, effects);
                } else if let Err(error) = self.writable(0) {
                    self.refuse_spawn(now, id, error, effects);
                } else {
                    self.record_spawn(now, id);
                    self.commits.wait(Waiter::SpawnQueued(id.clone()));
                }
            }
            Err(NotFound::Forbidden { rule, problem }) => {
                let error = ProtocolError::invalid(format!("{rule}: {problem}"));
                self.refuse_spawn(now, id, error, effects);
            }
            Err(NotFound::CannotStart(error)) => {
                self.end_spawn(now, id, SpawnStatus::Failed, Some(error), effects);
            }
        }
    }

    /// The launcher waits. What it may become is written down before it does.
    fn held(
        &mut self,
        now: Moment,
        id: &SpawnId,
        outcome: Result<ChildMarks, String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(spawn) = self.spawns.get_mut(id).filter(|s| s.phase == Phase::Launching) else {
            return;
        };
        let marks = match outcome {
            Ok(marks) => marks,
            Err(error) => return self.end_unstarted(now, id, error, effects),
        };
        spawn.record.marks = Some(marks);
        if spawn.ending.is_some() {
            return self.abandon(id, effects);
        }
        if let Err(error) = self.writable(0) {
            return self.give_up(id, &error, effects);
        }
        if let Some(spawn) = self.spawns.get_mut(id) {
            spawn.phase = Phase::Committing;
        }
        self.record_spawn(now, id);
        self.commits.wait(Waiter::SpawnHeld(id.clone()));
    }

    /// Notes what has to be on disk of a spawn that goes on.
    fn record_spawn(&mut self, now: Moment, id: &SpawnId) {
        self.save_spawn(id);
        self.open_session(now, id);
        let asker = self.spawns.get_mut(id).and_then(|spawn| spawn.asker.as_mut());
        let record = asker.and_then(|asker| asker.once.as_mut()).and_then(|(_, once)| once.take());
        if let Some(record) = record {
            self.commits.put_answer(*record);
        }
    }

    /// The record of a spawn that waits is on disk.
    pub(in crate::hub) fn spawn_queued(&mut self, id: &SpawnId, effects: &mut Vec<Effect>) {
        let Some(spawn) = self.spawns.get_mut(id) else { return };
        let shown = spawn.record.shown();
        if let Some(asker) = spawn.asker.take() {
            self.answer_asker(id, asker, effects);
        }
        effects.push(Effect::Broadcast(Event::SpawnResult(Arc::new(shown))));
    }

    /// The marks of a launcher are on disk.
    pub(in crate::hub) fn spawn_held(
        &mut self,
        now: Moment,
        id: &SpawnId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(spawn) = self.spawns.get_mut(id).filter(|s| s.phase == Phase::Committing) else {
            return;
        };
        spawn.phase = Phase::Going;
        self.spawns.set_deadline(id, Some(now.at + SPAWN_START_WAIT_MAX));
        effects.push(Effect::Child(Box::new(ChildOrder::Go(id.clone()))));
    }

    /// The record of a spawn did not become durable: it may not run.
    pub(in crate::hub) fn spawn_not_stored(
        &mut self,
        now: Moment,
        id: &SpawnId,
        effects: &mut Vec<Effect>,
    ) {
        let error = refusals::not_stored();
        match self.spawns.get(id).map(|spawn| &spawn.phase) {
            Some(Phase::Queued(_)) => self.refuse_spawn(now, id, error, effects),
            Some(Phase::Committing) => self.give_up(id, &error, effects),
            // It waited for a commit that a later one has made needless, or is being ended.
            Some(
                Phase::Resolving
                | Phase::Launching
                | Phase::Going
                | Phase::Running
                | Phase::Abandoning
                | Phase::Exited(_),
            )
            | None => {}
        }
    }

    /// Refuses a spawn that has no process.
    fn refuse_spawn(
        &mut self,
        now: Moment,
        id: &SpawnId,
        error: ProtocolError,
        effects: &mut Vec<Effect>,
    ) {
        self.audit_refused(id, &error, effects);
        self.refuse_asker(id, &error, effects);
        self.end_spawn(now, id, SpawnStatus::Failed, Some(error.message), effects);
    }

    fn audit_refused(&self, id: &SpawnId, error: &ProtocolError, effects: &mut Vec<Effect>) {
        if let Some(spawn) = self.spawns.get(id) {
            let actor = self.spawn_actor(spawn.asker.as_ref(), &spawn.record);
            effects.push(spawn_refused(actor, &spawn.record, &error.message));
        }
    }

    /// Refuses a spawn whose launcher waits.
    fn give_up(&mut self, id: &SpawnId, error: &ProtocolError, effects: &mut Vec<Effect>) {
        self.audit_refused(id, error, effects);
        self.refuse_asker(id, error, effects);
        if let Some(spawn) = self.spawns.get_mut(id) {
            let (status, error) = (SpawnStatus::Failed, Some(error.message.clone()));
            spawn.ending = Some(Ending { status, error, killed: false });
        }
        self.abandon(id, effects);
    }

    fn abandon(&mut self, id: &SpawnId, effects: &mut Vec<Effect>) {
        if let Some(spawn) = self.spawns.get_mut(id) {
            spawn.phase = Phase::Abandoning;
            effects.push(Effect::Child(Box::new(ChildOrder::Abandon(id.clone()))));
        }
    }

    fn started(&mut self, now: Moment, id: &SpawnId, effects: &mut Vec<Effect>) {
        let Some(spawn) = self.spawns.get_mut(id).filter(|s| s.phase == Phase::Going) else {
            return;
        };
        spawn.phase = Phase::Running;
        spawn.record.status = SpawnStatus::Running;
        spawn.record.started_at_ms = Some(now.unix_ms);
        let shown = spawn.record.shown();
        let asker = spawn.asker.take();
        let deadline = spawn.ending.is_none().then(|| now.at + spawn.timeout);
        effects.push(Effect::Diagnose(Diagnostic {
            level: log::Level::Info,
            msg: "Spawn started",
            fields: vec![
                ("spawn", DiagnosticValue::Text(id.to_string())),
                ("command", DiagnosticValue::Text(spawn.record.command.clone())),
                ("agent", DiagnosticValue::Text(spawn.record.agent.to_string())),
                ("pid", DiagnosticValue::Number(shown.pid.unwrap_or_default().into())),
            ],
        }));
        if let Some(deadline) = deadline {
            self.spawns.set_deadline(id, Some(deadline));
        }
        if let Some(record) = self.spawns.record(id) {
            let actor = self.spawn_actor(asker.as_ref(), record);
            let pid = ("pid", DiagnosticValue::Number(shown.pid.unwrap_or_default().into()));
            let what = spawn_members(record).into_iter().chain([pid]);
            effects.push(audit(AuditKind::SpawnStarted, actor, what));
        }
        if let Some(asker) = asker {
            self.answer_asker(id, asker, effects);
        }
        effects.push(Effect::Broadcast(Event::SpawnResult(Arc::new(shown))));
        self.save_spawn(id);
    }

    fn exited(
        &mut self,
        now: Moment,
        id: &SpawnId,
        exit: Exit,
        leftovers: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(spawn) = self.spawns.get_mut(id) else { return };
        match spawn.phase {
            Phase::Running => {}
            Phase::Exited(_) | Phase::Resolving | Phase::Queued(_) => return,
            Phase::Launching | Phase::Committing | Phase::Going | Phase::Abandoning => {
                let error = "its launcher ended before the program could start".to_owned();
                return self.end_unstarted(now, id, error, effects);
            }
        }
        spawn.record.exit = Some(exit);
        spawn.phase = Phase::Exited(match leftovers {
            true => Leftovers::Grace,
            false => Leftovers::None,
        });
        let deadline = match leftovers {
            true if self.stopping.is_some() => now.at,
            true => now.at + self.policy.spawn.leftover_grace,
            false => Self::output_deadline(now),
        };
        self.spawns.set_deadline(id, Some(deadline));
        self.withdraw_child(id, effects);
        self.end_if_done(now, id, effects);
    }

    fn leftovers_ended(&mut self, now: Moment, id: &SpawnId, effects: &mut Vec<Effect>) {
        let is_ending = Phase::Exited(Leftovers::Ending);
        let Some(spawn) = self.spawns.get_mut(id).filter(|s| s.phase == is_ending) else { return };
        spawn.phase = Phase::Exited(Leftovers::None);
        self.spawns.set_deadline(id, Some(Self::output_deadline(now)));
        self.end_if_done(now, id, effects);
    }

    /// The credential of a spawn is good no longer, and ends the connections that it let in.
    pub(super) fn withdraw_child(&mut self, id: &SpawnId, effects: &mut Vec<Effect>) {
        self.spawns.end_token(id);
        let let_in: Vec<ConnId> = self.clients.of_spawn(id);
        for conn in let_in {
            self.close(conn, CloseReason::CredentialWithdrawn, effects);
        }
    }

    /// Answers the request that started a spawn, and its repetitions, with how it stands.
    pub(super) fn answer_asker(&mut self, id: &SpawnId, asker: Asker, effects: &mut Vec<Effect>) {
        let Asker { conn, id: request, once, template } = asker;
        let Some(record) = self.spawns.record(id) else { return };
        let reply = spawn_reply(record, template);
        let askers = match once {
            Some((key, record)) => {
                // A spawn that failed before it had a record has its answer stored now.
                if let Some(record) = record.filter(|_| self.commits.is_healthy()) {
                    self.commits.put_answer(*record);
                }
                match self.answers.stored(&key) {
                    Some((_, askers)) => askers,
                    None => vec![(conn, request)],
                }
            }
            None => vec![(conn, request)],
        };
        for (conn, request) in askers {
            self.respond(conn, request, Ok(reply.clone()), effects);
        }
    }
}

/// What `spawn` or `sessions_spawn` is answered with.
pub(in crate::hub) fn spawn_reply(
    record: &crate::hub::records::SpawnRecord,
    template: bool,
) -> Reply {
    let shown = record.shown();
    Reply::Spawn(Box::new(match template {
        true => SpawnReply::TemplateSpawned { shown, session: record.session.clone() },
        false => SpawnReply::Spawned(shown),
    }))
}
