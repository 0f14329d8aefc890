//! What may be said to a peer in an error, once it is admitted.
//!
//! Mission Control reads any failed response, at any time, as a failed connect when the text
//! holds one of certain phrases, and then stays down (`docs/protocol.md`, "Frames").
//! Our own sentences avoid them; a peer's words that we repeat need not, so every error response
//! after the handshake passes through here. Refusals of a `connect` do not: there the phrases are
//! the point. Called by `frame` when it encodes a failure, and wherever input is repeated.

use std::borrow::Cow;

use serde_json::Value;

use crate::base::limits::ERROR_MESSAGE_BYTES_MAX;

/// Lowercase, because clients compare without regard to case.
const FATAL_PHRASES: [&str; 12] = [
    "device_auth_signature_invalid",
    "device signature invalid",
    "invalid device token",
    "device token invalid",
    "rate limited",
    "auth rate limit",
    "origin not allowed",
    "device identity required",
    "requires device identity",
    "secure context",
    "invalid connect params",
    "/client/id",
];

/// Every `details.code` that a refused `connect` can carry.
/// None of them may appear in an error after the handshake.
pub const CONNECT_DETAIL_CODES: [&str; 25] = [
    "CONTROL_UI_ORIGIN_NOT_ALLOWED",
    "DEVICE_IDENTITY_REQUIRED",
    "DEVICE_AUTH_SIGNATURE_INVALID",
    "AUTH_RATE_LIMITED",
    "DEVICE_AUTH_SIGNATURE_EXPIRED",
    "DEVICE_AUTH_NONCE_REQUIRED",
    "DEVICE_AUTH_NONCE_MISMATCH",
    "DEVICE_AUTH_DEVICE_ID_MISMATCH",
    "DEVICE_AUTH_PUBLIC_KEY_INVALID",
    "AUTH_DEVICE_TOKEN_MISMATCH",
    "AUTH_TOKEN_MISSING",
    "AUTH_TOKEN_MISMATCH",
    "AUTH_PASSWORD_MISSING",
    "AUTH_PASSWORD_MISMATCH",
    "DEVICE_REVOKED",
    "PAIRING_REQUIRED",
    "DEVICE_LIMIT_REACHED",
    "INVALID_ROLE",
    "INVALID_HANDSHAKE",
    "PROTOCOL_MISMATCH",
    "UNAVAILABLE_CAPACITY",
    "UNAVAILABLE_STARTING",
    // Not ours, but Mission Control knows them.
    "ORIGIN_NOT_ALLOWED",
    "DEVICE_SIGNATURE_INVALID",
    "AUTH_UNAUTHORIZED",
];

/// Stands where a phrase was. It holds a character that is in no phrase, so that what is left on
/// both sides cannot join to form another.
const REPLACEMENT: &str = "(…)";

/// The same text without any phrase that ends a client, and cut to `ERROR_MESSAGE_BYTES_MAX`.
pub fn safe_message(text: &str) -> Cow<'_, str> {
    let text = cut(text, ERROR_MESSAGE_BYTES_MAX);
    let mut safe = Cow::Borrowed(text);
    for phrase in FATAL_PHRASES {
        if let Some(replaced) = without(&safe, phrase) {
            safe = Cow::Owned(replaced);
        }
    }
    safe
}

/// The same details without a code of a refused `connect`, and with every text made safe.
pub fn safe_details(details: &Value) -> Value {
    match details {
        Value::String(text) => Value::String(safe_message(text).into_owned()),
        Value::Array(items) => Value::Array(items.iter().map(safe_details).collect()),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(key, value)| *key != "code" || !is_connect_code(value))
                .map(|(key, value)| (safe_message(key).into_owned(), safe_details(value)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => details.clone(),
    }
}

fn is_connect_code(value: &Value) -> bool {
    value.as_str().is_some_and(|code| {
        CONNECT_DETAIL_CODES.iter().any(|connect| connect.eq_ignore_ascii_case(code))
    })
}

/// A peer's own words, fit to be repeated: at most `chars_max` characters, none of them control
/// characters. An ellipsis says that there was more.
pub fn echo(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars();
    let mut echoed: String = chars
        .by_ref()
        .take(chars_max)
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect();
    if chars.next().is_some() {
        echoed.push('…');
    }
    echoed
}

/// The longest beginning of at most `bytes_max` bytes.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    loop {
        match text.get(..end) {
            Some(beginning) => return beginning,
            None => end = end.saturating_sub(1),
        }
    }
}

