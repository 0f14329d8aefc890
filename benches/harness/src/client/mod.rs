//! A small WebSocket client that costs as little as possible: frames are built before the
//! measurement, one read serves whatever has arrived, and nothing is parsed that need not be.

pub(crate) mod conn;
pub(crate) mod frames;
pub(crate) mod opening;
pub(crate) mod poller;
