//! The verbs that need shared state, one file per method, named as on the wire.
//!
//! Parameters were parsed and scopes checked on the connection's thread (`protocol::request`).
//! A verb changes the hub and emits its answer, now or when its commit is on disk.

mod device_pair;
mod device_token;
mod devices;
mod logs_append;
mod logs_tail;
mod status;
mod system_presence;
