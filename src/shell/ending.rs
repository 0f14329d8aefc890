//! The steps of the end that may wait, on a thread of their own.
//!
//! So whoever decides about the end never waits for a step, and hears a second signal in each of
//! them, also while a disk hangs. Owns no order and no deadline: `app::server` has both. The thread
//! exists from the start on, because a machine that is out of threads must still be able to stop.

use std::io;
use std::sync::Arc;
use std::thread::Builder;

use crossbeam_channel::{Sender, bounded};

use crate::base::close_reason::CloseReason;
use crate::base::limits::GATHER_GRACE;
use crate::hub::input::Input;
use crate::shell::children::ChildrenThread;
use crate::shell::clock;
use crate::shell::hub_thread::Inbound;
use crate::shell::registry::Registry;
use crate::shell::store::StoreHandle;

/// The way to the thread.
#[derive(Debug)]
pub struct Ending {
    steps: Sender<Step>,
}

#[derive(Debug)]
enum Step {
    Ask(String),
    Gather(StoreHandle),
}

/// Each step is asked for at most once.
const STEPS_MAX: usize = 2;

impl Ending {
    /// Starts the thread, `ending`. It calls `gathered` when everything is.
    pub fn start(
        inbox: Sender<Inbound>,
        registry: Arc<Registry>,
        children: ChildrenThread,
        gathered: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (steps, asked) = bounded(STEPS_MAX);
        Builder::new().name("ending".to_owned()).spawn(move || {
            for step in &asked {
                match step {
                    // Waits while the inbox is full. A hub that is gone has nothing to stop.
                    Step::Ask(reason) => {
                        let _gone = inbox.send(Inbound::Input(Input::StopRequested { reason }));
                    }
                    Step::Gather(store) => {
                        gather(&registry, children, store);
                        return gathered();
                    }
                }
            }
        })?;
        Ok(Self { steps })
    }

    /// Asks the hub to stop, with this reason for the peers. Never waits.
    pub fn ask(&self, reason: String) {
        let _once = self.steps.try_send(Step::Ask(reason));
    }

    /// Gathers what the hub has left: connections, children and the store. Never waits.
    pub fn gather(&self, store: StoreHandle) {
        let _once = self.steps.try_send(Step::Gather(store));
    }
}

fn gather(registry: &Registry, children: ChildrenThread, store: StoreHandle) {
    // Those that the hub never heard of: they had not come as far as `connect`.
    registry.close_all(&CloseReason::ServerStopping);
    if !registry.join_all(clock::instant() + GATHER_GRACE) {
        log::warn!("{} connections did not end within the grace", registry.len());
    }
    // The hub thread's side went with it, so this one is ending by itself.
    children.join();
    store.stop();
}
