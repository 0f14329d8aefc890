//! `devices`: who may connect, and who waits to be let in.
//!
//! Uses the gateway's local socket unless a URL is given, so that it also works while nobody can
//! log in. Called by `client::run`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::Connection;
use super::failure::Failure;
use super::options::{self, Options, Surroundings};
use super::screen::Screen;
use super::when;
use super::words::{Word, Words, unexpected, unknown_option, unknown_word};
use crate::shell::clock;

const ACTIONS: &[&str] = &["list", "approve", "reject", "revoke", "forget", "pair"];

pub(super) fn run(mut words: Words, around: &Surroundings) -> Result<(), Failure> {
    let mut options = Options::default();
    let (mut action, mut id) = (None, None);
    while let Some(word) = words.next()? {
        match word {
            Word::Option(name) if options.take(&name, &mut words)? => {}
            Word::Option(name) => return Err(unknown_option(&name, &[options::NAMES])),
            Word::Plain(word) if action.is_none() => action = Some(word),
            Word::Plain(word) if id.is_none() => id = Some(word),
            Word::Plain(word) => return Err(unexpected(&word)),
        }
    }
    let action = action.unwrap_or_else(|| "list".to_owned());
    let (method, params) = request(&action, id)?;
    let target = options.target(around, true)?;
    let login = options.login(around, &target)?;
    let mut screen = options.screen(around, false);

    let mut connection = Connection::open(&target, &login, options.timeout())?;
    let body = connection.ask(method, &params)?;
    if screen.json {
        screen.json_line(body.get())?;
    } else {
        let body: Value = serde_json::from_str(body.get()).unwrap_or_default();
        show(&mut screen, &action, &params, &body)?;
    }
    screen.flush()?;
    connection.close();
    Ok(())
}

/// The method for an action, and its parameters.
fn request(action: &str, id: Option<String>) -> Result<(&'static str, Value), Failure> {
    let wanted = |what: &str| {
        Failure::Usage(format!("devices {action} needs {what}; devices list shows them"))
    };
    let request = |id: Option<String>| match id {
        Some(id) => Ok(json!({ "requestId": id })),
        None => Err(wanted("a REQUEST")),
    };
    let device = |id: Option<String>| match id {
        Some(id) => Ok(json!({ "deviceId": id })),
        None => Err(wanted("a DEVICE")),
    };
    let nothing = |id: Option<String>| match id {
        Some(word) => Err(unexpected(&word)),
        None => Ok(json!({})),
    };
    Ok(match action {
        "list" => ("device.pair.list", nothing(id)?),
        "approve" => ("device.pair.approve", request(id)?),
        "reject" => ("device.pair.reject", request(id)?),
        "revoke" => ("device.pair.remove", device(id)?),
        "forget" => ("device.pair.forget", device(id)?),
        "pair" => ("device.pair.code", nothing(id)?),
        other => return Err(unknown_word("action", other, ACTIONS)),
    })
}

fn show(screen: &mut Screen, action: &str, params: &Value, body: &Value) -> Result<(), Failure> {
    let now = clock::moment().unix_ms;
    let name = |key: &str| params.get(key).and_then(Value::as_str).unwrap_or_default();
    let said = match action {
        "list" => return list(screen, body, now),
        "approve" => {
            let device = body.pointer("/device/deviceId").or_else(|| body.get("deviceId"));
            let device = device.and_then(Value::as_str).unwrap_or_else(|| name("requestId"));
            format!("approved {device}; it can connect now")
        }
        "reject" => format!("rejected {}", name("requestId")),
        "revoke" => {
            let device = name("deviceId");
            format!("revoked {device}; devices forget {device} lets it ask again")
        }
        "forget" => format!("forgot {}; it can ask again", name("deviceId")),
        _ => {
            let code = body.get("code").and_then(Value::as_str).unwrap_or_default();
            let expires = body.get("expiresAtMs").and_then(Value::as_u64).unwrap_or(now);
            let left = when::span(expires.saturating_sub(now));
            format!("{code}\ngood once, for {left}: OPENCLAW_PAIRING_CODE on the other machine")
        }
    };
    for line in said.lines() {
        let line = screen.styled(super::screen::Style::Plain, line);
        screen.line(&line)?;
    }
    Ok(())
}

/// The body of `device.pair.list`, as far as it is shown.
#[derive(Default, Deserialize)]
#[serde(default)]
struct List {
    pending: Vec<Line>,
    paired: Vec<Line>,
    devices: Vec<Line>,
}

/// A device or a request.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Line {
    request_id: String,
    device_id: String,
    status: String,
    connected: bool,
    role: String,
    scopes: Vec<String>,
    agent: Option<String>,
    display_name: Option<String>,
    client_id: Option<String>,
    reason: Option<String>,
    remote_ip: Option<String>,
    ts: Option<u64>,
    last_seen_ms: Option<u64>,
}

impl Line {
    fn name(&self) -> String {
        let names = [&self.agent, &self.display_name, &self.client_id];
        names.into_iter().flatten().next().cloned().unwrap_or_else(|| "-".to_owned())
    }

    /// `operator: operator.admin`, or the role alone.
    fn authority(&self) -> String {
        match self.scopes.is_empty() {
            true => self.role.clone(),
            false => format!("{}: {}", self.role, self.scopes.join(" ")),
        }
    }

    fn ago(&self, now_unix_ms: u64) -> String {
        let at = self.ts.or(self.last_seen_ms);
        at.map_or_else(
            || "-".to_owned(),
            |at| format!("{} ago", when::span(now_unix_ms.saturating_sub(at))),
        )
    }
}

fn list(screen: &mut Screen, body: &Value, now: u64) -> Result<(), Failure> {
    let list = List::deserialize(body)
        .map_err(|error| Failure::Local(format!("device.pair.list: {error}")))?;
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    if !list.pending.is_empty() {
        let row = |line: &Line| {
            vec![
                line.request_id.clone(),
                line.name(),
                or_dash(&line.reason),
                line.authority(),
                or_dash(&line.remote_ip),
                line.ago(now),
                line.device_id.clone(),
            ]
        };
        let titles = ["REQUEST", "NAME", "WHY", "ASKS FOR", "FROM", "SINCE", "DEVICE"];
        screen.table(&titles, &list.pending.iter().map(row).collect::<Vec<_>>())?;
        screen.line("")?;
    }
    // `devices` shows the revoked ones, too; a gateway that lacks it has `paired`.
    let devices = if list.devices.is_empty() { &list.paired } else { &list.devices };
    if devices.is_empty() {
        screen.line("no devices are registered")?;
        return Ok(());
    }
    let row = |line: &Line| {
        let status = if line.status.is_empty() { "approved" } else { &line.status };
        let status = if line.connected { "connected" } else { status };
        vec![
            line.device_id.clone(),
            line.name(),
            status.to_owned(),
            line.authority(),
            line.ago(now),
        ]
    };
    let titles = ["DEVICE", "NAME", "STATUS", "MAY", "LAST SEEN"];
    screen.table(&titles, &devices.iter().map(row).collect::<Vec<_>>())?;
    Ok(())
}
