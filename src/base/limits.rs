//! Every bound that is not configurable, and the defaults of those that are, with the arithmetic.

use std::time::Duration;

/// Requests of one connection that wait for the hub or the store. The next one waits in its
/// socket. 64 of 25 MiB would be too much: `inboundBytesTotal` bounds the bytes.
pub const REQUESTS_IN_PROGRESS_MAX: u32 = 64;

/// Device-signature verifications for one `connect`: two payload forms times four tokens.
pub const SIGNATURE_ATTEMPTS_MAX: usize = 8;

/// How far `signedAt` may be from our clock.
pub const SIGNATURE_SKEW_MAX: Duration = Duration::from_secs(120);

/// A request head before the upgrade: a browser with large cookies stays below 16 KiB.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;

/// `client.id`, `client.mode` and like strings in `connect`.
pub const CLIENT_TEXT_BYTES_MAX: usize = 128;

/// A request id. It is echoed, so it is bounded.
pub const REQUEST_ID_BYTES_MAX: usize = 256;

/// A response body over this is sent under `payload` only.
pub const BOTH_BODIES_BYTES_MAX: usize = 64 * 1024;

/// Entries in one `logs.append`.
pub const LOG_ENTRIES_PER_APPEND_MAX: usize = 1_000;
/// The message of one log entry; a longer one is refused.
pub const LOG_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The `extra` object of one log entry, as JSON text.
pub const LOG_EXTRA_BYTES_MAX: usize = 64 * 1024;

/// `logs.tail`: entries in one answer, by default and at most.
pub const LOGS_TAIL_LIMIT_DEFAULT: usize = 500;
/// See [`LOGS_TAIL_LIMIT_DEFAULT`].
pub const LOGS_TAIL_LIMIT_MAX: usize = 5_000;
/// `logs.tail`: bytes in one answer, by default and at most (as the reference gateway).
pub const LOGS_TAIL_BYTES_DEFAULT: usize = 250_000;
/// See [`LOGS_TAIL_BYTES_DEFAULT`].
pub const LOGS_TAIL_BYTES_MAX: usize = 1_000_000;

/// After our close frame the peer has this long, or this many bytes, before the socket ends.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// See [`CLOSE_GRACE`].
pub const CLOSE_DRAIN_BYTES_MAX: usize = 1024 * 1024;

/// A refused origin holds its socket no longer than this.
pub const REFUSED_ORIGIN_GRACE: Duration = Duration::from_secs(2);

/// Pending pairing requests in all, and per client address.
pub const PAIRINGS_MAX: usize = 100;
/// See [`PAIRINGS_MAX`].
pub const PAIRINGS_PER_ADDRESS_MAX: usize = 3;
/// How long a pairing request waits.
pub const PAIRING_TTL: Duration = Duration::from_secs(5 * 60);
/// How long a printed pairing code is good for.
pub const PAIRING_CODE_TTL: Duration = Duration::from_secs(10 * 60);

/// Device records in all (approved, revoked): 10,000 of some 500 bytes are 5 MB.
pub const DEVICES_MAX: usize = 10_000;
/// Device tokens alive per device and role: the current one and the one before.
pub const TOKENS_PER_DEVICE_MAX: usize = 2;

/// Addresses in the rate-limit table: 10,000 of some 100 bytes are 1 MB.
pub const RATE_LIMIT_ADDRESSES_MAX: usize = 10_000;

/// Remembered answers to requests with an `idempotencyKey`, and for how long.
pub const IDEMPOTENT_ANSWERS_MAX: usize = 10_000;
/// See [`IDEMPOTENT_ANSWERS_MAX`].
pub const IDEMPOTENT_ANSWER_TTL: Duration = Duration::from_secs(5 * 60);
/// An idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;

/// Inputs that wait for the hub: 64 requests of 256 busy connections.
pub const HUB_INBOX_MAX: usize = 16 * 1024;

/// Bytes of changes that wait for the store while a commit runs; over it, reports are refused.
pub const UNCOMMITTED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Cursors reserved on disk ahead of use, so that a crash loses numbers but reuses none.
pub const CURSOR_BLOCK: u64 = 65_536;

/// How often every peer hears a `tick`, sessions changing or not.
pub const TICK_INTERVAL: Duration = Duration::from_secs(30);

/// Commits that wait for the store thread. The hub has at most one in flight; the rest is slack
/// for the moment in which a failure report and the next commit cross.
pub const STORE_COMMITS_WAITING_MAX: usize = 4;

/// The store's page cache. Everything is in the hub's memory already; this holds the branch pages
/// and the tail of the journal, and the idle process stays below 10 MiB.
pub const STORE_CACHE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// With `durability = "relaxed"`, the longest that an answered commit stays unsynced.
pub const STORE_SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// With `durability = "relaxed"`, bytes of changes kept for a replay until they are synced; at
/// this many, the sync does not wait for its second.
pub const STORE_UNSYNCED_BYTES_MAX: usize = UNCOMMITTED_BYTES_MAX;

