//! The verbs that need shared state, one file per method or family, named as on the wire.
//!
//! Parameters were parsed and scopes checked on the connection's thread (`protocol::request`).
//! A verb changes the hub and emits its answer, now or when its commit is on disk.

mod agent_status;
mod chat;
mod config_get;
mod cron;
mod device_pair;
mod device_token;
mod devices;
mod events_publish;
mod exec_approval;
mod logs_append;
mod logs_tail;
mod node_list;
mod run_update;
mod runs;
mod session_reports;
mod sessions;
pub(super) mod spawn;
mod status;
mod system_presence;
