//! `status`: how the gateway is, in a few lines.
//!
//! Called by `client::run`.

use serde_json::Value;

use super::connection::Connection;
use super::failure::Failure;
use super::options::{self, Options, Surroundings};
use super::screen::Style;
use super::when;
use super::words::{Word, Words, unexpected, unknown_option};

pub(super) fn run(mut words: Words, around: &Surroundings) -> Result<(), Failure> {
    let mut options = Options::default();
    while let Some(word) = words.next()? {
        match word {
            Word::Option(name) if options.take(&name, &mut words)? => {}
            Word::Option(name) => return Err(unknown_option(&name, &[options::NAMES])),
            Word::Plain(word) => return Err(unexpected(&word)),
        }
    }
    let target = options.target(around, false)?;
    let login = options.login(around, &target)?;
    let mut screen = options.screen(around, false);

    let mut connection = Connection::open(&target, &login, options.timeout())?;
    let body = connection.ask("status", &serde_json::json!({}))?;
    if screen.json {
        screen.json_line(body.get())?;
    } else {
        let status: Value = serde_json::from_str(body.get()).unwrap_or_default();
        for (name, text) in rows(&status, &target.to_string()) {
            let name = screen.styled(Style::Bold, &format!("{name:<9}"));
            let text = screen.styled(Style::Plain, &text);
            screen.line(&format!("{name} {text}"))?;
        }
    }
    screen.flush()?;
    connection.close();
    Ok(())
}

/// What there is to say; what the gateway left out is left out.
fn rows(status: &Value, target: &str) -> Vec<(&'static str, String)> {
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64);
    let mut gateway = target.to_owned();
    if let Some(version) = status.get("version").and_then(Value::as_str) {
        gateway.push_str(&format!(", version {version}"));
    }
    if let Some(uptime) = number("/uptimeMs") {
        gateway.push_str(&format!(", up {}", when::span(uptime)));
    }
    let mut rows = vec![("gateway", gateway)];
    if let Some(healthy) = status.pointer("/store/healthy").and_then(Value::as_bool) {
        let text = if healthy { "takes reports" } else { "FAILING: reports are refused" };
        rows.push(("store", text.to_owned()));
    }
    let connections = (number("/connections/operators"), number("/connections/agents"));
    if let (Some(operators), Some(agents)) = connections {
        rows.push(("peers", format!("operators {operators}, agents {agents}")));
    }
    if let Some(sessions) = number("/sessions") {
        rows.push(("sessions", sessions.to_string()));
    }
    if let (Some(entries), Some(bytes)) = (number("/journal/entries"), number("/journal/bytes")) {
        rows.push(("journal", format!("entries {entries}, bytes {bytes}")));
    }
    rows
}
