//! The configuration: what the gateway was told, checked, complete, ready to use.
//!
//! Owns the keys, their defaults and their precedence: flags, environment, file, defaults.
//! Does not open sockets, the store or certificates: `app::check` and the start do.
//! `config.example.toml` explains each key; a test holds it equal to the defaults here.

mod audit;
pub mod error;
mod groups;
mod policy;
mod raw;
mod reader;
mod secret_file;
mod spawn;
mod values;
mod warnings;
mod yaml;

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use self::audit::AuditConfig;
use self::error::{ConfigError, ConfigErrors, Place, Setting};
pub use self::groups::{Approvals, DeviceAuth, Heartbeat, Limits, RateLimit};
pub use self::raw::Environment;
use self::raw::{RawConfig, RawSecret, RawUser};
use self::reader::Source;
pub(crate) use self::secret_file::{read_private, read_token as read_secret};
use self::values::{PASSWORD, Rule, TOKEN};
use crate::app::args::Args;
use crate::base::limits::{CONFIG_BYTES_MAX, USERS_MAX};
use crate::base::secret::Secret;
use crate::hub::policy::{CronPolicy, SecretWithoutDevice, SpawnPolicy};
use crate::protocol::peer::Cidr;
use crate::protocol::scope::ScopeSet;
use crate::shell::diagnostics;
use crate::shell::store::Durability;

/// Where metrics are served unless told otherwise. Prometheus itself listens on this port, too.
pub const METRICS_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `gateway.bind`
    pub bind: IpAddr,
    /// `gateway.port`; 0 picks a free one.
    pub port: u16,
    /// `gateway.stateDir`
    pub state_dir: PathBuf,
    /// `gateway.durability`
    pub durability: Durability,
    /// `gateway.trustedProxies`
    pub trusted_proxies: Vec<Cidr>,
    /// `gateway.publicHosts`, lower-cased, without port.
    pub public_hosts: Vec<String>,
    /// `[gateway.tls]`
    pub tls: TlsConfig,
    /// `[gateway.controlUi]`
    pub control_ui: ControlUi,
    /// `[gateway.auth]`
    pub auth: Auth,
    /// `[gateway.approvals]`
    pub approvals: Approvals,
    /// `[gateway.cron]`
    pub cron: CronPolicy,
    /// `[gateway.heartbeat]`
    pub heartbeat: Heartbeat,
    /// `[gateway.limits]`
    pub limits: Limits,
    /// `[gateway.spawn]` and `[gateway.agents]`
    pub spawn: SpawnPolicy,
    /// `[gateway.metrics]`; `None` when not enabled.
    pub metrics: Option<SocketAddr>,
    /// `[audit]`
    pub audit: AuditConfig,
    /// `log.level`
    pub log_level: log::LevelFilter,
    /// `log.format`
    pub log_format: LogFormat,
}

/// `[gateway.tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsConfig {
    /// The port speaks plain HTTP and WebSocket.
    Off,
    /// The port speaks TLS.
    On {
        /// `certFile`: the chain as PEM, the gateway's own certificate first.
        cert_file: Setting<PathBuf>,
        /// `keyFile`: the private key as PEM.
        key_file: Setting<PathBuf>,
    },
}

/// `[gateway.controlUi]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlUi {
    /// `enabled`; off refuses every browser origin.
    pub enabled: bool,
    /// `allowedOrigins`, lower-cased; `*` allows every origin.
    pub allowed_origins: Vec<String>,
    /// `requireDeviceAuth`
    pub require_device_auth: bool,
}

/// `[gateway.auth]`
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// `token` or `tokenFile`; never empty.
    pub token: Option<Secret>,
    /// `password` or `passwordFile`; never empty.
    pub password: Option<Secret>,
    /// Keys whose secret is empty, and so counts as not set.
    pub empty_secrets: Vec<String>,
    /// `sharedSecretWithoutDevice`
    pub secret_without_device: SecretWithoutDevice,
    /// `[[gateway.auth.users]]`
    pub users: Vec<User>,
    /// `[gateway.auth.deviceAuth]`
    pub device: DeviceAuth,
    /// `[gateway.auth.rateLimit]`
    pub rate_limit: RateLimit,
}

/// An entry of `[[gateway.auth.users]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// `name`; unique, and not `default`.
    pub name: String,
    /// `token` or `tokenFile`; never empty, and no one else's.
    pub token: Secret,
    /// `scopes`; not empty.
    pub scopes: ScopeSet,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text when standard error is a terminal, else JSON.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

impl LogFormat {
    /// What it comes to on this standard error.
    pub fn resolve(self) -> diagnostics::Format {
        match self {
            Self::Auto => diagnostics::Format::automatic(),
            Self::Json => diagnostics::Format::Json,
            Self::Text => diagnostics::Format::Text,
        }
    }

    const ALLOWED: &str = "\"auto\", \"json\" or \"text\"";

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "auto" => Self::Auto,
            "json" => Self::Json,
            "text" => Self::Text,
            _ => return None,
        })
    }
}

