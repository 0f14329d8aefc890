//! The hub over virtual time: inputs at moments in, a transcript of effects out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may fail loudly, and needs some instant to begin with"
)]

mod admission;
mod agents;
mod approval_histories;
mod approvals;
mod audit;
mod cron;
mod describe;
mod describe_runs;
mod device_admin;
mod device_verbs;
mod disk;
mod durability;
mod gauges;
mod heartbeat;
mod history;
mod idempotency;
mod journal;
mod peers;
mod policies;
mod presence;
mod rate_limit;
mod registration;
mod reload;
mod run_endings;
mod run_histories;
mod run_spawns;
mod runs;
mod sessions;
mod shell;
mod short_histories;
mod sim;
mod spawn_endings;
mod spawn_histories;
mod spawn_records;
mod spawn_rules;
mod stopping;
mod tokens;
