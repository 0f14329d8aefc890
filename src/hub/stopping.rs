//! Stopping: say so, end the programs, answer what is being committed, close, wait, and end in time
//! whatever happens (`docs/protocol.md`, "Stopping").
//!
//! ```text
//!  StopRequested ─▶ Shutdown event ─▶ spawns and commits end, or their grace ─▶ Close for all
//!                                        ─▶ all closed and stored, or the grace ─▶ Stopped
//! ```

use std::time::Instant;

use crate::base::close_reason::CloseReason;
use crate::base::ids::ConnId;
use crate::base::limits::{RESTART_EXPECTED, STOP_COMMIT_GRACE, STOP_GRACE};
use crate::base::time::{Moment, millis};
use crate::hub::Hub;
use crate::hub::audit::{Actor, AuditKind, audit, text};
use crate::hub::effect::Effect;
use crate::protocol::event::Event;

/// How far it has come.
pub(super) enum Stage {
    /// Waits for the spawns, and for the commits that hold answers; then, or at the deadline, everyone is closed.
    Committing { close_at: Instant, stop_at: Instant },
    /// Waits for the connections to be gone.
    Closing { stop_at: Instant },
    /// `Effect::Stopped` was emitted.
    Stopped,
}

impl Hub {
    /// Applies `Input::StopRequested`.
    pub(super) fn stop_requested(
        &mut self,
        now: Moment,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        if self.stopping.is_some() {
            return;
        }
        let restart_expected_ms = Some(millis(RESTART_EXPECTED));
        let why = text("reason", &reason);
        effects.push(audit(AuditKind::Shutdown, Actor::default(), [why]));
        effects.push(Effect::Broadcast(Event::Shutdown { reason, restart_expected_ms }));
        effects.push(Effect::SetReady(Err("the gateway is stopping")));
        self.stopping = Some(Stage::Committing {
            close_at: now.at + STOP_COMMIT_GRACE,
            stop_at: now.at + STOP_GRACE,
        });
        self.stop_spawns(now, effects);
    }

    pub(super) fn stop_deadline(&self) -> Option<Instant> {
        match self.stopping.as_ref()? {
            Stage::Committing { close_at, .. } => Some(*close_at),
            Stage::Closing { stop_at } => Some(*stop_at),
            Stage::Stopped => None,
        }
    }

    /// Takes the next step, or several. Called after everything else, when the answers of an
    /// input have been emitted and the next commit is with the store.
    pub(super) fn advance_stop(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if let Some(Stage::Committing { close_at, stop_at }) = self.stopping
            && ((self.commits.is_idle() && self.spawns.is_idle()) || close_at <= now)
        {
            let conns: Vec<ConnId> = self.clients.iter().map(|(conn, _)| conn).collect();
            for conn in conns {
                self.close(conn, CloseReason::ServerStopping, effects);
            }
            self.stopping = Some(Stage::Closing { stop_at });
        }
        if let Some(Stage::Closing { stop_at }) = self.stopping {
            let all_gone =
                self.clients.is_empty() && self.commits.is_idle() && self.spawns.is_idle();
            if all_gone || stop_at <= now {
                effects.push(Effect::Stopped);
                self.stopping = Some(Stage::Stopped);
            }
        }
    }
}
