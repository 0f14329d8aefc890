//! The sections whose keys stand for themselves: numbers and switches, each with its default.
//!
//! Pure; called by `raw`, which reads the other sections.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::audit::AuditConfig;
use super::error::Setting;
use super::reader::Section;
use crate::base::limits::{
    APPROVAL_TIMEOUT_DEFAULT, APPROVAL_TIMEOUT_MAX, BACKLOG_BYTES_DEFAULT,
    BACKLOG_BYTES_TOTAL_DEFAULT, CONNECTIONS_PER_ADDRESS_DEFAULT, CRON_CONCURRENT_DEFAULT,
    CRON_CONCURRENT_MAX, CRON_JOBS_DEFAULT, CRON_JOBS_MAX, DEVICES_MAX, HANDSHAKE_DEFAULT,
    INBOUND_BYTES_TOTAL_DEFAULT, JOURNAL_BYTES_DEFAULT, JOURNAL_ENTRIES_DEFAULT,
    MESSAGE_BYTES_DEFAULT, PREAUTH_BYTES_DEFAULT, PREAUTH_CONNECTIONS_DEFAULT,
    RATE_LIMIT_ATTEMPTS_MAX, SESSIONS_DEFAULT, SNAPSHOT_SESSIONS_DEFAULT, TICK_COALESCE_DEFAULT,
};
use crate::hub::policy::{
    ApprovalPolicy, CronPolicy, HeartbeatPolicy, RateLimitPolicy, Registration, SpawnPolicy,
    WithoutApprover,
};
use crate::protocol::schedule::Zone;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const DAY: u64 = 24 * 60 * 60;

/// All of these sections.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Groups {
    pub(super) device: DeviceAuth,
    pub(super) rate_limit: RateLimit,
    pub(super) heartbeat: Heartbeat,
    pub(super) limits: Limits,
    pub(super) cron: Option<CronPolicy>,
    pub(super) spawn: SpawnPolicy,
    pub(super) approvals: Approvals,
    pub(super) audit: AuditConfig,
}

/// `[gateway.auth.deviceAuth]`
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceAuth {
    /// `enabled`
    pub enabled: bool,
    /// `requireSignature`
    pub require_signature: bool,
    /// `tokenTTL`
    pub token_ttl: Duration,
    /// `maxDevicesPerUser`
    pub devices_per_user_max: usize,
    /// `registration`
    pub registration: Registration,
}

impl Default for DeviceAuth {
    fn default() -> Self {
        Self {
            enabled: true,
            require_signature: true,
            token_ttl: Duration::from_secs(DAY),
            devices_per_user_max: 10,
            registration: Registration::Auto,
        }
    }
}

pub(super) fn device_auth(mut section: Section<'_>) -> DeviceAuth {
    let default = DeviceAuth::default();
    let allowed = "\"auto\", \"open\" or \"manual\"";
    let registration = |text: &str| match text {
        "auto" => Some(Registration::Auto),
        "open" => Some(Registration::Open),
        "manual" => Some(Registration::Manual),
        _ => None,
    };
    let device = DeviceAuth {
        enabled: section.switch("enabled", default.enabled),
        require_signature: section.switch("requireSignature", default.require_signature),
        token_ttl: section.seconds("tokenTTL", 1..=365 * DAY, default.token_ttl),
        devices_per_user_max: section.count(
            "maxDevicesPerUser",
            1..=DEVICES_MAX as u64,
            default.devices_per_user_max,
        ),
        registration: section
            .parsed("registration", allowed, registration)
            .map_or(default.registration, |setting| setting.value),
    };
    section.finish();
    device
}

/// `[gateway.auth.rateLimit]`
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// `maxAttempts`
    pub attempts_max: u32,
    /// `windowSeconds`
    pub window: Duration,
    /// `lockoutSeconds`
    pub lockout: Duration,
}

impl Default for RateLimit {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { attempts_max: 10, window: minute, lockout: minute }
    }
}

impl RateLimit {
    /// As the hub wants it.
    pub fn policy(&self) -> RateLimitPolicy {
        RateLimitPolicy {
            attempts_max: self.attempts_max,
            window: self.window,
            lockout: self.lockout,
        }
    }
}

pub(super) fn rate_limit(mut section: Section<'_>) -> RateLimit {
    let default = RateLimit::default();
    let rate_limit = RateLimit {
        attempts_max: section.small(
            "maxAttempts",
            1..=u64::from(RATE_LIMIT_ATTEMPTS_MAX),
            default.attempts_max,
        ),
        window: section.seconds("windowSeconds", 1..=DAY, default.window),
        lockout: section.seconds("lockoutSeconds", 1..=DAY, default.lockout),
    };
    section.finish();
    rate_limit
}