/// After a failure, how long until the store is tried again: at first, and at most. The first is
/// long enough that the hub has heard of the failure.
pub const STORE_RETRY_FIRST: Duration = Duration::from_millis(100);
/// See [`STORE_RETRY_FIRST`].
pub const STORE_RETRY_MAX: Duration = Duration::from_secs(2);

/// What must fit on the disk before a failed store takes commits again: some hundred reports.
pub const STORE_PROBE_BYTES: usize = 256 * 1024;

/// `connectionsPerAddress`: half of what a small machine can hold in all, so that one address
/// cannot take everything. A proxy that forwards no addresses is one address.
pub const CONNECTIONS_PER_ADDRESS_DEFAULT: usize = 1_024;
/// `handshakeSeconds`, from the challenge to a valid `connect`.
pub const HANDSHAKE_DEFAULT: Duration = Duration::from_secs(10);
/// `preauthConnections`: 1,000 × 64 KiB of unproven input are at most 64 MB.
pub const PREAUTH_CONNECTIONS_DEFAULT: usize = 1_000;
/// `preauthBytes`: one message before the handshake is done; a `connect` is some 2 KiB.
pub const PREAUTH_BYTES_DEFAULT: usize = 64 * 1024;
/// `messageBytes`: one message after it. The contract's number.
pub const MESSAGE_BYTES_DEFAULT: usize = 25 * 1024 * 1024;
/// `backlogBytes`: what may wait for one peer. The contract's number.
pub const BACKLOG_BYTES_DEFAULT: usize = 4 * 1024 * 1024;
/// `inboundBytesTotal`: ten messages of the greatest size at once; 256 MiB.
pub const INBOUND_BYTES_TOTAL_DEFAULT: usize = 256 * 1024 * 1024;
/// `backlogBytesTotal`: 64 peers that stopped reading, each with all of its backlog; 256 MiB.
pub const BACKLOG_BYTES_TOTAL_DEFAULT: usize = 256 * 1024 * 1024;
/// `journalEntries`
pub const JOURNAL_ENTRIES_DEFAULT: usize = 100_000;
/// `journalBytes`: 100,000 entries of some 335 bytes; 32 MiB.
pub const JOURNAL_BYTES_DEFAULT: usize = 32 * 1024 * 1024;
/// `sessions`: 10,000 of some 500 bytes are 5 MB.
pub const SESSIONS_DEFAULT: usize = 10_000;
/// `snapshotSessions`: 200 rows of some 300 bytes are a `tick` of 60 KB.
pub const SNAPSHOT_SESSIONS_DEFAULT: usize = 200;
/// `tickMilliseconds`
pub const TICK_COALESCE_DEFAULT: Duration = Duration::from_millis(250);

const _: () = assert!(PREAUTH_BYTES_DEFAULT <= MESSAGE_BYTES_DEFAULT);
const _: () = assert!(MESSAGE_BYTES_DEFAULT <= INBOUND_BYTES_TOTAL_DEFAULT);
const _: () = assert!(BACKLOG_BYTES_DEFAULT <= BACKLOG_BYTES_TOTAL_DEFAULT);

/// The configuration file: the example is 10 KiB.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Errors shown for one configuration; the first usually explains the rest.
pub const CONFIG_ERRORS_MAX: usize = 20;
/// A file that holds a secret.
pub const SECRET_FILE_BYTES_MAX: u64 = 4 * 1024;
/// Entries of `[[gateway.auth.users]]`. Each is tried at every connect with a secret.
pub const USERS_MAX: usize = 100;
/// Entries of `allowedOrigins`, `trustedProxies` and `publicHosts`. Each is tried at a connect.
pub const CONFIG_LIST_MAX: usize = 1_000;
/// `certFile` and `keyFile`: the longest chains are some 20 KiB.
pub const TLS_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Lines of diagnostics that wait for a slow standard error; the next ones are dropped and counted.
/// 1,024 of at most 8 KiB are 8 MiB.
pub const DIAGNOSTIC_LINES_WAITING_MAX: usize = 1_024;
/// One line of diagnostics, and one value in it; longer ones are cut.
pub const DIAGNOSTIC_LINE_BYTES_MAX: usize = 8 * 1024;
/// See [`DIAGNOSTIC_LINE_BYTES_MAX`].
pub const DIAGNOSTIC_VALUE_BYTES_MAX: usize = 1024;
/// A line that was written is counted instead of repeated for this long.
pub const DIAGNOSTIC_REPEAT_WINDOW: Duration = Duration::from_secs(10);
/// Lines that are remembered for that: 64 of at most 8 KiB are 512 KiB.
pub const DIAGNOSTIC_REPEATS_MAX: usize = 64;

const _: () = assert!(2 * DIAGNOSTIC_VALUE_BYTES_MAX < DIAGNOSTIC_LINE_BYTES_MAX);
