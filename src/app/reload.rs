//! Reading the configuration again while the gateway runs (`docs/protocol.md`, "Reload").
//!
//! Owns the list of what can change without a restart; the thread that does it is
//! `shell::reloads`'. What cannot be read, or makes no sense, changes nothing. Asked by SIGHUP and by
//! `openclaw-gateway reload`; one at a time, in order.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::args::Args;
use super::check::{Identity, load_tls};
use super::config::{AuditConfig, Auth, Config, Limits, TlsConfig};
use super::error::StartError;
use super::server::connection_limits;
use crate::hub::audit::{Actor, AuditEvent, AuditKind};
use crate::hub::effect::DiagnosticValue;
use crate::hub::input::Input;
use crate::shell::audit::AuditSetup;
use crate::shell::bounds::{Bounds, ConnectionLimits};
use crate::shell::capacity::Machine;
use crate::shell::diagnostics::Diagnostics;
use crate::shell::dialogue::Shared;
use crate::shell::hub_thread::Inbound;
use crate::shell::reloads;
use crate::shell::service::ReloadRequest;
use crate::shell::tls::TlsSlot;

/// What reads the configuration again, and applies it.
pub(super) struct Reloader {
    /// The command line of the start, which goes before the file also then.
    pub(super) args: Args,
    /// What is in force.
    pub(super) config: Config,
    /// Where it is in force.
    pub(super) live: Live,
}

/// What a reload changes in the running gateway.
pub(super) struct Live {
    /// Hears of the new policy, and has the port's limits, the origins and the audit file.
    pub(super) shared: Arc<Shared>,
    /// The limits of the control socket.
    pub(super) owner_bounds: Arc<Bounds>,
    /// The port's certificate and key, if it speaks TLS, and the digest of their files.
    pub(super) identity: Option<(Arc<TlsSlot>, [u8; 32])>,
    /// Has the level of the diagnostics.
    pub(super) diagnostics: Diagnostics,
}

impl Live {
    pub(super) fn new(
        shared: &Arc<Shared>,
        owner_bounds: &Arc<Bounds>,
        identity: Option<(Arc<TlsSlot>, [u8; 32])>,
        diagnostics: &Diagnostics,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            owner_bounds: Arc::clone(owner_bounds),
            identity,
            diagnostics: diagnostics.clone(),
        }
    }
}

