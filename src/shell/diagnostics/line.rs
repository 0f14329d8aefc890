//! One line of diagnostics: from a log record to the text that is written.
//!
//! JSON: `{"level":"info","msg":"…",fields…,"ts":"2026-11-22T19:10:38.123Z"}`, fields in the order
//! given. Text: the same for people. In both, characters that could steer a terminal are escaped,
//! and what is too long is cut. Pure: the moment is an argument.

use std::fmt::{self, Write};

use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};

use crate::base::limits::{DIAGNOSTIC_LINE_BYTES_MAX, DIAGNOSTIC_VALUE_BYTES_MAX};
use crate::base::time::utc;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// For people on a terminal.
    Text,
}

/// A line without its time, which makes equal lines equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    pub(super) level: Level,
    /// Message and fields, formatted.
    body: String,
}

impl Line {
    pub(super) fn new(format: Format, record: &Record<'_>) -> Self {
        let mut body = Body { format, text: String::new() };
        body.message(&cut(&record.args().to_string()));
        if !record.target().starts_with("openclaw_gateway") {
            body.field("target", Shown::Text(record.target()));
        }
        // A field that cannot be read is left out; there is nowhere to report it.
        drop(record.key_values().visit(&mut body));
        Self { level: record.level(), body: body.text }
    }

    /// A line of our own about lines.
    pub(super) fn dropped(format: Format, lines: u64) -> Self {
        let mut body = Body { format, text: String::new() };
        body.message("diagnostics were dropped: standard error is too slow");
        body.field("lines", Shown::Plain(&lines));
        Self { level: Level::Warn, body: body.text }
    }

    /// The line to write, with its end. `repeated` is how often it came again, if that is why it
    /// is written.
    pub(super) fn render(&self, format: Format, unix_ms: u64, repeated: Option<u64>) -> String {
        let ts = utc(unix_ms);
        let level = self.level.as_str();
        let body = &self.body;
        match (format, repeated) {
            (Format::Json, None) => {
                format!("{{\"level\":\"{}\",{body},\"ts\":\"{ts}\"}}\n", level.to_ascii_lowercase())
            }
            (Format::Json, Some(times)) => format!(
                "{{\"level\":\"{}\",{body},\"repeated\":{times},\"ts\":\"{ts}\"}}\n",
                level.to_ascii_lowercase()
            ),
            (Format::Text, None) => format!("{ts} {level:5} {body}\n"),
            (Format::Text, Some(times)) => {
                format!("{ts} {level:5} {body} (repeated {times} times)\n")
            }
        }
    }
}

/// Message and fields as they are written.
struct Body {
    format: Format,
    text: String,
}

/// A value by how it is written.
enum Shown<'v> {
    /// As it is: numbers and truth values.
    Plain(&'v dyn fmt::Display),
    /// Quoted and escaped.
    Text(&'v str),
}

impl Body {
    fn message(&mut self, message: &str) {
        match self.format {
            Format::Json => {
                self.text.push_str("\"msg\":");
                push_quoted(&mut self.text, message);
            }
            Format::Text => message.chars().for_each(|c| push_escaped(&mut self.text, c)),
        }
    }

    fn field(&mut self, key: &str, value: Shown<'_>) {
        if self.text.len() + key.len() + DIAGNOSTIC_VALUE_BYTES_MAX > DIAGNOSTIC_LINE_BYTES_MAX {
            return;
        }
        match self.format {
            Format::Json => {
                self.text.push(',');
                push_quoted(&mut self.text, key);
                self.text.push(':');
            }
            Format::Text => {
                self.text.push(' ');
                key.chars().for_each(|c| push_escaped(&mut self.text, c));
                self.text.push('=');
            }
        }
        match value {
            // Writing to a String does not fail.
            Shown::Plain(value) => drop(write!(self.text, "{value}")),
            Shown::Text(value) => {
                let is_word = |c: char| c.is_alphanumeric() || "-_.:/@+[]".contains(c);
                let is_bare = self.format == Format::Text
                    && !value.is_empty()
                    && value.chars().all(is_word)
                    && value.len() <= DIAGNOSTIC_VALUE_BYTES_MAX;
                match is_bare {
                    true => self.text.push_str(value),
                    false => push_quoted(&mut self.text, &cut(value)),
                }
            }
        }
    }
}

impl<'kvs> VisitSource<'kvs> for Body {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        value.visit(FieldVisitor { body: self, key: key.as_str() })
    }
}

struct FieldVisitor<'b> {
    body: &'b mut Body,
    key: &'b str,
}

