//! `sessions`: the agents' conversations, most recently active first, page by page.
//!
//! Called by `client::run`.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::connection::Connection;
use super::failure::Failure;
use super::options::{self, Options, Surroundings};
use super::screen::Screen;
use super::when;
use super::words::{Word, Words, unexpected, unknown_option};
use crate::shell::clock;

const OWN: &[&str] = &["agent", "active-within", "limit"];
/// Rows in one page.
const PAGE_ROWS: u64 = 200;

/// A page of `sessions.list`.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    sessions: Vec<Box<RawValue>>,
    #[serde(default, rename = "nextCursor", alias = "cursor")]
    next: Option<Value>,
}

/// What the table shows of a row.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Row {
    key: String,
    kind: String,
    model: Option<String>,
    total_tokens: u64,
    message_count: u64,
    /// As it was sent: a number of ours would round it.
    cost: Option<Box<RawValue>>,
    updated_at: u64,
    label: Option<String>,
}

/// What is asked for.
#[derive(Default)]
struct Ask {
    agent: Option<String>,
    active_within_ms: Option<u64>,
    limit: Option<u64>,
}

pub(super) fn run(mut words: Words, around: &Surroundings) -> Result<(), Failure> {
    let (mut options, mut ask) = (Options::default(), Ask::default());
    while let Some(word) = words.next()? {
        match word {
            Word::Option(name) if options.take(&name, &mut words)? => {}
            Word::Option(name) => match name.as_str() {
                "agent" => ask.agent = Some(words.value()?),
                "active-within" => {
                    let allowed = "a duration such as 10m or 2h";
                    let within = words.parsed(&name, allowed, when::duration)?;
                    ask.active_within_ms = u64::try_from(within.as_millis()).ok();
                }
                "limit" => ask.limit = Some(words.number(&name)?),
                _ => return Err(unknown_option(&name, &[options::NAMES, OWN])),
            },
            Word::Plain(word) => return Err(unexpected(&word)),
        }
    }
    let target = options.target(around, false)?;
    let login = options.login(around, &target)?;
    let mut screen = options.screen(around, false);
    let mut connection = Connection::open(&target, &login, options.timeout())?;
    let rows = read_pages(&mut connection, &ask, &mut screen)?;
    if !screen.json {
        let titles = ["SESSION", "KIND", "MODEL", "TOKENS", "MESSAGES", "COST", "UPDATED", "LABEL"];
        screen.table(&titles, &rows)?;
    }
    screen.flush()?;
    connection.close();
    Ok(())
}

/// JSON goes out page by page; rows of a table are collected, since its columns need them all.
fn read_pages(
    connection: &mut Connection,
    ask: &Ask,
    screen: &mut Screen,
) -> Result<Vec<Vec<String>>, Failure> {
    let now = clock::moment().unix_ms;
    let mut left = ask.limit.unwrap_or(u64::MAX);
    let mut cursor: Option<Value> = None;
    let mut rows = Vec::new();
    while left > 0 {
        let mut params = json!({ "limit": left.min(PAGE_ROWS) });
        if let Some(agent) = &ask.agent {
            params["agent"] = json!(agent);
        }
        if let Some(within) = ask.active_within_ms {
            params["activeWithinMs"] = json!(within);
        }
        if let Some(cursor) = &cursor {
            params["cursor"] = cursor.clone();
        }
        let body = connection.ask("sessions.list", &params)?;
        let page: Page = serde_json::from_str(body.get())
            .map_err(|error| Failure::Local(format!("sessions.list: {error}")))?;
        for session in page.sessions.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            left -= 1;
            if screen.json {
                screen.json_line(session.get())?;
            } else {
                rows.push(cells(&serde_json::from_str(session.get()).unwrap_or_default(), now));
            }
        }
        // A page that gives nothing, or no way on, is the last.
        let next = page.next.filter(|next| !next.is_null() && !page.sessions.is_empty());
        if next.is_none() || next == cursor {
            break;
        }
        cursor = next;
    }
    Ok(rows)
}

fn cells(row: &Row, now_unix_ms: u64) -> Vec<String> {
    let ago = when::span(now_unix_ms.saturating_sub(row.updated_at));
    vec![
        row.key.clone(),
        row.kind.clone(),
        row.model.clone().unwrap_or_else(|| "-".to_owned()),
        row.total_tokens.to_string(),
        row.message_count.to_string(),
        row.cost.as_ref().map_or_else(|| "0".to_owned(), |cost| cost.get().to_owned()),
        format!("{ago} ago"),
        row.label.clone().unwrap_or_default(),
    ]
}