/// A member of the configuration, for comparing two of them.
type Part = (&'static str, fn(&Config, &Config) -> bool);

/// What may differ between two configurations, by the key that people look for.
const PARTS: &[Part] = &[
    ("gateway.bind", |a, b| a.bind == b.bind),
    ("gateway.port", |a, b| a.port == b.port),
    ("gateway.stateDir", |a, b| a.state_dir == b.state_dir),
    ("gateway.durability", |a, b| a.durability == b.durability),
    ("gateway.trustedProxies", |a, b| a.trusted_proxies == b.trusted_proxies),
    ("gateway.publicHosts", |a, b| a.public_hosts == b.public_hosts),
    ("gateway.tls", |a, b| tls_files(&a.tls) == tls_files(&b.tls)),
    ("gateway.controlUi.enabled", |a, b| a.control_ui.enabled == b.control_ui.enabled),
    ("gateway.controlUi.allowedOrigins", |a, b| {
        a.control_ui.allowed_origins == b.control_ui.allowed_origins
    }),
    ("gateway.controlUi.requireDeviceAuth", |a, b| {
        a.control_ui.require_device_auth == b.control_ui.require_device_auth
    }),
    ("gateway.auth.token", |a, b| a.auth.token == b.auth.token),
    ("gateway.auth.password", |a, b| a.auth.password == b.auth.password),
    ("gateway.auth.sharedSecretWithoutDevice", |a, b| {
        a.auth.secret_without_device == b.auth.secret_without_device
    }),
    ("gateway.auth.users", |a, b| a.auth.users == b.auth.users),
    ("gateway.auth.deviceAuth", |a, b| a.auth.device == b.auth.device),
    ("gateway.auth.rateLimit", |a, b| a.auth.rate_limit == b.auth.rate_limit),
    ("gateway.approvals", |a, b| a.approvals == b.approvals),
    ("gateway.cron", |a, b| a.cron == b.cron),
    ("gateway.heartbeat", |a, b| a.heartbeat == b.heartbeat),
    ("gateway.limits", |a, b| limits(a) == limits(b)),
    ("gateway.spawn and gateway.agents", |a, b| a.spawn == b.spawn),
    ("gateway.metrics", |a, b| a.metrics == b.metrics),
    ("audit.enabled", |a, b| a.audit.enabled == b.audit.enabled),
    ("audit.logFile", |a, b| a.audit.setup.file == b.audit.setup.file),
    ("audit.events", |a, b| a.audit.setup.events == b.audit.setup.events),
    ("audit.onFailure", |a, b| a.audit.setup.refuses == b.audit.setup.refuses),
    ("log.level", |a, b| a.log_level == b.log_level),
    ("log.format", |a, b| a.log_format == b.log_format),
];

/// Where certificate and key are, wherever that is said.
fn tls_files(tls: &TlsConfig) -> Option<(&PathBuf, &PathBuf)> {
    match tls {
        TlsConfig::Off => None,
        TlsConfig::On { cert_file, key_file } => Some((&cert_file.value, &key_file.value)),
    }
}

/// The same for the limits.
fn limits(config: &Config) -> (Option<usize>, Limits) {
    let connections = config.limits.connections_max.as_ref().map(|setting| setting.value);
    (connections, Limits { connections_max: None, ..config.limits.clone() })
}

/// A configuration that is good, with what it points at.
struct Good {
    config: Config,
    identity: Option<Identity>,
    limits: ConnectionLimits,
}

fn differences(a: &Config, b: &Config) -> Vec<&'static str> {
    PARTS.iter().filter(|(_, same)| !same(a, b)).map(|(name, _)| *name).collect()
}

/// The new configuration as far as it can be in force without a restart; the old one for the rest.
fn live(old: &Config, new: &Config) -> Config {
    let mut device = new.auth.device.clone();
    // How devices prove themselves, and what the challenge says of it, is settled at the start.
    device.enabled = old.auth.device.enabled;
    device.require_signature = old.auth.device.require_signature;
    let tls = match (&old.tls, &new.tls) {
        (TlsConfig::On { .. }, TlsConfig::On { .. }) => new.tls.clone(),
        (old, _) => old.clone(),
    };
    Config {
        tls,
        control_ui: new.control_ui.clone(),
        auth: Auth { device, ..new.auth.clone() },
        approvals: new.approvals.clone(),
        limits: new.limits.clone(),
        spawn: new.spawn.clone(),
        audit: AuditConfig {
            enabled: old.audit.enabled,
            setup: AuditSetup { file: old.audit.setup.file.clone(), ..new.audit.setup.clone() },
        },
        log_level: new.log_level,
        ..old.clone()
    }
}

impl Reloader {
    /// Starts the thread, `reload`. After each request that nobody waits for, it calls `done`.
    pub(super) fn start(
        mut self,
        requests: Receiver<ReloadRequest>,
        done: impl Fn() + Send + 'static,
    ) -> io::Result<()> {
        reloads::start(requests, move |by_owner| self.reload(by_owner), done)
    }

