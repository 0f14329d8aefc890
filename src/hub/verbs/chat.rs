//! `chat.history` and `chat.abort`.

use crate::base::ids::{RunId, SessionKey};
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::protocol::error::ProtocolError;
use crate::protocol::run_calls::{HistoryAsk, RunReply};

impl Hub {
    pub(super) fn chat_history(&self, ask: HistoryAsk) -> Result<RunReply, ProtocolError> {
        let (_, session) = self.route(None, Some(ask.session))?;
        let (messages, has_more) = self.history.page(&session, ask.limit, ask.before);
        Ok(RunReply::History { session, messages, has_more })
    }

    /// Gives up one run, or all open runs of a session. None is no error: what is to be given up
    /// may just have ended.
    pub(super) fn chat_abort(
        &mut self,
        now: Moment,
        session: Option<SessionKey>,
        run: Option<RunId>,
        effects: &mut Vec<Effect>,
    ) -> Result<RunReply, ProtocolError> {
        let session = match session {
            Some(session) => Some(self.route(None, Some(session))?.1),
            None => None,
        };
        let meant: Vec<RunId> = self
            .runs
            .open()
            .map(|open| &open.record)
            .filter(|record| run.as_ref().is_none_or(|run| *run == record.id))
            .filter(|record| session.as_ref().is_none_or(|session| *session == record.session))
            .map(|record| record.id.clone())
            .collect();
        let aborting = meant.into_iter().filter(|run| self.abort_run(now, run, effects)).collect();
        Ok(RunReply::Aborting(aborting))
    }
}
