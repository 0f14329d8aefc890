//! The bounds of the audit file and of reloads. A part of `limits`.

use std::time::Duration;

/// Lines that wait for a slow audit file; the next ones are lost, counted and told.
/// 4,096 of some 1 KiB, and of no more than 8 KiB, are 4 to 32 MiB.
pub const AUDIT_LINES_WAITING_MAX: usize = 4_096;
/// One value in a line of the audit file; longer ones are cut.
pub const AUDIT_VALUE_BYTES_MAX: usize = 2 * 1024;
/// What the audit file leaves free of its disk, for the database beside it: the default journal
/// twice over. Of a small disk it leaves a part, one in [`AUDIT_SPARE_PART`].
pub const AUDIT_SPARE_BYTES: u64 = 64 * 1024 * 1024;
/// See [`AUDIT_SPARE_BYTES`].
pub const AUDIT_SPARE_PART: u64 = 16;
/// How long a file that took no line is left alone before it is tried again.
pub const AUDIT_RETRY: Duration = Duration::from_secs(1);
/// How long the end waits for the last lines of the audit file, twice at most: the queue, the disk.
pub const AUDIT_FINISH_GRACE: Duration = Duration::from_secs(1);
/// How long who asks for a reload waits for the files; the command waits twice as long.
pub const RELOAD_PATIENCE: Duration = Duration::from_secs(10);
/// Reasons that are told apart among the refusals of one address in a minute; further ones share a
/// number. 1,000 addresses of 17 reasons of some 100 bytes are 1.7 MB.
pub const REFUSAL_REASONS_MAX: usize = 16;
