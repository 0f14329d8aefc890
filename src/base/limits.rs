//! Every bound that is not configurable, and the defaults of those that are, with the arithmetic.

use std::time::Duration;

mod audit;
mod cron;
mod spawn;
mod talk;

pub use self::audit::*;
pub use self::cron::*;
pub use self::spawn::*;
pub use self::talk::*;

/// Requests of one connection that wait for the hub or the store. The next one waits in its
/// socket. 64 of 25 MiB would be too much: `inboundBytesTotal` bounds the bytes.
pub const REQUESTS_IN_PROGRESS_MAX: u32 = 64;

/// Bytes of one connection's `logs.append` that wait for the store, if there are several. An agent
/// that floods waits for the disk itself, rather than keeping every core busy with its backlog:
/// other peers' threads are then run when they wake. Some 400 short entries for each sync.
pub const APPEND_BYTES_IN_PROGRESS_MAX: usize = 64 * 1024;

/// Device-signature verifications for one `connect`: two payload forms times four tokens.
pub const SIGNATURE_ATTEMPTS_MAX: usize = 8;

/// How far `signedAt` may be from our clock.
pub const SIGNATURE_SKEW_MAX: Duration = Duration::from_secs(120);

/// A request head before the upgrade: a browser with large cookies stays below 16 KiB.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;

/// `client.id`, `client.mode` and like strings in `connect`.
pub const CLIENT_TEXT_BYTES_MAX: usize = 128;
/// Scopes, and likewise caps, in one `connect`: every scope there is, several times over.
pub const CONNECT_LIST_MAX: usize = 64;
/// A token, password or pairing code in `connect`: longer than any we issue, and than a JWT.
pub const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;
/// A device key or signature as text: an Ed25519 key in PEM has some 120 bytes.
pub const DEVICE_TEXT_BYTES_MAX: usize = 1024;
/// A device id, as the contract has it.
pub const DEVICE_ID_BYTES_MAX: usize = 128;
/// An agent's name, as the contract has it.
pub const AGENT_NAME_BYTES_MAX: usize = 64;

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
/// How deep the `extra` of a log entry may nest. Common JSON parsers stop at 128 levels, of which
/// the frames around an entry take 5; what a peer can send must be what every peer can read.
pub const LOG_EXTRA_DEPTH_MAX: u8 = 64;
/// The `source` of a log entry.
pub const LOG_SOURCE_BYTES_MAX: usize = 128;
/// A session key: an agent's name of 64 bytes, `agent:` before it, and the agent's own words.
pub const SESSION_KEY_BYTES_MAX: usize = 256;

/// Token and message counts: what a JavaScript number holds exactly (2^53).
pub const COUNT_MAX: u64 = 1 << 53;
/// A session's cost in billionths: a thousand million units, a tenth of what 64 bits hold.
pub const COST_NANOS_MAX: u64 = 1_000_000_000 * 1_000_000_000;
/// `kind`, `model`, `label`, `thinking`, `verbose` and `reasoning` of a session, each: Mission
/// Control's labels have at most 100 characters of at most 4 bytes.
pub const SESSION_TEXT_BYTES_MAX: usize = 512;
/// A session is shown as active for this long after its last report; Mission Control's own rule.
pub const SESSION_ACTIVE_WINDOW: Duration = Duration::from_secs(60 * 60);
/// `sessions.list`: rows in one answer, by default and at most; 1,000 of some 350 bytes are
/// 350 KB.
pub const SESSIONS_LIST_LIMIT_DEFAULT: usize = 100;
/// See [`SESSIONS_LIST_LIMIT_DEFAULT`].
pub const SESSIONS_LIST_LIMIT_MAX: usize = 1_000;
/// A cursor of `sessions.list`: two session keys with their moments, in base64.
pub const SESSIONS_CURSOR_BYTES_MAX: usize = 1_024;

/// Agents whose last status is kept: 1,000 of some 1.5 KB at most are 1.5 MB. One more displaces
/// the one that has been silent for longest.
pub const AGENTS_MAX: usize = 1_000;
/// The `status` of an agent: a word.
pub const AGENT_STATUS_BYTES_MAX: usize = 64;
/// The `last_activity` of an agent: a sentence or two.
pub const AGENT_ACTIVITY_BYTES_MAX: usize = 1_024;

/// The payload of one `events.publish`, as JSON text.
pub const PUBLISHED_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(LOG_EXTRA_DEPTH_MAX + 5 < 128);
const _: () = assert!(2 * SESSION_KEY_BYTES_MAX * 4 / 3 + 128 < SESSIONS_CURSOR_BYTES_MAX);
const _: () = assert!("agent::".len() + AGENT_NAME_BYTES_MAX < SESSION_KEY_BYTES_MAX);