impl Config {
    /// Reads the file that the flags or the environment name, if they name one, and lets the
    /// environment and the flags replace what it says. There is no file that is read unnamed.
    pub fn load(args: &Args, environment: &Environment) -> Result<Self, ConfigErrors> {
        let (file, place) = match (&args.config, &environment.config) {
            (Some(file), _) => (file, Place::Flag("--config")),
            (None, Some(file)) => (file, Place::Environment("OPENCLAW_CONFIG")),
            (None, None) => return Self::from_text(Path::new(""), "", args, environment),
        };
        let text = read_file(file).map_err(|problem| ConfigError::new(&place, "", problem))?;
        Self::from_text(file, &text, args, environment)
    }

    /// The same from a text. The file's name is for errors alone.
    pub fn from_text(
        file: &Path,
        text: &str,
        args: &Args,
        environment: &Environment,
    ) -> Result<Self, ConfigErrors> {
        let source = Source::new(file, text);
        if yaml::is_named_so(file) {
            return Err(yaml::explain(&source.place(0), text).into());
        }
        let table = DeTable::parse(text).map_err(|error| {
            let place = source.place(error.span().map_or(0, |span| span.start));
            match yaml::looks_so(text) {
                true => yaml::explain(&place, text),
                false => ConfigError::new(&place, "", format!("not TOML: {}", error.message())),
            }
        })?;
        let mut raw = RawConfig::read(&source, table.get_ref());
        let mut errors = source.into_errors();
        raw.apply_environment(environment, &mut errors);
        raw.apply_args(args, &mut errors);
        // A setting that could not be read would look like one that is missing.
        if errors.is_empty() {
            let mut config = Self::from_raw(raw, &mut errors);
            if environment.token_is_empty && config.auth.token.is_none() {
                config.auth.empty_secrets.push("OPENCLAW_GATEWAY_TOKEN".to_owned());
            }
            if errors.is_empty() {
                return Ok(config);
            }
        }
        errors.sort_by_key(|error| match error.place {
            Place::File { line, .. } => line,
            Place::Environment(_) | Place::Flag(_) => usize::MAX,
        });
        Err(ConfigErrors(errors))
    }

