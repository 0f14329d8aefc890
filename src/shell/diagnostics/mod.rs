//! Our own diagnostics: from anywhere in the program to standard error, without anyone waiting.
//!
//! Whoever logs formats the line and leaves it in a bounded queue; one thread writes. When
//! standard error is stuck, lines are dropped and counted, and nobody else notices.
//! Installed once by `app`; used through the `log` macros, and through [`diagnose`] for what the
//! hub has to say. Secrets are kept out at the source: their type does not print.

mod line;
mod repeats;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{panic, thread};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use log::kv::{self, Key, Source, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

pub use self::line::Format;
use self::line::Line;
pub(super) use self::line::push_quoted;
use self::repeats::Repeats;
use crate::base::limits::DIAGNOSTIC_LINES_WAITING_MAX;
use crate::hub::effect::{Diagnostic, DiagnosticValue};

/// The target of our own lines; what libraries say is shown from `warn` on.
const TARGET: &str = "openclaw_gateway";

impl Format {
    /// Text when standard error is a terminal, else JSON.
    pub fn automatic() -> Self {
        if io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// The way to the thread that writes, for whoever ends the program.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    queue: Sender<Message>,
    level: Arc<AtomicUsize>,
}

/// What goes to the thread.
#[derive(Debug)]
enum Message {
    Line {
        line: Line,
        unix_ms: u64,
    },
    /// Everything before this is to be written; then the sender is dropped.
    Flush(Sender<()>),
}

/// Makes this the program's logger, for panics too. Fails if there is one, or if the thread
/// cannot be started.
pub fn install(level: LevelFilter, format: Format) -> io::Result<Diagnostics> {
    let (logger, diagnostics) = start(level, format, io::stderr())?;
    log::set_boxed_logger(Box::new(logger)).map_err(io::Error::other)?;
    log::set_max_level(level);
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread.name().unwrap_or("unnamed");
        log::error!(thread = thread, place = place.as_str(), cause = message; "a thread panicked");
    }));
    Ok(diagnostics)
}

impl Diagnostics {
    /// Shows our own lines from this level on.
    pub fn set_level(&self, level: LevelFilter) {
        self.level.store(level as usize, Ordering::Relaxed);
        log::set_max_level(level);
    }

    /// Waits until what was logged so far is written, but no longer than the grace: standard
    /// error may be stuck for ever.
    pub fn flush(&self, grace: Duration) {
        let (written, done) = bounded(0);
        if self.queue.send_timeout(Message::Flush(written), grace).is_ok() {
            // Either way there is nothing more to do; nothing is ever sent.
            let _ = done.recv_timeout(grace);
        }
    }
}

/// Logs what the hub has to say.
pub fn diagnose(diagnostic: &Diagnostic) {
    if diagnostic.level > log::max_level() {
        return;
    }
    let fields = Fields(&diagnostic.fields);
    log::logger().log(
        &Record::builder()
            .args(format_args!("{}", diagnostic.msg))
            .level(diagnostic.level)
            .target(TARGET)
            .key_values(&fields)
            .build(),
    );
}

struct Fields<'d>(&'d [(&'static str, DiagnosticValue)]);

impl Source for Fields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        for (key, value) in self.0 {
            let value = match value {
                DiagnosticValue::Text(text) => Value::from(text.as_str()),
                DiagnosticValue::Number(number) => Value::from(*number),
                DiagnosticValue::Bool(truth) => Value::from(*truth),
            };
            visitor.visit_pair(Key::from(*key), value)?;
        }
        Ok(())
    }
}

/// The half that is called from everywhere.
struct Logger {
    format: Format,
    /// Ours of any level, and warnings of libraries.
    filter: env_logger::Logger,
    /// What is shown of both.
    level: Arc<AtomicUsize>,
    queue: Sender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let is_shown = record.level() as usize <= self.level.load(Ordering::Relaxed);
        if !is_shown || !self.filter.matches(record) {
            return;
        }
        let line = Line::new(self.format, record);
        match self.queue.try_send(Message::Line { line, unix_ms: unix_ms() }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn flush(&self) {}
}

fn start(
    level: LevelFilter,
    format: Format,
    out: impl Write + Send + 'static,
) -> io::Result<(Logger, Diagnostics)> {
    let filter = env_logger::Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module(TARGET, LevelFilter::Trace)
        .build();
    let (queue, messages) = bounded(DIAGNOSTIC_LINES_WAITING_MAX);
    let dropped = Arc::<AtomicU64>::default();
    let writer = Writer { format, out, dropped: Arc::clone(&dropped), repeats: Repeats::default() };
    thread::Builder::new().name("diagnostics".to_owned()).spawn(move || writer.run(&messages))?;
    let level = Arc::new(AtomicUsize::new(level as usize));
    let diagnostics = Diagnostics { queue: queue.clone(), level: Arc::clone(&level) };
    Ok((Logger { format, filter, level, queue, dropped }, diagnostics))
}

/// The half that writes.
struct Writer<W> {
    format: Format,
    out: W,
    dropped: Arc<AtomicU64>,
    repeats: Repeats,
}

impl<W: Write> Writer<W> {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let message = match self.repeats.next_deadline() {
                Some(deadline) => messages.recv_deadline(deadline),
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Line { line, unix_ms }) => self.line(&line, unix_ms),
                Ok(Message::Flush(written)) => {
                    let repeated = self.repeats.drain(now());
                    self.repeated(repeated);
                    drop(written);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let repeated = self.repeats.expire(now());
            self.repeated(repeated);
        }
    }

