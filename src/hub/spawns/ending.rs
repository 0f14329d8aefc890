//! Ending a spawn: on request, by time, with the gateway; and the end itself.
//!
//! TERM first, then, after a grace, KILL. However a spawn ends, it ends here, once: `end_spawn`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ended::SpawnEnded;
use super::{Asker, Ending, Leftovers, Phase};
use crate::base::ids::{SessionKey, SpawnId};
use crate::base::limits::{
    SPAWN_ERROR_BYTES_MAX, SPAWN_OUTPUT_GRACE, SPAWN_START_WAIT_MAX, STOP_CHILD_GRACE,
};
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::audit::{AuditKind, audit, spawn_members, text as member};
use crate::hub::child::{ChildOrder, Exit, Signal};
use crate::hub::commits::Waiter;
use crate::hub::effect::{Diagnostic, DiagnosticValue, Effect};
use crate::hub::records::{Change, SpawnRecord};
use crate::protocol::error::ProtocolError;
use crate::protocol::event::Event;
use crate::protocol::session::Session;
use crate::protocol::spawn::{SpawnShown, SpawnStatus, signal_name};

impl Hub {
    /// Ends an open spawn: one that has no process yet at once, another by TERM and, after the
    /// grace, KILL. Its first reason counts; a shorter grace does, too.
    pub(in crate::hub) fn cancel_spawn(
        &mut self,
        now: Moment,
        id: &SpawnId,
        grace: Option<Duration>,
        effects: &mut Vec<Effect>,
    ) {
        let grace = grace.unwrap_or(self.policy.spawn.grace);
        self.begin_ending(now, id, SpawnStatus::Cancelled, None, grace, effects);
    }

    fn begin_ending(
        &mut self,
        now: Moment,
        id: &SpawnId,
        status: SpawnStatus,
        error: Option<String>,
        grace: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let Some(spawn) = self.spawns.get_mut(id) else { return };
        let order = |order| Effect::Child(Box::new(order));
        match spawn.phase {
            Phase::Resolving | Phase::Queued(_) => {
                return self.end_spawn(now, id, status, error, effects);
            }
            // There is nothing yet that could be abandoned.
            Phase::Launching => {}
            Phase::Committing => {
                spawn.phase = Phase::Abandoning;
                effects.push(order(ChildOrder::Abandon(id.clone())));
            }
            Phase::Going | Phase::Running => {
                let kill_at = now.at + grace;
                let is_killed = spawn.ending.as_ref().is_some_and(|ending| ending.killed);
                let before = spawn.ending.as_ref().and(spawn.deadline);
                if spawn.ending.is_none() {
                    let signal = Signal::Terminate;
                    effects.push(order(ChildOrder::Signal { spawn: id.clone(), signal }));
                }
                if !is_killed && before.is_none_or(|before| kill_at < before) {
                    self.spawns.set_deadline(id, Some(kill_at));
                }
            }
            Phase::Abandoning | Phase::Exited(_) => return,
        }
        if let Some(spawn) = self.spawns.get_mut(id) {
            spawn.ending.get_or_insert(Ending { status, error, killed: false });
        }
    }

    /// Ends everything, because the gateway stops: within `STOP_CHILD_GRACE` at the latest.
    pub(in crate::hub) fn stop_spawns(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let grace = self.policy.spawn.grace.min(STOP_CHILD_GRACE);
        for id in self.spawns.open_ids() {
            let why = Some("the gateway was stopped".to_owned());
            self.begin_ending(now, &id, SpawnStatus::Cancelled, why, grace, effects);
            let phase = self.spawns.get(&id).map(|spawn| &spawn.phase);
            if phase == Some(&Phase::Exited(Leftovers::Grace)) {
                self.spawns.set_deadline(&id, Some(now.at));
            }
        }
    }

