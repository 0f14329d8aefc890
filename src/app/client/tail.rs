//! `tail`: the journal as it grows, complete, in order and nothing twice, across reconnects.
//!
//! The rule that makes it so: what was shown last is remembered by its cursor. After every
//! connect, and after a `log.gap`, the journal is read back from there with `logs.tail`, while live
//! events are set aside; a live event whose cursor is not beyond it was shown already. Called by
//! `client::run`.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::connection::{Connection, Event, Heard};
use super::failure::Failure;
use super::options::{self, Options, Surroundings};
use super::screen::{Screen, Style, escape};
use super::when;
use super::words::{Word, Words, unexpected, unknown_option};
use crate::base::limits::{CLIENT_BACKOFF_SECONDS, LOGS_TAIL_BYTES_MAX, LOGS_TAIL_LIMIT_MAX};
use crate::protocol::log_entry::Level;
use crate::shell::clock;

const OWN: &[&str] = &["session", "level", "source", "since", "cursor", "lines", "no-follow"];
/// Entries shown of what was there before, unless told otherwise.
const LINES_DEFAULT: u64 = 10;

/// What is asked for.
#[derive(Debug, Default)]
struct Ask {
    filter: Filter,
    /// Where to begin.
    from: From,
    /// End when everything that is there has been shown.
    no_follow: bool,
}

/// Where to begin.
#[derive(Debug)]
enum From {
    /// With the newest so many.
    Newest(u64),
    /// After this cursor.
    Cursor(u64),
    /// With the oldest entry of this time, milliseconds since 1970.
    Time(u64),
}

impl Default for From {
    fn default() -> Self {
        Self::Newest(LINES_DEFAULT)
    }
}

/// Which entries are shown.
#[derive(Debug, Default)]
struct Filter {
    session: Option<String>,
    source: Option<String>,
    level: Option<Level>,
}

/// What is looked at in an entry; the rest is shown as it came.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    cursor: u64,
    timestamp: u64,
    level: String,
    source: String,
    session: Option<String>,
    message: String,
    extra: Option<Box<RawValue>>,
}

/// The body of `logs.tail`.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    entries: Vec<Box<RawValue>>,
    cursor: u64,
    #[serde(default)]
    truncated: bool,
    #[serde(default)]
    reset: bool,
}