impl<'v> VisitValue<'v> for FieldVisitor<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.body.field(self.key, Shown::Plain(&value));
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.body.field(self.key, Shown::Plain(&value));
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.body.field(self.key, Shown::Plain(&value));
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.body.field(self.key, Shown::Text(value));
        Ok(())
    }
}

/// The text, cut to what one value may hold.
fn cut(text: &str) -> String {
    if text.len() <= DIAGNOSTIC_VALUE_BYTES_MAX {
        return text.to_owned();
    }
    let mut end = DIAGNOSTIC_VALUE_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// A JSON string (RFC 8259 section 7), which serves as text too.
pub(in crate::shell) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            _ => push_escaped(out, c),
        }
    }
    out.push('"');
}

/// The character, or its escape if it could end the line, steer a terminal or reorder the text.
fn push_escaped(out: &mut String, c: char) {
    let reorders =
        matches!(c, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        // Every one of these is below U+FFFF: four digits are enough.
        c if c.is_control() || reorders => drop(write!(out, "\\u{:04x}", u32::from(c))),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// A line in both formats.
    #[track_caller]
    fn check(message: &str, fields: &[(&str, Value<'_>)], expected: Expect) {
        let mut shown = String::new();
        for format in [Format::Json, Format::Text] {
            let args = format_args!("{message}");
            let record = Record::builder()
                .args(args)
                .level(Level::Info)
                .target("openclaw_gateway::shell")
                .key_values(&fields)
                .build();
            shown.push_str(&Line::new(format, &record).render(format, 1_795_374_638_123, None));
        }
        let json = shown.lines().next().unwrap();
        serde_json::from_str::<serde_json::Value>(json).unwrap();
        expected.assert_eq(&shown);
    }

    #[test]
    fn lines_hold_message_fields_and_time() {
        check(
            "Device signature verified",
            &[("device_id", "device-550e8400".into()), ("valid", true.into())],
            expect![[r#"
                {"level":"info","msg":"Device signature verified","device_id":"device-550e8400","valid":true,"ts":"2026-11-22T19:10:38.123Z"}
                2026-11-22T19:10:38.123Z INFO  Device signature verified device_id=device-550e8400 valid=true
            "#]],
        );
        check(
            "Heartbeat timeout",
            &[("client_id", "gateway-client".into()), ("missed_pongs", 3.into())],
            expect![[r#"
                {"level":"info","msg":"Heartbeat timeout","client_id":"gateway-client","missed_pongs":3,"ts":"2026-11-22T19:10:38.123Z"}
                2026-11-22T19:10:38.123Z INFO  Heartbeat timeout client_id=gateway-client missed_pongs=3
            "#]],
        );
    }

    #[test]
    fn text_from_peers_cannot_break_out() {
        check(
            "said \"hi\"\nand \u{1b}[31m",
            &[
                ("client_id", "a\"b\\c\r\n{\"level\":\"error\"}".into()),
                ("peer", "\u{202E}txt \u{9b}1m\u{7f}".into()),
                ("empty", "".into()),
            ],
            expect![[r#"
                {"level":"info","msg":"said \"hi\"\nand \u001b[31m","client_id":"a\"b\\c\r\n{\"level\":\"error\"}","peer":"\u202etxt \u009b1m\u007f","empty":"","ts":"2026-11-22T19:10:38.123Z"}
                2026-11-22T19:10:38.123Z INFO  said "hi"\nand \u001b[31m client_id="a\"b\\c\r\n{\"level\":\"error\"}" peer="\u202etxt \u009b1m\u007f" empty=""
            "#]],
        );
    }

    #[test]
    fn long_values_are_cut_and_many_fields_end() {
        let long = "ü".repeat(5_000);
        let names: Vec<_> = (0..50).map(|n| format!("field{n}")).collect();
        let fields: Vec<_> =
            names.iter().map(|name| (name.as_str(), Value::from(long.as_str()))).collect();
        let args = format_args!("{long}");
        let record = Record::builder().args(args).key_values(&fields).build();
        for format in [Format::Json, Format::Text] {
            let line = Line::new(format, &record).render(format, 0, None);
            assert!(line.len() < DIAGNOSTIC_LINE_BYTES_MAX + 200, "{}", line.len());
        }
    }

    #[track_caller]
    fn check_time(unix_ms: u64, expected: &str) {
        assert_eq!(utc(unix_ms), expected);
    }

    #[test]
    fn times_are_calendar_dates() {
        check_time(0, "1970-01-01T00:00:00.000Z");
        check_time(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check_time(1_709_251_199_999, "2024-02-29T23:59:59.999Z");
        check_time(1_709_251_200_000, "2024-03-01T00:00:00.000Z");
        check_time(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
        check_time(1_709_582_400_000, "2024-03-04T20:00:00.000Z");
    }
}
