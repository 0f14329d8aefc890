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

const _: () = assert!(LOG_EXTRA_DEPTH_MAX + 5 < 128);
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

/// Inputs that wait for the hub: 64 requests of 256 busy connections.
pub const HUB_INBOX_MAX: usize = 16 * 1024;

/// Bytes of changes that wait for the store while a commit runs; over it, reports are refused.
pub const UNCOMMITTED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Cursors reserved on disk ahead of use, so that a crash loses numbers but reuses none.
pub const CURSOR_BLOCK: u64 = 65_536;

/// How often every peer hears a `tick`, sessions changing or not.
pub const TICK_INTERVAL: Duration = Duration::from_secs(30);

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