/// The message of an error response. Echoed input is cut to [`ECHO_CHARS_MAX`] before.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 1024;
/// How much of a peer's own words an error repeats.
pub const ECHO_CHARS_MAX: usize = 64;
/// How much of an `Origin` header its refusal repeats: a host name has at most 253 bytes.
pub const ECHO_ORIGIN_CHARS_MAX: usize = 300;

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
/// How often a device that waits may ask for something else, before its request ends. Each time is
/// two events for those who approve: so an address causes at most 3 + 2 * 3 * 5 in five minutes.
pub const PAIRING_CHANGES_MAX: u32 = 5;
/// How long a pairing request waits.
pub const PAIRING_TTL: Duration = Duration::from_secs(5 * 60);
/// How long a printed pairing code is good for.
pub const PAIRING_CODE_TTL: Duration = Duration::from_secs(10 * 60);

/// Characters of a pairing code, five bits each. Ten are 50 bits: at the ten guesses a minute that
/// the rate limit allows, some 200 million years for half of them, and the code lives ten minutes.
pub const PAIRING_CODE_CHARACTERS: usize = 10;

/// Device records in all (approved, revoked): 10,000 of some 500 bytes are 5 MB.
pub const DEVICES_MAX: usize = 10_000;
/// Device tokens alive per device and role: the current one and the one before.
pub const TOKENS_PER_DEVICE_MAX: usize = 2;
/// How long the tokens before live on after `device.token.rotate`: time for a client to hear of
/// the new one, or to sign.
pub const TOKEN_ROTATION_GRACE: Duration = Duration::from_secs(5 * 60);
/// Devices in one `device.pair.list`, last seen first. Each is shown twice, as some 700 bytes: 1,000
/// are 1.4 MB, which fits the backlog of a peer.
pub const DEVICES_LISTED_MAX: usize = 1_000;
const _: () = assert!(DEVICES_LISTED_MAX * 2 * 700 < BACKLOG_BYTES_DEFAULT);

/// What a subcommand on this machine reads of the gateway's HTTP answer: a head of a few hundred
/// bytes, or a sentence.
pub const LOCAL_ANSWER_BYTES_MAX: u64 = 4 * 1024;
/// How long `health` waits: a container's health check has 30 seconds by default.
pub const HEALTH_PATIENCE: Duration = Duration::from_secs(5);
/// A certificate that ends sooner is warned of: Let's Encrypt renews 30 days before the end, so one
/// that has 21 left was missed for more than a week.
pub const CERTIFICATE_WARN: Duration = Duration::from_secs(21 * 24 * 60 * 60);
/// Free space below which `doctor` warns: the default journal several times over, as a database
/// holds old pages beside new ones and a restore keeps two.
pub const DISK_WARN_BYTES: u64 = 512 * 1024 * 1024;
/// Free space below which reports are about to fail: one journal of the default size.
pub const DISK_FAIL_BYTES: u64 = 64 * 1024 * 1024;
/// A clock before this is wrong: 1 November 2026, when this was written, in Unix milliseconds.
pub const CLOCK_MIN_MS: u64 = 1_793_491_200_000;

/// One key or value in a backup: a journal entry of 64 KiB of message and as much of `extra`, each
/// six times as long where every byte needs an escape, is below 1 MiB.
pub const BACKUP_FIELD_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// How long a backup in progress waits for its reader, who writes it to a disk.
pub const BACKUP_STALL_MAX: Duration = Duration::from_secs(30);
/// How long a backup may take in all: its snapshot keeps the database from reusing space. The
/// journal of 32 MiB over the slowest disk (1 MB/s) takes half a minute.
pub const BACKUP_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// Cursors that no gateway gives in a second: eight times what the store was measured to take. A
/// restored journal goes on at this many times the seconds since 1970, which stays below 2^53
/// until 2106.
pub const CURSORS_PER_SECOND_MAX: u64 = 1 << 21;
/// How long whoever wants a snapshot waits for the commit that runs.
pub const STORE_SNAPSHOT_WAIT: Duration = Duration::from_secs(10);
/// Requests for a snapshot that wait: one for each connection of the owner.
pub const STORE_SNAPSHOTS_WAITING_MAX: usize = CONTROL_CONNECTIONS_MAX;

