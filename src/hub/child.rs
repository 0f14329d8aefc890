//! Child processes, as the hub and the shell speak of them (`docs/protocol.md`, "Spawn").
//!
//! The hub decides what is started, when, and what becomes of it; it never sees a process. The
//! shell (`shell::children`) performs orders and tells news; it decides nothing. This file is the
//! whole vocabulary between them. No I/O here.
//!
//! ```text
//!  Resolve ─▶ Resolved ─(queue)─▶ Launch ─▶ Held ─(commit)─▶ Go ─▶ Started | StartFailed
//!                                              └─ Abandon ─▶ Exited
//!  Started … Output* … { OutputEnded, Exited } in either order; then LeftoversEnded if ordered
//! ```
//!
//! Each child's news comes in the order in which it happened. After `StartFailed`, or after
//! `Exited`, `OutputEnded` and (if `EndLeftovers` was ordered) `LeftoversEnded`, the shell has
//! forgotten it, and orders for it do nothing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::ids::{AgentName, SessionKey, SpawnId};
use crate::base::secret::Secret;
use crate::protocol::output_line::OutputContent;
pub use crate::protocol::output_line::OutputStream;
pub use crate::protocol::spawn::Exit;

/// What the hub wants of the shell.
#[derive(Debug)]
pub enum ChildOrder {
    /// Find the program and the directory. Answered by exactly one `Resolved`.
    Resolve(Box<ProgramAsked>),
    /// Start the launcher, which waits. Answered by exactly one `Held`.
    Launch(Box<Launch>),
    /// Its marks are durable: let the launcher become the program. Answered by exactly one
    /// `Started` or `StartFailed`, unless it died first: then by `Exited`.
    Go(SpawnId),
    /// It may not run after all: end the launcher. Answered by `Exited`.
    Abandon(SpawnId),
    /// Signal the child, its group and every descendant that can be found.
    Signal {
        /// Which.
        spawn: SpawnId,
        /// With what.
        signal: Signal,
    },
    /// The program has exited: kill what it left running until nothing is found any more.
    /// Answered by exactly one `LeftoversEnded`.
    EndLeftovers(SpawnId),
    /// Stop reading its output, although somebody out of reach may hold the pipe. Answered by
    /// `OutputEnded`, unless that was told already.
    CloseOutput(SpawnId),
    /// Find these children of an earlier gateway, and kill what still lives. Answered by one
    /// `EarlierEnded` for each.
    EndEarlier(Vec<(SpawnId, Option<ChildMarks>)>),
}

/// A program and a directory, as they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramAsked {
    /// For which spawn.
    pub spawn: SpawnId,
    /// A bare name, found by the gateway's own `PATH`, or an absolute path.
    pub command: String,
    /// The working directory; the gateway's own when absent.
    pub cwd: Option<PathBuf>,
    /// `gateway.spawn.allowedDirs`, each with what is below it; `None`: not checked, as for the
    /// directory of a configured template.
    pub allowed_dirs: Option<Vec<PathBuf>>,
}

/// A program and a directory that exist and are allowed, links followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramFound {
    /// Absolute.
    pub program: PathBuf,
    /// Absolute.
    pub cwd: PathBuf,
}

/// Why there is no `ProgramFound`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// A rule forbids it: an error response.
    Forbidden {
        /// The configuration key of the rule.
        rule: &'static str,
        /// What was asked for, and why that is against the rule.
        problem: String,
    },
    /// It cannot be started: a spawn that failed, with the cause.
    CannotStart(String),
}

/// Everything the launcher needs.
#[derive(Debug)]
pub struct Launch {
    /// Which.
    pub spawn: SpawnId,
    /// What.
    pub found: ProgramFound,
    /// The command as it was asked for, the child's `argv[0]`.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Names of variables that are copied from the gateway's own environment, where they are set.
    pub env_allow: Vec<String>,
    /// Variables set beside them. The shell adds `OPENCLAW_GATEWAY_URL` and
    /// `OPENCLAW_SPAWN_ID`, `OPENCLAW_SESSION`, `OPENCLAW_AGENT_NAME`, `OPENCLAW_AGENT_TOKEN`.
    pub env: Vec<(String, String)>,
    /// Written to its stdin, which is closed afterwards.
    pub stdin: Option<Vec<u8>>,
    /// The user it runs as, by name; the gateway's own when absent.
    pub run_as: Option<String>,
    /// The agent that it speaks as.
    pub agent: AgentName,
    /// The session that it belongs to.
    pub session: SessionKey,
    /// The credential with which it may connect as that agent.
    pub token: Secret,
    /// Whether report lines on its stdout are reports.
    pub reports: bool,
    /// How much output is taken; what comes faster is suppressed and counted.
    pub output_bytes_per_second_max: u64,
}

/// What identifies a process across restarts: a pid alone is used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildMarks {
    /// Its process id, which is also its group's.
    pub pid: u32,
    /// `/proc/sys/kernel/random/boot_id`
    pub boot_id: String,
    /// Field 22 of `/proc/PID/stat`, in clock ticks since the boot.
    pub start_time: u64,
    /// Its cgroup below `/sys/fs/cgroup`, where one was made for it.
    pub cgroup: Option<String>,
}

/// The two that the hub uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM
    Terminate,
    /// SIGKILL
    Kill,
}

/// What the shell has to tell.
#[derive(Debug)]
pub enum ChildNews {
    /// Answers `Resolve`.
    Resolved {
        /// Which.
        spawn: SpawnId,
        /// With what.
        outcome: Result<ProgramFound, NotFound>,
    },
    /// Answers `Launch`: the launcher waits, or could not be started, with the cause.
    Held {
        /// Which.
        spawn: SpawnId,
        /// How it can be found again.
        outcome: Result<ChildMarks, String>,
    },
    /// The program runs.
    Started(SpawnId),
    /// The launcher could not become the program, and is gone.
    StartFailed {
        /// Which.
        spawn: SpawnId,
        /// Why.
        error: String,
    },
    /// What it wrote, in the order of each stream. Bounded by `CHILD_OUTPUT_BATCH_BYTES_MAX`.
    Output {
        /// Which.
        spawn: SpawnId,
        /// At least one.
        lines: Vec<OutputLine>,
    },
    /// Both streams are at their end. Told once, after the last `Output`.
    OutputEnded(SpawnId),
    /// The process was reaped.
    Exited {
        /// Which.
        spawn: SpawnId,
        /// How it ended.
        exit: Exit,
        /// Whether something that it started still runs.
        leftovers: bool,
    },
    /// Nothing of it can be found any more.
    LeftoversEnded(SpawnId),
    /// Nothing of this child of an earlier gateway runs any more.
    EarlierEnded {
        /// Which.
        spawn: SpawnId,
        /// Whether it still ran, and was killed.
        was_running: bool,
    },
}

/// One line of output.
#[derive(Debug)]
pub struct OutputLine {
    /// Where it came from.
    pub stream: OutputStream,
    /// What it says.
    pub content: OutputContent,
}
