//! `run.update {runId, state, text?, usage?, errorMessage?}`: what an agent says about a run that
//! it was given.
//!
//! A delta is passed on at once and kept nowhere; an end is answered when it is on disk.

use crate::base::ids::{ConnId, RequestId};
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::commits::Waiter;
use crate::hub::effect::Effect;
use crate::hub::runs::record::RunRecord;
use crate::hub::runs::table::Stage;
use crate::hub::verbs::runs::no_such_run;
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::reply::Reply;
use crate::protocol::run::RunState;
use crate::protocol::run_calls::RunReport;

impl Hub {
    pub(super) fn run_update(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        report: RunReport,
        effects: &mut Vec<Effect>,
    ) {
        let is_delta = report.state == RunState::Delta;
        let result = match self.check_update(conn, &report) {
            Ok(Update::Repeated) => Ok(()),
            Ok(Update::New) if is_delta => {
                self.run_continued(now, report, effects);
                return self.respond(conn, id, Ok(Reply::Empty), effects);
            }
            Ok(Update::New) => {
                self.writable(report.text.as_ref().map_or(0, |text| text.len())).map(|()| {
                    self.run_continued(now, report, effects);
                })
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => {
                self.commits.wait(Waiter::Report { conn, id, reply: Box::new(Reply::Empty) });
            }
            Err(error) => self.respond(conn, id, Err(Box::new(error)), effects),
        }
    }

    /// Whether this connection may say this about this run now.
    fn check_update(&self, conn: ConnId, report: &RunReport) -> Result<Update, ProtocolError> {
        let grant = self.clients.get(conn).map(|client| &client.grant);
        let run = self.runs.get(&report.run).filter(|run| {
            grant.is_some_and(|grant| {
                grant.agent.as_ref() == Some(&run.record.agent)
                    && grant.session.as_ref().is_none_or(|own| *own == run.record.session)
            })
        });
        // Another agent's run is none of this agent's business.
        let run = run.ok_or_else(|| no_such_run(&report.run))?;
        match &run.stage {
            Stage::Storing { .. } => Err(no_such_run(&report.run)),
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

fn says_how_it_ended(report: &RunReport, record: &RunRecord) -> bool {
    record.end.as_ref().is_some_and(|end| {
        report.state == end.state
            && report.text.as_ref().is_none_or(|text| Some(text) == end.text.as_ref())
            && report.error.as_ref().is_none_or(|error| Some(error) == end.error.as_ref())
    })
}
