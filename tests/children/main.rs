//! Real child processes under `shell::children`, hostile ones among them: what is told of them, in
//! which order, and that nothing of them is left.
//!
//! The hub is played by the tests. One test runs at a time: adopted processes belong to the whole
//! test process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may panic, print why, and read the clock"
)]

#[macro_use]
mod kit;

mod ending;
mod leftovers;
mod output;
mod start;
