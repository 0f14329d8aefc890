//! `run.update {runId, state, text?, usage?, errorMessage?}`: what an agent says about a run that
//! it was given. A program may say it by a line of its output, and about the run that it was
//! started for without naming it.
//!
//! A delta is passed on at once and kept nowhere; an end is answered when it is on disk.

use crate::base::ids::RunId;
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::commits::Waiter;
use crate::hub::effect::Effect;
use crate::hub::records::SpawnOrigin;
use crate::hub::reports::From;
use crate::hub::runs::record::RunRecord;
use crate::hub::runs::table::Stage;
use crate::hub::verbs::runs::no_such_run;
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::reply::Reply;
use crate::protocol::run::RunState;
use crate::protocol::run_calls::RunReport;

impl Hub {
    pub(in crate::hub) fn run_update(
        &mut self,
        now: Moment,
        from: From,
        report: RunReport,
        effects: &mut Vec<Effect>,
    ) {
        let is_delta = report.state == RunState::Delta;
        let run = report.run.clone().or_else(|| self.run_started_for(&from));
        let result = match run.ok_or_else(no_run_named) {
            Ok(run) => self.update_run(now, &from, &run, report, effects),
            Err(error) => Err(error),
        };
        match (result, from) {
            (Ok(()), From::Peer { conn, id }) if is_delta => {
                self.respond(conn, id, Ok(Reply::Empty), effects);
            }
            (Ok(()), From::Peer { conn, id }) => {
                self.commits.wait(Waiter::Report { conn, id, reply: Box::new(Reply::Empty) });
            }
            (Ok(()), From::Spawn(_)) => {}
            (Err(error), from) => self.refuse_report(now, from, Box::new(error), effects),
        }
    }

    /// The run that whoever reports was started for.
    fn run_started_for(&self, from: &From) -> Option<RunId> {
        let spawn = match from {
            From::Peer { conn, .. } => self.clients.get(*conn)?.spawn.as_ref()?,
            From::Spawn(spawn) => spawn,
        };
        match &self.spawns.record(spawn)?.origin {
            SpawnOrigin::Run(run) => Some(run.clone()),
            SpawnOrigin::Request { .. } | SpawnOrigin::Cron { .. } => None,
        }
    }

    fn update_run(
        &mut self,
        now: Moment,
        from: &From,
        run: &RunId,
        report: RunReport,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ProtocolError> {
        if let Update::Repeated = self.check_update(from, run, &report)? {
            return Ok(());
        }
        if report.state != RunState::Delta {
            self.writable(report.text.as_ref().map_or(0, |text| text.len()))?;
        }
        self.run_continued(now, run, report, effects);
        Ok(())
    }

    /// Whether it may be said about this run now, by this agent.
    fn check_update(
        &self,
        from: &From,
        id: &RunId,
        report: &RunReport,
    ) -> Result<Update, ProtocolError> {
        let speaker = match from {
            From::Peer { conn, .. } => self
                .clients
                .get(*conn)
                .map(|client| (client.grant.agent.as_ref(), client.grant.session.as_ref())),
            From::Spawn(spawn) => {
                self.spawns.record(spawn).map(|record| (Some(&record.agent), Some(&record.session)))
            }
        };
        let run = self.runs.get(id).filter(|run| {
            speaker.is_some_and(|(agent, session)| {
                agent == Some(&run.record.agent)
                    && session.is_none_or(|own| *own == run.record.session)
            })
        });
        // Another agent's run is none of this agent's business.
        let run = run.ok_or_else(|| no_such_run(id))?;
        match &run.stage {
            Stage::Storing { .. } => Err(no_such_run(id)),
            Stage::Starting { .. } | Stage::Given(_) => Ok(Update::New),
            Stage::Ended { .. } if says_how_it_ended(report, &run.record) => {
                self.writable(0)?;
                Ok(Update::Repeated)
            }
            Stage::Ended { .. } => {
                Err(ProtocolError::new(ErrorCode::Conflict, "this run has ended"))
            }
        }
    }
}

enum Update {
    New,
    /// It says what was said before, perhaps because the answer was lost.
    Repeated,
}

fn no_run_named() -> ProtocolError {
    ProtocolError::invalid_params("run.update", "runId must be a non-empty string")
}

fn says_how_it_ended(report: &RunReport, record: &RunRecord) -> bool {
    record.end.as_ref().is_some_and(|end| {
        report.state == end.state
            && report.text.as_ref().is_none_or(|text| Some(text) == end.text.as_ref())
            && report.error.as_ref().is_none_or(|error| Some(error) == end.error.as_ref())
    })
}
