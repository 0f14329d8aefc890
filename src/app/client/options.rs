//! The options that every subcommand has: which gateway, as whom, for how long, in what form.
//!
//! Owns their reading and their defaults from the environment. Opens nothing but the file of
//! `--token-file` and, for its state directory, that of `--config`. Called by the subcommands.

use std::path::PathBuf;
use std::time::Duration;

use super::failure::Failure;
use super::identity::{Identity, Place};
use super::login::{Login, Started};
use super::screen::{Form, Screen};
use super::target::{DEFAULT_URL, Target};
use super::when;
use super::words::Words;
use crate::app::args::Args;
use crate::app::config::{Config, Environment, read_secret};
use crate::base::limits::{AGENT_NAME_BYTES_MAX, CLIENT_TIMEOUT_DEFAULT, CLIENT_TIMEOUT_MAX};
use crate::base::secret::Secret;

/// Names of the options below.
pub(super) const NAMES: &[&str] = &[
    "url",
    "state-dir",
    "config",
    "ca",
    "insecure",
    "token-file",
    "scopes",
    "timeout",
    "json",
    "text",
    "help",
];

/// What an operator asks for unless told otherwise; a device that was approved for less gets less.
const DEFAULT_SCOPES: &str = "operator.admin";
/// Where a gateway keeps its state unless told otherwise.
const DEFAULT_STATE_DIR: &str = "./state";

/// As typed; what is absent is decided in [`Options::target`] and [`Options::login`].
#[derive(Debug, Default)]
pub(super) struct Options {
    url: Option<String>,
    state_dir: Option<PathBuf>,
    config: Option<PathBuf>,
    ca: Option<PathBuf>,
    insecure: bool,
    token_file: Option<PathBuf>,
    scopes: Option<Vec<String>>,
    timeout: Option<Duration>,
    form: Option<Form>,
    /// `--agent` of `report`: the agent to be.
    pub(super) agent: Option<String>,
}

/// What the process's environment says, read once.
#[derive(Debug)]
pub(in crate::app) struct Surroundings {
    pub(super) url: Option<String>,
    pub(super) token: Option<Secret>,
    pub(super) pairing_code: Option<Secret>,
    /// Of a program that a gateway started.
    pub(super) started: Option<Started>,
    pub(in crate::app) no_colour: bool,
    pub(super) place: Place,
}

impl Surroundings {
    pub(super) fn read() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let path = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        Self {
            url: text("OPENCLAW_GATEWAY_URL"),
            token: text("OPENCLAW_GATEWAY_TOKEN").map(Secret::new),
            pairing_code: text("OPENCLAW_PAIRING_CODE").map(Secret::new),
            started: text("OPENCLAW_AGENT_TOKEN").map(|token| Started {
                token: Secret::new(token),
                agent: text("OPENCLAW_AGENT_NAME"),
                session: text("OPENCLAW_SESSION"),
            }),
            no_colour: text("NO_COLOR").is_some() || text("TERM").as_deref() == Some("dumb"),
            place: Place { xdg_config_home: path("XDG_CONFIG_HOME"), home: path("HOME") },
        }
    }
}

