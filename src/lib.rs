//! OpenClaw Gateway: one small binary between AI agents and the people who watch and steer them.
//!
//! The layers, lowest first; a module imports its own layer or a lower one
//! (`tests/tidy.rs` checks it):
//!
//! - [`base`]: words everyone may use.
//! - [`protocol`]: typed requests, replies and events, and their JSON. Pure.
//! - [`wire`]: bytes to WebSocket messages and back, HTTP heads, TLS records. Sans-io.
//!   `protocol` and `wire` do not know each other.
//! - [`hub`]: all shared state as a pure state machine. Knows `protocol`, not `wire`.
//! - [`shell`]: the only threads, system calls and clocks.
//! - [`app`]: arguments, configuration, assembly, diagnostics.

pub mod app;
pub mod base;
pub mod hub;
pub mod protocol;
pub mod shell;
pub mod wire;
