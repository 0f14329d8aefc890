//! Words that every layer may use: identifiers, time, limits, close reasons, secrets.
//!
//! Owns no state and does no I/O. Imports nothing from the rest of the crate.

pub mod close_reason;
pub mod ids;
pub mod limits;
pub mod nearest;
pub mod pairing_code;
pub mod secret;
pub mod time;
