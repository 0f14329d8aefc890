//! Runs: one message to an agent until its final answer (`docs/protocol.md`, "Runs").
//!
//! ```text
//!  start_run ─▶ its record on disk ─▶ given to the agent ─▶ deltas … final | error | aborted
//!                    │                     │                              │
//!                    └─ not stored: as if it had never been               ▼
//!                                          └─ agent gone, time over ─▶ run_ended, once
//! ```

pub mod record;

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::{AgentName, RunId, SessionKey, UserName};
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::hub::runs::record::{RunOrigin, RunRecord};
use crate::protocol::error::{ErrorCode, ProtocolError};

/// What an agent is to be asked.
pub(super) struct RunOrder {
    /// The run's id; not used by any run that is still known.
    pub(super) id: RunId,
    /// For whom.
    pub(super) user: UserName,
    /// Who asks.
    pub(super) origin: RunOrigin,
    /// Who is asked.
    pub(super) agent: AgentName,
    /// In which of the agent's sessions.
    pub(super) session: SessionKey,
    /// What.
    pub(super) message: Arc<str>,
    /// With which model.
    pub(super) model: Option<Arc<str>>,
    /// A name for people.
    pub(super) label: Option<Arc<str>>,
    /// A JSON array.
    pub(super) attachments: Option<Arc<str>>,
    /// How long it may take; `None`: `RUN_TIMEOUT_DEFAULT`.
    pub(super) timeout: Option<Duration>,
}

/// A run that has ended.
pub(super) struct RunEnded {
    /// Everything about it; `end` is there.
    pub(super) record: Arc<RunRecord>,
}

impl Hub {
    /// Starts a run: `run_ended` is called for it exactly once, later. Refused before anything
    /// changes: `UNAVAILABLE` when there is no such agent or the store takes no writes,
    /// `CONFLICT` for an id that is known, `RESOURCE_EXHAUSTED` for too many open runs.
    pub(super) fn start_run(
        &mut self,
        _now: Moment,
        order: RunOrder,
        _effects: &mut Vec<Effect>,
    ) -> Result<RunId, ProtocolError> {
        let message = format!("agent not connected: {}", order.agent);
        Err(ProtocolError::new(ErrorCode::Unavailable, message))
    }

    /// A run has ended: whoever started it from inside the hub hears of it here, exactly once for
    /// each `Ok` of `start_run`, also when its record could not be stored (then `end` says so), and
    /// at the start after a restart for those that were open.
    pub(super) fn run_ended(
        &mut self,
        _now: Moment,
        _ended: &RunEnded,
        _effects: &mut Vec<Effect>,
    ) {
    }
}
