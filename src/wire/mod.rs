//! Bytes to WebSocket messages and back, and HTTP heads, sans-io: the caller owns sockets and
//! clocks.
//!
//! Owns the decoding state of one connection and the encoding of single frames and responses.
//! Does not read, write, wait, encrypt or log, and knows nothing of the JSON inside the messages.
//! Called by `shell::connection` (reading) and by whoever encodes a frame for a link.
//!
//! These modules take bytes from strangers, so what could panic on them is refused by lint.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::expect_used))]

pub mod decoder;
pub mod frame;
pub mod head;
pub mod http;
pub mod text;
