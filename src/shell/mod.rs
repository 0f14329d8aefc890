//! The only threads, system calls and clocks.

pub mod admission;
pub mod audit;
pub mod backup_stream;
pub mod budget;
pub mod capacity;
pub mod children;
pub mod clock;
pub mod connection;
pub mod console;
pub mod control_socket;
pub mod diagnostics;
pub mod dial;
pub mod dialogue;
pub mod ending;
pub mod fanout;
pub mod flusher;
pub mod hub_thread;
pub mod link;
pub mod listener;
pub mod metrics;
pub mod own_process;
pub mod peer;
pub mod readiness;
mod refusal_log;
pub mod refusals;
pub mod registry;
pub mod reloads;
pub mod service;
pub mod service_manager;
pub mod signals;
pub mod signing_habits;
pub mod state_dir;
pub mod store;
#[cfg(test)]
pub(crate) mod test_dir;
pub mod tls;
pub mod watchdog;
