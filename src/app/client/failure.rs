//! Why a subcommand ends without success, with its exit code and what to do next.
//!
//! Owns the exit codes and the advice. Prints nothing itself; `client::run` does, once.

use std::borrow::Cow;
use std::io;
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::Value;

use super::screen::escape;

/// Every way to fail.
#[derive(Debug)]
pub(in crate::app) enum Failure {
    /// The words typed make no sense.
    Usage(String),
    /// Something on this machine: a file, standard input, the key.
    Local(String),
    /// The gateway answered a request with an error.
    Refused {
        /// The method.
        method: String,
        /// Its answer.
        error: Box<WireError>,
        /// What to do, if there is something to say.
        advice: Option<String>,
    },
    /// No connection: what was dialled and why it failed, then what to do.
    Unreachable(String, Option<String>),
    /// The connection ended.
    Lost(Lost),
    /// The gateway did not let us in.
    NotAdmitted(Box<WireError>),
    /// Something did not happen in time.
    Timeout(String),
    /// Nobody reads our output any more: they have what they wanted.
    OutputClosed,
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub(in crate::app) struct Lost {
    /// The close code, if there was a close frame.
    pub(in crate::app) code: Option<u16>,
    /// Why, in words for a person; not escaped yet.
    pub(in crate::app) reason: String,
}

/// The `error` of a response.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::app) struct WireError {
    /// Such as `NOT_FOUND`.
    #[serde(default)]
    pub(in crate::app) code: String,
    /// What was wrong.
    #[serde(default)]
    pub(in crate::app) message: String,
    /// More, where there is more.
    #[serde(default)]
    pub(in crate::app) details: Value,
    /// The same may succeed later.
    #[serde(default)]
    pub(in crate::app) retryable: bool,
    /// When.
    #[serde(default, rename = "retryAfterMs")]
    pub(in crate::app) retry_after_ms: Option<u64>,
}

impl WireError {
    /// Sets a detail that the gateway left out.
    pub(in crate::app) fn fill_in(&mut self, name: &str, text: Option<String>) {
        if let (Some(text), Some(details)) = (text, self.details.as_object_mut()) {
            details.entry(name).or_insert(Value::String(text));
        }
    }

    fn detail(&self, name: &str) -> &str {
        self.details.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

impl From<io::Error> for Failure {
    /// For writing to stdout and stderr, the only place where `?` meets an `io::Error`.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Local(format!("cannot write to stdout: {error}")),
        }
    }
}

impl Failure {
    /// The exit code, as `--help` and the README list them.
    pub(in crate::app) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::OutputClosed => 0,
            Self::Local(_) | Self::Refused { .. } => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(..) | Self::Lost(_) => 3,
            Self::Timeout(_) => 4,
            Self::NotAdmitted(_) => 5,
        })
    }

    /// What to print, one line for what happened and one for what to do; empty for nothing.
    pub(in crate::app) fn report(&self, command: &str) -> String {
        let (what, advice) = match self {
            Self::OutputClosed => return String::new(),
            Self::Usage(text) => (
                text.clone(),
                Some(format!("openclaw-gateway {command} --help shows what there is")),
            ),
            Self::Local(text) => (text.clone(), None),
            Self::Refused { method, error, advice } => {
                let what = format!("{method}: {} ({})", error.message, error.code);
                (what, advice.clone().or_else(|| later(error)))
            }
            Self::Unreachable(text, advice) => (text.clone(), advice.clone()),
            Self::Lost(lost) => (lost.describe(), None),
            Self::NotAdmitted(error) => {
                (format!("not admitted: {} ({})", error.message, error.code), admission(error))
            }
            Self::Timeout(what) => (
                format!("timed out waiting for {what}"),
                Some("--timeout allows more time".to_owned()),
            ),
        };
        // A list of configuration errors has lines; what a gateway said is one.
        let what = match self {
            Self::Local(text) => text.lines().map(escape).collect::<Vec<_>>().join("\n"),
            _ => escape(&what).into_owned(),
        };
        let mut report = format!("openclaw-gateway {command}: {what}\n");
        if let Some(advice) = advice {
            report.push_str(&format!("  {}\n", escape(&advice)));
        }
        report
    }

    /// Whether trying again in a while may help, without anybody changing anything.
    pub(in crate::app) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(..) | Self::Timeout(_) => true,
            Self::Lost(lost) => lost.code != Some(4001),
            Self::NotAdmitted(error) => error.retryable,
            Self::Usage(_) | Self::Local(_) | Self::Refused { .. } | Self::OutputClosed => false,
        }
    }

    /// How long the gateway asks us to wait.
    pub(in crate::app) fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::NotAdmitted(error) => error.retry_after_ms,
            _ => None,
        }
    }
}

