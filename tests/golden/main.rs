//! Golden tests of the wire contract: text in, values out, and back.
//!
//! One module for each subject. What the text must be stands beside the test; frames that a real
//! Mission Control sent are in `mission-control-2.3.0.jsonl`, and `docs/protocol.md` is held to
//! what the code makes. Nothing here opens a socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, a panic is the report"
)]

mod connect_params;
mod cron_requests;
mod cron_samples;
mod device_proof;
mod device_requests;
mod device_samples;
mod documentation;
mod encoding;
mod hostile_text;
mod refusals;
mod requests;
mod run_requests;
mod run_samples;
mod samples;
mod session_requests;
mod spawn_requests;
mod spawn_samples;
