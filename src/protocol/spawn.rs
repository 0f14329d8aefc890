//! Spawns on the wire: what is asked, what is shown (`docs/protocol.md`, "Spawn").
//!
//! Owns the words for a spawn's state and how a spawn is encoded in answers and events. What
//! happens to a spawn is the hub's. Called by `request`, `reply` and `event`, and by the hub.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{AgentName, RequestId, SessionKey, SpawnId};
use crate::protocol::json::{ObjectWriter, push_array};
use crate::protocol::request::{Idempotency, LogsTail};

/// What an admitted operator asks about spawns.
#[derive(Clone, Debug, PartialEq)]
pub enum SpawnRequest {
    /// `spawn`
    Spawn(Box<SpawnAsk>),
    /// `sessions_spawn`
    Template(Box<TemplateAsk>),
    /// `spawn.list`
    List,
    /// `spawn.logs`
    Logs {
        /// A `spawnId`, or a request's id.
        id: String,
        /// Which of its entries.
        tail: LogsTail,
    },
    /// `spawn.cancel`
    Cancel {
        /// A `spawnId`, or the id of a request of the same device.
        id: String,
        /// Time between TERM and KILL.
        grace_ms: Option<u64>,
    },
    /// `sessions_kill`
    KillSession(SessionKey),
}

/// Parameters of `spawn`.
#[derive(Clone, Debug, PartialEq)]
pub struct SpawnAsk {
    /// A bare name or an absolute path.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables set for it; none that is the gateway's to set.
    pub env: Vec<(String, String)>,
    /// The working directory: an absolute path.
    pub cwd: Option<String>,
    /// What it reads from its stdin.
    pub stdin: Option<String>,
    /// How long it may run.
    pub timeout_ms: Option<u64>,
    /// The session that it belongs to; it names an agent.
    pub session: Option<SessionKey>,
    /// Whether report lines on its stdout are reports.
    pub reports: bool,
    /// See [`Idempotency`].
    pub idempotency: Option<Idempotency>,
}

/// Parameters of `sessions_spawn`.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateAsk {
    /// Which template; `gateway.agents.default` when absent.
    pub agent: Option<AgentName>,
    /// What to do.
    pub task: String,
    /// A name for people.
    pub label: Option<Arc<str>>,
    /// The model.
    pub model: Option<Arc<str>>,
    /// How long it may run.
    pub timeout_ms: Option<u64>,
    /// See [`Idempotency`].
    pub idempotency: Option<Idempotency>,
}

/// How a spawn stands, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpawnStatus {
    /// It waits for its turn.
    Queued,
    /// It runs.
    Running,
    /// It exited with code 0.
    Completed,
    /// It exited otherwise, could not be started, or was refused.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It ran for too long.
    Timeout,
    /// How it ended is not known.
    Lost,
}

impl SpawnStatus {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
        }
    }

    /// Whether nothing follows it.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Timeout | Self::Lost => true,
        }
    }
}

impl fmt::Display for SpawnStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Linux's names of the signals 1 to 31, on every architecture that the gateway runs on.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The name of a signal: `SIGTERM`, or `SIG34` for one without a name.
pub fn signal_name(signal: i32) -> String {
    let index = usize::try_from(signal).ok().and_then(|signal| signal.checked_sub(1));
    match index.and_then(|index| SIGNALS.get(index)) {
        Some(name) => (*name).to_owned(),
        None => format!("SIG{signal}"),
    }
}

impl Exit {
    fn write(self, out: &mut Vec<u8>) {
        let mut result = ObjectWriter::open(out);
        match self {
            Self::Code(code) => result.raw("exitCode", &code.to_string()),
            Self::Signal(signal) => result.str("signal", &signal_name(signal)),
        };
        result.close();
    }
}

/// A spawn as it is shown: the payload of `spawn_result`, a line of `spawn.list`, and the answer
/// to `spawn`.
#[derive(Clone, Debug, PartialEq)]
pub struct SpawnShown {
    /// The gateway's own id of it.
    pub spawn: SpawnId,
    /// The id of the request that asked for it; the spawn's own, where none did.
    pub request: RequestId,
    /// How it stands.
    pub status: SpawnStatus,
    /// Its process id, from its start on.
    pub pid: Option<u32>,
    /// When it ended, Unix milliseconds.
    pub completed_at_ms: Option<u64>,
    /// How its process ended.
    pub exit: Option<Exit>,
    /// What went wrong.
    pub error: Option<String>,
}

