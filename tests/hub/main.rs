//! The hub over virtual time: inputs at moments in, a transcript of effects out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and needs some instant to begin with"
)]

mod admission;
mod agents;
mod cron;
mod describe;
mod device_admin;
mod device_verbs;
mod disk;
mod durability;
mod heartbeat;
mod history;
mod idempotency;
mod journal;
mod peers;
mod policies;
mod presence;
mod rate_limit;
mod registration;
mod sessions;
mod short_histories;
mod sim;
mod stopping;
mod tokens;
