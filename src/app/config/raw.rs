//! What was set, where it was set, and nothing else: every field may be missing.
//!
//! File first, then environment, then flags; the later replaces the earlier. Whether the settings
//! make sense together is decided by `Config::from_raw`, where this type ends.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use super::error::{ConfigError, Place, Setting, quoted};
use super::groups::{self, Groups};
use super::reader::{Section, Source};
use super::spawn;
use super::values::{self, Rule};
use super::{LogFormat, audit};
use crate::app::args::Args;
use crate::base::secret::Secret;
use crate::hub::policy::SecretWithoutDevice;
use crate::protocol::peer::Cidr;
use crate::protocol::scope::ScopeSet;
use crate::shell::store::Durability;

/// The settings that something overrides or that are checked against each other.
#[derive(Debug, Default)]
pub(super) struct RawConfig {
    pub(super) bind: Option<Setting<IpAddr>>,
    pub(super) port: Option<Setting<u16>>,
    pub(super) state_dir: Option<Setting<PathBuf>>,
    pub(super) durability: Option<Setting<Durability>>,
    pub(super) trusted_proxies: Option<Setting<Vec<Cidr>>>,
    pub(super) public_hosts: Option<Setting<Vec<String>>>,
    pub(super) tls_enabled: Option<Setting<bool>>,
    pub(super) cert_file: Option<Setting<PathBuf>>,
    pub(super) key_file: Option<Setting<PathBuf>>,
    pub(super) tls_port: Option<Setting<u16>>,
    pub(super) ui_enabled: Option<Setting<bool>>,
    pub(super) allowed_origins: Option<Setting<Vec<String>>>,
    pub(super) ui_needs_device: Option<Setting<bool>>,
    pub(super) token: RawSecret,
    pub(super) password: RawSecret,
    pub(super) without_device: Option<Setting<SecretWithoutDevice>>,
    pub(super) users: Vec<RawUser>,
    pub(super) metrics_enabled: Option<Setting<bool>>,
    pub(super) metrics_bind: Option<Setting<IpAddr>>,
    pub(super) metrics_port: Option<Setting<u16>>,
    pub(super) log_level: Option<Setting<log::LevelFilter>>,
    pub(super) log_format: Option<Setting<LogFormat>>,
    pub(super) groups: Groups,
}

/// A secret that is written down, or in a file, or neither.
#[derive(Debug, Default)]
pub(super) struct RawSecret {
    pub(super) text: Option<Setting<Secret>>,
    pub(super) file: Option<Setting<PathBuf>>,
}

/// One entry of `[[gateway.auth.users]]`.
#[derive(Debug)]
pub(super) struct RawUser {
    pub(super) place: Place,
    pub(super) name: Option<Setting<String>>,
    pub(super) token: RawSecret,
    pub(super) scopes: Option<Setting<Vec<ScopeSet>>>,
}

/// The environment variables that count. An empty one counts as not set: that is how they are
/// left out in compose files.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `OPENCLAW_CONFIG`
    pub config: Option<PathBuf>,
    /// `OPENCLAW_GATEWAY_TOKEN`
    pub token: Option<OsString>,
    /// Whether `OPENCLAW_GATEWAY_TOKEN` is set, but to nothing.
    pub token_is_empty: bool,
    /// `LOG_LEVEL`
    pub log_level: Option<OsString>,
}

impl Environment {
    /// Reads them through the function, which is `std::env::var_os` outside of tests.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let read = |name| variable(name).filter(|value| !value.is_empty());
        Self {
            config: read("OPENCLAW_CONFIG").map(PathBuf::from),
            token: read("OPENCLAW_GATEWAY_TOKEN"),
            token_is_empty: variable("OPENCLAW_GATEWAY_TOKEN").is_some_and(|text| text.is_empty()),
            log_level: read("LOG_LEVEL"),
        }
    }
}

impl RawConfig {
    /// Reads the file's tables. Errors go to the source.
    pub(super) fn read(source: &Source<'_>, table: &toml::de::DeTable<'_>) -> Self {
        let mut raw = Self::default();
        let mut root = Section::root(source, table);
        let mut gateway = root.section("gateway");
        raw.read_gateway(&mut gateway);
        raw.read_tls(gateway.section("tls"));
        raw.read_control_ui(gateway.section("controlUi"));
        raw.read_auth(gateway.section("auth"));
        raw.groups.approvals = groups::approvals(gateway.section("approvals"));
        raw.groups.heartbeat = groups::heartbeat(gateway.section("heartbeat"));
        raw.groups.cron = Some(groups::cron(gateway.section("cron")));
        raw.groups.limits = groups::limits(gateway.section("limits"));
        raw.groups.spawn = spawn::read(gateway.section("spawn"), gateway.section("agents"));
        raw.read_metrics(gateway.section("metrics"));
        gateway.finish();
        raw.groups.audit = audit::read(root.section("audit"));
        let mut log = root.section("log");
        raw.log_level = log.parsed("level", values::LEVEL_ALLOWED, values::level);
        raw.log_format = log.parsed("format", LogFormat::ALLOWED, LogFormat::parse);
        log.finish();
        root.finish();
        raw
    }

    fn read_gateway(&mut self, gateway: &mut Section<'_>) {
        self.bind = gateway.parsed("bind", values::IP_ALLOWED, values::ip);
        self.port = gateway.port("port");
        self.state_dir = gateway.parsed("stateDir", values::TEXT_ALLOWED, values::path);
        let allowed = "\"full\" or \"relaxed\"";
        self.durability = gateway.parsed("durability", allowed, |text| match text {
            "full" => Some(Durability::Full),
            "relaxed" => Some(Durability::Relaxed),
            _ => None,
        });
        self.trusted_proxies = gateway.list("trustedProxies", values::PROXY_ALLOWED, values::proxy);
        self.public_hosts = gateway.list("publicHosts", values::HOST_ALLOWED, values::host);
    }

