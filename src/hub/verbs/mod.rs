//! The verbs that need shared state, one file per method or family, named as on the wire.
//!
//! Parameters were parsed and scopes checked on the connection's thread (`protocol::request`).
//! A verb changes the hub and emits its answer, now or when its commit is on disk.

mod agent_status;
mod config_get;
mod cron;
mod device_pair;
mod device_token;
mod devices;
mod events_publish;
mod logs_append;
mod logs_tail;
mod node_list;
mod session_reports;
mod sessions;
mod status;
mod system_presence;
