//! The methods that an admitted peer may call: names, aliases and who may.
//!
//! One file per family reads its parameters. A new method is a variant of [`Method`], a row of
//! the table, a variant of `request::Request` and, if it has parameters, a file here.
//! Called by `request`, and by `hello` for the list of methods.

use crate::protocol::approvals::ApprovalCall;
use crate::protocol::cron::CronMethod;
use crate::protocol::devices::DeviceMethod;
use crate::protocol::error::ProtocolError;
use crate::protocol::hello::Grant;
use crate::protocol::methods::spawn::SpawnMethod;
use crate::protocol::run_calls::RunCall;
use crate::protocol::scope::{Role, ScopeSet};

pub(super) mod agent_status;
pub(super) mod approvals;
pub(super) mod cron;
pub(super) mod devices;
pub(super) mod events_publish;
pub(super) mod logs_append;
pub(super) mod logs_subscribe;
pub(super) mod logs_tail;
pub(super) mod runs;
pub(super) mod session_key;
pub(super) mod session_reports;
pub(super) mod sessions;
pub mod spawn;

/// A method. `connect` is none: it exists only before admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `ping`, answered by the connection itself.
    Ping,
    /// `health`, answered by the connection itself.
    Health,
    /// `status`
    Status,
    /// `system-presence`
    SystemPresence,
    /// `logs.tail`
    LogsTail,
    /// `logs.append`
    LogsAppend,
    /// `device.pair.*`, `device.token.*`, `auth.rateLimit.clear`
    Devices(DeviceMethod),
    /// `cron.*`
    Cron(CronMethod),
    /// `spawn`, `spawn.*`, `sessions_spawn`, `sessions_kill`
    Spawn(SpawnMethod),
    /// `session.update`
    SessionUpdate,
    /// `session.usage`
    SessionUsage,
    /// `agent.status`
    AgentStatus,
    /// `events.publish`
    EventsPublish,
    /// `logs.subscribe`
    LogsSubscribe,
    /// `sessions.list`
    SessionsList,
    /// `sessions.get`
    SessionsGet,
    /// `sessions.usage`
    SessionsUsage,
    /// `sessions.patch`
    SessionsPatch,
    /// `sessions.reset`
    SessionsReset,
    /// `sessions.delete`
    SessionsDelete,
    /// `agents.list`
    AgentsList,
    /// `node.list`
    NodeList,
    /// `config.get`
    ConfigGet,
    /// `channels.status`
    ChannelsStatus,
    /// `models.list`
    ModelsList,
    /// `last-heartbeat`
    LastHeartbeat,
    /// `chat.*`, `agent`, `agent.wait`, `sessions.send`, `run.update`
    Runs(RunCall),
    /// `exec.approval.*`, `exec.approvals.*`
    Approvals(ApprovalCall),
}

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every admitted peer.
    Everyone,
    /// Whoever has this scope.
    Scope(ScopeSet),
    /// Every agent, and whoever has this scope.
    AgentOr(ScopeSet),
    /// Agents alone.
    Agent,
    /// Whoever comes over the local control socket, and nobody else.
    Owner,
}

/// What is known of a method.
struct Row {
    method: Method,
    name: &'static str,
    aliases: &'static [&'static str],
    access: Access,
}

/// All rows; those of a large family stand in its file.
fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().chain(&runs::ROWS).chain(&approvals::ROWS)
}