pub(super) fn cron(mut section: Section<'_>) -> CronPolicy {
    let allowed = "the IANA name of a time zone, such as \"Europe/Berlin\" or \"UTC\"";
    let zone = section.parsed("timezone", allowed, |text| Zone::find(text).ok());
    let jobs_max = 1..=CRON_JOBS_MAX as u64;
    let concurrent_max = 1..=CRON_CONCURRENT_MAX as u64;
    let cron = CronPolicy {
        enabled: section.switch("enabled", true),
        jobs_max: section.count("maxJobs", jobs_max, CRON_JOBS_DEFAULT),
        concurrent_max: section.count("maxConcurrentRuns", concurrent_max, CRON_CONCURRENT_DEFAULT),
        zone: zone.map_or_else(Zone::utc, |setting| setting.value),
    };
    section.finish();
    cron
}

/// What holds where nothing is configured.
pub(super) fn default_cron() -> CronPolicy {
    CronPolicy {
        enabled: true,
        jobs_max: CRON_JOBS_DEFAULT,
        concurrent_max: CRON_CONCURRENT_DEFAULT,
        zone: Zone::utc(),
    }
}

/// `[gateway.heartbeat]`
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// `intervalSeconds`
    pub interval: Duration,
    /// `missedMax`
    pub missed_max: u32,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), missed_max: 3 }
    }
}

impl Heartbeat {
    /// As the hub wants it.
    pub fn policy(&self) -> HeartbeatPolicy {
        HeartbeatPolicy { interval: self.interval, missed_max: self.missed_max }
    }
}

pub(super) fn heartbeat(mut section: Section<'_>) -> Heartbeat {
    let default = Heartbeat::default();
    let heartbeat = Heartbeat {
        interval: section.seconds("intervalSeconds", 1..=3_600, default.interval),
        missed_max: section.small("missedMax", 1..=100, default.missed_max),
    };
    section.finish();
    heartbeat
}

/// `[gateway.approvals]`
#[derive(Clone, Debug, PartialEq)]
pub struct Approvals {
    /// `withoutApprover`
    pub without_approver: WithoutApprover,
    /// `timeoutSeconds`
    pub timeout: Duration,
}

impl Default for Approvals {
    fn default() -> Self {
        Self { without_approver: WithoutApprover::Wait, timeout: APPROVAL_TIMEOUT_DEFAULT }
    }
}

impl Approvals {
    /// As the hub wants it.
    pub fn policy(&self) -> ApprovalPolicy {
        ApprovalPolicy { without_approver: self.without_approver, timeout: self.timeout }
    }
}

pub(super) fn approvals(mut section: Section<'_>) -> Approvals {
    let default = Approvals::default();
    let without_approver = |text: &str| match text {
        "wait" => Some(WithoutApprover::Wait),
        "deny" => Some(WithoutApprover::Deny),
        _ => None,
    };
    let approvals = Approvals {
        without_approver: section
            .parsed("withoutApprover", "\"wait\" or \"deny\"", without_approver)
            .map_or(default.without_approver, |setting| setting.value),
        timeout: section.seconds(
            "timeoutSeconds",
            1..=APPROVAL_TIMEOUT_MAX.as_secs(),
            default.timeout,
        ),
    };
    section.finish();
    approvals
}

/// `[gateway.limits]`
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// `connections`; `None` is computed from what the machine allows.
    pub connections_max: Option<Setting<usize>>,
    /// `connectionsPerAddress`
    pub connections_per_address_max: usize,
    /// `handshakeSeconds`
    pub handshake: Duration,
    /// `preauthConnections`
    pub preauth_connections_max: usize,
    /// `preauthBytes`
    pub preauth_bytes_max: usize,
    /// `messageBytes`
    pub message_bytes_max: usize,
    /// `backlogBytes`
    pub backlog_bytes_max: usize,
    /// `inboundBytesTotal`
    pub inbound_bytes_total_max: usize,
    /// `backlogBytesTotal`
    pub backlog_bytes_total_max: usize,
    /// `journalEntries`
    pub journal_entries_max: usize,
    /// `journalBytes`
    pub journal_bytes_max: usize,
    /// `sessions`
    pub sessions_max: usize,
    /// `snapshotSessions`
    pub snapshot_sessions_max: usize,
    /// `tickMilliseconds`
    pub tick_coalesce: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: None,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_DEFAULT,
            handshake: HANDSHAKE_DEFAULT,
            preauth_connections_max: PREAUTH_CONNECTIONS_DEFAULT,
            preauth_bytes_max: PREAUTH_BYTES_DEFAULT,
            message_bytes_max: MESSAGE_BYTES_DEFAULT,
            backlog_bytes_max: BACKLOG_BYTES_DEFAULT,
            inbound_bytes_total_max: INBOUND_BYTES_TOTAL_DEFAULT,
            backlog_bytes_total_max: BACKLOG_BYTES_TOTAL_DEFAULT,
            journal_entries_max: JOURNAL_ENTRIES_DEFAULT,
            journal_bytes_max: JOURNAL_BYTES_DEFAULT,
            sessions_max: SESSIONS_DEFAULT,
            snapshot_sessions_max: SNAPSHOT_SESSIONS_DEFAULT,
            tick_coalesce: TICK_COALESCE_DEFAULT,
        }
    }
}

