//! What a commit's end means: answers when it is on disk, and taking back when it is not
//! (`docs/protocol.md`, "Durable state").
//!
//! `commits` knows what goes together; this knows what each part is worth. Entries, answers and
//! registrations of a failed commit are forgotten and refused; the tokens and revocations stay,
//! and go to the disk when it takes writes again.

use std::collections::BTreeSet;

use crate::base::ids::{SpawnId, Ticket};
use crate::base::limits::RESTART_EXPECTED;
use crate::base::time::Moment;
use crate::hub::admission::Admission;
use crate::hub::commits::{Batch, Waiter};
use crate::hub::effect::{Diagnostic, DiagnosticValue, Effect};
use crate::hub::records::{Change, DeviceState};
use crate::hub::{Hub, refusals};
use crate::protocol::event::Event;
use crate::protocol::refusal::Refusal;

impl Hub {
    /// Applies `Input::Stored`.
    pub(super) fn stored(&mut self, now: Moment, ticket: Ticket, effects: &mut Vec<Effect>) {
        let Some(batch) = self.commits.stored(ticket) else { return };
        if let Some(cursor) = batch.reservation {
            self.journal.reservation_stored(cursor);
        }
        if !self.announced_ready {
            self.announced_ready = true;
            effects.push(Effect::SetReady(Ok(())));
        }
        for message in batch.cleared {
            self.history.remove(message);
        }
        for waiter in batch.waiters {
            match waiter {
                Waiter::Run(id) => self.run_stored(now, &id, effects),
                Waiter::RunEnd(id) => self.run_told(&id, effects),
                Waiter::Decision(id) => self.decision_told(&id, effects),
                Waiter::Report { conn, id, reply } => self.respond(conn, id, Ok(*reply), effects),
                Waiter::Reply { conn, id, reply } => self.respond(conn, id, Ok(reply), effects),
                Waiter::Answer(key) => {
                    let Some((answer, askers)) = self.answers.stored(&key) else { continue };
                    for (conn, id) in askers {
                        let reply = self.reply_of(now, answer.clone());
                        self.respond(conn, id, reply, effects);
                    }
                }
                Waiter::Cron(waiter) => self.cron_stored(now, *waiter, effects),
                Waiter::SpawnQueued(id) => self.spawn_queued(&id, effects),
                Waiter::SpawnHeld(id) => self.spawn_held(now, &id, effects),
                Waiter::SpawnEnd(shown) => {
                    effects.push(Effect::Broadcast(Event::SpawnResult(shown)));
                }
                Waiter::Admission(mut admission) => {
                    // A connection that closed meanwhile leaves its registration behind.
                    effects.extend(admission.audit_registered());
                    // It is on disk: a later commit that fails must not take it back.
                    admission.registered = None;
                    if self.is_unstored(&admission) {
                        // Its device changed once more while its commit ran.
                        self.commits.wait(Waiter::Admission(admission));
                        continue;
                    }
                    let otherwise = refusals::changed_meanwhile();
                    self.finish_admission(now, *admission, otherwise, effects);
                }
            }
        }
    }