    /// Does what the deadlines of spawns ask for.
    pub(in crate::hub) fn expire_spawns(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        while let Some(id) = self.spawns.take_due(now.at) {
            let Some(spawn) = self.spawns.get_mut(&id) else { continue };
            match (&spawn.phase, &mut spawn.ending) {
                (Phase::Going | Phase::Running, Some(ending)) => {
                    ending.killed = true;
                    let order = ChildOrder::Signal { spawn: id, signal: Signal::Kill };
                    effects.push(Effect::Child(Box::new(order)));
                }
                (Phase::Going, None) => {
                    let why = format!(
                        "did not start within {} s: what it needs is on a disk that does not answer",
                        SPAWN_START_WAIT_MAX.as_secs()
                    );
                    let status = SpawnStatus::Failed;
                    self.begin_ending(now, &id, status, Some(why), Duration::ZERO, effects);
                }
                (Phase::Running, None) => {
                    let why = format!("ran longer than {} s", spawn.timeout.as_secs_f64());
                    let grace = self.policy.spawn.grace;
                    self.begin_ending(now, &id, SpawnStatus::Timeout, Some(why), grace, effects);
                }
                (Phase::Exited(Leftovers::Grace), _) => {
                    spawn.phase = Phase::Exited(Leftovers::Ending);
                    effects.push(Effect::Child(Box::new(ChildOrder::EndLeftovers(id))));
                }
                (Phase::Exited(Leftovers::None), _) => {
                    effects.push(Effect::Child(Box::new(ChildOrder::CloseOutput(id))));
                }
                (
                    Phase::Exited(Leftovers::Ending)
                    | Phase::Resolving
                    | Phase::Queued(_)
                    | Phase::Launching
                    | Phase::Committing
                    | Phase::Abandoning,
                    _,
                ) => {}
            }
        }
    }

    /// When the output of a program that is gone for good has to be at its end.
    pub(super) fn output_deadline(now: Moment) -> Instant {
        now.at + SPAWN_OUTPUT_GRACE
    }

    /// Ends a spawn whose program has run, if nothing of it is left.
    pub(super) fn end_if_done(&mut self, now: Moment, id: &SpawnId, effects: &mut Vec<Effect>) {
        let Some(spawn) = self.spawns.get_mut(id) else { return };
        if spawn.phase != Phase::Exited(Leftovers::None) || !spawn.output_ended {
            return;
        }
        let (status, error) = match spawn.ending.take() {
            Some(ending) => (ending.status, ending.error),
            None => match spawn.record.exit {
                Some(Exit::Code(0)) => (SpawnStatus::Completed, None),
                Some(Exit::Code(code)) => {
                    (SpawnStatus::Failed, Some(format!("exited with code {code}")))
                }
                Some(Exit::Signal(signal)) => {
                    (SpawnStatus::Failed, Some(format!("ended by {}", signal_name(signal))))
                }
                None => (SpawnStatus::Lost, None),
            },
        };
        self.end_spawn(now, id, status, error, effects);
    }

    /// Ends a spawn whose program never ran: as it was to be ended, else as failed.
    pub(super) fn end_unstarted(
        &mut self,
        now: Moment,
        id: &SpawnId,
        error: String,
        effects: &mut Vec<Effect>,
    ) {
        let ending = self.spawns.get_mut(id).and_then(|spawn| spawn.ending.take());
        let (status, error) = match ending {
            Some(ending) => (ending.status, ending.error),
            None => (SpawnStatus::Failed, Some(error)),
        };
        self.end_spawn(now, id, status, error, effects);
    }

    /// The one end of a spawn: the answer if one is owed, the terminal event, and whoever has to
    /// hear of it; then its place is somebody else's.
    pub(super) fn end_spawn(
        &mut self,
        now: Moment,
        id: &SpawnId,
        status: SpawnStatus,
        error: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        self.tell_lost_lines(now, id, effects);
        let Some(mut spawn) = self.spawns.close(id) else { return };
        spawn.record.status = status;
        spawn.record.error = error;
        let (asker, text) = (spawn.asker.take(), spawn.text.take().map(|text| text.text));
        if spawn.lines_lost > 0 {
            effects.push(Effect::Diagnose(lost_line(id, spawn.lines_lost)));
        }
        self.withdraw_child(id, effects);
        self.conclude(now, spawn.record, asker, text, effects);
        self.give_places(effects);
    }

