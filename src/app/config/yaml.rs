//! Recognising a YAML configuration, as the product page shows one, and saying how to write it as
//! TOML.
//!
//! Reads the small part of YAML that configurations use: nested mappings, plain and quoted
//! scalars, lists of scalars. Whatever is beyond that gets a general answer. Pure.

use std::path::Path;

use super::error::{ConfigError, Place};

const GENERAL: &str = "\
[gateway]
bind = \"127.0.0.1\"
port = 8080

[gateway.controlUi]
allowedOrigins = [\"https://mc.example.com\"]
";

/// By its extension.
pub(super) fn is_named_so(file: &Path) -> bool {
    file.extension().is_some_and(|end| end.eq_ignore_ascii_case("yml") || end == "yaml")
}

/// By its first line that is no comment: `name:` begins no TOML line.
pub(super) fn looks_so(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| line == "---" || split_key(line).is_some())
}

/// The error, with the same settings as TOML where they can be translated.
pub(super) fn explain(place: &Place, text: &str) -> ConfigError {
    let problem = match translate(text) {
        Some(toml) => format!(
            "this is YAML, and the gateway reads TOML; put this into a file that ends in .toml:\n\n\
             {toml}"
        ),
        None => format!(
            "this is YAML, and the gateway reads TOML; config.example.toml has every key. \
             It begins like this:\n\n{GENERAL}"
        ),
    };
    ConfigError::new(place, "", problem)
}

/// The settings as TOML; `None` where the YAML is beyond us.
/// Secrets are left out: messages end up in logs.
fn translate(text: &str) -> Option<String> {
    let mut toml = String::new();
    // The names of the open mappings, each with its indentation.
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut section: Option<String> = None;
    let mut lines = text.lines().filter_map(significant).peekable();
    while let Some((indent, line)) = lines.next() {
        if line == "---" {
            continue;
        }
        let (key, value) = split_key(line)?;
        while open.last().is_some_and(|(outer, _)| *outer >= indent) {
            open.pop();
        }
        let path = |open: &[(usize, String)]| {
            open.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(".")
        };
        let is_next_deeper = lines.peek().is_some_and(|(next, text)| {
            *next > indent || (*next == indent && text.starts_with("- "))
        });
        let value = match (value, is_next_deeper) {
            ("", true) if lines.peek().is_some_and(|(_, text)| text.starts_with("- ")) => {
                let mut items = Vec::new();
                while let Some((_, item)) = lines.next_if(|(_, text)| text.starts_with("- ")) {
                    items.push(scalar(item.strip_prefix("- ")?)?);
                }
                format!("[{}]", items.join(", "))
            }
            ("", true) => {
                open.push((indent, key.to_owned()));
                continue;
            }
            (_, true) => return None,
            ("", false) => continue,
            (value, false) => scalar(value)?,
        };
        let path = path(&open);
        if section.as_ref() != Some(&path) {
            if section.is_some() {
                toml.push('\n');
            }
            if !path.is_empty() {
                toml.push_str(&format!("[{path}]\n"));
            }
            section = Some(path);
        }
        let value = if is_secret(key) { "\"(the same)\"".to_owned() } else { value };
        toml.push_str(&format!("{key} = {value}\n"));
    }
    (!toml.is_empty()).then_some(toml)
}

/// A line's indentation and text without its comment; `None` if nothing is left.
fn significant(line: &str) -> Option<(usize, &str)> {
    let text = line.trim_start();
    let indent = line.len() - text.len();
    let mut text = match text.starts_with('#') {
        true => "",
        false => text,
    };
    let is_quoted = |at: usize| text[..at].chars().filter(|c| matches!(c, '"' | '\'')).count() % 2;
    if let Some((at, _)) = text.match_indices(" #").find(|(at, _)| is_quoted(*at) == 0) {
        text = &text[..at];
    }
    let text = text.trim_end();
    (!text.is_empty()).then_some((indent, text))
}

/// `key: value` or `key:`.
fn split_key(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_key = !key.is_empty() && key.bytes().all(is_name);
    (is_key && (value.is_empty() || value.starts_with(' '))).then(|| (key, value.trim()))
}

/// One scalar, or a list of them in brackets, as TOML.
fn scalar(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(items) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let items = items.split(',').map(str::trim).filter(|item| !item.is_empty());
        let items: Option<Vec<_>> = items.map(scalar).collect();
        return Some(format!("[{}]", items?.join(", ")));
    }
    let quoted = |quote: char| {
        text.strip_prefix(quote)?.strip_suffix(quote).filter(|inner| !inner.contains(quote))
    };
    if let Some(inner) = quoted('"').or_else(|| quoted('\'')) {
        return Some(format!("{inner:?}"));
    }
    if text.starts_with(['&', '*', '!', '|', '>', '{', '[', '"', '\'', '%', '@', '`']) {
        return None;
    }
    match text {
        "true" | "True" | "yes" | "on" => return Some("true".to_owned()),
        "false" | "False" | "no" | "off" => return Some("false".to_owned()),
        _ => {}
    }
    let is_number = text.parse::<i64>().is_ok();
    Some(if is_number { text.to_owned() } else { format!("{text:?}") })
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["token", "password", "secret"].iter().any(|word| key.ends_with(word))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(yaml: &str, expected: Expect) {
        expected.assert_eq(&translate(yaml).unwrap_or_else(|| "(beyond us)".to_owned()));
    }

    #[test]
    fn settings_are_translated() {
        check(
            "# gateway.yml\ngateway:\n  controlUi:\n    enabled: true\n    allowedOrigins:\n      \
             - https://mc.example.com  # Production\n      - 'http://localhost:3000'\n  auth:\n    \
             token: hunter2\n    deviceAuth:\n      tokenTTL: 86400   # seconds\n      \
             registration: auto\n  port: 8080\n",
            expect![[r#"
                  [gateway.controlUi]
                  enabled = true
                  allowedOrigins = ["https://mc.example.com", "http://localhost:3000"]

                  [gateway.auth]
                  token = "(the same)"

                  [gateway.auth.deviceAuth]
                  tokenTTL = 86400
                  registration = "auto"

                  [gateway]
                  port = 8080
            "#]],
        );
        check(
            "gateway:\n  trustedProxies: [10.0.0.1, \"10.0.0.0/8\"]\n  publicHosts:\n  - a\n  - b\n",
            expect![[r#"
                  [gateway]
                  trustedProxies = ["10.0.0.1", "10.0.0.0/8"]
                  publicHosts = ["a", "b"]
            "#]],
        );
    }

    #[test]
    fn what_is_beyond_us_is_not_translated() {
        check("gateway: &anchor\n  port: 1\n", expect!["(beyond us)"]);
        check("gateway:\n  text: |\n    a\n", expect!["(beyond us)"]);
        check("- a\n- b\n", expect!["(beyond us)"]);
        check("", expect!["(beyond us)"]);
    }

    #[test]
    fn yaml_is_recognised_by_its_first_line() {
        assert!(looks_so("# comment\n\ngateway:\n  port: 1\n"));
        assert!(looks_so("---\ngateway: {}\n"));
        assert!(!looks_so("[gateway\nport = 1\n"));
        assert!(!looks_so("port = \"a:b"));
        assert!(!looks_so(""));
    }
}
