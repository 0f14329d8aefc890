//! The bytes of a journal entry.
//!
//! ```text
//! level     1 byte    0 debug, 1 info, 2 warn, 3 error
//! source    4 bytes   length, little-endian
//! session   4 bytes   length, little-endian; 0xFFFFFFFF: no session
//! source    UTF-8
//! session   UTF-8
//! body      UTF-8, the rest: the members of a JSON object, without its braces
//! ```
//!
//! Binary rather than JSON because a start reads up to 100,000 of them, and the body is already
//! encoded. Other records are JSON, so that fields can be added. Pure; called by `tables`.

use std::collections::HashSet;
use std::sync::Arc;

use serde::de::IgnoredAny;

use crate::base::ids::{Cursor, SessionKey};
use crate::protocol::log_entry::{Level, LogDraft, LogRecord};

const HEADER_BYTES: usize = 9;
const NO_SESSION: u32 = u32::MAX;

/// Encodes everything but the cursor, which is the key, into `bytes`, which is emptied first.
///
/// Source and session are bounded far below 4 GiB by the parser; a longer one would be cut to an
/// unreadable record, so it is refused with `false`.
#[must_use]
pub fn encode(draft: &LogDraft, bytes: &mut Vec<u8>) -> bool {
    let session = draft.session.as_ref().map(SessionKey::as_str);
    let (Ok(source_len), Ok(session_len)) =
        (u32::try_from(draft.source.len()), session.map_or(Ok(NO_SESSION), |s| s.len().try_into()))
    else {
        return false;
    };
    bytes.clear();
    bytes.push(draft.level as u8);
    bytes.extend_from_slice(&source_len.to_le_bytes());
    bytes.extend_from_slice(&session_len.to_le_bytes());
    bytes.extend_from_slice(draft.source.as_bytes());
    bytes.extend_from_slice(session.unwrap_or_default().as_bytes());
    bytes.extend_from_slice(draft.body.as_bytes());
    true
}

/// Decodes entries; those with the same source or session share its text in memory.
#[derive(Default)]
pub struct Decoder {
    known: HashSet<Arc<str>>,
    /// One buffer for the bodies of all entries, while they are checked.
    object: String,
}

impl Decoder {
    /// Decodes what [`encode`] wrote; the error says what is wrong.
    pub fn decode(&mut self, cursor: Cursor, bytes: &[u8]) -> Result<LogRecord, &'static str> {
        let (header, texts) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or("too short")?;
        let [level, s0, s1, s2, s3, t0, t1, t2, t3] = *header;
        let level = match level {
            0 => Level::Debug,
            1 => Level::Info,
            2 => Level::Warn,
            3 => Level::Error,
            _ => return Err("unknown level"),
        };
        let source_len = u32::from_le_bytes([s0, s1, s2, s3]);
        let session_len = u32::from_le_bytes([t0, t1, t2, t3]);
        let (source, texts) = take(texts, source_len)?;
        let (session, texts) = match session_len {
            NO_SESSION => (None, texts),
            len => take(texts, len).map(|(session, rest)| (Some(session), rest))?,
        };
        let body = str::from_utf8(texts).map_err(|_| "body is not UTF-8")?;
        if !self.is_members(body) {
            return Err("body is not JSON");
        }
        Ok(LogRecord {
            cursor,
            draft: LogDraft {
                level,
                source: self.share(source),
                session: session.map(|text| SessionKey::new(self.share(text))),
                body: body.into(),
            },
        })
    }

    /// Whether a body fits between two braces. It is sent as it is, so one that does not would
    /// spoil every message that shows it.
    fn is_members(&mut self, body: &str) -> bool {
        self.object.clear();
        self.object.push('{');
        self.object.push_str(body);
        self.object.push('}');
        !body.trim_ascii().is_empty() && serde_json::from_str::<IgnoredAny>(&self.object).is_ok()
    }

    fn share(&mut self, text: &str) -> Arc<str> {
        match self.known.get(text) {
            Some(known) => Arc::clone(known),
            None => {
                let text: Arc<str> = text.into();
                self.known.insert(Arc::clone(&text));
                text
            }
        }
    }
}

fn take(bytes: &[u8], len: u32) -> Result<(&str, &[u8]), &'static str> {
    let len = usize::try_from(len).map_err(|_| "too short")?;
    let (text, rest) = bytes.split_at_checked(len).ok_or("too short")?;
    let text = str::from_utf8(text).map_err(|_| "source or session is not UTF-8")?;
    Ok((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(level: Level, source: &str, session: Option<&str>, body: &str) -> LogDraft {
        LogDraft {
            level,
            source: source.into(),
            session: session.map(SessionKey::new),
            body: body.into(),
        }
    }

    #[track_caller]
    fn check(draft: LogDraft) {
        let mut bytes = Vec::new();
        assert!(encode(&draft, &mut bytes));
        let decoded = Decoder::default().decode(Cursor(7), &bytes).unwrap();
        assert_eq!(decoded, LogRecord { cursor: Cursor(7), draft });
        // Cut anywhere before the body's end it is an error or a shorter body, never a panic.
        for len in 0..bytes.len() {
            drop(Decoder::default().decode(Cursor(7), &bytes[..len]));
        }
    }

    #[test]
    fn every_entry_comes_back_as_it_was() {
        check(draft(Level::Debug, "", None, "\"a\":1"));
        check(draft(Level::Info, "agent1", Some("agent1:chat"), "\"message\":\"ok\""));
        check(draft(Level::Warn, "a", Some(""), "\"b\":[]"));
        check(draft(Level::Error, "ü", None, "\"ß\":\"ß\""));
    }

    #[test]
    fn damaged_entries_are_errors() {
        let mut bytes = Vec::new();
        assert!(encode(&draft(Level::Info, "agent1", Some("s"), "\"a\":1"), &mut bytes));
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(Cursor(1), &bytes[..8]), Err("too short"));
        assert_eq!(decoder.decode(Cursor(1), &bytes[..12]), Err("too short"));
        let mut level = bytes.clone();
        level[0] = 9;
        assert_eq!(decoder.decode(Cursor(1), &level), Err("unknown level"));
        let mut source = bytes.clone();
        source[9] = 0xFF;
        assert_eq!(decoder.decode(Cursor(1), &source), Err("source or session is not UTF-8"));
        let mut body = bytes;
        *body.last_mut().unwrap() = 0xFF;
        assert_eq!(decoder.decode(Cursor(1), &body), Err("body is not UTF-8"));
    }

    #[test]
    fn a_body_that_would_spoil_a_message_is_an_error() {
        for body in
            ["", " ", "x", "\"a\"", "\"a\":1},{\"b\":2", "\"a\":1}", "\"a\":\"", "\"a<:1,\"b"]
        {
            let mut bytes = Vec::new();
            assert!(encode(&draft(Level::Info, "agent1", None, body), &mut bytes));
            let decoded = Decoder::default().decode(Cursor(1), &bytes);
            assert_eq!(decoded, Err("body is not JSON"), "{body}");
        }
    }

    #[test]
    fn entries_share_the_texts_they_have_in_common() {
        let mut bytes = Vec::new();
        assert!(encode(&draft(Level::Info, "agent1", Some("agent1:chat"), "\"a\":1"), &mut bytes));
        let mut decoder = Decoder::default();
        let first = decoder.decode(Cursor(1), &bytes).unwrap();
        let second = decoder.decode(Cursor(2), &bytes).unwrap();
        assert!(Arc::ptr_eq(&first.draft.source, &second.draft.source));
    }
}
