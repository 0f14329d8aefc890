//! The only threads, system calls and clocks.
