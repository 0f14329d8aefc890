//! A line that a child process wrote, and what it means (`docs/protocol.md`, "Spawn").
//!
//! Pure; called by the thread that reads children's output, so that the hub parses nothing.
//! Splitting output into lines, and bounding them, is that thread's.

use serde_json::value::RawValue;

use crate::base::ids::{AgentName, SessionKey};
use crate::base::limits::{LOG_EXTRA_BYTES_MAX, LOG_EXTRA_DEPTH_MAX, LOG_MESSAGE_BYTES_MAX};
use crate::protocol::fields::decode;
use crate::protocol::json::push_str;
use crate::protocol::log_entry::{Level, LogDraft, TIMESTAMP_MS_MAX};
use crate::protocol::members::{self, Members};
use crate::protocol::methods::Method;
use crate::protocol::readable;
use crate::protocol::request::{Request, parse_report};
use crate::protocol::speaker::Speaker;

/// The two streams of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Level `info`, reports.
    Stdout,
    /// Level `warn`.
    Stderr,
}

/// Whose output it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputContext {
    /// The agent that the child speaks as: the source of its entries.
    pub agent: AgentName,
    /// The session that it belongs to, and the only one that it may report of.
    pub session: SessionKey,
    /// Whether report lines on its stdout are reports.
    pub reports: bool,
}

/// What a line says.
#[derive(Debug)]
pub enum OutputContent {
    /// A journal entry: plain text, a JSON object with its own level and message, or how much was
    /// suppressed.
    Entry {
        /// The entry, encoded.
        draft: LogDraft,
        /// A plain line of stdout as it was, which may become part of a run's result.
        text: Option<Box<str>>,
    },
    /// A report, as if the child's agent had sent it over a connection.
    Report(Box<Request>),
}

impl OutputStream {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn level(self) -> Level {
        match self {
            Self::Stdout => Level::Info,
            Self::Stderr => Level::Warn,
        }
    }
}

/// Reads one line, without its line end; a carriage return before that is not part of it either.
///
/// Where reports are taken, an object on stdout whose `method` is a report's is that report, or,
/// if it is malformed, a warning that says how. An object whose `message` is a string is an entry
/// with its own level, time and further members. Anything else is text.
pub fn read(
    line: &str,
    stream: OutputStream,
    context: &OutputContext,
    now_unix_ms: u64,
) -> OutputContent {
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.trim_ascii().starts_with('{')
        && let Ok(members) = members::read(line)
    {
        if context.reports
            && stream == OutputStream::Stdout
            && let Some(report) = report(&members, context, now_unix_ms)
        {
            return report;
        }
        if let Some(draft) = structured(&members, stream, context, now_unix_ms) {
            return OutputContent::Entry { draft, text: None };
        }
    }
    let draft = entry(now_unix_ms, stream.level(), context, line);
    let text = (stream == OutputStream::Stdout).then(|| Box::from(line));
    OutputContent::Entry { draft, text }
}

/// Says that so much came faster than it is taken, and is lost.
pub fn suppressed(
    lines: u64,
    bytes: u64,
    stream: OutputStream,
    context: &OutputContext,
    now_unix_ms: u64,
) -> OutputContent {
    let message = format!(
        "suppressed {lines} lines ({bytes} bytes) of {}: more than \
         gateway.spawn.outputBytesPerSecondMax",
        stream.name()
    );
    let draft = entry(now_unix_ms, Level::Warn, context, &message);
    OutputContent::Entry { draft, text: None }
}

fn entry(timestamp: u64, level: Level, context: &OutputContext, message: &str) -> LogDraft {
    let source = context.agent.0.clone();
    LogDraft::new(timestamp, level, source, Some(context.session.clone()), message)
}

fn member<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    members.iter().find(|(known, _)| known == name).map(|(_, raw)| *raw)
}

/// `None` if it is none.
fn report(
    members: &Members<'_>,
    context: &OutputContext,
    now_unix_ms: u64,
) -> Option<OutputContent> {
    let name = decode(member(members, "method")?).ok()?;
    let method = Method::find(&name).filter(|method| method.is_report())?;
    let speaker = Speaker { agent: &context.agent, session: Some(&context.session) };
    let params = member(members, "params").filter(|raw| raw.get() != "null");
    Some(match parse_report(method, params, speaker, now_unix_ms) {
        Ok(request) => OutputContent::Report(Box::new(request)),
        Err(error) => {
            let message = format!("report line ignored: {}", error.message);
            let draft = entry(now_unix_ms, Level::Warn, context, &message);
            OutputContent::Entry { draft, text: None }
        }
    })
}

