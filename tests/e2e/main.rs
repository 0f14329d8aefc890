//! The real binary, spoken to over real sockets, plain and TLS: one module per promise.
//!
//! `kit` starts gateways, makes devices and plays clients; nothing in it waits without a deadline.
//! A case that needs something that the machine lacks names itself with `skip!`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, print why, read the clock and start threads"
)]

#[macro_use]
mod kit;

mod audit;
mod backup;
mod cli;
mod cli_devices;
mod cli_tail;
mod config;
mod container;
mod control_socket;
mod crash;
mod crash_runs;
mod cron;
mod demo;
mod devices;
mod disk;
mod doctor;
mod documented;
mod documented_work;
mod handshake_backend;
mod handshake_mission_control;
mod handshake_seed;
mod heartbeat;
mod http;
mod install;
mod journal;
mod metrics;
mod nginx;
mod overload;
mod readme;
mod refusals;
mod reload;
mod runs;
mod secrets;
mod sessions;
mod slow_peer;
mod spawn;
mod stop;
mod stuck_output;
mod systemd;
mod templates;
mod tour;
mod troubleshooting;