    /// Reads and applies; returns what was, or why nothing was.
    fn reload(&mut self, by_owner: bool) -> Result<String, String> {
        let Good { config: new, identity, limits } = self.read().map_err(|error| {
            let reason = error.to_string().trim_end().to_owned();
            self.audit(by_owner, &[("applied", ""), ("reason", &reason)]);
            format!("nothing was changed: {reason}")
        })?;
        let live = live(&self.config, &new);
        let mut applied = differences(&self.config, &live);
        let needs_restart = differences(&live, &new);
        self.apply(&live, limits)?;
        let identity = identity.inspect(Identity::warn);
        if let (Some((slot, digest)), Some(new)) = (&mut self.live.identity, identity)
            && new.digest != *digest
        {
            slot.set(new.config);
            *digest = new.digest;
            applied.push("certificate and key");
        }
        self.config = live;
        for warning in self.config.warnings() {
            log::warn!("{warning}");
        }
        let list = |names: &[&str]| match names {
            [] => "nothing".to_owned(),
            names => names.join(", "),
        };
        let (done, left) = (applied.join(", "), needs_restart.join(", "));
        self.audit(by_owner, &[("applied", &done), ("needsRestart", &left)]);
        let mut said = format!("applied: {}", list(&applied));
        if !needs_restart.is_empty() {
            said.push_str(&format!("\nneeds a restart: {}", list(&needs_restart)));
        }
        Ok(said)
    }

    /// Everything that can be wrong is found here, before anything is changed.
    fn read(&self) -> Result<Good, StartError> {
        let config = Config::load(&self.args, &super::environment())?;
        let identity = load_tls(&config.tls)?;
        let capacity = Machine::read().capacity(config.spawn.concurrent_max);
        let limits = connection_limits(&config, &capacity)?;
        Ok(Good { config, identity, limits })
    }

    fn apply(&self, config: &Config, limits: ConnectionLimits) -> Result<(), String> {
        let Live { shared, owner_bounds, diagnostics, .. } = &self.live;
        let policy = config.policy(env!("CARGO_PKG_VERSION"), None);
        let input = Inbound::Input(Input::PolicyChanged(Box::new(policy)));
        // Waits while the hub is busy. One that is gone will not need it.
        let told: Result<(), _> = shared.inbox.send(input);
        told.map_err(|_| "nothing was changed: the gateway is stopping".to_owned())?;
        shared.bounds.set(limits);
        owner_bounds.set(limits.of_owner(config.limits.message_bytes_max));
        shared.set_origins(super::server::origins(config));
        shared.refusals.audit().set(config.audit.setup.events, config.audit.setup.refuses);
        diagnostics.set_level(config.log_level);
        Ok(())
    }

    fn audit(&self, by_owner: bool, what: &[(&'static str, &str)]) {
        let member = |(name, text): &(&'static str, &str)| {
            (*name, DiagnosticValue::Text((*text).to_owned()))
        };
        let what = what.iter().map(member).collect();
        // Who sent a signal is not known.
        let actor = Actor { is_owner: by_owner, ..Actor::default() };
        let event = AuditEvent { kind: AuditKind::ConfigReloaded, actor, what };
        self.live.shared.refusals.report(event);
    }
}

/// Requests that wait; more are refused. Each takes milliseconds.
pub(super) const REQUESTS_MAX: usize = 4;

/// Asks without waiting for the outcome; whether there was room.
pub(super) fn ask(requests: &Sender<ReloadRequest>) -> bool {
    requests.try_send(None).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/protocol.md");

    /// Whether the text has this key in backquotes, whole, or what it is a part of.
    fn names(text: &str, key: &str) -> bool {
        let mut words = text.split('`').skip(1).step_by(2);
        words.any(|word| {
            word == key || key.strip_prefix(word).is_some_and(|rest| rest.starts_with('.'))
        })
    }

    #[test]
    fn the_document_says_of_every_part_whether_it_is_in_force_at_once() {
        let (_, section) = DOCUMENT.split_once("\n## Reload\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let table: String = section.lines().filter(|line| line.starts_with('|')).collect();
        let parts = PARTS.iter().flat_map(|(name, _)| name.split(" and "));
        let missing: Vec<_> = parts
            .filter(|name| {
                // After the first key of a row, a section is not repeated.
                let own = name.rsplit_once('.').map_or(*name, |(_, own)| own);
                !names(&table, name) && !names(&table, own)
            })
            .collect();
        assert_eq!(missing, Vec::<&str>::new());
    }
}
