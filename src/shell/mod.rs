//! The only threads, system calls and clocks.

pub mod capacity;
pub mod tls;