/// `ping` stands first: it is the most frequent, and rows are compared in order.
const TABLE: [Row; 45] = [
    Row { method: Method::Ping, name: "ping", aliases: &[], access: Access::Everyone },
    Row {
        method: Method::LogsAppend,
        name: "logs.append",
        aliases: &[],
        access: Access::AgentOr(ScopeSet::WRITE),
    },
    Row {
        method: Method::LogsTail,
        name: "logs.tail",
        aliases: &[],
        access: Access::Scope(ScopeSet::READ),
    },
    Row { method: Method::Health, name: "health", aliases: &[], access: Access::Everyone },
    Row {
        method: Method::Status,
        name: "status",
        aliases: &[],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::SystemPresence,
        name: "system-presence",
        aliases: &[],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::Devices(DeviceMethod::List),
        name: "device.pair.list",
        aliases: &[],
        access: Access::Scope(ScopeSet::PAIRING),
    },
    Row {
        method: Method::Devices(DeviceMethod::Approve),
        name: "device.pair.approve",
        aliases: &[],
        access: Access::Scope(ScopeSet::PAIRING),
    },
    Row {
        method: Method::Devices(DeviceMethod::Reject),
        name: "device.pair.reject",
        aliases: &[],
        access: Access::Scope(ScopeSet::PAIRING),
    },
    Row {
        method: Method::Devices(DeviceMethod::Remove),
        name: "device.pair.remove",
        aliases: &[],
        access: Access::Scope(ScopeSet::PAIRING),
    },
    Row {
        method: Method::Devices(DeviceMethod::RotateToken),
        name: "device.token.rotate",
        aliases: &[],
        access: Access::Scope(ScopeSet::PAIRING),
    },
    Row {
        method: Method::Devices(DeviceMethod::RevokeTokens),
        name: "device.token.revoke",
        aliases: &[],
        access: Access::Scope(ScopeSet::PAIRING),
    },
    Row {
        method: Method::Devices(DeviceMethod::Forget),
        name: "device.pair.forget",
        aliases: &[],
        access: Access::Owner,
    },
    Row {
        method: Method::Devices(DeviceMethod::OfferCode),
        name: "device.pair.code",
        aliases: &[],
        access: Access::Owner,
    },
    Row {
        method: Method::Devices(DeviceMethod::ClearRateLimit),
        name: "auth.rateLimit.clear",
        aliases: &[],
        access: Access::Scope(ScopeSet::ADMIN),
    },
    Row {
        method: Method::Spawn(SpawnMethod::Spawn),
        name: "spawn",
        aliases: &[],
        access: Access::Scope(ScopeSet::ADMIN),
    },
    Row {
        method: Method::Spawn(SpawnMethod::Template),
        name: "sessions_spawn",
        aliases: &["sessions.spawn"],
        access: Access::Scope(ScopeSet::ADMIN),
    },
    Row {
        method: Method::Spawn(SpawnMethod::List),
        name: "spawn.list",
        aliases: &["spawn_list"],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::Spawn(SpawnMethod::Logs),
        name: "spawn.logs",
        aliases: &["spawn_logs"],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::Spawn(SpawnMethod::Cancel),
        name: "spawn.cancel",
        aliases: &["spawn_cancel"],
        access: Access::Scope(ScopeSet::ADMIN),
    },
    Row {
        method: Method::Spawn(SpawnMethod::KillSession),
        name: "sessions_kill",
        aliases: &["sessions.kill"],
        access: Access::Scope(ScopeSet::ADMIN),
    },
    Row {
        method: Method::SessionUpdate,
        name: "session.update",
        aliases: &["session_update"],
        access: Access::AgentOr(ScopeSet::WRITE),
    },
    Row {
        method: Method::SessionUsage,
        name: "session.usage",
        aliases: &["session_usage"],
        access: Access::AgentOr(ScopeSet::WRITE),
    },
    Row {
        method: Method::AgentStatus,
        name: "agent.status",
        aliases: &["agent_status"],
        access: Access::AgentOr(ScopeSet::WRITE),
    },
    Row {
        method: Method::EventsPublish,
        name: "events.publish",
        aliases: &["events_publish"],
        access: Access::AgentOr(ScopeSet::WRITE),
    },
    Row {
        method: Method::LogsSubscribe,
        name: "logs.subscribe",
        aliases: &["logs_subscribe"],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::SessionsList,
        name: "sessions.list",
        aliases: &["sessions_list"],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::SessionsGet,
        name: "sessions.get",
        aliases: &["sessions_get"],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::SessionsUsage,
        name: "sessions.usage",
        aliases: &["sessions_usage"],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::SessionsPatch,
        name: "sessions.patch",
        aliases: &[
            "sessions_patch",
            "session_setLabel",
            "session_setThinking",
            "session_setVerbose",
            "session_setReasoning",
        ],
        access: Access::Scope(ScopeSet::ADMIN),
    },
    Row {
        method: Method::SessionsReset,
        name: "sessions.reset",
        aliases: &["sessions_reset", "session_reset"],
        access: Access::Scope(ScopeSet::ADMIN),
    },
    Row {
        method: Method::SessionsDelete,
        name: "sessions.delete",
        aliases: &["sessions_delete", "session_delete"],
        access: Access::Scope(ScopeSet::ADMIN),
    },
    Row {
        method: Method::AgentsList,
        name: "agents.list",
        aliases: &["agents_list"],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::NodeList,
        name: "node.list",
        aliases: &[],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::ConfigGet,
        name: "config.get",
        aliases: &[],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::ChannelsStatus,
        name: "channels.status",
        aliases: &[],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::ModelsList,
        name: "models.list",
        aliases: &[],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::LastHeartbeat,
        name: "last-heartbeat",
        aliases: &[],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::Cron(CronMethod::List),
        name: "cron.list",
        aliases: &["cron_list"],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::Cron(CronMethod::Status),
        name: "cron.status",
        aliases: &["cron_status"],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::Cron(CronMethod::Runs),
        name: "cron.runs",
        aliases: &["cron_runs"],
        access: Access::Scope(ScopeSet::READ),
    },
    Row {
        method: Method::Cron(CronMethod::Add),
        name: "cron.add",
        aliases: &["cron_add"],
        access: Access::Scope(ScopeSet::ADMIN),
    },
    Row {
        method: Method::Cron(CronMethod::Update),
        name: "cron.update",
        aliases: &["cron_update"],
        access: Access::Scope(ScopeSet::ADMIN),
    },
    Row {
        method: Method::Cron(CronMethod::Remove),
        name: "cron.remove",
        aliases: &["cron_remove"],
        access: Access::Scope(ScopeSet::ADMIN),
    },
    Row {
        method: Method::Cron(CronMethod::Run),
        name: "cron.run",
        aliases: &["cron_run"],
        access: Access::Scope(ScopeSet::ADMIN),
    },
];