    /// Everything that follows from a terminal status. The record is in no table any more.
    pub(super) fn conclude(
        &mut self,
        now: Moment,
        mut record: SpawnRecord,
        asker: Option<Asker>,
        text: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(error) = &mut record.error {
            error.truncate(error.floor_char_boundary(SPAWN_ERROR_BYTES_MAX));
        }
        self.spawns.outcomes.add(record.status, 1);
        record.ended_at_ms = Some(now.unix_ms);
        record.log_through = Some(self.journal.last());
        effects.push(Effect::Diagnose(ended_line(&record)));
        let status = member("status", record.status);
        let reason = record.error.as_ref().map(|error| member("reason", error));
        let actor = self.spawn_actor(asker.as_ref(), &record);
        let what = spawn_members(&record).into_iter().chain([status]).chain(reason);
        effects.push(audit(AuditKind::SpawnEnded, actor, what));
        let ended = SpawnEnded {
            spawn: record.id.clone(),
            origin: record.origin.clone(),
            status: record.status,
            exit: record.exit,
            error: record.error.clone(),
            text,
        };
        let shown = Arc::new(record.shown());
        let (agent, session) = (record.agent.clone(), record.session.clone());
        let displaced = self.spawns.keep_ended(record);
        if let Some(asker) = asker {
            self.answer_asker(&ended.spawn, asker, effects);
        }
        self.save_spawn(&ended.spawn);
        self.tell_end(shown, effects);
        if let Some(displaced) = displaced {
            self.commits.lazily(Change::DeleteSpawn(displaced));
        }
        self.close_session(now, &session);
        self.agent_left(now, &agent, effects);
        self.spawn_ended(now, &ended, effects);
    }

    /// The one terminal event, once no restart can bring another. While the store fails, nothing is
    /// to be waited for.
    fn tell_end(&mut self, shown: Arc<SpawnShown>, effects: &mut Vec<Effect>) {
        if self.commits.is_healthy() {
            self.commits.wait(Waiter::SpawnEnd(shown));
        } else {
            effects.push(Effect::Broadcast(Event::SpawnResult(shown)));
        }
    }

    /// A session goes on no longer when the last of its spawns has ended.
    pub(in crate::hub) fn close_session(&mut self, now: Moment, key: &SessionKey) {
        if !self.commits.is_healthy() || !self.spawns.of_session(key).is_empty() {
            return;
        }
        let Some(session) = self.sessions.get(key).filter(|session| session.active) else { return };
        let session =
            Session { active: false, updated_at_ms: now.unix_ms, ..Session::clone(session) };
        self.put_session(session);
    }

    /// Refuses a spawn that was let in: whoever asked hears the error itself.
    pub(super) fn refuse_asker(
        &mut self,
        id: &SpawnId,
        error: &ProtocolError,
        effects: &mut Vec<Effect>,
    ) {
        let Some(asker) = self.spawns.get_mut(id).and_then(|spawn| spawn.asker.take()) else {
            return;
        };
        let Asker { conn, id, once, template: _ } = asker;
        let askers = match once {
            Some((key, _)) => {
                let askers = self.answers.failed(&key);
                // A failing disk may have kept what it refused.
                self.commits.after_recovery(Change::DeleteAnswer(key));
                askers
            }
            None => vec![(conn, id)],
        };
        for (conn, id) in askers {
            self.respond(conn, id, Err(Box::new(error.clone())), effects);
        }
    }

    /// Writes a spawn's record, as it is then, with the next commit; while the store fails, with
    /// the first one after.
    pub(in crate::hub) fn save_spawn(&mut self, id: &SpawnId) {
        if self.commits.is_healthy() {
            self.commits.touch_spawn(id);
        } else {
            self.doubtful.spawns.insert(id.clone());
        }
    }
}

/// Said where the journal cannot say it.
fn lost_line(id: &SpawnId, lines: u64) -> Diagnostic {
    let spawn = ("spawn", DiagnosticValue::Text(id.to_string()));
    let fields = vec![spawn, ("lines", DiagnosticValue::Number(lines))];
    Diagnostic { level: log::Level::Warn, msg: "Spawn output lost", fields }
}

fn ended_line(record: &SpawnRecord) -> Diagnostic {
    let mut fields = vec![
        ("spawn", DiagnosticValue::Text(record.id.to_string())),
        ("status", DiagnosticValue::Text(record.status.to_string())),
    ];
    if let Some(error) = &record.error {
        fields.push(("error", DiagnosticValue::Text(error.clone())));
    }
    let is_fine = matches!(record.status, SpawnStatus::Completed | SpawnStatus::Cancelled);
    let level = if is_fine { log::Level::Info } else { log::Level::Warn };
    Diagnostic { level, msg: "Spawn ended", fields }
}