impl Options {
    /// Takes an option if it is one of these; `false` if it is the subcommand's own.
    pub(super) fn take(&mut self, name: &str, words: &mut Words) -> Result<bool, Failure> {
        match name {
            "url" => self.url = Some(words.value()?),
            "state-dir" => self.state_dir = Some(words.value()?.into()),
            "config" => self.config = Some(words.value()?.into()),
            "ca" => self.ca = Some(words.value()?.into()),
            "insecure" => self.insecure = true,
            "token-file" => self.token_file = Some(words.value()?.into()),
            "scopes" => self.scopes = Some(words.parsed(name, "scopes with , between", scopes)?),
            "timeout" => {
                let allowed = "a duration such as 10s or 500ms, up to a day";
                self.timeout = Some(words.parsed(name, allowed, timeout)?);
            }
            "json" => self.form = Some(Form::Json),
            "text" => self.form = Some(Form::Text),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `--agent`, for `report`.
    pub(super) fn take_agent(&mut self, words: &mut Words) -> Result<(), Failure> {
        let allowed = "letters, digits and . _ - (at most 64)";
        self.agent = Some(words.parsed("agent", allowed, agent_name)?);
        Ok(())
    }

    /// How long a connection, and each answer, may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(CLIENT_TIMEOUT_DEFAULT)
    }

    /// Whether stdout gets JSON, and in colour.
    pub(super) fn screen(&self, around: &Surroundings, json_in_pipe: bool) -> Screen {
        Screen::new(self.form, json_in_pipe, around.no_colour)
    }

    /// Which gateway: `--url`, or the socket in a state directory, else the environment's URL.
    /// `local_first` prefers the socket in `./state` to the default URL: for managing devices.
    pub(super) fn target(
        &self,
        around: &Surroundings,
        local_first: bool,
    ) -> Result<Target, Failure> {
        let local = self.state_dir.is_some() || self.config.is_some();
        if self.url.is_some() && local {
            let text = "--url reaches over the network, --state-dir and --config reach a gateway \
                        on this machine; choose one";
            return Err(Failure::Usage(text.to_owned()));
        }
        if let Some(state_dir) = &self.state_dir {
            return Ok(Target::socket_in(state_dir));
        }
        if let Some(file) = &self.config {
            return Ok(Target::socket_in(&configured_state_dir(file)?));
        }
        let url = self.url.as_ref().or(around.url.as_ref());
        match url {
            Some(url) => Target::parse(url, self.ca.clone(), self.insecure),
            None if local_first => Ok(Target::socket_in(DEFAULT_STATE_DIR.as_ref())),
            None => Target::parse(DEFAULT_URL, self.ca.clone(), self.insecure),
        }
    }

    /// What the gateway told this program when it started it, unless somebody else is meant. The
    /// credential goes to no gateway but the one that the environment names.
    pub(super) fn started<'a>(&self, around: &'a Surroundings) -> Option<&'a Started> {
        let elsewhere = self.url.is_some() || self.state_dir.is_some() || self.config.is_some();
        let is_other = self.agent.is_some() || self.token_file.is_some();
        around.started.as_ref().filter(|_| !elsewhere && !is_other && around.url.is_some())
    }

    /// As whom: the owner over the local socket, else a device of this user's.
    pub(super) fn login(&self, around: &Surroundings, target: &Target) -> Result<Login, Failure> {
        if target.is_local_socket() && self.agent.is_none() {
            return Ok(Login::Owner);
        }
        if target.is_local_socket() {
            let text = "an agent connects over --url; the local socket is the owner's";
            return Err(Failure::Usage(text.to_owned()));
        }
        let token = match &self.token_file {
            Some(file) => Some(read_secret(file).map_err(Failure::Local)?),
            None => around.token.clone(),
        };
        let identity = Identity::load_or_create(&around.place, self.agent.as_deref())?;
        let scopes = || scopes(DEFAULT_SCOPES).unwrap_or_default();
        Ok(Login::device(
            identity,
            self.agent.clone(),
            self.scopes.clone().unwrap_or_else(scopes),
            token,
            around.pairing_code.clone(),
        ))
    }
}

/// The `gateway.stateDir` of a configuration file.
fn configured_state_dir(file: &std::path::Path) -> Result<PathBuf, Failure> {
    let args = Args { config: Some(file.to_owned()), ..Args::default() };
    let environment = Environment::read(|name| std::env::var_os(name));
    let config = Config::load(&args, &environment)
        .map_err(|errors| Failure::Local(errors.to_string().trim_end().to_owned()))?;
    Ok(config.state_dir)
}

fn timeout(text: &str) -> Option<Duration> {
    when::duration(text).filter(|time| !time.is_zero() && *time <= CLIENT_TIMEOUT_MAX)
}

/// Words that can stand in the signed text.
fn scopes(text: &str) -> Option<Vec<String>> {
    let scopes: Vec<_> = text.split(',').map(|scope| scope.trim().to_owned()).collect();
    let is_good = |scope: &String| {
        !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'|')
    };
    scopes.iter().all(is_good).then_some(scopes)
}

fn agent_name(text: &str) -> Option<String> {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let fits = (1..=AGENT_NAME_BYTES_MAX).contains(&text.len());
    // A file of this name holds its key.
    let is_a_place = text == "." || text == "..";
    (fits && !is_a_place && text.bytes().all(is_good)).then(|| text.to_owned())
}
