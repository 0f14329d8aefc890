//! The limits of the schedule; part of `limits`, which says what limits are.

use std::time::Duration;

/// Jobs of the schedule, by default and at most. A job has at most 16 KiB of payload and 50 runs of
/// some 700 bytes: 500 of them are 26 MiB at worst, and commonly less than 1.
pub const CRON_JOBS_DEFAULT: usize = 500;
/// See [`CRON_JOBS_DEFAULT`].
pub const CRON_JOBS_MAX: usize = 5_000;
/// Occurrences that run at the same time, by default and at most.
pub const CRON_CONCURRENT_DEFAULT: usize = 8;
/// See [`CRON_CONCURRENT_DEFAULT`].
pub const CRON_CONCURRENT_MAX: usize = 256;
/// Runs that are kept of each job; what came before is forgotten.
pub const CRON_RUNS_PER_JOB_MAX: usize = 50;
/// A cron expression: five fields that each name every value stay below it.
pub const CRON_EXPRESSION_BYTES_MAX: usize = 512;
/// A time zone's name, of which the longest has 32 bytes.
pub const CRON_ZONE_BYTES_MAX: usize = 64;
/// A moment in words, such as `2026-11-22T18:43:42.123+01:00`.
pub const CRON_MOMENT_BYTES_MAX: usize = 64;
/// A job's name.
pub const CRON_NAME_BYTES_MAX: usize = 256;
/// A job's description.
pub const CRON_DESCRIPTION_BYTES_MAX: usize = 2 * 1024;
/// A job's payload, as it is kept.
pub const CRON_PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// What the history keeps of an error or of a result, each.
pub const CRON_RUN_TEXT_BYTES_MAX: usize = 256;
/// The shortest interval.
pub const CRON_EVERY_MS_MIN: u64 = 1_000;
/// The longest interval: a hundred years.
pub const CRON_EVERY_MS_MAX: u64 = 100 * 366 * 24 * 60 * 60 * 1_000;
/// How far in the past the moment of a job may be that is to run once: "now" takes a while to
/// arrive.
pub const CRON_AT_PAST_MAX: Duration = Duration::from_secs(60);
/// An occurrence that is later than this has been missed.
pub const CRON_LATE_MAX: Duration = Duration::from_secs(60);
/// A wall clock that goes back by more than this was wrong before: jobs do not wait until it is
/// there again.
pub const CRON_CLOCK_BACK_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// When to try `cron.run` again while too many jobs run.
pub const CRON_RUN_RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long the hub relies on the wall clock going as fast as the other one.
pub const CRON_RECHECK: Duration = Duration::from_secs(60);
/// Missed occurrences of an expression are counted up to this; each costs a search.
pub const CRON_MISSED_COUNTED_MAX: u64 = 100;
/// `cron.list`: jobs in one answer by default, and at most.
pub const CRON_LIST_LIMIT_DEFAULT: usize = 200;
/// See [`CRON_LIST_LIMIT_DEFAULT`].
pub const CRON_LIST_LIMIT_MAX: usize = 1_000;
/// What one answer of `cron.list` takes before it ends early: 64 jobs of the largest size.
pub const CRON_LIST_BYTES_MAX: usize = 64 * CRON_PAYLOAD_BYTES_MAX;

const _: () = assert!(CRON_JOBS_DEFAULT <= CRON_JOBS_MAX);
const _: () = assert!(CRON_CONCURRENT_DEFAULT <= CRON_CONCURRENT_MAX);
const _: () = assert!(CRON_LATE_MAX.as_millis() >= CRON_RECHECK.as_millis());