/// Connections over the local control socket: a few people at their command lines.
pub const CONTROL_CONNECTIONS_MAX: usize = 16;

/// Addresses in the rate-limit table: 10,000 of some 100 bytes are 1 MB.
pub const RATE_LIMIT_ADDRESSES_MAX: usize = 10_000;

/// Failed proofs of one address that are remembered at most, whatever `maxAttempts` says:
/// 10,000 addresses of 100 failures of 24 bytes are 24 MB, in the worst case.
pub const RATE_LIMIT_ATTEMPTS_MAX: u32 = 100;

/// Addresses whose refusals are summarised at a time; more share one summary.
pub const REFUSAL_SUMMARIES_MAX: usize = 1_000;
/// An address's first refusal is reported at once, the others of this time as one number.
pub const REFUSAL_SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Remembered answers to requests with an `idempotencyKey`, and for how long. A full table
/// refuses, because forgetting one early would let its request be executed twice: 65,536 of some
/// 300 bytes are 20 MB, and last for 218 such requests a second.
pub const IDEMPOTENT_ANSWERS_MAX: usize = 65_536;
/// See [`IDEMPOTENT_ANSWERS_MAX`].
pub const IDEMPOTENT_ANSWER_TTL: Duration = Duration::from_secs(5 * 60);
/// An idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;

/// Inputs that wait for the hub: 64 requests of 64 busy connections. The room for them is taken at
/// the start. While it is full, requests wait in their sockets and whoever connects is told to come
/// back.
pub const HUB_INBOX_MAX: usize = 4 * 1024;

/// Bytes of changes that wait for the store while a commit runs; over it, reports are refused.
pub const UNCOMMITTED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Cursors reserved on disk ahead of use, so that a crash loses numbers but reuses none.
pub const CURSOR_BLOCK: u64 = 65_536;

/// How much before its time a peer's silence may be measured, together with that of others: 10,000
/// idle peers then wake the hub four times a second instead of 333 times.
pub const HEARTBEAT_EARLY_MAX: Duration = Duration::from_millis(250);
/// Nor more than this part of the interval.
pub const HEARTBEAT_EARLY_PART: u32 = 64;

/// How often every peer hears a `tick`, sessions changing or not.
pub const TICK_INTERVAL: Duration = Duration::from_secs(30);

/// Header lines of a request; browsers behind two proxies send some 30. 64 parsed lines are 2 KiB
/// of stack.
pub const HTTP_HEADERS_MAX: usize = 64;

/// The first read of a connection that was idle: a `connect` or a few dozen pings. 10,000
/// connections that all speak at once take 40 MB for the moment.
pub const READ_BYTES_MIN: usize = 4 * 1024;
/// The largest read of a busy connection, so that a message of 25 MiB is some 400 reads.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// What a link hands the kernel at once, per system call: enough for 64 events of 1 KiB. What is
/// handed over can be neither dropped nor replaced nor overtaken.
pub const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Frames in one such call: far below the 1,024 that `sendmsg` takes.
pub const WRITE_FRAMES_MAX: usize = 64;
/// Plaintext sealed at once: one TLS record (RFC 8446 section 5.1).
pub const SEAL_BYTES_MAX: usize = 16 * 1024;
/// What one flush writes to one peer before the flusher takes over, so that a peer that reads as
/// fast as we write delays nobody.
pub const FLUSH_BYTES_MAX: usize = 256 * 1024;
/// Unsent bytes that the kernel keeps for one socket (`TCP_NOTSENT_LOWAT`); without it megabytes
/// would stand between a queued ping and the wire.
pub const KERNEL_UNSENT_BYTES: u32 = 32 * 1024;
const _: () = assert!(SEAL_BYTES_MAX <= WRITE_BYTES_MAX && WRITE_BYTES_MAX <= FLUSH_BYTES_MAX);

/// Pongs queued for one peer; of more pings only the newest is answered (RFC 6455 section 5.5.3).
pub const PONGS_QUEUED_MAX: u32 = 32;

/// Queued bytes of one link that are not counted against `backlogBytesTotal`: the usual burst, so
/// that deliveries to peers that keep up touch no shared counter. 10,000 links of 16 KiB are
/// 160 MB at the very worst, and frames are shared among receivers.
pub const BACKLOG_BYTES_UNCOUNTED: usize = 16 * 1024;

