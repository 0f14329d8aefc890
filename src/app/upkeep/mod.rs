//! Looking after a gateway on its own machine: `backup`, `restore`, `doctor`, `health`,
//! `reload`.
//!
//! Unlike the client's subcommands these know the gateway's files; like them they share no memory
//! with a gateway that runs. Owns how the state directory is found. Called by `client::run`, whose
//! table they are in.

pub(in crate::app) mod backup;
pub(in crate::app) mod doctor;
pub(in crate::app) mod health;
mod local;
pub(in crate::app) mod reload;
pub(in crate::app) mod restore;

use std::path::PathBuf;

use super::args::Args;
use super::client::failure::Failure;
use super::client::words::{Word, Words, unexpected, unknown_option};
use super::config::{Config, Environment};

/// Options of `backup`, `restore`, `health` and `reload`.
const OPTIONS: &[&str] = &["state-dir", "config", "help"];

/// What was typed after `backup` or `restore`.
struct Typed {
    /// The backup.
    file: PathBuf,
    /// Where the state is.
    state_dir: PathBuf,
}

impl Typed {
    fn read(words: Words) -> Result<Self, Failure> {
        let (file, args) = read(words, true)?;
        let file = file.filter(|file| file.file_name().is_some());
        let file = file.ok_or_else(|| Failure::Usage("FILE is missing".to_owned()))?;
        Ok(Self { file, state_dir: state_dir(args)? })
    }
}

/// Words without a file.
fn state_dir_typed(words: Words) -> Result<PathBuf, Failure> {
    read(words, false).and_then(|(_, args)| state_dir(args))
}

fn read(mut words: Words, takes_file: bool) -> Result<(Option<PathBuf>, Args), Failure> {
    let mut args = Args::default();
    let mut file = None;
    while let Some(word) = words.next()? {
        match word {
            Word::Option(name) => match name.as_str() {
                "state-dir" => args.state_dir = Some(words.value()?.into()),
                "config" => args.config = Some(words.value()?.into()),
                _ => return Err(unknown_option(&name, &[OPTIONS])),
            },
            Word::Plain(word) if takes_file && file.is_none() => file = Some(PathBuf::from(word)),
            Word::Plain(word) => return Err(unexpected(&word)),
        }
    }
    Ok((file, args))
}

/// The directory that was named, else that of the configuration, which need not be read otherwise.
fn state_dir(args: Args) -> Result<PathBuf, Failure> {
    if let Some(state_dir) = args.state_dir {
        return Ok(state_dir);
    }
    let environment = Environment::read(|name| std::env::var_os(name));
    match Config::load(&args, &environment) {
        Ok(config) => Ok(config.state_dir),
        Err(errors) => Err(Failure::Local(errors.to_string().trim_end().to_owned())),
    }
}

/// An error with its causes.
fn with_cause(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// `3 things`, `1 thing`.
fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
