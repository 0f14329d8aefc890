//! Why the gateway does not start, or had to stop: what a person must fix.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use super::args::UsageError;
use super::config::error::ConfigErrors;
use crate::shell::state_dir::StateDirError;
use crate::shell::store::StoreError;

/// Printed once by `app::run`, with [`StartError::report`]; never seen by a peer.
#[derive(Debug)]
pub enum StartError {
    /// The command line makes no sense.
    Usage(UsageError),
    /// The configuration makes no sense.
    Config(ConfigErrors),
    /// The state directory cannot be used.
    StateDir(StateDirError),
    /// The store cannot be opened.
    Store(StoreError),
    /// A system call failed.
    Io {
        /// What failed and what to do, such as `cannot listen for signals`.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Anything else, in a sentence: lower case, no full stop.
    Other(String),
}

impl StartError {
    /// The gateway cannot listen: where (`127.0.0.1:8080`), why, and what sets the port and the
    /// address (`--port or gateway.port`).
    pub(super) fn cannot_listen(
        place: impl fmt::Display,
        why: &io::Error,
        [port, address]: [&str; 2],
    ) -> Self {
        let advice = match why.kind() {
            io::ErrorKind::AddrInUse => {
                format!(
                    "; another program listens there; stop it, or choose another port with {port}"
                )
            }
            io::ErrorKind::PermissionDenied => {
                format!("; this user may not listen there; choose another port with {port}")
            }
            io::ErrorKind::AddrNotAvailable => {
                format!("; this machine does not have that address; choose one with {address}")
            }
            _ => String::new(),
        };
        Self::Other(format!("cannot listen on {place}: {why}{advice}"))
    }

    /// The exit code: 2 for usage and configuration, 1 for what fails while running.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Config(_) => ExitCode::from(2),
            Self::StateDir(_) | Self::Store(_) | Self::Io { .. } | Self::Other(_) => {
                ExitCode::from(1)
            }
        }
    }

    /// `gateway: what failed: why: why that`.
    pub fn report(&self) -> String {
        let mut report = format!("gateway: {self}");
        let mut cause = self.source();
        while let Some(error) = cause {
            report.push_str(&format!(": {error}"));
            cause = error.source();
        }
        report
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::StateDir(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Io { what, .. } => f.write_str(what),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Usage(error) => error.source(),
            Self::Config(error) => error.source(),
            Self::StateDir(error) => error.source(),
            Self::Store(error) => error.source(),
            Self::Io { source, .. } => Some(source),
            Self::Other(_) => None,
        }
    }
}

macro_rules! from {
    ($($error:ty => $kind:ident),* $(,)?) => {$(
        impl From<$error> for StartError {
            fn from(error: $error) -> Self {
                Self::$kind(error)
            }
        }
    )*};
}
from!(
    UsageError => Usage,
    ConfigErrors => Config,
    StateDirError => StateDir,
    StoreError => Store,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_names_every_cause_once() {
        let error = StartError::Store(StoreError::File {
            path: "state/gateway.redb".into(),
            source: io::Error::other("disk on fire"),
        });
        assert_eq!(error.report(), "gateway: cannot open state/gateway.redb: disk on fire");
        let error = StartError::Io {
            what: "cannot serve metrics".to_owned(),
            source: io::ErrorKind::PermissionDenied.into(),
        };
        assert_eq!(error.report(), "gateway: cannot serve metrics: permission denied");
    }

    #[test]
    fn a_place_that_cannot_be_had_comes_with_what_to_do() {
        use io::ErrorKind as Kind;
        for (kind, advice) in [
            (
                Kind::AddrInUse,
                "; another program listens there; stop it, or choose another port with P",
            ),
            (
                Kind::PermissionDenied,
                "; this user may not listen there; choose another port with P",
            ),
            (
                Kind::AddrNotAvailable,
                "; this machine does not have that address; choose one with A",
            ),
            (Kind::OutOfMemory, ""),
        ] {
            let why = io::Error::from(kind);
            let report = StartError::cannot_listen("1.2.3.4:5", &why, ["P", "A"]).report();
            assert_eq!(report, format!("gateway: cannot listen on 1.2.3.4:5: {why}{advice}"));
        }
    }
}