impl Lost {
    /// `the gateway closed the connection: service restart (1012)`.
    pub(in crate::app) fn describe(&self) -> String {
        match self.code {
            Some(code) => {
                format!("the gateway closed the connection: {} ({code})", self.reason)
            }
            None => format!("the connection was lost: {}", self.reason),
        }
    }
}

fn later(error: &WireError) -> Option<String> {
    let ms = error.retry_after_ms.filter(|_| error.retryable)?;
    Some(format!("try again in {} s", ms.div_ceil(1_000).max(1)))
}

/// What a person does about a refused connect (`docs/protocol.md`, "Refusals").
fn admission(error: &WireError) -> Option<String> {
    let local = "on the gateway's machine, in its directory";
    Some(match error.detail("code") {
        "PAIRING_REQUIRED" => {
            let why = match error.detail("reason") {
                "key-changed" => "this name or id belongs to another key",
                "role-upgrade" => "this device was approved for another role",
                "scope-upgrade" => "this device asks for more than was approved",
                _ => "this device is new",
            };
            let request = shell_word(error.detail("requestId"));
            format!("{why}; within 5 minutes, {local}: openclaw-gateway devices approve {request}")
        }
        "DEVICE_REVOKED" => {
            let device = shell_word(error.detail("deviceId"));
            format!("{local}: openclaw-gateway devices forget {device}").trim_end().to_owned()
        }
        "AUTH_TOKEN_MISSING" | "AUTH_PASSWORD_MISSING" | "DEVICE_IDENTITY_REQUIRED" => {
            "set OPENCLAW_GATEWAY_TOKEN, or name a file with --token-file".to_owned()
        }
        "AUTH_TOKEN_MISMATCH" | "AUTH_PASSWORD_MISMATCH" | "AUTH_DEVICE_TOKEN_MISMATCH" => {
            "compare the secret in OPENCLAW_GATEWAY_TOKEN or --token-file with the gateway's \
             gateway.auth.token"
                .to_owned()
        }
        "AUTH_RATE_LIMITED" => {
            let wait = later(error).unwrap_or_else(|| "wait a minute".to_owned());
            format!(
                "{wait}, or {local}: openclaw-gateway call auth.rateLimit.clear --state-dir DIR"
            )
        }
        "DEVICE_AUTH_SIGNATURE_EXPIRED" => {
            "the clocks of the two machines differ by more than two minutes".to_owned()
        }
        "DEVICE_LIMIT_REACHED" => {
            "openclaw-gateway devices list, then devices revoke the one no longer used".to_owned()
        }
        "PROTOCOL_MISMATCH" => "client and gateway are too far apart; upgrade the older".to_owned(),
        "CONTROL_UI_ORIGIN_NOT_ALLOWED" => {
            "a proxy in between adds an Origin header; the command line sends none".to_owned()
        }
        _ => return later(error),
    })
}

/// A word of the gateway's that a person may paste into a shell; anything else is not repeated.
fn shell_word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    match !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        true => Cow::Borrowed(text),
        false => Cow::Borrowed("ID"),
    }
}
