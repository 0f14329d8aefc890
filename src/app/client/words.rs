//! The words after a subcommand, one at a time, with errors that name the nearest option.
//!
//! Owns the lexing; what a word means is for the subcommand. Called by each subcommand's parser.

use std::ffi::OsString;

use lexopt::Arg;

use super::failure::Failure;
use crate::app::config::error::{nearest, quoted};
use crate::base::limits::COUNT_MAX;

/// The words that are left.
#[derive(Debug)]
pub(in crate::app) struct Words {
    parser: lexopt::Parser,
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::app) enum Word {
    /// `--name`, or `-n` under the long name that it stands for.
    Option(String),
    /// Anything else; `-` too.
    Plain(String),
}

/// Letters that stand for options.
const SHORT: [(char, &str); 2] = [('h', "help"), ('n', "lines")];

impl Words {
    pub(in crate::app) fn new(words: Vec<OsString>) -> Self {
        Self { parser: lexopt::Parser::from_args(words) }
    }

    /// The next word.
    pub(in crate::app) fn next(&mut self) -> Result<Option<Word>, Failure> {
        let word = self.parser.next().map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(match word {
            None => None,
            Some(Arg::Long(name)) => Some(Word::Option(name.to_owned())),
            Some(Arg::Short(letter)) => match SHORT.iter().find(|(short, _)| *short == letter) {
                Some((_, name)) => Some(Word::Option((*name).to_owned())),
                None => return Err(Failure::Usage(format!("unknown option -{letter}"))),
            },
            Some(Arg::Value(value)) => Some(Word::Plain(unicode(value)?)),
        })
    }

    /// The value of the option that was just returned.
    pub(in crate::app) fn value(&mut self) -> Result<String, Failure> {
        unicode(self.parser.value().map_err(|error| Failure::Usage(error.to_string()))?)
    }

    /// The value of an option, read by a function; `allowed` says what it takes.
    pub(in crate::app) fn parsed<T>(
        &mut self,
        option: &str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Failure> {
        let text = self.value()?;
        parse(&text).ok_or_else(|| {
            Failure::Usage(format!("--{option} must be {allowed}, not {}", quoted(&text)))
        })
    }

    /// A count, from 0 to `COUNT_MAX`.
    pub(in crate::app) fn number(&mut self, option: &str) -> Result<u64, Failure> {
        self.parsed(option, &format!("a whole number, at most {COUNT_MAX}"), |text| {
            text.parse().ok().filter(|number| *number <= COUNT_MAX)
        })
    }
}

fn unicode(value: OsString) -> Result<String, Failure> {
    value.into_string().map_err(|value| {
        let shown = quoted(&value.to_string_lossy());
        Failure::Usage(format!("argument is not valid Unicode: {shown}"))
    })
}

/// An option that the subcommand does not have.
pub(in crate::app) fn unknown_option(name: &str, known: &[&[&str]]) -> Failure {
    let mut problem = format!("unknown option {}", quoted(&format!("--{name}")));
    if let Some(meant) = nearest(name, known.iter().copied().flatten().copied()) {
        problem.push_str(&format!("; did you mean --{meant}?"));
    }
    Failure::Usage(problem)
}

/// A word that the subcommand has no place for.
pub(in crate::app) fn unexpected(word: &str) -> Failure {
    Failure::Usage(format!("unexpected argument {}", quoted(word)))
}

/// A word that must be one of a few.
pub(in crate::app) fn unknown_word(what: &str, word: &str, known: &[&str]) -> Failure {
    let mut problem = format!("unknown {what} {}", quoted(word));
    match nearest(word, known.iter().copied()) {
        Some(meant) => problem.push_str(&format!("; did you mean {meant}?")),
        None => problem.push_str(&format!("; there are {}", known.join(", "))),
    }
    Failure::Usage(problem)
}
