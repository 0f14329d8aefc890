//! The envelopes: request frames in, response and event frames out (`docs/protocol.md`, "Frames").
//!
//! Owns the outer members only. What is inside `params` belongs to `connect` and `request`, what
//! is inside a body to `reply`, `event` and `hello`.
//! Encoders append to the caller's buffer, which may already hold room for a WebSocket header.
//! Called by the connection threads and the fan-out thread.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::base::limits::{BOTH_BODIES_BYTES_MAX, REQUEST_ID_BYTES_MAX};
use crate::protocol::error::ProtocolError;
use crate::protocol::fields::{Invalid, Object, Place, decode};
use crate::protocol::json::{ObjectWriter, push_str};
use crate::protocol::safe_text::{safe_details, safe_message};

/// The id of a response to a frame whose own id could not be read.
pub const INVALID_ID: &str = "invalid";

const REQUEST: [&str; 4] = ["type", "id", "method", "params"];

/// A request frame whose envelope is well-formed. Borrowed from the message wherever its strings
/// have no escapes, so that reading a `ping` allocates nothing.
#[derive(Debug)]
pub struct RequestFrame<'a> {
    /// 1 to `REQUEST_ID_BYTES_MAX` bytes, chosen by the peer.
    pub id: Cow<'a, str>,
    /// Not empty; not yet known to exist.
    pub method: Cow<'a, str>,
    /// JSON of any type, not yet looked into; `null` counts as absent.
    pub params: Option<&'a RawValue>,
}

/// A message that is no request frame, with the id to answer under.
#[derive(Debug)]
pub struct FrameError<'a> {
    /// The frame's id if it could be read, else [`INVALID_ID`].
    pub id: Cow<'a, str>,
    /// `INVALID_REQUEST`, `invalid request frame: …`.
    pub error: ProtocolError,
}

/// Reads the envelope of a text message. Unknown members are skipped; known ones must have their
/// type and stand only once.
pub fn parse(text: &str) -> Result<RequestFrame<'_>, FrameError<'_>> {
    let mut object = Object::empty(Place::Root, &REQUEST);
    let filled = object.fill(text);
    let id = object.required("id", REQUEST_ID_BYTES_MAX);
    let parsed = filled.and_then(|()| {
        if !object.raw("type").is_some_and(|raw| decode(raw).is_ok_and(|text| text == "req")) {
            return Err(object.invalid("type", "must be \"req\""));
        }
        let method = object.required("method", usize::MAX)?;
        Ok((method, object.raw("params")))
    });
    match (id, parsed) {
        (Ok(id), Ok((method, params))) => Ok(RequestFrame { id, method, params }),
        (Ok(id), Err(invalid)) => Err(FrameError { id, error: invalid_frame(&invalid) }),
        // A frame that is wrong as a whole, or of another type, says more than its missing id.
        (Err(_), Err(invalid)) | (Err(invalid), Ok(_)) => {
            Err(FrameError { id: Cow::Borrowed(INVALID_ID), error: invalid_frame(&invalid) })
        }
    }
}

fn invalid_frame(invalid: &Invalid) -> ProtocolError {
    ProtocolError::invalid(format!("invalid request frame: {}", invalid.0))
}

/// Appends a success without a body: `{"type":"res","id":…,"ok":true}`.
pub fn write_ok(out: &mut Vec<u8>, id: &str) {
    open_response(out, id, true);
    out.push(b'}');
}

/// Appends a success. `write_body` appends the body, one JSON value, which then stands under
/// `payload` and, unless it is longer than `BOTH_BODIES_BYTES_MAX`, also under `result`.
pub fn write_success(out: &mut Vec<u8>, id: &str, write_body: impl FnOnce(&mut Vec<u8>)) {
    open_response(out, id, true);
    out.extend_from_slice(b",\"payload\":");
    let body_start = out.len();
    write_body(out);
    let body_end = out.len();
    if body_end.saturating_sub(body_start) <= BOTH_BODIES_BYTES_MAX {
        out.extend_from_slice(b",\"result\":");
        out.extend_from_within(body_start..body_end);
    }
    out.push(b'}');
}

