//! What was typed: flags and their texts, before anyone asks what they mean.
//!
//! The first word that is no flag names a command; without one the gateway serves. The client's
//! subcommands have arguments of their own, which `client` has read before. What a flag's value may
//! be is decided with the configuration, where file and environment are decided too.
//! Pure. Called by `app::run`.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};

use super::client;
use super::config::error::{nearest, quoted};

/// The command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// What to do.
    pub command: Command,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--bind`
    pub bind: Option<String>,
    /// `--port`
    pub port: Option<String>,
    /// `--metrics-port`
    pub metrics_port: Option<String>,
    /// `--state-dir`
    pub state_dir: Option<PathBuf>,
    /// `--log-level`
    pub log_level: Option<String>,
}

/// What the program is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Command {
    /// Run the gateway.
    #[default]
    Serve,
    /// `--check`: say whether a start would succeed.
    Check,
    /// `--help`
    Help,
    /// `--version`
    Version,
}

/// The help text.
pub const HELP: &str = include_str!("help.txt");

const FLAGS: &[&str] = &[
    "--config",
    "--bind",
    "--port",
    "--metrics-port",
    "--state-dir",
    "--log-level",
    "--check",
    "--help",
    "--version",
];

/// The gateway's own commands by name. None of them takes arguments of its own.
const COMMANDS: &[(&str, Command)] = &[("serve", Command::Serve)];

impl Args {
    /// Reads the arguments; the first is the program's name.
    ///
    /// A flag given twice counts as given last. `--help` and `--version` win over everything, so
    /// that they work beside a mistake that comes after them.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut parser = lexopt::Parser::from_iter(args);
        let mut parsed = Self::default();
        let mut command_named = false;
        while let Some(arg) = parser.next().map_err(|e| UsageError(e.to_string()))? {
            match arg {
                Long("config") => parsed.config = Some(path(&mut parser)?),
                Long("bind") => parsed.bind = Some(text(&mut parser)?),
                Long("port") => parsed.port = Some(text(&mut parser)?),
                Long("metrics-port") => parsed.metrics_port = Some(text(&mut parser)?),
                Long("state-dir") => parsed.state_dir = Some(path(&mut parser)?),
                Long("log-level") => parsed.log_level = Some(text(&mut parser)?),
                Long("check") => parsed.command = Command::Check,
                Short('h') | Long("help") => {
                    return Ok(Self { command: Command::Help, ..parsed });
                }
                Short('V') | Long("version") => {
                    return Ok(Self { command: Command::Version, ..parsed });
                }
                Value(word) if !command_named => {
                    command_named = true;
                    let command = command(&word.to_string_lossy())?;
                    if parsed.command != Command::Check {
                        parsed.command = command;
                    }
                }
                Value(word) => {
                    let word = quoted(&word.to_string_lossy());
                    return Err(UsageError(format!("unexpected argument {word}")));
                }
                Long(flag) => return Err(unknown_flag(flag)),
                Short(letter) => return Err(UsageError(format!("unknown flag -{letter}"))),
            }
        }
        Ok(parsed)
    }
}

fn text(parser: &mut lexopt::Parser) -> Result<String, UsageError> {
    let value = parser.value().map_err(|error| UsageError(error.to_string()))?;
    value.into_string().map_err(|value| {
        UsageError(format!("argument is not valid Unicode: {}", quoted(&value.to_string_lossy())))
    })
}

fn path(parser: &mut lexopt::Parser) -> Result<PathBuf, UsageError> {
    let value = parser.value().map_err(|error| UsageError(error.to_string()))?;
    if value.is_empty() {
        return Err(UsageError("a path must not be empty".to_owned()));
    }
    Ok(value.into())
}

fn command(word: &str) -> Result<Command, UsageError> {
    if let Some((_, command)) = COMMANDS.iter().find(|(name, _)| *name == word) {
        return Ok(*command);
    }
    if client::names().any(|name| name == word) {
        return Err(UsageError(format!("options of {word} come after it")));
    }
    let names = || COMMANDS.iter().map(|(name, _)| *name).chain(client::names());
    let mut problem = format!("unknown command {}", quoted(word));
    if let Some(meant) = nearest(word, names()) {
        problem.push_str(&format!("; did you mean {meant}?"));
    }
    Err(UsageError(problem))
}

fn unknown_flag(flag: &str) -> UsageError {
    let mut problem = format!("unknown flag {}", quoted(&format!("--{flag}")));
    if let Some(meant) = nearest(flag, FLAGS.iter().copied()) {
        problem.push_str(&format!("; did you mean {meant}?"));
    }
    UsageError(problem)
}

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; --help shows what there is", self.0)
    }
}

impl std::error::Error for UsageError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        let args = ["openclaw-gateway"].into_iter().chain(line.split_whitespace());
        Args::parse(args.map(OsString::from)).map_err(|error| error.0)
    }

    #[test]
    fn every_flag_is_read() {
        let expected = Args {
            command: Command::Check,
            config: Some("a.toml".into()),
            bind: Some("::1".into()),
            port: Some("0".into()),
            metrics_port: Some("9".into()),
            state_dir: Some("s".into()),
            log_level: Some("debug".into()),
        };
        let line = "--config a.toml --bind ::1 --port=0 --metrics-port 9 --state-dir s \
                    --log-level debug --check";
        assert_eq!(parse(line), Ok(expected.clone()));
        assert_eq!(parse(&format!("{line} serve")), Ok(expected));
    }

    #[test]
    fn no_command_is_serve() {
        assert_eq!(parse("").unwrap().command, Command::Serve);
        assert_eq!(parse("serve").unwrap().command, Command::Serve);
    }

    #[test]
    fn flag_given_twice_counts_as_given_last() {
        assert_eq!(parse("--port 1 --port 2").unwrap().port.unwrap(), "2");
    }

    #[test]
    fn help_and_version_win() {
        assert_eq!(parse("--help --nonsense").unwrap().command, Command::Help);
        assert_eq!(parse("-V --check").unwrap().command, Command::Version);
    }

    #[track_caller]
    fn check_error(line: &str, expected: &str) {
        assert_eq!(parse(line).unwrap_err(), expected);
    }

    #[test]
    fn mistakes_are_explained() {
        check_error("--prot 1", "unknown flag \"--prot\"; did you mean --port?");
        check_error("--statedir s", "unknown flag \"--statedir\"; did you mean --state-dir?");
        check_error("--frobnicate", "unknown flag \"--frobnicate\"");
        check_error("-x", "unknown flag -x");
        check_error("sevre", "unknown command \"sevre\"; did you mean serve?");
        check_error("tial", "unknown command \"tial\"; did you mean tail?");
        check_error("--port 1 tail", "options of tail come after it");
        check_error("serve now", "unexpected argument \"now\"");
        check_error("--port", "missing argument for option '--port'");
        check_error("--check=yes", "unexpected argument for option '--check': \"yes\"");
    }

    #[test]
    fn help_names_every_flag() {
        for flag in FLAGS {
            assert!(HELP.contains(flag), "{flag}");
        }
    }
}
