//! The one place where the rest of the hub hears that a spawn has ended.

use crate::base::ids::SpawnId;
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::hub::records::SpawnOrigin;
use crate::protocol::spawn::{Exit, SpawnStatus};

/// How a spawn ended.
#[derive(Clone, Debug)]
pub(in crate::hub) struct SpawnEnded {
    /// Which.
    pub(in crate::hub) spawn: SpawnId,
    /// Who asked for it.
    pub(in crate::hub) origin: SpawnOrigin,
    /// A terminal one.
    pub(in crate::hub) status: SpawnStatus,
    /// How its process ended, if it had one and that is known.
    pub(in crate::hub) exit: Option<Exit>,
    /// What went wrong.
    pub(in crate::hub) error: Option<String>,
    /// The plain lines of its stdout, of a spawn that carries a run; at most
    /// `SPAWN_TEXT_BYTES_MAX`, the first ones.
    pub(in crate::hub) text: Option<String>,
}

impl Hub {
    /// Tells whoever a spawn was started for. Called exactly once per spawn that `start_spawn` let
    /// in, right after its terminal event; for one of an earlier gateway, after the restart.
    /// Whatever is changed here is in the same commit as the spawn's record.
    pub(super) fn spawn_ended(
        &mut self,
        now: Moment,
        ended: &SpawnEnded,
        effects: &mut Vec<Effect>,
    ) {
        match &ended.origin {
            SpawnOrigin::Request { .. } => {}
            SpawnOrigin::Run(run) => self.run_spawn_ended(now, run, ended, effects),
            SpawnOrigin::Cron { job, number } => {
                self.cron_spawn_ended(now, (job, *number), ended, effects);
            }
        }
    }
}