    /// What follows from the settings; what contradicts itself goes to `errors`, and the value
    /// returned then is of no use.
    fn from_raw(raw: RawConfig, errors: &mut Vec<ConfigError>) -> Self {
        let tls = tls(&raw, errors);
        let port = port(raw.port, raw.tls_port, errors);
        let mut secrets = Secrets { empty: Vec::new(), errors };
        let token = secrets.resolve("gateway.auth", ["token", "tokenFile"], raw.token, TOKEN);
        let names = ["password", "passwordFile"];
        let password = secrets.resolve("gateway.auth", names, raw.password, PASSWORD);
        let users = secrets.users(raw.users, token.as_ref());
        let metrics_on = raw.metrics_enabled.as_ref().is_none_or(|setting| setting.value);
        let metrics = SocketAddr::new(
            value_or(raw.metrics_bind, METRICS_DEFAULT.ip()),
            value_or(raw.metrics_port, METRICS_DEFAULT.port()),
        );
        Self {
            bind: value_or(raw.bind, IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port,
            state_dir: raw.state_dir.map_or_else(|| "./state".into(), |setting| setting.value),
            durability: value_or(raw.durability, Durability::Full),
            trusted_proxies: value_or(raw.trusted_proxies, Vec::new()),
            public_hosts: value_or(raw.public_hosts, Vec::new()),
            tls,
            control_ui: ControlUi {
                enabled: value_or(raw.ui_enabled, true),
                allowed_origins: raw.allowed_origins.map_or_else(
                    || ["http://localhost:3000", "http://127.0.0.1:3000"].map(str::to_owned).into(),
                    |setting| setting.value,
                ),
                require_device_auth: value_or(raw.ui_needs_device, true),
            },
            auth: Auth {
                token,
                password,
                empty_secrets: secrets.empty,
                secret_without_device: value_or(raw.without_device, SecretWithoutDevice::Loopback),
                users,
                device: raw.groups.device,
                rate_limit: raw.groups.rate_limit,
            },
            approvals: raw.groups.approvals,
            cron: raw.groups.cron.unwrap_or_else(groups::default_cron),
            heartbeat: raw.groups.heartbeat,
            limits: raw.groups.limits,
            spawn: raw.groups.spawn,
            metrics: metrics_on.then_some(metrics),
            audit: raw.groups.audit,
            log_level: value_or(raw.log_level, log::LevelFilter::Info),
            log_format: value_or(raw.log_format, LogFormat::Auto),
        }
    }
}

fn value_or<T>(setting: Option<Setting<T>>, default: T) -> T {
    setting.map_or(default, |setting| setting.value)
}

fn read_file(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let failed = |error: std::io::Error| format!("cannot read {shown}: {error}");
    let mut bytes = Vec::new();
    File::open(file)
        .map_err(failed)?
        .take(CONFIG_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(format!("{shown} is over {CONFIG_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| format!("{shown} does not hold UTF-8 text"))
}

/// `gateway.port` and `gateway.tls.port` are one setting.
fn port(
    port: Option<Setting<u16>>,
    tls_port: Option<Setting<u16>>,
    errors: &mut Vec<ConfigError>,
) -> u16 {
    const DEFAULT: u16 = 8080;
    match (port, tls_port) {
        (Some(port), Some(tls)) if port.value != tls.value => {
            let problem = format!(
                "found {}, but gateway.port ({}) is {}; allowed: one of the two, or the same",
                tls.value, port.place, port.value
            );
            errors.push(ConfigError::new(&tls.place, "gateway.tls.port", problem));
            DEFAULT
        }
        (Some(port), _) | (None, Some(port)) => port.value,
        (None, None) => DEFAULT,
    }
}

fn tls(raw: &RawConfig, errors: &mut Vec<ConfigError>) -> TlsConfig {
    let Some(enabled) = raw.tls_enabled.as_ref().filter(|enabled| enabled.value) else {
        return TlsConfig::Off;
    };
    let mut need = |key: &str, file: &Option<Setting<PathBuf>>| {
        if file.is_none() {
            let key = format!("gateway.tls.{key}");
            let problem = "missing; needed because gateway.tls.enabled is true";
            errors.push(ConfigError::new(&enabled.place, &key, problem));
        }
        file.clone()
    };
    let (cert, key) = (need("certFile", &raw.cert_file), need("keyFile", &raw.key_file));
    match (cert, key) {
        (Some(cert_file), Some(key_file)) => TlsConfig::On { cert_file, key_file },
        _ => TlsConfig::Off,
    }
}

/// Turns what was set into secrets.
struct Secrets<'e> {
    /// Keys whose secret is empty.
    empty: Vec<String>,
    errors: &'e mut Vec<ConfigError>,
}

impl Secrets<'_> {
    /// The secret of a pair of keys, one for the text and one for a file that holds it.
    fn resolve(
        &mut self,
        path: &str,
        names: [&str; 2],
        raw: RawSecret,
        rule: Rule<Secret>,
    ) -> Option<Secret> {
        let [text_key, file_key] = names.map(|name| format!("{path}.{name}"));
        let (secret, key) = match (raw.text, raw.file) {
            (None, None) => return None,
            (Some(text), None) => (text.value, text_key),
            (None, Some(file)) => match secret_file::read(&file.value, rule) {
                Ok(secret) => (secret, file_key),
                Err(problem) => {
                    self.errors.push(ConfigError::new(&file.place, &file_key, problem));
                    return None;
                }
            },
            (Some(text), Some(file)) => {
                let problem =
                    format!("found beside {text_key} ({}); allowed: one of the two", text.place);
                self.errors.push(ConfigError::new(&file.place, &file_key, problem));
                return None;
            }
        };
        if secret.expose().is_empty() {
            self.empty.push(key);
            return None;
        }
        Some(secret)
    }

    fn users(&mut self, raw: Vec<RawUser>, gateway_token: Option<&Secret>) -> Vec<User> {
        if let Some(user) = raw.get(USERS_MAX) {
            let problem = format!("found {}; allowed: at most {USERS_MAX}", raw.len());
            self.errors.push(ConfigError::new(&user.place, "gateway.auth.users", problem));
            return Vec::new();
        }
        let mut names = HashSet::from(["default".to_owned()]);
        let mut tokens: Vec<Secret> = gateway_token.into_iter().cloned().collect();
        let mut users = Vec::new();
        for raw in raw {
            let Some(user) = self.user(raw, &mut names, &tokens) else { continue };
            tokens.push(user.token.clone());
            users.push(user);
        }
        users
    }

    fn user(
        &mut self,
        raw: RawUser,
        names: &mut HashSet<String>,
        tokens: &[Secret],
    ) -> Option<User> {
        let missing = |name: &str| {
            ConfigError::new(&raw.place, &format!("gateway.auth.users.{name}"), "missing")
        };
        if raw.name.is_none() {
            self.errors.push(missing("name"));
        }
        if raw.token.text.is_none() && raw.token.file.is_none() {
            self.errors.push(missing("token"));
        }
        let scopes = raw.scopes.map(|setting| setting.value).unwrap_or_default();
        if scopes.is_empty() {
            let allowed = format!("a list of one or more, each {}", values::SCOPE_ALLOWED);
            let (key, found) = ("gateway.auth.users.scopes", "none");
            self.errors.push(ConfigError::not_allowed(&raw.place, key, found, &allowed));
        }
        let token = self.resolve("gateway.auth.users", ["token", "tokenFile"], raw.token, TOKEN);
        let Setting { value: name, place } = raw.name?;
        if !names.insert(name.clone()) {
            let (key, allowed) = ("gateway.auth.users.name", "a name of its own, not \"default\"");
            let found = error::quoted(&name);
            self.errors.push(ConfigError::not_allowed(&place, key, &found, allowed));
        }
        let token = token?;
        if tokens.contains(&token) {
            let problem = "found one that is in use already; allowed: a token of the user's own";
            self.errors.push(ConfigError::new(&raw.place, "gateway.auth.users.token", problem));
        }
        let scopes = scopes.into_iter().fold(ScopeSet::NONE, |all, one| ScopeSet(all.0 | one.0));
        Some(User { name, token, scopes })
    }
}
