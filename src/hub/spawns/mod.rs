//! Spawns: programs that the gateway starts, from the request to the one terminal event.
//!
//! Owns every spawn that is open, the queue for a place, and the newest of those that ended. Never
//! sees a process: `shell::children` performs what is ordered here and tells what becomes of it
//! (`hub::child`). Who may ask, and in which words, is `verbs::spawn`'s.
//!
//! ```text
//!  start_spawn ─▶ Resolving ─▶ Queued ─▶ Launching ─▶ Committing ─▶ Going ─▶ Running ─▶ Exited ─▶ ended
//!   (refused)        │  (no place yet)      (marks on disk first) │     TERM, grace, KILL │  (output at
//!                    ▼           ▼            ▼           ▼       ▼                       │ its end, no
//!                  ended       ended       Abandoning ─────────▶ ended                    ▼  leftovers)
//! ```
//!
//! `start` lets one in, `news` follows its process, `ending` ends it, `output` takes what it says,
//! `connect` lets its program in as an agent, `earlier` accounts for what an earlier gateway left
//! behind, `ended` tells the rest of the hub, `table` holds them all.

pub(super) mod ended;
pub(super) mod news;
pub(super) mod table;

mod connect;
mod earlier;
mod ending;
mod output;
mod start;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::ids::{AgentName, ConnId, RequestId, SessionKey, UserName};
use crate::hub::child::ProgramFound;
use crate::hub::records::{AnswerKey, AnswerRecord, SpawnOrigin, SpawnRecord};
use crate::protocol::spawn::SpawnStatus;

/// What is to be started, for whom. Made by `Hub::template_order` for an agent's template, and by
/// `verbs::spawn` for a command.
pub(super) struct SpawnOrder {
    /// Who hears of its end: see `ended`.
    pub(super) origin: SpawnOrigin,
    /// Whose authority it is started with.
    pub(super) user: UserName,
    /// The template, whose `maxConcurrent` counts; `None` for a command.
    pub(super) template: Option<AgentName>,
    /// The agent that it speaks as.
    pub(super) agent: AgentName,
    /// The session that it belongs to; one of its own when `None`.
    pub(super) session: Option<SessionKey>,
    /// A name for people.
    pub(super) label: Option<Arc<str>>,
    /// The model.
    pub(super) model: Option<Arc<str>>,
    /// What runs.
    pub(super) program: Program,
    /// How long it may run, if that was asked for.
    pub(super) timeout: Option<Duration>,
    /// The request that waits for an answer, if one does.
    pub(super) asker: Option<Asker>,
}

/// What an agent's template is to do.
pub(super) struct Task {
    /// Whose template.
    pub(super) agent: AgentName,
    /// `{task}`
    pub(super) text: String,
    /// `{model}`
    pub(super) model: Option<Arc<str>>,
    /// `{label}`
    pub(super) label: Option<Arc<str>>,
    /// The session that it belongs to; one of its own when `None`.
    pub(super) session: Option<SessionKey>,
    /// Whose authority it is started with.
    pub(super) user: UserName,
    /// Who hears of its end.
    pub(super) origin: SpawnOrigin,
}

/// What the launcher needs to know of a program.
pub(super) struct Program {
    /// A bare name or an absolute path.
    pub(super) command: String,
    /// Its arguments.
    pub(super) args: Vec<String>,
    /// Variables set for it.
    pub(super) env: Vec<(String, String)>,
    /// The working directory; the gateway's own when absent.
    pub(super) cwd: Option<PathBuf>,
    /// Where that may be; `None`: anywhere.
    pub(super) allowed_dirs: Option<Vec<PathBuf>>,
    /// What it reads from its stdin.
    pub(super) stdin: Option<String>,
    /// Whether report lines on its stdout are reports.
    pub(super) reports: bool,
    /// The user it runs as; the gateway's own when absent.
    pub(super) run_as: Option<String>,
}

impl Program {
    /// What it takes in memory while it waits.
    fn bytes(&self) -> usize {
        let env: usize = self.env.iter().map(|(name, value)| name.len() + value.len()).sum();
        let args: usize = self.args.iter().map(String::len).sum();
        self.command.len() + args + env + self.stdin.as_ref().map_or(0, String::len)
    }
}

/// A spawn that has not ended.
struct Spawn {
    record: SpawnRecord,
    model: Option<Arc<str>>,
    template: Option<AgentName>,
    /// Until it is launched.
    program: Option<Box<Program>>,
    /// Whether it counts among those that run.
    placed: bool,
    phase: Phase,
    /// Set as soon as it is to end.
    ending: Option<Ending>,
    timeout: Duration,
    /// When `ending` has something to do about it.
    deadline: Option<Instant>,
    /// Who waits for the answer to the request.
    asker: Option<Asker>,
    /// The hash of its credential, while that is good.
    token: Option<[u8; 32]>,
    output_ended: bool,
    /// Lines that could not be kept since the last one that was.
    lines_lost: u64,
    /// Its plain output, where that becomes a run's text.
    text: Option<RunText>,
}

/// The first plain lines that a program wrote.
#[derive(Debug, Default)]
struct RunText {
    text: String,
    /// Whether there was more.
    is_cut: bool,
}

/// How far a spawn has come.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// The program and the directory are being found.
    Resolving,
    /// It has both, and waits for a place.
    Queued(ProgramFound),
    /// Its launcher is being started.
    Launching,
    /// Its launcher waits while its marks are made durable.
    Committing,
    /// The launcher was told to become the program.
    Going,
    /// The program runs.
    Running,
    /// Its launcher is being ended.
    Abandoning,
    /// The program has exited; what is left of it is being waited for.
    Exited(Leftovers),
}

/// What a program that has exited left running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leftovers {
    /// Nothing, or nothing any more.
    None,
    /// Something, which has a moment to end by itself.
    Grace,
    /// Something that is being killed.
    Ending,
}

/// Why and how a spawn is being ended.
#[derive(Debug)]
struct Ending {
    status: SpawnStatus,
    error: Option<String>,
    /// Whether KILL was sent.
    killed: bool,
}

/// Who waits for the answer to a request that started a spawn.
pub(super) struct Asker {
    pub(super) conn: ConnId,
    pub(super) id: RequestId,
    /// Where the request had an idempotency key: the key, under which others may wait, too, and,
    /// until it is being stored, the record that is stored together with the spawn's.
    pub(super) once: Option<(AnswerKey, Option<Box<AnswerRecord>>)>,
    /// Whether it was `sessions_spawn`.
    pub(super) template: bool,
}
