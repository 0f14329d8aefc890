//! `[audit]`: what is recorded, where, and what happens when it cannot be.
//!
//! Pure; called by `raw`.

use super::reader::Section;
use super::values;
use crate::hub::audit::AuditKind;
use crate::shell::audit::AuditSetup;

/// Where the file is unless told otherwise; the packages create the directory.
const FILE_DEFAULT: &str = "/var/log/openclaw/audit.log";

/// `[audit]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// `enabled`
    pub enabled: bool,
    /// `logFile`, `events` and `onFailure`
    pub setup: AuditSetup,
}

impl Default for AuditConfig {
    fn default() -> Self {
        let events = AuditKind::ALL.into_iter().fold(0, |bits, kind| bits | kind.bit());
        let setup = AuditSetup { file: FILE_DEFAULT.into(), events, refuses: false };
        Self { enabled: false, setup }
    }
}

impl AuditConfig {
    /// What the gateway records, if anything.
    pub fn setup(&self) -> Option<&AuditSetup> {
        self.enabled.then_some(&self.setup)
    }
}

pub(super) fn read(mut section: Section<'_>) -> AuditConfig {
    let default = AuditConfig::default();
    let names: Vec<String> =
        AuditKind::ALL.iter().map(|kind| format!("\"{}\"", kind.name())).collect();
    let allowed = format!("one of {}", names.join(", "));
    let events = section.list("events", &allowed, AuditKind::parse);
    let refuses = section.parsed("onFailure", "\"warn\" or \"refuse\"", |text| match text {
        "warn" => Some(false),
        "refuse" => Some(true),
        _ => None,
    });
    let config = AuditConfig {
        enabled: section.boolean("enabled").map_or(default.enabled, |setting| setting.value),
        setup: AuditSetup {
            file: section
                .parsed("logFile", values::TEXT_ALLOWED, values::path)
                .map_or(default.setup.file, |setting| setting.value),
            events: events.map_or(default.setup.events, |setting| {
                setting.value.into_iter().fold(0, |bits, kind| bits | kind.bit())
            }),
            refuses: refuses.map_or(default.setup.refuses, |setting| setting.value),
        },
    };
    section.finish();
    config
}
