//! The bounds of runs, histories and approvals. A part of `limits`.

use std::time::Duration;

use super::{
    BACKLOG_BYTES_DEFAULT, IDEMPOTENT_ANSWER_TTL, LOG_EXTRA_DEPTH_MAX, REQUESTS_IN_PROGRESS_MAX,
};

/// What is said to an agent in one message: some 60,000 words. What is longer goes as an
/// attachment.
pub const RUN_MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// The attachments of one message, as JSON text. With the message it must fit the backlog of the
/// agent's connection.
pub const RUN_ATTACHMENTS_BYTES_MAX: usize = 2 * 1024 * 1024;
const _: () = assert!(
    RUN_MESSAGE_BYTES_MAX * 6 + RUN_ATTACHMENTS_BYTES_MAX < BACKLOG_BYTES_DEFAULT,
    "in JSON a byte of a message takes six at most"
);
/// How deep attachments and `usage` may nest, as entries' `extra`.
pub const RUN_JSON_DEPTH_MAX: u8 = LOG_EXTRA_DEPTH_MAX;
/// The `text` of one `run.update`, and what is kept of an answer.
pub const RUN_TEXT_BYTES_MAX: usize = 256 * 1024;
/// The `errorMessage` of a `run.update`.
pub const RUN_ERROR_BYTES_MAX: usize = 4 * 1024;
/// The `usage` of a `run.update`, as JSON text.
pub const RUN_USAGE_BYTES_MAX: usize = 4 * 1024;
/// Runs that are open at a time: 1,000 of some 2 KB are 2 MB; their texts are bounded apart.
pub const RUNS_OPEN_MAX: usize = 1_000;
/// Open runs of one agent: it answers one after the other, or a few at a time.
pub const RUNS_OPEN_PER_AGENT_MAX: usize = 100;
/// Open runs that one user has started, so that no user takes all places.
pub const RUNS_OPEN_PER_USER_MAX: usize = 500;
const _: () = assert!(RUNS_OPEN_PER_USER_MAX < RUNS_OPEN_MAX);
/// Runs that have ended and can be asked for. One that ended less than
/// [`IDEMPOTENT_ANSWER_TTL`] ago is not forgotten, because its key could then be used once more:
/// a full table refuses new runs, at 33 a second. 10,000 of some 700 bytes are 7 MB.
pub const RUNS_ENDED_MAX: usize = 10_000;
/// How long a run that has ended can be asked for.
pub const RUN_KEPT: Duration = Duration::from_secs(60 * 60);
const _: () = assert!(IDEMPOTENT_ANSWER_TTL.as_millis() < RUN_KEPT.as_millis());
/// What is kept of all answers, of open runs and ended ones; the oldest are forgotten first.
pub const RUN_TEXTS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Messages and attachments that are still to be handed to an agent.
pub const RUNS_UNSENT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Those who wait for one run.
pub const RUN_WAITERS_MAX: usize = 64;
/// Requests of one connection that wait for something to happen: runs to end, approvals to be
/// decided. They are requests in progress, and must leave room for others.
pub const WAITS_PER_CONNECTION_MAX: u32 = 32;
const _: () = assert!(WAITS_PER_CONNECTION_MAX < REQUESTS_IN_PROGRESS_MAX);
/// `agent.wait`: how long it waits unless told otherwise, as in the reference gateway.
pub const AGENT_WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// The longest that `agent.wait` waits; who wants to wait longer asks again.
pub const AGENT_WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// How long a run may take unless told otherwise.
pub const RUN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// The longest that can be asked for: a day.
pub const RUN_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// After `chat.abort` an agent has this long to say how its run ended.
pub const RUN_ABORT_GRACE: Duration = Duration::from_secs(5);
/// When to try again for an agent that is not connected: agents reconnect within seconds.
pub const AGENT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// When to try again for a run that had no place.
pub const RUN_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Messages kept of one session; the oldest are forgotten first.
pub const HISTORY_MESSAGES_PER_SESSION_MAX: usize = 500;
/// The texts of these messages, together.
pub const HISTORY_BYTES_PER_SESSION_MAX: usize = 2 * 1024 * 1024;
/// Messages kept of all sessions: 50,000 of some 300 bytes beside their texts are 15 MB.
pub const HISTORY_MESSAGES_MAX: usize = 50_000;
/// The texts of all messages, together.
pub const HISTORY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// `chat.history`: messages in one answer, by default and at most.
pub const HISTORY_LIMIT_DEFAULT: usize = 200;
/// See [`HISTORY_LIMIT_DEFAULT`].
pub const HISTORY_LIMIT_MAX: usize = HISTORY_MESSAGES_PER_SESSION_MAX;
/// `chat.history`: bytes of texts in one answer; at least one message is always returned.
pub const HISTORY_ANSWER_BYTES_MAX: usize = 512 * 1024;
const _: () = assert!(HISTORY_ANSWER_BYTES_MAX * 6 < BACKLOG_BYTES_DEFAULT);

/// The command of a request for approval. People read it.
pub const APPROVAL_COMMAND_BYTES_MAX: usize = 16 * 1024;
/// `cwd`, `host` and `resolvedPath` of a request for approval, each: a path has 4,096 at most.
pub const APPROVAL_TEXT_BYTES_MAX: usize = 4 * 1024;
/// Requests for approval that are open at a time: 100 of at most 30 KB are 3 MB.
pub const APPROVALS_OPEN_MAX: usize = 100;
/// Open requests for approval of one agent.
pub const APPROVALS_OPEN_PER_AGENT_MAX: usize = 20;
/// Requests for approval that are known, open ones and decided ones.
pub const APPROVALS_KEPT_MAX: usize = 500;
const _: () = assert!(APPROVALS_OPEN_MAX < APPROVALS_KEPT_MAX);
/// How long the decision about a request can be asked for.
pub const APPROVAL_KEPT: Duration = Duration::from_secs(10 * 60);
/// `gateway.approvals.timeoutSeconds`: how long a request for approval waits, as in the reference
/// gateway.
pub const APPROVAL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);
/// The longest that can be asked for: a working day.
pub const APPROVAL_TIMEOUT_MAX: Duration = Duration::from_secs(8 * 60 * 60);
/// Commands that are always allowed: 1,000 of some 300 bytes, and of at most 25 KB.
pub const ALLOWED_COMMANDS_MAX: usize = 1_000;
/// `exec.approvals.list`: bytes of texts in one answer.
pub const APPROVALS_ANSWER_BYTES_MAX: usize = 512 * 1024;
const _: () = assert!(APPROVALS_ANSWER_BYTES_MAX * 6 < BACKLOG_BYTES_DEFAULT);
