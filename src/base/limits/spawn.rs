//! The limits of programs that the gateway starts; part of `limits`, which says what limits are.

use std::time::Duration;

use super::{BACKLOG_BYTES_DEFAULT, GATHER_GRACE, LOG_MESSAGE_BYTES_MAX, STOP_COMMIT_GRACE};

/// Programs that run at a time by default, and at most by configuration. Each takes two pipes, a
/// pidfd and a socket if it connects: 1,000 are 4,000 descriptors of the usual 20,000.
pub const SPAWNS_CONCURRENT_DEFAULT: usize = 32;
/// See [`SPAWNS_CONCURRENT_DEFAULT`].
pub const SPAWNS_CONCURRENT_MAX: usize = 1_000;
/// Spawns that wait for their turn by default, and at most by configuration: 10,000 of at most
/// [`SPAWN_ASK_BYTES_MAX`] would be 10 GB, so [`SPAWNS_ASKED_BYTES_MAX`] bounds them all.
pub const SPAWNS_QUEUED_DEFAULT: usize = 200;
/// See [`SPAWNS_QUEUED_DEFAULT`].
pub const SPAWNS_QUEUED_MAX: usize = 10_000;
/// Arguments, variables and stdin of one spawn: Linux takes 2 MiB of arguments and variables by
/// default, and 128 KiB in one.
pub const SPAWN_ASK_BYTES_MAX: usize = 1024 * 1024;
/// The same of all spawns that wait.
pub const SPAWNS_ASKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// One argument, or one variable with its name (Linux: `MAX_ARG_STRLEN` is 128 KiB).
pub const SPAWN_ARG_BYTES_MAX: usize = 128 * 1024 - 1;
/// Arguments, and likewise variables, of one spawn.
pub const SPAWN_ARGS_MAX: usize = 1_000;
/// A command or a directory (Linux: `PATH_MAX`).
pub const SPAWN_PATH_BYTES_MAX: usize = 4_095;
/// `{task}` of a template, which becomes one argument.
pub const SPAWN_TASK_BYTES_MAX: usize = 64 * 1024;
/// How long a program may run by default, and at most by configuration.
pub const SPAWN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
/// See [`SPAWN_TIMEOUT_DEFAULT`].
pub const SPAWN_TIMEOUT_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Between TERM and KILL by default, and at most.
pub const SPAWN_GRACE_DEFAULT: Duration = Duration::from_secs(10);
/// See [`SPAWN_GRACE_DEFAULT`].
pub const SPAWN_GRACE_MAX: Duration = Duration::from_secs(10 * 60);
/// For what a program that has exited left running, by default.
pub const SPAWN_LEFTOVER_GRACE_DEFAULT: Duration = Duration::from_secs(2);
/// Nothing of a program runs any more: how long its output may still come. Who holds its pipe then
/// is out of reach.
pub const SPAWN_OUTPUT_GRACE: Duration = Duration::from_secs(5);
/// From the word to go until the program runs: milliseconds, but for a directory or a program on a
/// disk, or a user in a directory service, that does not answer.
pub const SPAWN_START_WAIT_MAX: Duration = Duration::from_secs(60);
/// While the gateway stops, TERM is followed by KILL after this long at the latest.
pub const STOP_CHILD_GRACE: Duration = Duration::from_secs(3);
/// Output of one program that is taken, by default: some 10,000 lines a second.
pub const SPAWN_OUTPUT_BYTES_PER_SECOND_DEFAULT: u64 = 1024 * 1024;
/// What a program needs to find its way; secrets are in none of them.
pub const SPAWN_ENV_ALLOW_DEFAULT: [&str; 8] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"];
/// Agent templates: each is a table of the configuration.
pub const AGENT_TEMPLATES_MAX: usize = 1_000;
/// Ended spawns that are kept: 1,000 of some 1 KiB are 1 MiB.
pub const SPAWNS_ENDED_MAX: usize = 1_000;
/// The plain output of a spawn that becomes the text of a run.
pub const SPAWN_TEXT_BYTES_MAX: usize = 64 * 1024;
/// The error of a spawn: a path and a sentence.
pub const SPAWN_ERROR_BYTES_MAX: usize = 1024;
/// How much of a command is kept and shown.
pub const SPAWN_COMMAND_CHARS_MAX: usize = 256;
/// Spawns in one `spawn.list`: 1,000 of at most some 3 KiB, and mostly 400 bytes.
pub const SPAWNS_LISTED_MAX: usize = 1_000;
const _: () = assert!(SPAWNS_LISTED_MAX * 3 * 1024 < BACKLOG_BYTES_DEFAULT);