impl Method {
    /// Finds a method by its name or an alias.
    pub fn find(name: &str) -> Option<Self> {
        Self::position(name).and_then(|at| rows().nth(at)).map(|row| row.method)
    }

    /// Where a name or an alias stands in [`names`].
    pub fn position(name: &str) -> Option<usize> {
        rows().position(|row| row.name == name || row.aliases.contains(&name))
    }

    /// Its name on the wire; idempotency keys are kept under it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Health => "health",
            Self::Status => "status",
            Self::SystemPresence => "system-presence",
            Self::LogsTail => "logs.tail",
            Self::LogsAppend => "logs.append",
            Self::Devices(method) => method.name(),
            Self::Cron(method) => method.name(),
            Self::Spawn(method) => method.name(),
            Self::SessionUpdate => "session.update",
            Self::SessionUsage => "session.usage",
            Self::AgentStatus => "agent.status",
            Self::EventsPublish => "events.publish",
            Self::LogsSubscribe => "logs.subscribe",
            Self::SessionsList => "sessions.list",
            Self::SessionsGet => "sessions.get",
            Self::SessionsUsage => "sessions.usage",
            Self::SessionsPatch => "sessions.patch",
            Self::SessionsReset => "sessions.reset",
            Self::SessionsDelete => "sessions.delete",
            Self::AgentsList => "agents.list",
            Self::NodeList => "node.list",
            Self::ConfigGet => "config.get",
            Self::ChannelsStatus => "channels.status",
            Self::ModelsList => "models.list",
            Self::LastHeartbeat => "last-heartbeat",
            Self::Runs(call) => call.name(),
            Self::Approvals(call) => call.name(),
        }
    }

    /// Whether a started agent may also report it as a line of its output.
    pub fn is_report(self) -> bool {
        matches!(
            self,
            Self::LogsAppend
                | Self::SessionUpdate
                | Self::SessionUsage
                | Self::AgentStatus
                | Self::EventsPublish
                | Self::Runs(RunCall::RunUpdate)
        )
    }

    /// Who may call it.
    pub fn access(self) -> Access {
        rows()
            .find(|row| row.method == self)
            // A method that is in no table is for nobody but an administrator.
            .map_or(Access::Scope(ScopeSet::ADMIN), |row| row.access)
    }

    /// Whether a peer with this grant may call it; if not, the error names the scope it lacks.
    pub fn check(self, grant: &Grant) -> Result<(), ProtocolError> {
        let needed = match self.access() {
            Access::Everyone => return Ok(()),
            Access::AgentOr(_) | Access::Agent
                if grant.role == Role::Agent && grant.agent.is_some() =>
            {
                return Ok(());
            }
            Access::Agent => return Err(ProtocolError::agents_only(self.name())),
            Access::Owner if grant.is_owner => return Ok(()),
            Access::Owner => return Err(ProtocolError::owner_only(self.name())),
            Access::AgentOr(needed) | Access::Scope(needed) => needed,
        };
        if grant.scopes.contains(needed) {
            Ok(())
        } else {
            Err(ProtocolError::missing_scope(&needed.to_string()))
        }
    }
}

/// The names of all methods, for `features.methods`.
pub fn names() -> impl Iterator<Item = &'static str> {
    rows().map(|row| row.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_names_and_names_its_method() {
        for row in rows() {
            assert_eq!(row.method.name(), row.name);
            assert_eq!(row.method.access(), row.access);
            for name in row.aliases.iter().chain([&row.name]) {
                assert_eq!(Method::find(name), Some(row.method));
            }
        }
        for name in ["", "Ping", "ping ", "connect", "logs"] {
            assert_eq!(Method::find(name), None);
        }
    }
}
