//! The wire's vocabulary: typed requests, replies, events and errors, and their JSON.
//!
//! Pure: text in, values out, and back. Knows nothing of sockets, frames, threads or clocks.
//! Called by the connection threads (parsing) and the fan-out thread (encoding).
//!
//! The way of a message in: [`frame`] reads the envelope; before admission [`connect`] makes a
//! [`connect::Connect`] or a [`refusal::Refusal`] of it, with [`peer`], [`origin`] and [`device`]
//! for the stateless checks; afterwards [`request`] makes a typed call of it.
//! The way out: [`reply`], [`event`] and [`hello`] append JSON to a buffer of the caller's.

// Everything here reads bytes from strangers: no index and no sum may be able to panic.
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm
    )
)]

pub mod agent_status;
pub mod approvals;
pub mod connect;
pub mod cost;
pub mod cron;
pub mod device;
pub mod device_key;
pub mod devices;
pub mod error;
pub mod event;
mod fields;
pub mod frame;
pub mod hello;
mod host;
mod json;
pub mod log_entry;
mod members;
pub mod methods;
pub mod origin;
pub mod output_line;
pub mod peer;
mod readable;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod run;
pub mod run_calls;
pub mod safe_text;
pub mod schedule;
pub mod scope;
pub mod session;
pub mod spawn;
mod speaker;
