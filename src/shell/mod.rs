//! The only threads, system calls and clocks.

pub mod diagnostics;
pub mod signals;
pub mod state_dir;
pub mod store;
#[cfg(test)]
pub(crate) mod test_dir;