const _: () = assert!(STOP_CHILD_GRACE.as_millis() < STOP_COMMIT_GRACE.as_millis());
const _: () = assert!(SPAWN_TASK_BYTES_MAX < SPAWN_ARG_BYTES_MAX);
/// Orders to find a program that wait for the thread that performs them; each spawn has one.
pub const FIND_ORDERS_MAX: usize = SPAWNS_CONCURRENT_MAX + SPAWNS_QUEUED_MAX;
/// Orders in all: of a program that has a place, beside the one to find it, eight at most.
pub const CHILD_ORDERS_MAX: usize = 8 * SPAWNS_CONCURRENT_MAX + FIND_ORDERS_MAX;
/// Work that waits for a helper: a search or two of each program that runs, or a look for each that
/// is to. What waits behind stuck helpers has timed out when there is so much of it.
pub const HELPER_WORK_MAX: usize = FIND_ORDERS_MAX;
/// What a launcher is told: arguments and environment, which the kernel bounds to 2 MiB, as JSON.
pub const INSTRUCTIONS_BYTES_MAX: u32 = 32 * 1024 * 1024;
/// A line that a child writes; longer ones are cut. As much as an entry's message may have.
pub const OUTPUT_LINE_BYTES_MAX: usize = LOG_MESSAGE_BYTES_MAX;
/// What a line counts for beside its bytes, against the rate and in a batch: an entry of an empty
/// line has some 150 bytes, and a million of those a second would be heard by every peer.
pub const OUTPUT_LINE_OVERHEAD_BYTES: usize = 64;
/// Output that is handed to the hub at once. As JSON text it may take six times that.
pub const CHILD_OUTPUT_BATCH_BYTES_MAX: usize = 2 * OUTPUT_LINE_BYTES_MAX;
/// What is read of one stream in one turn: as much as a pipe holds.
pub const CHILD_READ_BYTES_MAX: usize = 64 * 1024;
/// Threads that look for programs and directories. One on a dead mount is stuck.
pub const FINDERS: usize = 2;
/// How long a program is looked for; local disks take milliseconds.
pub const FIND_WAIT_MAX: Duration = Duration::from_secs(10);
/// Threads that look for the processes that children started: one, and one if that is stuck.
pub const SEARCHERS: usize = 2;
/// How long a search may take before it counts as without result. The rounds of one that kills fit,
/// also for a thousand children of an earlier gateway, because those share its looks.
pub const SEARCH_WAIT_MAX: Duration = Duration::from_secs(15);
/// How often what is left of a child is searched and killed. Each round ends the parents of what the
/// next one finds; what starts faster than that has outrun its control group, too.
pub const LEFTOVER_ROUNDS_MAX: u32 = 20;
/// Control groups of one child that are looked at: its own, and those that it made below. Containers
/// make some ten each, and a thousand are looked through within milliseconds.
pub const CONTROL_GROUPS_MAX: usize = 1_000;
/// Killed processes that are waited for at once: each takes a descriptor meanwhile.
pub const KILLED_AT_ONCE_MAX: usize = 256;
/// How long one round waits for what it killed, which is gone within milliseconds.
pub const LEFTOVER_ROUND_WAIT: Duration = Duration::from_millis(500);
/// From the end of the hub until children that cannot be killed are left behind.
pub const CHILDREN_END_GRACE: Duration = Duration::from_secs(3);
/// `/proc/PID/stat`: 52 numbers and a name of at most 64 bytes.
pub const PROC_STAT_BYTES_MAX: u64 = 4 * 1024;
/// `/proc/PID/environ`: the kernel bounds it with the arguments to 6 MiB (`execve(2)`).
pub const ENVIRON_BYTES_MAX: u64 = 6 * 1024 * 1024;

const _: () =
    assert!(OUTPUT_LINE_BYTES_MAX + OUTPUT_LINE_OVERHEAD_BYTES <= CHILD_OUTPUT_BATCH_BYTES_MAX);
const _: () = assert!(
    LEFTOVER_ROUND_WAIT.as_millis() * (LEFTOVER_ROUNDS_MAX as u128) < SEARCH_WAIT_MAX.as_millis()
);
const _: () = assert!(CHILDREN_END_GRACE.as_millis() <= GATHER_GRACE.as_millis());
