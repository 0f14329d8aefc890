//! What a run does: a line in the journal, a program, or a message to an agent.
//!
//! The one place where cron meets the parts that do the work. A run that ends at once says so
//! here; any other ends with exactly one call of `occurrence_ended`.

use std::time::Duration;

use crate::base::ids::{JobId, RunId, SessionKey, UserName};
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::cron::occurrences::Outcome;
use crate::hub::effect::Effect;
use crate::hub::records::SpawnOrigin;
use crate::hub::runs::record::RunOrigin;
use crate::hub::runs::{RunEnded, RunOrder};
use crate::hub::spawns::ended::SpawnEnded;
use crate::protocol::cron::{CronJob, CronPayload, CronSpawn, notification, run_name};
use crate::protocol::error::ProtocolError;
use crate::protocol::event::{Event, PublishedKind};
use crate::protocol::log_entry::{Level, LogDraft};
use crate::protocol::run::RunState;
use crate::protocol::spawn::{Exit, SpawnAsk, SpawnStatus, signal_name};

/// Who says what jobs say.
const SOURCE: &str = "cron";

impl Hub {
    /// Begins what the job does; `Some`: it has ended already.
    pub(super) fn start_occurrence(
        &mut self,
        now: Moment,
        id: &JobId,
        number: u64,
        effects: &mut Vec<Effect>,
    ) -> Option<Outcome> {
        let CronJob { user, name, payload, .. } = self.cron.jobs.get(id)?.record.clone();
        let begun = match payload {
            CronPayload::SystemEvent { text } => {
                return Some(self.system_event(now, id, &name, &text, effects));
            }
            CronPayload::Spawn(spawn) => self.cron_spawn(now, (id, number), *spawn, user, effects),
            CronPayload::AgentTurn { agent, session, message, model, timeout_ms } => {
                // A session of the job's own, which names no agent.
                let session = session.unwrap_or_else(|| SessionKey::new(id.as_str()));
                self.route(agent, Some(session)).and_then(|(agent, session)| {
                    let order = RunOrder {
                        id: RunId::new(run_name(id, number)),
                        user,
                        origin: RunOrigin::Cron { job: id.clone(), number },
                        agent,
                        session,
                        message,
                        model,
                        label: Some(name),
                        attachments: None,
                        timeout: timeout_ms.map(Duration::from_millis),
                    };
                    self.start_run(now, order, effects).map(|_| ())
                })
            }
        };
        begun.err().map(|error| Err(error.message))
    }

    fn cron_spawn(
        &mut self,
        now: Moment,
        (id, number): (&JobId, u64),
        spawn: CronSpawn,
        user: UserName,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ProtocolError> {
        let CronSpawn { command, args, env, cwd, stdin, timeout_ms, session, reports } = spawn;
        let idempotency = None;
        let ask =
            SpawnAsk { command, args, env, cwd, stdin, timeout_ms, session, reports, idempotency };
        let origin = SpawnOrigin::Cron { job: id.clone(), number };
        let order = self.command_order(ask, user, origin)?;
        self.start_spawn(now, order, effects).map(|_| ())
    }

    /// The program of a run has ended, or is refused although it was let in.
    pub(in crate::hub) fn cron_spawn_ended(
        &mut self,
        now: Moment,
        (id, number): (&JobId, u64),
        ended: &SpawnEnded,
        effects: &mut Vec<Effect>,
    ) {
        let how = ended.exit.map(|exit| match exit {
            Exit::Code(code) => format!("exit code {code}"),
            Exit::Signal(signal) => signal_name(signal),
        });
        let outcome = match ended.status {
            SpawnStatus::Completed => Ok(how),
            status @ (SpawnStatus::Queued
            | SpawnStatus::Running
            | SpawnStatus::Failed
            | SpawnStatus::Cancelled
            | SpawnStatus::Timeout
            | SpawnStatus::Lost) => Err(match (&ended.error, how) {
                (Some(error), _) => error.clone(),
                (None, Some(how)) => format!("{status}: {how}"),
                (None, None) => status.to_string(),
            }),
        };
        self.occurrence_ended(now, id, number, outcome, effects);
    }

    /// The message of a run has its final answer, or never gets one.
    pub(in crate::hub) fn cron_run_ended(
        &mut self,
        now: Moment,
        (id, number): (&JobId, u64),
        ended: &RunEnded,
        effects: &mut Vec<Effect>,
    ) {
        let Some(end) = &ended.record.end else { return };
        let outcome = match end.state {
            RunState::Final => Ok(end.text.as_deref().map(str::to_owned)),
            state @ (RunState::Delta | RunState::Error | RunState::Aborted) => {
                Err(end.error.as_deref().unwrap_or(state.as_str()).to_owned())
            }
        };
        self.occurrence_ended(now, id, number, outcome, effects);
    }

    /// Writes the line into the journal, where it lasts, and notifies whoever is there.
    fn system_event(
        &mut self,
        now: Moment,
        id: &JobId,
        name: &str,
        text: &str,
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        let draft = LogDraft::new(now.unix_ms, Level::Info, SOURCE, None, text);
        self.append_entries(vec![draft], effects).map_err(|error| error.message)?;
        effects.push(Effect::Broadcast(Event::Published {
            kind: PublishedKind::Notification,
            payload: notification(id, name, text, now.unix_ms),
        }));
        Ok(None)
    }
}
