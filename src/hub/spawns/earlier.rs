//! Spawns that were open when an earlier gateway ended: each gets its terminal event.
//!
//! The shell finds them by their marks and ends what still runs; then it is known that nothing of
//! them does, but not how they ended.

use crate::base::ids::SpawnId;
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::child::{ChildOrder, Exit};
use crate::hub::effect::Effect;
use crate::protocol::spawn::SpawnStatus;

/// Of `kill(2)`.
const SIGKILL: i32 = 9;

impl Hub {
    /// Has the spawns of an earlier gateway looked for, once.
    pub(in crate::hub) fn ask_for_earlier(&mut self, effects: &mut Vec<Effect>) {
        if let Some(earlier) = self.spawns.take_earlier() {
            let wanted = earlier.map(|record| (record.id.clone(), record.marks.clone())).collect();
            effects.push(Effect::Child(Box::new(ChildOrder::EndEarlier(wanted))));
        }
    }

    /// Nothing of this spawn of an earlier gateway runs any more.
    pub(super) fn earlier_ended(
        &mut self,
        now: Moment,
        id: &SpawnId,
        was_running: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut record) = self.spawns.remove_earlier(id) else { return };
        let (status, exit, error) = match (was_running, record.marks.is_some()) {
            (true, _) => {
                let exit = Some(Exit::Signal(SIGKILL));
                (SpawnStatus::Failed, exit, "ended because the gateway restarted")
            }
            (false, true) => {
                (SpawnStatus::Lost, None, "ended while the gateway was away; how is not known")
            }
            (false, false) => {
                (SpawnStatus::Failed, None, "the gateway restarted before it could start")
            }
        };
        record.status = status;
        record.exit = exit;
        record.error = Some(error.to_owned());
        self.conclude(now, record, None, None, effects);
    }
}
