//! What is wrong with the configuration, said so that a person can put it right at once.
//!
//! Every error names where it was found, the key, what was found and what is allowed.
//! Never shows the value of a secret. Pure.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use crate::base::limits::CONFIG_ERRORS_MAX;

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the configuration file.
    File {
        /// As it was named on the command line.
        file: PathBuf,
        /// From 1.
        line: usize,
    },
    /// On the command line, by this flag.
    Flag(&'static str),
    /// In the environment, by this variable.
    Environment(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(variable) => f.write_str(variable),
        }
    }
}

/// A value and where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub place: Place,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it was found.
    pub place: Place,
    /// The key, dotted, such as `gateway.tls.port`; empty when the file as a whole is wrong.
    pub key: String,
    /// What is wrong, what was found, what is allowed.
    pub problem: String,
}

impl ConfigError {
    /// A value that is not allowed.
    pub fn not_allowed(place: &Place, key: &str, found: &str, allowed: &str) -> Self {
        let problem = format!("found {found}; allowed: {allowed}");
        Self { place: place.clone(), key: key.to_owned(), problem }
    }

    /// Anything else.
    pub fn new(place: &Place, key: &str, problem: impl Into<String>) -> Self {
        Self { place: place.clone(), key: key.to_owned(), problem: problem.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.place, self.problem),
            key => write!(f, "{}: {key}: {}", self.place, self.problem),
        }
    }
}

/// Everything that is wrong, in the order it was found; never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("configuration refused")?;
        for error in self.0.iter().take(CONFIG_ERRORS_MAX) {
            write!(f, "\n  {error}")?;
        }
        match self.0.len().saturating_sub(CONFIG_ERRORS_MAX) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

pub use crate::base::nearest::nearest;

/// Text in quotes, with control characters escaped, cut to what fits a line.
pub fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_fits_a_line_and_shows_no_control_characters() {
        assert_eq!(quoted("a\u{1b}[31m\n"), r#""a\u{1b}[31m\n""#);
        assert_eq!(quoted(&"ü".repeat(61)).chars().count(), 63);
    }
}