/// The shortest and the longest pause of the accept loop after an error such as `EMFILE`.
pub const ACCEPT_BACKOFF_MIN: Duration = Duration::from_millis(10);
/// See [`ACCEPT_BACKOFF_MIN`].
pub const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Connections that the kernel completes and queues for the accept loop; it cuts this to
/// `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// What a connection refused for lack of room is told to wait.
pub const CAPACITY_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The stack of a connection thread: the deepest JSON, Ed25519 and the TLS handshake, tested at
/// this size. Only what is touched becomes resident. Unoptimised code needs several times more.
pub const CONNECTION_STACK_BYTES: usize =
    if cfg!(debug_assertions) { 512 * 1024 } else { 128 * 1024 };

/// TLS sessions remembered for resumption by TLS 1.2 clients without tickets: some 1 KiB each.
pub const TLS_SESSIONS_MAX: usize = 4_096;
/// Guesses at the form of text that a client signs, one byte for each; far more than there are
/// kinds of client software, so that few share one.
pub const SIGNING_HABITS: usize = 64;

/// Commits that wait for the store thread. The hub has at most one in flight; the rest is slack
/// for the moment in which a failure report and the next commit cross.
pub const STORE_COMMITS_WAITING_MAX: usize = 4;

/// What the store reads ahead at once where reads follow each other, as in an opening, which reads
/// everything: 64 of its pages of 4 KiB for one system call.
pub const STORE_AHEAD_BYTES: usize = 256 * 1024;
/// How far behind the last read the next one may begin and still follow it: branch pages lie
/// between the leaves.
pub const STORE_AHEAD_NEAR_BYTES: u64 = 64 * 1024;
/// Reads that each go their own way: leaves, and the branch pages above them. 1 MiB in all, until
/// the first write.
pub const STORE_AHEAD_STREAMS: usize = 4;

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
/// From a message's first byte to its last: 25 MiB in this time are 3.5 Mbit/s. What an unfinished
/// one holds is taken from `inboundBytesTotal`, so nobody may hold it for ever.
pub const MESSAGE_TIME_MAX: Duration = Duration::from_secs(60);
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
/// When to retry what the store could not take.
pub const STORE_RETRY_AFTER: Duration = Duration::from_secs(1);
/// When to retry what had no room among the uncommitted changes: a few commits later.
pub const UNCOMMITTED_RETRY_AFTER: Duration = Duration::from_millis(200);

/// From the request to stop until the answers that are being committed no longer hold it up.
pub const STOP_COMMIT_GRACE: Duration = Duration::from_secs(5);
/// From the request to stop until `Stopped`, whoever is still connected.
pub const STOP_GRACE: Duration = Duration::from_secs(10);
const _: () =
    assert!(STOP_COMMIT_GRACE.as_millis() + CLOSE_GRACE.as_millis() < STOP_GRACE.as_millis());
/// How often the main thread looks whether the hub makes progress: the hub's turns take
/// milliseconds.
pub const WATCHDOG_INTERVAL: Duration = Duration::from_secs(10);

/// Connections to the metrics page: a few scrapers and a person.
pub const METRICS_CONNECTIONS_MAX: usize = 16;
/// How long a scraper has for its request; it has `CLOSE_GRACE` for the answer.
pub const METRICS_REQUEST_TIME: Duration = Duration::from_secs(5);
/// The metrics page: some 100 lines, and 16 for each method that was called, of some 90 bytes
/// each, are 150 KB.
pub const METRICS_PAGE_BYTES_MAX: usize = 512 * 1024;

/// From the hub's end until connection threads that still live are left behind: those it never heard
/// of are closed then, and have `CLOSE_GRACE`.
pub const GATHER_GRACE: Duration = Duration::from_secs(4);
/// From the first signal to the end of the process, whatever hangs: the hub's grace, the gathering,
/// and a last sync. Service managers wait for 90 s (systemd) or 10 s to 30 s (containers).
pub const END_GRACE: Duration = Duration::from_secs(20);
const _: () = assert!(CLOSE_GRACE.as_millis() < GATHER_GRACE.as_millis());
const _: () = assert!(STOP_GRACE.as_millis() + GATHER_GRACE.as_millis() < END_GRACE.as_millis());
/// When a gateway that stops is expected back: what `shutdown` and refusals then say.
pub const RESTART_EXPECTED: Duration = Duration::from_secs(5);

/// Lines of `presence` in a hello or an event, newest first: 100 of some 250 bytes are 25 KB, so
/// that the hellos of 10,000 peers that arrive together are 250 MB and not 25 GB.
pub const PRESENCE_SHOWN_MAX: usize = 100;
/// Lines of `system-presence`, which is asked for: 1,000 of some 250 bytes are 250 KB.
pub const PRESENCE_LISTED_MAX: usize = 1_000;
/// `presence` events are held back by the delay of ticks once more for each so many peers, because
/// both the number of changes and that of receivers grow with the peers.
pub const PRESENCE_PEERS_PER_DELAY: usize = 200;