/// Appends a failure for an admitted peer. Message and details are made safe
/// ([`safe_message`]): whatever the peer sent, the answer does not end it.
pub fn write_failure(out: &mut Vec<u8>, id: &str, error: &ProtocolError) {
    let details = error.details.as_ref().map(safe_details);
    write_error(out, id, error, &safe_message(&error.message), details.as_ref());
}

/// Appends a failure that carries a body all the same, under `payload`: made safe as any failure;
/// what `write_body` appends must be safe already.
pub(super) fn write_failure_with_body(
    out: &mut Vec<u8>,
    id: &str,
    error: &ProtocolError,
    write_body: impl FnOnce(&mut Vec<u8>),
) {
    write_failure(out, id, error);
    // The frame is written up to its closing brace, which is put back after the body.
    out.pop();
    out.extend_from_slice(b",\"payload\":");
    write_body(out);
    out.push(b'}');
}

/// Appends the refusal of a `connect`, word for word.
pub fn write_refusal(out: &mut Vec<u8>, id: &str, error: &ProtocolError) {
    write_error(out, id, error, &error.message, error.details.as_ref());
}

fn write_error(
    out: &mut Vec<u8>,
    id: &str,
    error: &ProtocolError,
    message: &str,
    details: Option<&serde_json::Value>,
) {
    open_response(out, id, false);
    out.extend_from_slice(b",\"error\":");
    let mut object = ObjectWriter::open(out);
    object.str("code", error.code.as_str()).str("message", message);
    if let Some(details) = details {
        object.raw("details", &details.to_string());
    }
    if let Some(millis) = error.retry_after_ms {
        object.bool("retryable", true).u64("retryAfterMs", millis);
    }
    object.close();
    out.push(b'}');
}

