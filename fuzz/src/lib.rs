//! What is fuzzed: one module for each target, one function `run` in each.
//!
//! `run` takes any bytes and panics when the gateway breaks a promise. It is called by
//! `fuzz_targets/` (libFuzzer, minutes, `make fuzz`) and by `tests/fuzz.rs` of the gateway
//! (stable Rust, seconds, `make test`), so that the two cannot differ.
//! `seeds` makes the inputs that both begin with.

pub mod bytes;
pub mod config;
pub mod device;
pub mod hub;
mod kit;
pub mod protocol;
pub mod records;
pub mod seeds;
pub mod wire;

/// A target's name, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, the cheap ones first.
pub const TARGETS: [Target; 6] = [
    ("wire", wire::run),
    ("protocol", protocol::run),
    ("config", config::run),
    ("device", device::run),
    ("records", records::run),
    ("hub", hub::run),
];
