//! All shared state, as a pure state machine: one input at one moment in, effects in order out.
//!
//! No I/O, no clock, no thread, no log line. Called by `shell::hub_thread` alone.

pub mod effect;
pub mod input;
pub mod policy;
pub mod records;