/// `text` with every occurrence of `phrase` replaced; `None` if there is none.
fn without(text: &str, phrase: &str) -> Option<String> {
    let mut result: Option<String> = None;
    let mut rest = text;
    while let Some((before, after)) = split_at_phrase(rest, phrase) {
        let replaced = result.get_or_insert_default();
        replaced.push_str(before);
        replaced.push_str(REPLACEMENT);
        rest = after;
    }
    result.map(|mut replaced| {
        replaced.push_str(rest);
        replaced
    })
}

fn split_at_phrase<'t>(text: &'t str, phrase: &str) -> Option<(&'t str, &'t str)> {
    text.char_indices().find_map(|(start, _)| {
        let (before, from_start) = text.split_at_checked(start)?;
        Some((before, strip_phrase(from_start, phrase)?))
    })
}

/// What follows `phrase` in `text`, compared as a client does that lowercases the whole text:
/// a Kelvin sign, for example, becomes a `k`.
fn strip_phrase<'t>(text: &'t str, phrase: &str) -> Option<&'t str> {
    let mut chars = text.chars();
    for expected in phrase.chars() {
        let mut lower = chars.next()?.to_lowercase();
        if lower.next() != Some(expected) || lower.next().is_some() {
            return None;
        }
    }
    Some(chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client does: lowercase the text, look for a phrase.
    fn is_fatal(text: &str) -> bool {
        let lower = text.to_lowercase();
        FATAL_PHRASES.iter().any(|phrase| lower.contains(phrase))
    }

    #[track_caller]
    fn check(hostile: &str) {
        assert!(is_fatal(hostile), "the case itself is harmless: {hostile}");
        let safe = safe_message(hostile);
        assert!(!is_fatal(&safe), "still fatal: {safe}");
    }

    #[test]
    fn no_phrase_survives_in_any_case_or_company() {
        for phrase in FATAL_PHRASES {
            check(phrase);
            check(&phrase.to_uppercase());
            check(&format!("unknown method: {phrase}"));
            check(&format!("{phrase}{phrase} {phrase}x"));
            // A phrase inside a phrase must not be put together by taking the inner one out.
            for inner in FATAL_PHRASES {
                for at in 0..=phrase.len() {
                    check(&format!("{}{inner}{}", &phrase[..at], &phrase[at..]));
                }
            }
        }
        check("auth rate limited");
        check("invalid device to\u{212a}en");
    }

    #[test]
    fn harmless_text_is_not_touched_and_not_copied() {
        for text in ["", "unknown method: é", "missing scope: operator.read"] {
            assert!(matches!(safe_message(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let long = "é".repeat(ERROR_MESSAGE_BYTES_MAX);
        assert_eq!(safe_message(&long).len(), ERROR_MESSAGE_BYTES_MAX);
        let odd = format!("x{long}");
        assert_eq!(safe_message(&odd).len(), ERROR_MESSAGE_BYTES_MAX - 1);
    }

    #[test]
    fn details_lose_the_codes_of_the_connect_table_at_every_depth() {
        for code in CONNECT_DETAIL_CODES {
            let details = serde_json::json!({"code": code, "more": [{"code": code, "n": 1}]});
            assert_eq!(safe_details(&details), serde_json::json!({"more": [{"n": 1}]}));
        }
        let own = serde_json::json!({"code": "LIMIT", "text": "Rate Limited", "ok": true});
        assert_eq!(
            safe_details(&own),
            serde_json::json!({"code": "LIMIT", "text": "(…)", "ok": true})
        );
    }

    #[test]
    fn an_echo_is_short_and_printable() {
        assert_eq!(echo("a\nb\u{0}c", 64), "a\u{fffd}b\u{fffd}c");
        assert_eq!(echo("abcd", 3), "abc…");
        assert_eq!(echo("abc", 3), "abc");
    }
}
