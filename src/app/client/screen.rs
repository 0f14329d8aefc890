//! What reaches a person or a pipe: escaping, colour, columns, and JSON that stays JSON.
//!
//! Owns standard output. Whatever an agent wrote passes through [`escape`] before it becomes text,
//! because a terminal obeys control characters and shows bidirectional ones as something else.
//! Called by the subcommands.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use serde_json::Value;

/// Standard output, and how to write to it.
#[derive(Debug)]
pub(in crate::app) struct Screen {
    out: BufWriter<Stdout>,
    /// One JSON document per line, for programs.
    pub(in crate::app) json: bool,
    /// Colours are welcome.
    pub(in crate::app) colour: bool,
}

/// How text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Style {
    /// As it is.
    Plain,
    /// What matters less.
    Faint,
    /// Titles.
    Bold,
    /// Errors.
    Red,
    /// Warnings.
    Yellow,
    /// Names.
    Cyan,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Faint => "2",
            Self::Bold => "1",
            Self::Red => "31",
            Self::Yellow => "33",
            Self::Cyan => "36",
        }
    }
}

impl Screen {
    /// JSON where it is asked for, or where nobody chose and nobody looks (`json_in_pipe`).
    pub(in crate::app) fn new(asked: Option<Form>, json_in_pipe: bool, no_colour: bool) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let json = match asked {
            Some(form) => form == Form::Json,
            None => json_in_pipe && !is_terminal,
        };
        let colour = is_terminal && !no_colour && !json;
        Self { out: BufWriter::new(stdout), json, colour }
    }

    /// Writes one line of text that is already escaped.
    pub(in crate::app) fn line(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.write_all(b"\n")
    }

    /// Writes one JSON document on one line, with what a terminal would obey escaped inside of its
    /// strings: the same document.
    pub(in crate::app) fn json_line(&mut self, json: &str) -> io::Result<()> {
        let one_line = match json.contains(['\n', '\r']) {
            true => serde_json::from_str(json).map(|value: Value| Cow::Owned(value.to_string())),
            false => Ok(Cow::Borrowed(json)),
        };
        let one_line = one_line.unwrap_or(Cow::Borrowed(json));
        self.line(&escape_json(&one_line))
    }

    /// Writes one JSON document over several lines.
    pub(in crate::app) fn pretty_json(&mut self, value: &Value) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        self.line(&escape_json(&text))
    }

    /// Text, escaped, in a style.
    pub(in crate::app) fn styled(&self, style: Style, text: &str) -> String {
        let text = escape(text);
        if self.colour && style != Style::Plain {
            format!("\u{1b}[{}m{text}\u{1b}[0m", style.code())
        } else {
            text.into_owned()
        }
    }

    /// Writes rows in columns, under a title row; all cells are escaped here.
    pub(in crate::app) fn table(
        &mut self,
        titles: &[&str],
        rows: &[Vec<String>],
    ) -> io::Result<()> {
        let rows: Vec<Vec<_>> =
            rows.iter().map(|row| row.iter().map(|cell| escape(cell)).collect()).collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or_default();
            widest.max(titles.get(column).map_or(0, |title| title.len()))
        };
        let widths: Vec<_> = (0..titles.len()).map(width).collect();
        let pad = |cells: &[Cow<'_, str>]| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let titles: Vec<_> = titles.iter().map(|title| Cow::Borrowed(*title)).collect();
        let head = self.styled(Style::Bold, &pad(&titles));
        self.line(&head)?;
        rows.iter().try_for_each(|row| self.line(&pad(row)))
    }

    /// Lets everything out.
    pub(in crate::app) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A choice of `--json` or `--text`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Form {
    /// One JSON document per line.
    Json,
    /// For people.
    Text,
}

/// Text that a terminal shows and does not obey: control characters, and those that change the
/// direction or hide themselves, become `\n`, `\t`, `\r` or `\u{…}`.
pub(in crate::app) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            other if is_unsafe(other) => escaped.extend(other.escape_unicode()),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// The same JSON with the same characters as `\uXXXX`. They can stand only within strings, line
/// ends and tabs between tokens excepted, which stay.
fn escape_json(json: &str) -> Cow<'_, str> {
    let must_go = |c: char| is_unsafe(c) && !matches!(c, '\n' | '\t' | '\r');
    if !json.chars().any(must_go) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if must_go(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters (C0, DEL, C1), line and paragraph separators, bidirectional and invisible
/// formatting, and the tag characters, which hide text in text.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_survives() {
        assert_eq!(escape("plain ü 日本 🦀"), "plain ü 日本 🦀");
        assert_eq!(escape("\u{1b}[31mred\u{7}"), "\\u{1b}[31mred\\u{7}");
        assert_eq!(escape("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(escape("\u{202e}evil\u{2066}\u{9b}31m"), "\\u{202e}evil\\u{2066}\\u{9b}31m");
        for code in (0..0x20).chain([0x7f, 0x85, 0x9b, 0x61c, 0x200f, 0x2028, 0x2069, 0xe0041]) {
            let character = char::from_u32(code).unwrap();
            assert!(!escape(&character.to_string()).contains(character), "{code:x}");
        }
    }

    #[test]
    fn escaped_json_is_the_same_document() {
        let hostile = "a\u{202e}b\u{7f}\u{9b}\u{e0041}\n\u{1b}";
        let json = serde_json::json!({ "m": hostile }).to_string();
        let escaped = escape_json(&json);
        assert!(!escaped.chars().any(is_unsafe), "{escaped}");
        let read: Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read["m"], hostile);
    }
}