    /// Applies `Input::StoreFailed`: nothing that was on its way is on disk.
    pub(super) fn store_failed(&mut self, now: Moment, error: String, effects: &mut Vec<Effect>) {
        if self.commits.is_healthy() {
            self.health_version += 1;
            self.announced_ready = true;
            effects.push(Effect::SetReady(Err("the store takes no writes")));
            effects.push(Effect::Diagnose(Diagnostic {
                level: log::Level::Error,
                msg: "Store failed",
                fields: vec![("error", DiagnosticValue::Text(error))],
            }));
        }
        let mut batches = self.commits.failed();
        // The last change first, so that each gives back what it found.
        for batch in batches.iter_mut().rev() {
            let touched = std::mem::take(&mut batch.touched);
            if touched.has_sessions() {
                self.ticks.changed();
            }
            touched.take_back(&mut self.sessions, &mut self.agents, &mut self.doubtful);
            self.doubtful.sessions.append(&mut batch.forgotten.drain(..).collect());
        }
        // What came back may be more than there may be since a reload.
        self.forget_surplus_sessions();
        if let Some(first) = batches.iter().find_map(|batch| batch.first_entry) {
            let last = self.journal.forget_from(first);
            // A failing disk may have kept what it refused.
            self.commits.after_recovery(Change::DeleteLogs(first, last));
        }
        self.journal.reservation_failed();
        let waiters: Vec<Waiter> =
            batches.into_iter().flat_map(|batch| self.take_back(batch)).collect();
        let (mut admissions, mut crons) = (Vec::new(), Vec::new());
        for waiter in waiters {
            match waiter {
                Waiter::Report { conn, id, .. } => {
                    self.respond(conn, id, Err(Box::new(refusals::not_stored())), effects);
                }
                Waiter::Reply { conn, id, .. } => {
                    self.respond(conn, id, Err(Box::new(refusals::stored_later())), effects);
                }
                Waiter::Answer(key) => {
                    for (conn, id) in self.answers.failed(&key) {
                        self.respond(conn, id, Err(Box::new(refusals::not_stored())), effects);
                    }
                    self.commits.after_recovery(Change::DeleteAnswer(key));
                }
                Waiter::SpawnQueued(id) | Waiter::SpawnHeld(id) => {
                    self.spawn_not_stored(now, &id, effects);
                }
                Waiter::Admission(admission) => admissions.push(admission),
                Waiter::Cron(waiter) => crons.extend(self.cron_happened(*waiter, effects)),
                Waiter::Run(id) => self.run_not_stored(now, &id, effects),
                // What has happened stays true; it is written later.
                Waiter::RunEnd(id) => self.run_told(&id, effects),
                Waiter::SpawnEnd(shown) => {
                    effects.push(Effect::Broadcast(Event::SpawnResult(shown)));
                }
                Waiter::Decision(id) => self.decision_told(&id, effects),
            }
        }
        for waiter in crons.into_iter().rev() {
            self.cron_failed(waiter, effects);
        }
        // The last registration first, so that each gives back what it found.
        for admission in admissions.iter_mut().rev() {
            self.take_back_registration(admission);
        }
        for admission in admissions {
            // A device that is approved all the same lacks only a token on disk.
            self.finish_admission(now, *admission, refusals::store_failing(), effects);
        }
    }

    fn take_back_registration(&mut self, admission: &mut Admission) {
        let Some(registered) = admission.registered.take() else { return };
        if let Some((_, token)) = &admission.token {
            self.tokens.end(token);
        }
        match (registered.before, &admission.grant.device) {
            (Some(before), _) => {
                self.devices.put(before);
            }
            (None, Some(device)) => {
                self.tokens.end_all(device);
                self.devices.remove(device);
            }
            (None, None) => {}
        }
        if let Some(code) = registered.code {
            self.pairings.give_back(code);
        }
    }

    /// Decides about a `connect` whose commit has ended: its device may have been revoked, changed
    /// or taken back while it waited.
    fn finish_admission(
        &mut self,
        now: Moment,
        admission: Admission,
        otherwise: Refusal,
        effects: &mut Vec<Effect>,
    ) {
        if !self.connecting.remove(&admission.conn) {
            return;
        }
        let grant = &admission.grant;
        let device = grant.device.as_ref().and_then(|id| self.devices.get(id));
        let token = admission.token.as_ref().map(|(_, hash)| hash);
        let token_lives = token.is_none_or(|hash| self.tokens.get(hash).is_some());
        let holds = device.is_some_and(|device| {
            device.state == DeviceState::Approved
                && admission.key.is_none_or(|key| key == device.public_key)
                && device.role == grant.role
                && (grant.agent.is_none() || device.agent == grant.agent)
                && device.scopes.contains(grant.scopes)
                && token_lives
        });
        let refusal = if self.stopping.is_some() {
            refusals::stopping(RESTART_EXPECTED)
        } else if holds {
            return self.admit(now, admission, effects);
        } else if device.is_some_and(|device| device.state == DeviceState::Revoked) {
            Refusal::device_revoked()
        } else {
            otherwise
        };
        let (conn, peer, client) = admission.into_refused();
        Self::refuse(conn, &peer, client, refusal, effects);
    }