/// An entry with the fields that the line gives it; `None` if it is no such line.
fn structured(
    members: &Members<'_>,
    stream: OutputStream,
    context: &OutputContext,
    now_unix_ms: u64,
) -> Option<LogDraft> {
    let message = decode(member(members, "message")?).ok()?;
    let level = match member(members, "level") {
        Some(raw) => Level::parse(&decode(raw).ok()?)?,
        None => stream.level(),
    };
    let said = member(members, "timestamp").and_then(|raw| raw.get().parse().ok());
    let timestamp = said.filter(|said| *said <= TIMESTAMP_MS_MAX);
    let extra = extra(members, timestamp.is_some())?;
    if message.len() > LOG_MESSAGE_BYTES_MAX || extra.len() > LOG_EXTRA_BYTES_MAX {
        return None;
    }
    readable::check(&extra, LOG_EXTRA_DEPTH_MAX).ok()?;
    Some(LogDraft::with_extra(
        timestamp.unwrap_or(now_unix_ms),
        level,
        context.agent.0.clone(),
        Some(context.session.clone()),
        &message,
        Some(&*extra).filter(|extra| *extra != "{}"),
    ))
}

/// Everything that an entry has no field for, as one compact object. Source and session are the
/// child's own, whatever the line says.
fn extra(members: &Members<'_>, has_timestamp: bool) -> Option<String> {
    let is_field = |name: &str| match name {
        "level" | "message" | "source" | "session" => true,
        "timestamp" => has_timestamp,
        _ => false,
    };
    let rest: Vec<_> = members.iter().filter(|(name, _)| !is_field(name)).collect();
    if let [(name, raw)] = rest.as_slice()
        && name == "extra"
        && raw.get().starts_with('{')
    {
        return Some(readable::compact(raw.get()));
    }
    let mut out = vec![b'{'];
    for (name, raw) in rest {
        if out.len() > 1 {
            out.push(b',');
        }
        push_str(&mut out, name);
        out.push(b':');
        out.extend_from_slice(readable::compact(raw.get()).as_bytes());
    }
    out.push(b'}');
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn context(reports: bool) -> OutputContext {
        let agent = AgentName::new("agent1");
        OutputContext { agent, session: SessionKey::new("agent1:sp-1"), reports }
    }

    fn shown(content: OutputContent) -> String {
        match content {
            OutputContent::Report(request) => format!("{request:?}"),
            OutputContent::Entry { draft, text } => {
                format!("{:?} {{{}}} text {text:?}", draft.level, draft.body)
            }
        }
    }

    #[track_caller]
    fn check(stream: OutputStream, line: &str, expected: Expect) {
        expected.assert_eq(&shown(read(line, stream, &context(true), 1_000)));
    }

    #[test]
    fn text_is_an_entry_of_its_stream() {
        check(
            OutputStream::Stdout,
            "hello\r",
            expect![[
                r#"Info {"timestamp":1000,"level":"info","source":"agent1","session":"agent1:sp-1","message":"hello"} text Some("hello")"#
            ]],
        );
        check(
            OutputStream::Stderr,
            "",
            expect![[
                r#"Warn {"timestamp":1000,"level":"warn","source":"agent1","session":"agent1:sp-1","message":""} text None"#
            ]],
        );
    }

    #[test]
    fn an_object_with_a_message_keeps_its_own_fields() {
        check(
            OutputStream::Stderr,
            r#" {"level":"DEBUG","message":"m","timestamp":7,"source":"root","session":"x","n": 1,"o":{"p":[ ]}}"#,
            expect![[
                r#"Debug {"timestamp":7,"level":"debug","source":"agent1","session":"agent1:sp-1","message":"m","extra":{"n":1,"o":{"p":[]}}} text None"#
            ]],
        );
        check(
            OutputStream::Stderr,
            r#"{"message":"m","timestamp":"yesterday"}"#,
            expect![[
                r#"Warn {"timestamp":1000,"level":"warn","source":"agent1","session":"agent1:sp-1","message":"m","extra":{"timestamp":"yesterday"}} text None"#
            ]],
        );
        check(
            OutputStream::Stdout,
            r#"{"level":"error","message":"m","method":"GET","extra":{"a":1}}"#,
            expect![[
                r#"Error {"timestamp":1000,"level":"error","source":"agent1","session":"agent1:sp-1","message":"m","extra":{"method":"GET","extra":{"a":1}}} text None"#
            ]],
        );
        check(
            OutputStream::Stdout,
            r#"{"level":"info","message":"m","extra":{"a":1}}"#,
            expect![[
                r#"Info {"timestamp":1000,"level":"info","source":"agent1","session":"agent1:sp-1","message":"m","extra":{"a":1}} text None"#
            ]],
        );
    }

    #[test]
    fn other_json_is_text() {
        for line in [
            r#"{"level":"loud","message":"m"}"#,
            r#"{"level":1,"message":"m"}"#,
            r#"{"level":"info"}"#,
            r#"{"message":["m"]}"#,
            r#"{"message":"m","message":"n"}"#,
            r#"{"message":"m"} {"message":"n"}"#,
            r#"{"message":"\ud800"}"#,
            r#"{"message":"m","n":1e999}"#,
            r#"{"method":"spawn","params":{}}"#,
            r#"{"#,
            "[1]",
        ] {
            let OutputContent::Entry { draft, text } =
                read(line, OutputStream::Stdout, &context(true), 0)
            else {
                panic!("{line} is a report");
            };
            assert_eq!((draft.level, text.as_deref()), (Level::Info, Some(line)));
        }
    }

    #[test]
    fn a_report_is_bound_to_the_agent_and_its_session() {
        check(
            OutputStream::Stdout,
            r#"{"method":"session.usage","params":{"inputTokens":1,"outputTokens":2}}"#,
            expect![[
                r#"SessionUsage(SessionUsage { key: SessionKey("agent1:sp-1"), input_tokens: 1, output_tokens: 2, messages: 0, cost: Cost(0), model: None, idempotency: None })"#
            ]],
        );
        check(
            OutputStream::Stdout,
            r#"{"method":"agent.status","params":{"name":"root","status":"busy"}}"#,
            expect![[
                r#"AgentStatus(AgentReport { name: AgentName("agent1"), status: "busy", id: None, last_activity: None, idempotency: None })"#
            ]],
        );
        check(
            OutputStream::Stdout,
            r#"{"method":"session.usage","params":{"key":"agent1:chat","inputTokens":1,"outputTokens":2}}"#,
            expect![[
                r#"Warn {"timestamp":1000,"level":"warn","source":"agent1","session":"agent1:sp-1","message":"report line ignored: invalid session.usage params: key must be agent1:sp-1, the session of this spawn"} text None"#
            ]],
        );
        check(
            OutputStream::Stdout,
            r#"{"method":"logs.append","params":[]}"#,
            expect![[
                r#"Warn {"timestamp":1000,"level":"warn","source":"agent1","session":"agent1:sp-1","message":"report line ignored: invalid logs.append params: must be an object"} text None"#
            ]],
        );
    }

    #[test]
    fn a_report_line_is_a_report_on_stdout_and_where_reports_are_taken() {
        let line = r#"{"method":"session.usage","params":{"inputTokens":1,"outputTokens":2}}"#;
        for (stream, reports) in [
            (OutputStream::Stdout, false),
            (OutputStream::Stderr, false),
            (OutputStream::Stderr, true),
        ] {
            let content = read(line, stream, &context(reports), 0);
            assert!(matches!(content, OutputContent::Entry { .. }));
        }
    }

    #[test]
    fn what_is_lost_is_said() {
        expect![[r#"Warn {"timestamp":5,"level":"warn","source":"agent1","session":"agent1:sp-1","message":"suppressed 3 lines (4096 bytes) of stderr: more than gateway.spawn.outputBytesPerSecondMax"} text None"#]].assert_eq(&shown(suppressed(
            3,
            4_096,
            OutputStream::Stderr,
            &context(false),
            5,
        )));
    }
}
