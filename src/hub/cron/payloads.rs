//! What a run does: a line in the journal, a program, or a message to an agent.
//!
//! The one place where cron meets the parts that do the work. A run that ends at once says so
//! here; any other ends with exactly one call of `occurrence_ended`.

use crate::base::ids::JobId;
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::cron::occurrences::Outcome;
use crate::hub::effect::Effect;
use crate::protocol::cron::{CronPayload, notification};
use crate::protocol::event::{Event, PublishedKind};
use crate::protocol::log_entry::{Level, LogDraft};

/// Who says what jobs say.
const SOURCE: &str = "cron";

impl Hub {
    /// Begins what the job does; `Some`: it has ended already.
    pub(super) fn start_occurrence(
        &mut self,
        now: Moment,
        id: &JobId,
        _number: u64,
        name: &str,
        payload: CronPayload,
        effects: &mut Vec<Effect>,
    ) -> Option<Outcome> {
        match payload {
            CronPayload::SystemEvent { text } => {
                Some(self.system_event(now, id, name, &text, effects))
            }
            CronPayload::Spawn(_) => Some(Err("spawn is not available".to_owned())),
            CronPayload::AgentTurn { .. } => Some(Err("runs are not available".to_owned())),
        }
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
