//! The wire's vocabulary: typed requests, replies, events and errors, and their JSON.
//!
//! Pure: text in, values out, and back. Knows nothing of sockets, frames, threads or clocks.
//! Called by the connection threads (parsing) and the fan-out thread (encoding).

pub mod connect;
pub mod device;
pub mod error;
pub mod event;
pub mod hello;
pub mod log_entry;
pub mod peer;
pub mod reply;
pub mod request;
pub mod scope;