/// Reports of the store that wait for the hub: one for each commit that can wait, and a recovery.
pub const STORE_REPORTS_MAX: usize = 16;

/// Batches of effects that wait for fan-out; when it is that far behind, the hub takes no more
/// requests. A batch is what 128 inputs led to.
pub const FANOUT_BATCHES_MAX: usize = 16;

/// Requests up to this length are not counted against `inboundBytesTotal` while they wait for the
/// hub: `HUB_INBOX_MAX` of them are 4 MiB.
pub const REQUEST_BYTES_UNCOUNTED: usize = 1024;
/// When to retry a request that had no room there: the hub empties its inbox in milliseconds.
pub const INBOUND_RETRY_AFTER_MS: u64 = 200;

/// Bad requests that a peer may send in a burst before it is closed: a client with a wrong method
/// in a loop is ended within a second, one with an occasional mistake never.
pub const ERROR_BUDGET: f64 = 128.0;
/// How many of these come back per second.
pub const ERROR_BUDGET_REFILL: f64 = 2.0;

/// Lines of diagnostics that wait for a slow standard error; the next ones are dropped and counted.
/// 1,024 of at most 8 KiB are 8 MiB.
pub const DIAGNOSTIC_LINES_WAITING_MAX: usize = 1_024;
/// One line of diagnostics, and one value in it; longer ones are cut.
pub const DIAGNOSTIC_LINE_BYTES_MAX: usize = 8 * 1024;
/// See [`DIAGNOSTIC_LINE_BYTES_MAX`].
pub const DIAGNOSTIC_VALUE_BYTES_MAX: usize = 1024;
/// How long a text that goes directly to standard output or error may take, and how long the last
/// diagnostics may take at the end; after it, a reader that does not read is left behind.
pub const CONSOLE_GRACE: Duration = Duration::from_secs(1);
/// A line that was written is counted instead of repeated for this long.
pub const DIAGNOSTIC_REPEAT_WINDOW: Duration = Duration::from_secs(10);
/// Lines that are remembered for that: 64 of at most 8 KiB are 512 KiB.
pub const DIAGNOSTIC_REPEATS_MAX: usize = 64;

const _: () = assert!(2 * DIAGNOSTIC_VALUE_BYTES_MAX < DIAGNOSTIC_LINE_BYTES_MAX);

/// One message that the command-line client takes: more than any backlog the gateway keeps for a
/// peer by default.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long the client waits for a connection, and for each answer, unless told otherwise.
pub const CLIENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// The longest wait that can be asked for: a day.
pub const CLIENT_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// A gateway that was silent for so long is pinged: its `tick` comes at least every 30 seconds, so
/// this one is late.
pub const CLIENT_PING_AFTER: Duration = Duration::from_secs(35);
/// One that was silent for so long is gone.
pub const CLIENT_GONE_AFTER: Duration = Duration::from_secs(50);
/// Waits before the client's attempts to connect again, in seconds; the last one repeats.
pub const CLIENT_BACKOFF_SECONDS: [u64; 6] = [1, 2, 4, 8, 16, 30];
/// Log lines of standard input in one report: what one read brings, and a fraction of what one
/// request may hold.
pub const CLIENT_LINES_PER_REPORT_MAX: usize = 500;
/// What the client reads of standard input ahead of a report: 500 lines of 128 bytes, or one line
/// of the greatest size that an entry may have.
pub const CLIENT_STDIN_BYTES_MAX: usize = LOG_MESSAGE_BYTES_MAX;
/// Parameters of a `call` read from standard input: one message.
pub const CLIENT_PARAMS_BYTES_MAX: usize = MESSAGE_BYTES_DEFAULT;
/// A bundle of certificate authorities: the platforms' have some 220 KiB.
pub const CLIENT_CA_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A device key in PEM has some 120 bytes.
pub const CLIENT_KEY_BYTES_MAX: u64 = 4 * 1024;

const _: () = assert!(CLIENT_PING_AFTER.as_millis() > TICK_INTERVAL.as_millis());
const _: () = assert!(CLIENT_GONE_AFTER.as_millis() > CLIENT_PING_AFTER.as_millis());
const _: () = assert!(CLIENT_LINES_PER_REPORT_MAX <= LOG_ENTRIES_PER_APPEND_MAX);