    /// Keeps what still has to reach the disk; returns who waited.
    fn take_back(&mut self, batch: Batch) -> Vec<Waiter> {
        if batch.trims {
            self.journal.trim_failed();
        }
        for device in batch.devices {
            self.devices.mark_unsaved(device);
        }
        for token in batch.tokens {
            self.tokens.mark_unsaved(token);
        }
        self.cron_unsaved(batch.jobs);
        batch.waiters
    }

    /// Applies `Input::StoreRecovered`.
    pub(super) fn store_recovered(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.commits.is_healthy() {
            return;
        }
        self.commits.recovered();
        self.health_version += 1;
        effects.push(Effect::SetReady(Ok(())));
        effects.push(Effect::Diagnose(Diagnostic {
            level: log::Level::Info,
            msg: "Store recovered",
            fields: Vec::new(),
        }));
        let doubtful = std::mem::take(&mut self.doubtful);
        for key in doubtful.sessions {
            self.commits.touch_session(&key, self.sessions.get(&key));
        }
        for name in doubtful.agents {
            self.commits.touch_agent(&name, self.agents.get(&name));
        }
        self.save_doubtful_spawns(now, doubtful.spawns);
        for hash in self.tokens.take_unsaved() {
            match self.tokens.get(&hash) {
                Some(record) => self.commits.put_token(record),
                None => self.commits.delete_token(hash),
            }
        }
        self.save_devices();
        self.save_trim();
        self.cron_recovered();
    }

    /// Has the disk forget what the journal has forgotten, without waiting for the next commit:
    /// after a restart with other limits it would be there again.
    pub(super) fn save_trim(&mut self) {
        if self.commits.is_healthy()
            && let Some(through) = self.journal.take_trim()
        {
            self.commits.trim_journal(through);
        }
    }

    /// Writes what has happened to spawns meanwhile.
    fn save_doubtful_spawns(&mut self, now: Moment, spawns: BTreeSet<SpawnId>) {
        for id in spawns {
            self.commits.touch_spawn(&id);
            let ended = self.spawns.record(&id).filter(|record| record.status.is_terminal());
            if let Some(session) = ended.map(|record| record.session.clone()) {
                self.close_session(now, &session);
            }
        }
    }

    /// Puts the records that differ from the disk into the next commit.
    fn save_devices(&mut self) {
        for id in self.devices.take_unsaved() {
            match self.devices.get(&id) {
                Some(record) => self.commits.put_device(record),
                None => self.commits.delete_device(id),
            }
        }
    }

    /// Forgets the sessions for which there is no room any more.
    pub(super) fn forget_surplus_sessions(&mut self) {
        let surplus = self.sessions.trim();
        if !surplus.is_empty() {
            self.ticks.changed();
        }
        for key in surplus {
            if self.commits.is_healthy() {
                self.commits.forget_session(key);
            } else {
                self.doubtful.sessions.insert(key);
            }
        }
    }

    /// Hands the next commit to the store, if there is one and the store is free.
    pub(super) fn dispatch_commit(&mut self, effects: &mut Vec<Effect>) {
        if !self.commits.is_healthy() {
            return;
        }
        if let Some(cursor) = self.journal.wanted_reservation() {
            self.commits.reserve_cursors(cursor);
        }
        if self.stopping.is_some() {
            // No later commit will take these along.
            self.save_devices();
        }
        if !self.commits.wants_dispatch() {
            return;
        }
        if self.devices.has_unsaved() {
            self.save_devices();
        }
        if let Some(oldest_kept) = self.journal.take_trim() {
            self.commits.trim_journal(oldest_kept);
        }
        let marked = self.commits.marks().changes(&self.runs, &self.history, &self.approvals);
        let (ticket, changes) =
            self.commits.dispatch(&self.sessions, &self.agents, &self.spawns, marked);
        effects.push(Effect::Persist { ticket, changes });
    }
}