impl SpawnShown {
    /// Appends `id` to `error`, as the product page shows them.
    fn write_members(&self, object: &mut ObjectWriter<'_>) {
        object.str("id", self.request.as_str()).str("spawnId", self.spawn.as_str());
        object.str("status", self.status.as_str());
        match self.pid {
            Some(pid) => object.u64("pid", pid.into()),
            None => object.raw("pid", "null"),
        };
        match self.completed_at_ms {
            Some(millis) => object.u64("completedAt", millis),
            None => object.raw("completedAt", "null"),
        };
        match self.exit {
            Some(exit) => exit.write(object.key("result")),
            None => {
                object.raw("result", "null");
            }
        }
        match &self.error {
            Some(error) => object.str("error", error),
            None => object.raw("error", "null"),
        };
    }

    /// Appends the object.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::open(out);
        self.write_members(&mut object);
        object.close();
    }
}

/// A line of `spawn.list`.
#[derive(Clone, Debug, PartialEq)]
pub struct SpawnLine {
    /// What every mention of it says.
    pub shown: SpawnShown,
    /// The program, as it was asked for. Its arguments are not shown: they may hold secrets.
    pub command: String,
    /// The agent that it speaks as.
    pub agent: AgentName,
    /// The session that it belongs to.
    pub session: SessionKey,
    /// A name for people.
    pub label: Option<Arc<str>>,
    /// When it was asked for, Unix milliseconds.
    pub created_at_ms: u64,
    /// When it began to run, Unix milliseconds.
    pub started_at_ms: Option<u64>,
}

impl SpawnLine {
    /// Appends the object.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::open(out);
        self.shown.write_members(&mut object);
        object.str("command", &self.command).str("agent", self.agent.as_str());
        object.str("session", self.session.as_str()).opt_str("label", self.label.as_deref());
        object.u64("createdAt", self.created_at_ms);
        match self.started_at_ms {
            Some(millis) => object.u64("startedAt", millis),
            None => object.raw("startedAt", "null"),
        };
        object.close();
    }
}

/// The answer to a request about spawns.
#[derive(Clone, Debug, PartialEq)]
pub enum SpawnReply {
    /// `spawn`: `{id, spawnId, status, pid}`, and `error` where it could not be started.
    Spawned(SpawnShown),
    /// `sessions_spawn`: `{sessionId, runId, status, spawnId, pid}`.
    TemplateSpawned {
        /// The spawn.
        shown: SpawnShown,
        /// Its session.
        session: SessionKey,
    },
    /// `spawn.list`
    List(Vec<SpawnLine>),
    /// `spawn.cancel`: the spawn as it stands.
    Cancelled(SpawnShown),
    /// `sessions_kill`: which session, and how many of its processes are being ended.
    SessionKilled {
        /// The session.
        session: SessionKey,
        /// How many.
        spawns: usize,
    },
}

impl SpawnReply {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut body = ObjectWriter::open(out);
        match self {
            Self::Spawned(shown) | Self::Cancelled(shown) => write_brief(&mut body, shown, true),
            Self::TemplateSpawned { shown, session } => {
                body.str("sessionId", session.as_str()).str("runId", shown.spawn.as_str());
                write_brief(&mut body, shown, false);
            }
            Self::List(lines) => {
                push_array(body.key("spawns"), lines, |out, line| line.write(out));
            }
            Self::SessionKilled { session, spawns } => {
                body.bool("ok", true).str("sessionKey", session.as_str());
                body.bool("killed", *spawns > 0).usize("spawns", *spawns);
            }
        }
        body.close();
    }
}

fn write_brief(body: &mut ObjectWriter<'_>, shown: &SpawnShown, with_id: bool) {
    if with_id {
        body.str("id", shown.request.as_str());
    }
    body.str("spawnId", shown.spawn.as_str()).str("status", shown.status.as_str());
    match shown.pid {
        Some(pid) => body.u64("pid", pid.into()),
        None => body.raw("pid", "null"),
    };
    body.opt_str("error", shown.error.as_deref());
}