    fn read_tls(&mut self, mut tls: Section<'_>) {
        self.tls_enabled = tls.boolean("enabled");
        self.cert_file = tls.parsed("certFile", values::TEXT_ALLOWED, values::path);
        self.key_file = tls.parsed("keyFile", values::TEXT_ALLOWED, values::path);
        self.tls_port = tls.port("port");
        tls.finish();
    }

    fn read_control_ui(&mut self, mut ui: Section<'_>) {
        self.ui_enabled = ui.boolean("enabled");
        self.allowed_origins = ui.list("allowedOrigins", values::ORIGIN_ALLOWED, values::origin);
        self.ui_needs_device = ui.boolean("requireDeviceAuth");
        ui.finish();
    }

    fn read_auth(&mut self, mut auth: Section<'_>) {
        self.token = RawSecret::read(&mut auth, "token", "tokenFile", values::TOKEN);
        self.password = RawSecret::read(&mut auth, "password", "passwordFile", values::PASSWORD);
        let allowed = "\"loopback\", \"always\" or \"never\"";
        self.without_device =
            auth.parsed("sharedSecretWithoutDevice", allowed, |text| match text {
                "loopback" => Some(SecretWithoutDevice::Loopback),
                "always" => Some(SecretWithoutDevice::Always),
                "never" => Some(SecretWithoutDevice::Never),
                _ => None,
            });
        for mut user in auth.sections("users") {
            self.users.push(RawUser {
                place: user.place(),
                name: user.parsed("name", values::NAME_ALLOWED, values::name),
                token: RawSecret::read(&mut user, "token", "tokenFile", values::TOKEN),
                scopes: user.list("scopes", values::SCOPE_ALLOWED, values::scope),
            });
            user.finish();
        }
        self.groups.device = groups::device_auth(auth.section("deviceAuth"));
        self.groups.rate_limit = groups::rate_limit(auth.section("rateLimit"));
        auth.finish();
    }

    fn read_metrics(&mut self, mut metrics: Section<'_>) {
        self.metrics_enabled = metrics.boolean("enabled");
        self.metrics_bind = metrics.parsed("bind", values::IP_ALLOWED, values::ip);
        self.metrics_port = metrics.port("port");
        metrics.finish();
    }

    /// Lets the environment replace what the file says.
    pub(super) fn apply_environment(
        &mut self,
        environment: &Environment,
        errors: &mut Vec<ConfigError>,
    ) {
        if let Some(token) = &environment.token {
            let place = Place::Environment("OPENCLAW_GATEWAY_TOKEN");
            let (allowed, parse) = values::TOKEN;
            match token.to_str().and_then(parse) {
                Some(value) => {
                    self.token = RawSecret { text: Some(Setting { value, place }), file: None };
                }
                None => errors.push(ConfigError::not_allowed(
                    &place,
                    "gateway.auth.token",
                    "a text (not shown)",
                    allowed,
                )),
            }
        }
        let place = Place::Environment("LOG_LEVEL");
        let level = environment.log_level.as_ref().map(|level| level.to_string_lossy());
        set(&mut self.log_level, place, "log.level", level.as_deref(), LEVEL, errors);
    }

    /// Lets the flags replace what file and environment say.
    pub(super) fn apply_args(&mut self, args: &Args, errors: &mut Vec<ConfigError>) {
        let flag = Place::Flag;
        let bind = args.bind.as_deref();
        set(&mut self.bind, flag("--bind"), "gateway.bind", bind, IP, errors);
        if let Some(port) = args.port.as_deref() {
            set(&mut self.port, flag("--port"), "gateway.port", Some(port), PORT, errors);
            // One setting under two names: the flag replaces both.
            self.tls_port = None;
        }
        if let Some(port) = args.metrics_port.as_deref() {
            let (place, key) = (flag("--metrics-port"), "gateway.metrics.port");
            set(&mut self.metrics_port, place.clone(), key, Some(port), PORT, errors);
            self.metrics_enabled = Some(Setting { value: true, place });
        }
        if let Some(directory) = &args.state_dir {
            let setting = Setting { value: directory.clone(), place: flag("--state-dir") };
            self.state_dir = Some(setting);
        }
        let level = args.log_level.as_deref();
        set(&mut self.log_level, flag("--log-level"), "log.level", level, LEVEL, errors);
    }
}

impl RawSecret {
    fn read(
        section: &mut Section<'_>,
        text: &'static str,
        file: &'static str,
        (allowed, parse): Rule<Secret>,
    ) -> Self {
        Self {
            text: section.secret(text, allowed, parse),
            file: section.parsed(file, values::TEXT_ALLOWED, values::path),
        }
    }
}

const IP: Rule<IpAddr> = (values::IP_ALLOWED, values::ip);
const LEVEL: Rule<log::LevelFilter> = (values::LEVEL_ALLOWED, values::level);
const PORT: Rule<u16> = ("a number from 0 to 65535", |text| text.parse().ok());

fn set<T>(
    setting: &mut Option<Setting<T>>,
    place: Place,
    key: &str,
    text: Option<&str>,
    (allowed, parse): Rule<T>,
    errors: &mut Vec<ConfigError>,
) {
    let Some(text) = text else { return };
    match parse(text) {
        Some(value) => *setting = Some(Setting { value, place }),
        None => errors.push(ConfigError::not_allowed(&place, key, &quoted(text), allowed)),
    }
}