/// Writes a response up to its `ok`, without the closing brace.
pub(super) fn open_response(out: &mut Vec<u8>, id: &str, ok: bool) {
    out.extend_from_slice(b"{\"type\":\"res\",\"id\":");
    push_str(out, id);
    out.extend_from_slice(if ok { b",\"ok\":true" } else { b",\"ok\":false" });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::ErrorCode;

    #[test]
    fn a_ping_is_read_without_allocating() {
        let frame = parse(r#"{"type":"req","method":"ping","id":"ping-1"}"#).unwrap();
        assert!(matches!(frame.id, Cow::Borrowed("ping-1")));
        assert!(matches!(frame.method, Cow::Borrowed("ping")));
        assert!(frame.params.is_none());
    }

    #[test]
    fn unknown_members_are_skipped_and_escapes_are_read() {
        let text = r#" {"expectFinal":true,"x":[{"id":1}],"\u0069d":"\u0061\n","method":"m","type":"req",
            "params":{"a":1} } "#;
        let frame = parse(text).unwrap();
        assert_eq!((&*frame.id, &*frame.method), ("a\n", "m"));
        assert_eq!(frame.params.unwrap().get(), r#"{"a":1}"#);
    }

    #[track_caller]
    fn check(text: &str, id: &str, message: &str) {
        let FrameError { id: found, error } = parse(text).unwrap_err();
        assert_eq!((&*found, error.code), (id, ErrorCode::InvalidRequest));
        assert_eq!(error.message, format!("invalid request frame: {message}"));
    }

    #[test]
    fn what_is_no_request_frame_is_refused_under_its_id_if_that_can_be_read() {
        check("", "invalid", "must be an object");
        check("null", "invalid", "must be an object");
        check("[]", "invalid", "must be an object");
        check("{}", "invalid", "type must be \"req\"");
        check(r#"{"id":"7"}"#, "7", "type must be \"req\"");
        check(r#"{"id":"7","type":"res","ok":true}"#, "7", "type must be \"req\"");
        check(r#"{"id":"7","type":["req"]}"#, "7", "type must be \"req\"");
        check(r#"{"type":"req","id":"7"}"#, "7", "method must be a non-empty string");
        check(r#"{"type":"req","id":"7","method":""}"#, "7", "method must be a non-empty string");
        check(r#"{"type":"req","id":"7","method":1}"#, "7", "method must be a string");
        check(r#"{"type":"req","id":7,"method":"m"}"#, "invalid", "id must be a string");
        check(r#"{"type":"req","id":"","method":"m"}"#, "invalid", "id must be a non-empty string");
        check(
            r#"{"type":"req","id":null,"method":"m"}"#,
            "invalid",
            "id must be a non-empty string",
        );
        let long = format!(r#"{{"type":"req","id":"{}","method":"m"}}"#, "x".repeat(257));
        check(&long, "invalid", "id must be at most 256 bytes long");
        check(
            r#"{"type":"req","id":"\ud800","method":"m"}"#,
            "invalid",
            "id must be a string without unpaired surrogates",
        );
        check(r#"{"type":"req","id":"7","id":"8"}"#, "7", "has id twice");
        check(
            r#"{"type":"req","id":"7","method":"m"} {}"#,
            "7",
            "trailing characters at line 1 column 38",
        );
        check(r#"{"id":"7","type":"req","#, "7", "EOF while parsing a value at line 1 column 23");
    }

    #[test]
    fn hostile_json_is_refused_or_skipped_but_never_panics() {
        let nested = format!(
            r#"{{"type":"req","id":"7","method":"m","deep":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert!(parse(&nested).is_ok());
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"{\"a\":".repeat(100_000)).is_err());
        assert!(parse("{\"type\":\"req\",\"id\":\"7\",\"method\":\"m\u{0}\"}").is_err());
        assert!(parse(r#"{"type":"req","id":"7","method":"m","n":1e999999}"#).is_ok());
        assert!(parse("\u{feff}{\"type\":\"req\",\"id\":\"7\",\"method\":\"m\"}").is_err());
    }

    #[test]
    fn a_message_cut_anywhere_is_refused() {
        let text = r#"{"type":"req","id":"é\n","method":"m","params":{"a":[1,"x"]},"more":null}"#;
        for (end, _) in text.char_indices() {
            let error = parse(&text[..end]).unwrap_err().error;
            assert!(error.message.starts_with("invalid request frame: "), "{}", error.message);
        }
        assert!(parse(text).is_ok());
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_small_body_stands_twice_and_a_large_one_once() {
        let small = written(|out| write_success(out, "a\"b", |out| out.extend_from_slice(b"[1]")));
        assert_eq!(small, r#"{"type":"res","id":"a\"b","ok":true,"payload":[1],"result":[1]}"#);
        for (length, times) in [(BOTH_BODIES_BYTES_MAX, 2), (BOTH_BODIES_BYTES_MAX + 1, 1)] {
            let body = format!("\"{}\"", "x".repeat(length - 2));
            let text = written(|out| {
                write_success(out, "1", |out| out.extend_from_slice(body.as_bytes()))
            });
            assert_eq!(text.matches(&body).count(), times);
            assert!(
                serde_json::from_str::<serde_json::Value>(&text).unwrap()["payload"].is_string()
            );
        }
    }

    #[test]
    fn a_failure_says_code_and_message_and_no_more_than_there_is() {
        let plain = ProtocolError::invalid("no");
        assert_eq!(
            written(|out| write_failure(out, "1", &plain)),
            r#"{"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"no"}}"#
        );
        let full = ProtocolError::new(ErrorCode::Unavailable, "later")
            .with_details(serde_json::json!({"code": "X"}))
            .retry_after(500);
        assert_eq!(
            written(|out| write_failure(out, "1", &full)),
            r#"{"type":"res","id":"1","ok":false,"error":{"code":"UNAVAILABLE","message":"later","details":{"code":"X"},"retryable":true,"retryAfterMs":500}}"#
        );
    }

    #[test]
    fn only_a_refusal_may_speak_a_fatal_phrase() {
        let error = ProtocolError::invalid("auth rate limit")
            .with_details(serde_json::json!({"code": "AUTH_RATE_LIMITED"}));
        assert!(written(|out| write_refusal(out, "1", &error)).contains("auth rate limit"));
        let safe = written(|out| write_failure(out, "1", &error));
        assert!(!safe.contains("auth rate limit") && !safe.contains("AUTH_RATE_LIMITED"), "{safe}");
    }
}