pub(super) fn limits(mut section: Section<'_>) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        connections_max: section
            .integer("connections", 0..=1_000_000)
            .map(|found| Setting {
                value: usize::try_from(found.value).unwrap_or(usize::MAX),
                place: found.place,
            })
            .filter(|found| found.value > 0),
        connections_per_address_max: section.count(
            "connectionsPerAddress",
            1..=1_000_000,
            default.connections_per_address_max,
        ),
        handshake: section.seconds("handshakeSeconds", 1..=600, default.handshake),
        preauth_connections_max: section.count(
            "preauthConnections",
            1..=1_000_000,
            default.preauth_connections_max,
        ),
        preauth_bytes_max: section.count("preauthBytes", 4 * KIB..=MIB, default.preauth_bytes_max),
        message_bytes_max: section.count(
            "messageBytes",
            64 * KIB..=256 * MIB,
            default.message_bytes_max,
        ),
        backlog_bytes_max: section.count(
            "backlogBytes",
            64 * KIB..=256 * MIB,
            default.backlog_bytes_max,
        ),
        inbound_bytes_total_max: section.count(
            "inboundBytesTotal",
            MIB..=64 * GIB,
            default.inbound_bytes_total_max,
        ),
        backlog_bytes_total_max: section.count(
            "backlogBytesTotal",
            MIB..=64 * GIB,
            default.backlog_bytes_total_max,
        ),
        journal_entries_max: section.count(
            "journalEntries",
            1..=10_000_000,
            default.journal_entries_max,
        ),
        journal_bytes_max: section.count(
            "journalBytes",
            64 * KIB..=4 * GIB,
            default.journal_bytes_max,
        ),
        sessions_max: section.count("sessions", 1..=1_000_000, default.sessions_max),
        snapshot_sessions_max: section.count(
            "snapshotSessions",
            1..=10_000,
            default.snapshot_sessions_max,
        ),
        tick_coalesce: section.milliseconds("tickMilliseconds", 10..=30_000, default.tick_coalesce),
    };
    check_related(&section, &limits);
    section.finish();
    limits
}

/// What one peer may take must fit into what all of them together may.
fn check_related(section: &Section<'_>, limits: &Limits) {
    // A message counts while it arrives, and again while it waits for the hub.
    let related = [
        ("preauthBytes", limits.preauth_bytes_max, 1, "messageBytes", limits.message_bytes_max),
        (
            "messageBytes",
            limits.message_bytes_max,
            2,
            "inboundBytesTotal",
            limits.inbound_bytes_total_max,
        ),
        (
            "backlogBytes",
            limits.backlog_bytes_max,
            1,
            "backlogBytesTotal",
            limits.backlog_bytes_total_max,
        ),
    ];
    for (small, found, times, great, great_max) in related {
        if found.saturating_mul(times) > great_max {
            let half = if times == 2 { "half of " } else { "" };
            let allowed = great_max / times;
            let problem = format!("found {found}; allowed: at most {half}{great}, {allowed}");
            section.report(&section.place_of(small, great), small, problem);
        }
    }
}

impl Section<'_> {
    pub(super) fn switch(&mut self, name: &'static str, default: bool) -> bool {
        self.boolean(name).map_or(default, |setting| setting.value)
    }

    pub(super) fn number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.integer(name, range).map(|setting| setting.value)
    }

    pub(super) fn count(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
        default: usize,
    ) -> usize {
        self.number(name, range).map_or(default, |n| usize::try_from(n).unwrap_or(usize::MAX))
    }

    pub(super) fn small(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
        default: u32,
    ) -> u32 {
        self.number(name, range).map_or(default, |n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    pub(super) fn seconds(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
        default: Duration,
    ) -> Duration {
        self.number(name, range).map_or(default, Duration::from_secs)
    }

    pub(super) fn milliseconds(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
        default: Duration,
    ) -> Duration {
        self.number(name, range).map_or(default, Duration::from_millis)
    }

    /// A port; 0 picks a free one.
    pub(super) fn port(&mut self, name: &'static str) -> Option<Setting<u16>> {
        let setting = self.integer(name, 0..=u64::from(u16::MAX))?;
        Some(Setting { value: u16::try_from(setting.value).ok()?, place: setting.place })
    }
}
