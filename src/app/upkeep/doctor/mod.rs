//! `doctor`: what could keep this gateway from starting, or from running for years.
//!
//! Looks and changes nothing, also while the gateway runs. Owns the order of the checks, their
//! presentation and the exit code; each check is in a file of its own subject.

mod files;
mod machine;
mod port;

use std::io;

use serde_json::json;

use crate::app::args::Args;
use crate::app::client::failure::Failure;
use crate::app::client::options::Surroundings;
use crate::app::client::screen::{Form, Screen, Style};
use crate::app::client::words::{Word, Words, unexpected, unknown_option};
use crate::app::config::{Config, Environment};
use crate::shell::clock;

const OPTIONS: &[&str] = &["state-dir", "config", "json", "text", "help"];

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    level: Level,
    /// One word.
    subject: &'static str,
    /// What was found.
    text: String,
    /// What to do about it; empty if it is good.
    advice: String,
}

impl Finding {
    fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject, text: text.into(), advice: String::new() }
    }

    fn warn(subject: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warn, subject, text: text.into(), advice: advice.into() }
    }

    fn fail(subject: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Fail, subject, text: text.into(), advice: advice.into() }
    }
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Ok => Style::Faint,
            Self::Warn => Style::Yellow,
            Self::Fail => Style::Red,
        }
    }
}

pub(in crate::app) fn run(mut words: Words, around: &Surroundings) -> Result<(), Failure> {
    let mut args = Args::default();
    let mut form = None;
    while let Some(word) = words.next()? {
        match word {
            Word::Option(name) => match name.as_str() {
                "state-dir" => args.state_dir = Some(words.value()?.into()),
                "config" => args.config = Some(words.value()?.into()),
                "json" => form = Some(Form::Json),
                "text" => form = Some(Form::Text),
                _ => return Err(unknown_option(&name, &[OPTIONS])),
            },
            Word::Plain(word) => return Err(unexpected(&word)),
        }
    }
    let environment = Environment::read(|name| std::env::var_os(name));
    let findings = examine(&args, &environment);
    show(&findings, Screen::new(form, false, around.no_colour))?;
    let failed = findings.iter().filter(|finding| finding.level == Level::Fail).count();
    match failed {
        0 => Ok(()),
        _ => Err(Failure::Local(format!("{} failed", super::count(failed, "check")))),
    }
}

fn examine(args: &Args, environment: &Environment) -> Vec<Finding> {
    let now_ms = clock::moment().unix_ms;
    let config = match Config::load(args, environment) {
        Ok(config) => config,
        Err(errors) => {
            let each = errors.0.iter().map(|error| {
                let advice = "correct it; config.example.toml explains every key";
                Finding::fail("configuration", error.to_string(), advice)
            });
            return each.chain([machine::clock(now_ms)]).collect();
        }
    };
    let mut findings = vec![Finding::ok("configuration", "every setting makes sense")];
    let warnings = config.warnings().into_iter();
    let advice = "change it unless it is meant; config.example.toml explains the key";
    findings.extend(warnings.map(|warning| Finding::warn("configuration", warning, advice)));
    let file = args.config.as_ref().or(environment.config.as_ref());
    findings.extend(file.map(|file| files::configuration(file, &config.state_dir)));
    findings.extend(files::certificates(&config, now_ms));
    findings.extend(files::state(&config.state_dir, now_ms));
    // For root the audit file of another user would be a stranger's.
    findings.push(files::user(&config.state_dir).unwrap_or_else(|| files::audit(&config.audit)));
    findings.push(machine::connections(&config));
    findings.push(machine::disk(&config.state_dir));
    findings.push(machine::clock(now_ms));
    findings.extend(port::ports(&config));
    findings
}

fn show(findings: &[Finding], mut screen: Screen) -> io::Result<()> {
    if screen.json {
        for finding in findings {
            let Finding { level, subject, text, advice } = finding;
            let line = json!({
                "check": subject, "level": level.word().to_lowercase(), "text": text,
                "advice": advice,
            });
            screen.json_line(&line.to_string())?;
        }
        return screen.flush();
    }
    for finding in findings {
        let level = screen.styled(finding.level.style(), &format!("{:<5}", finding.level.word()));
        let subject = screen.styled(Style::Bold, &format!("{:<13}", finding.subject));
        let text = screen.styled(Style::Plain, &finding.text);
        screen.line(&format!("{level} {subject} {text}"))?;
        if !finding.advice.is_empty() {
            let advice = screen.styled(Style::Plain, &finding.advice);
            screen.line(&format!("{:20}{advice}", ""))?;
        }
    }
    screen.flush()
}
