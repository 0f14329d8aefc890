//! Bytes to WebSocket messages and back, sans-io: the caller owns sockets and clocks.