    fn line(&mut self, line: &Line, unix_ms: u64) {
        if self.repeats.admit(now(), line) {
            self.write(&line.render(self.format, unix_ms, None));
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let line = Line::dropped(self.format, dropped);
            self.write(&line.render(self.format, self::unix_ms(), None));
        }
    }

    fn repeated(&mut self, lines: Vec<(Line, u64)>) {
        for (line, times) in lines {
            self.write(&line.render(self.format, unix_ms(), Some(times)));
        }
    }

    fn write(&mut self, line: &str) {
        // In one piece, so that other writers to the same terminal do not get in between.
        // Nobody can be told that standard error is gone; the count is for when it returns.
        if self.out.write_all(line.as_bytes()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "diagnostics are outside of anything virtual")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "diagnostics are outside of anything virtual")]
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use log::Level;

    use super::*;

    const GRACE: Duration = Duration::from_secs(20);

    /// Standard error that can be stuck: each write needs a permit, if there are permits.
    #[derive(Clone)]
    struct Output {
        text: Arc<Mutex<Vec<u8>>>,
        permits: Option<Receiver<()>>,
    }

    impl Output {
        fn new(permits: Option<Receiver<()>>) -> Self {
            Self { text: Arc::default(), permits }
        }

        fn lines(&self) -> Vec<serde_json::Value> {
            let text = self.text.lock().unwrap();
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
        }
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(permits) = &self.permits {
                let _ = permits.recv();
            }
            self.text.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn say(logger: &Logger, level: Level, target: &str, text: &str) {
        let args = format_args!("{text}");
        logger.log(&Record::builder().args(args).level(level).target(target).build());
    }

    #[test]
    fn lines_are_filtered_by_level_and_origin() {
        let out = Output::new(None);
        let (logger, diagnostics) = start(LevelFilter::Debug, Format::Json, out.clone()).unwrap();
        say(&logger, Level::Debug, "openclaw_gateway::hub", "ours");
        say(&logger, Level::Trace, "openclaw_gateway::hub", "too fine");
        say(&logger, Level::Info, "tungstenite", "theirs");
        say(&logger, Level::Warn, "tungstenite", "their warning");
        diagnostics.flush(GRACE);
        let said: Vec<_> =
            out.lines().iter().map(|line| line["msg"].as_str().unwrap().to_owned()).collect();
        assert_eq!(said, ["ours", "their warning"]);
        assert_eq!(out.lines()[1]["target"], "tungstenite");
        assert_eq!(out.lines()[1]["level"], "warn");
    }

    #[test]
    fn stuck_standard_error_blocks_nobody_and_costs_counted_lines() {
        let (permits, gate) = bounded(0);
        let out = Output::new(Some(gate));
        let (logger, diagnostics) = start(LevelFilter::Info, Format::Json, out.clone()).unwrap();
        let sent = 2 * DIAGNOSTIC_LINES_WAITING_MAX;
        for n in 0..sent {
            say(&logger, Level::Info, TARGET, &format!("line {n}"));
        }
        // Standard error comes back.
        drop(permits);
        diagnostics.flush(GRACE);
        say(&logger, Level::Info, TARGET, "after");
        diagnostics.flush(GRACE);
        let lines = out.lines();
        let dropped: u64 = lines.iter().filter_map(|line| line["lines"].as_u64()).sum();
        let written = lines.iter().filter(|line| line["lines"].is_null()).count();
        assert!(dropped > 0);
        assert_eq!(written as u64 + dropped, sent as u64 + 1);
    }

    #[test]
    fn flush_gives_up_on_a_stuck_standard_error() {
        let (permits, gate) = bounded(0);
        let (logger, diagnostics) =
            start(LevelFilter::Info, Format::Json, Output::new(Some(gate))).unwrap();
        say(&logger, Level::Info, TARGET, "line");
        diagnostics.flush(Duration::from_millis(10));
        drop(permits);
    }

    #[test]
    fn repeated_line_is_counted() {
        let out = Output::new(None);
        let (logger, diagnostics) = start(LevelFilter::Info, Format::Json, out.clone()).unwrap();
        for _ in 0..5 {
            say(&logger, Level::Info, TARGET, "again");
        }
        diagnostics.flush(GRACE);
        let lines = out.lines();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["repeated"], serde_json::Value::Null);
        assert_eq!(lines[1]["repeated"], 4);
    }

    #[test]
    fn what_the_hub_says_has_its_fields_in_order() {
        let diagnostic = Diagnostic {
            level: Level::Warn,
            msg: "Heartbeat timeout",
            fields: vec![
                ("client_id", DiagnosticValue::Text("gateway-client".to_owned())),
                ("missed_pongs", DiagnosticValue::Number(3)),
                ("valid", DiagnosticValue::Bool(false)),
            ],
        };
        let fields = Fields(&diagnostic.fields);
        let args = format_args!("{}", diagnostic.msg);
        let record = Record::builder()
            .args(args)
            .level(diagnostic.level)
            .key_values(&fields)
            .target(TARGET)
            .build();
        let line = Line::new(Format::Json, &record).render(Format::Json, 0, None);
        let expected = "{\"level\":\"warn\",\"msg\":\"Heartbeat timeout\",\
            \"client_id\":\"gateway-client\",\"missed_pongs\":3,\"valid\":false,\
            \"ts\":\"1970-01-01T00:00:00.000Z\"}\n";
        assert_eq!(line, expected);
    }
}
