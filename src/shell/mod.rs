//! The only threads, system calls and clocks.

pub mod admission;
pub mod budget;
pub mod capacity;
pub mod clock;
pub mod connection;
pub mod flusher;
pub mod link;
pub mod listener;
pub mod registry;
pub mod state_dir;
pub mod store;
#[cfg(test)]
mod test_dir;
pub mod tls;