pub(super) fn run(mut words: Words, around: &Surroundings) -> Result<(), Failure> {
    let (options, ask) = parse(&mut words)?;
    let target = options.target(around, false)?;
    let login = options.login(around, &target)?;
    let screen = options.screen(around, true);
    let mut tail = Tail { ask, screen, shown: None };
    let mut failures = 0;
    loop {
        let connected = Connection::open(&target, &login, options.timeout());
        let failure = match connected.and_then(|connection| tail.follow(connection, &mut failures))
        {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        tail.screen.flush()?;
        // Before anything was ever shown, a mistake in the address is likelier than an outage.
        if tail.shown.is_none() || tail.ask.no_follow || !failure.is_transient() {
            return Err(failure);
        }
        let asked = Duration::from_millis(failure.retry_after_ms().unwrap_or_default());
        let wait = backoff(failures).max(asked);
        failures += 1;
        let why = failure.report("tail");
        let why = why.lines().next().unwrap_or_default();
        // Nobody is left to tell when stderr is closed.
        let _closed = writeln!(io::stderr(), "{why}; trying again in {} s", wait.as_secs());
        pause(wait);
    }
}

fn parse(words: &mut Words) -> Result<(Options, Ask), Failure> {
    let (mut options, mut ask) = (Options::default(), Ask::default());
    let now = clock::moment().unix_ms;
    while let Some(word) = words.next()? {
        match word {
            Word::Option(name) if options.take(&name, words)? => {}
            Word::Option(name) => match name.as_str() {
                "session" => ask.filter.session = Some(words.value()?),
                "source" => ask.filter.source = Some(words.value()?),
                "level" => {
                    let allowed = "debug, info, warn or error";
                    ask.filter.level = Some(words.parsed(&name, allowed, Level::parse)?);
                }
                "since" => {
                    let allowed = "a duration such as 10m, or a UTC time such as 2026-11-22T18:30";
                    let since = |text: &str| when::since(text, now);
                    ask.from = From::Time(words.parsed(&name, allowed, since)?);
                }
                "cursor" => ask.from = From::Cursor(words.number(&name)?),
                "lines" => ask.from = From::Newest(words.number(&name)?),
                "no-follow" => ask.no_follow = true,
                _ => return Err(unknown_option(&name, &[options::NAMES, OWN])),
            },
            Word::Plain(word) => return Err(unexpected(&word)),
        }
    }
    Ok((options, ask))
}

/// The wait before the next attempt, after so many that failed in a row.
fn backoff(failures: usize) -> Duration {
    let last = CLIENT_BACKOFF_SECONDS.last().copied().unwrap_or_default();
    Duration::from_secs(CLIENT_BACKOFF_SECONDS.get(failures).copied().unwrap_or(last))
}

/// Waits, with nothing to wait for but time.
fn pause(wait: Duration) {
    // The channel of `after` brings one message, so this does not fail.
    let _woken = crossbeam_channel::after(wait).recv();
}

/// What was shown so far, and how.
struct Tail {
    ask: Ask,
    screen: Screen,
    /// The cursor up to which everything that was asked for has been shown.
    shown: Option<u64>,
}

impl Tail {
    /// Shows everything that comes over one connection. Ends well only without following.
    fn follow(&mut self, mut connection: Connection, failures: &mut usize) -> Result<(), Failure> {
        if connection.knows("logs.subscribe") && !self.ask.filter.is_empty() {
            connection.ask("logs.subscribe", &self.ask.filter.params())?;
        }
        self.read_back(&mut connection)?;
        *failures = 0;
        if self.ask.no_follow {
            connection.close();
            return Ok(());
        }
        watch_stdout(&mut connection)?;
        loop {
            match self.next(&mut connection)? {
                Some(event) if event.name == "log" => self.live(&event)?,
                Some(event) if event.name == "log.gap" => {
                    self.read_back(&mut connection)?;
                    watch_stdout(&mut connection)?;
                }
                _ => {}
            }
        }
    }

    /// The next event. What was shown is let out before it is waited for, and not for each entry
    /// of a burst.
    fn next(&mut self, connection: &mut Connection) -> Result<Option<Event>, Failure> {
        /// How long entries may stay in our buffer while more keep coming.
        const LINGER: Duration = Duration::from_millis(5);
        let mut deadline = clock::instant() + LINGER;
        loop {
            match connection.hear(deadline)? {
                Heard::Event(event) => return Ok(Some(event)),
                Heard::Response(_) => return Ok(None),
                Heard::Woken => return Err(Failure::OutputClosed),
                Heard::Nothing => {
                    self.screen.flush()?;
                    deadline = far_away();
                }
            }
        }
    }

    fn live(&mut self, event: &Event) -> Result<(), Failure> {
        let entry = read(&event.payload)?;
        if self.shown.is_none_or(|shown| entry.cursor > shown) {
            if self.ask.filter.takes(&entry) {
                self.show(&entry, &event.payload)?;
            }
            self.shown = Some(entry.cursor);
        }
        Ok(())
    }

    /// Shows what the journal has after what was shown. Live events that come meanwhile are not
    /// kept: the last page holds them, or, should one have overtaken it, the next.
    fn read_back(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        loop {
            let mut overtaken = 0;
            let mut set_aside = |event: Event| {
                overtaken = overtaken.max(match event.name.as_str() {
                    "log" => read(&event.payload)?.cursor,
                    "log.gap" => gap_end(&event),
                    _ => 0,
                });
                Ok(())
            };
            let body = connection.request("logs.tail", &self.page_params(), &mut set_aside)?;
            let page: Page = serde_json::from_str(body.get())
                .map_err(|error| Failure::Local(format!("logs.tail: {error}")))?;
            if page.reset && self.shown.is_some() {
                self.tell_of_reset();
            }
            self.show_page(&page)?;
            let went_on = self.shown.replace(page.cursor) != Some(page.cursor);
            let more = page.truncated || overtaken > page.cursor;
            if !more || (!went_on && page.entries.is_empty()) {
                return Ok(self.screen.flush()?);
            }
        }
    }

    fn page_params(&self) -> Value {
        let mut params = self.ask.filter.params();
        params["maxBytes"] = json!(LOGS_TAIL_BYTES_MAX);
        params["limit"] = json!(LOGS_TAIL_LIMIT_MAX);
        match (&self.shown, &self.ask.from) {
            (Some(cursor), _) | (None, From::Cursor(cursor)) => params["cursor"] = json!(cursor),
            (None, From::Time(_)) => params["cursor"] = json!(0),
            // None at all still says where the journal is.
            (None, From::Newest(lines)) => params["limit"] = json!((*lines).max(1)),
        }
        params
    }

    fn show_page(&mut self, page: &Page) -> Result<(), Failure> {
        for raw in &page.entries {
            let entry = read(raw)?;
            let wanted = match (&self.ask.from, self.shown) {
                (From::Newest(0), None) => false,
                (From::Time(since), _) => entry.timestamp >= *since,
                _ => true,
            };
            if wanted && self.ask.filter.takes(&entry) {
                self.show(&entry, raw)?;
            }
        }
        Ok(())
    }

    fn show(&mut self, entry: &Entry, raw: &RawValue) -> Result<(), Failure> {
        if self.screen.json {
            self.screen.json_line(raw.get())?;
        } else {
            let line = line(&self.screen, entry);
            self.screen.line(&line)?;
        }
        Ok(())
    }

    fn tell_of_reset(&self) {
        let text = "tail: the gateway no longer keeps some entries after the last one shown";
        let _closed = writeln!(io::stderr(), "openclaw-gateway {text}");
    }
}

/// From now on a wait ends when nobody reads what we show; requests may turn that off.
fn watch_stdout(connection: &mut Connection) -> Result<(), Failure> {
    let watched = connection.socket().wake_when_unread(io::stdout().as_fd());
    watched.map_err(|error| Failure::Local(format!("cannot watch stdout: {error}")))
}

/// The last entry that a gap swallowed; 0 if there was none.
fn gap_end(event: &Event) -> u64 {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Gap {
        to_cursor: u64,
    }
    serde_json::from_str::<Gap>(event.payload.get()).unwrap_or_default().to_cursor
}

/// As good as never: heartbeats end a connection long before.
fn far_away() -> Instant {
    clock::instant() + Duration::from_secs(24 * 60 * 60)
}

fn read(raw: &RawValue) -> Result<Entry, Failure> {
    serde_json::from_str(raw.get()).map_err(|error| Failure::Local(format!("log entry: {error}")))
}

/// An entry for people: time, level, source, session, message, and what else there is.
fn line(screen: &Screen, entry: &Entry) -> String {
    let style = match Level::parse(&entry.level) {
        Some(Level::Error) => Style::Red,
        Some(Level::Warn) => Style::Yellow,
        Some(Level::Debug) => Style::Faint,
        Some(Level::Info) | None => Style::Plain,
    };
    let time = screen.styled(Style::Faint, &when::time_of_day(entry.timestamp));
    let level = screen.styled(style, &format!("{:<5}", entry.level.to_uppercase()));
    let source = screen.styled(Style::Cyan, &entry.source);
    let mut line = format!("{time} {level} {source}");
    if let Some(session) = &entry.session {
        line.push_str(&format!(" [{}]", escape(session)));
    }
    line.push_str(&format!(" {}", screen.styled(style, &entry.message)));
    if let Some(extra) = &entry.extra {
        line.push_str(&format!(" {}", screen.styled(Style::Faint, extra.get())));
    }
    line
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.session.is_none() && self.source.is_none() && self.level.is_none()
    }

    /// As parameters of `logs.tail` and `logs.subscribe`.
    fn params(&self) -> Value {
        let mut params = json!({});
        if let Some(session) = &self.session {
            params["session"] = json!(session);
        }
        if let Some(source) = &self.source {
            params["source"] = json!(source);
        }
        if let Some(level) = self.level {
            params["level"] = json!(level.as_str());
        }
        params
    }

    /// The gateway filters, too; a live event that was under way may not be.
    fn takes(&self, entry: &Entry) -> bool {
        let level = Level::parse(&entry.level).unwrap_or(Level::Info);
        self.level.is_none_or(|least| level >= least)
            && self.source.as_ref().is_none_or(|source| *source == entry.source)
            && self.session.as_ref().is_none_or(|key| entry.session.as_ref() == Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_1_2_4_8_16_and_then_30_seconds_apart() {
        let waits: Vec<_> = (0..8).map(|failures| backoff(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn the_filter_is_the_gateways() {
        let entry = Entry {
            level: "warn".to_owned(),
            source: "agent1".to_owned(),
            session: Some("agent1:chat".to_owned()),
            ..Entry::default()
        };
        let takes = |line: &str| {
            let mut words = Words::new(line.split_whitespace().map(Into::into).collect());
            parse(&mut words).unwrap().1.filter.takes(&entry)
        };
        assert!(takes(""));
        assert!(takes("--level info --source agent1 --session agent1:chat"));
        assert!(!takes("--level error"));
        assert!(!takes("--source agent2"));
        assert!(!takes("--session agent1:other"));
    }
}
