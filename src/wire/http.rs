//! Encodes the HTTP/1.1 answers of this port: short texts and JSON, one per connection.
//!
//! Every answer but the upgrade says `Connection: close`: an HTTP client here is a health check
//! or a mistaken address, so keeping the connection alive would only be one more state.
//! Does not decide what is answered. Called by `shell::connection` and by whoever serves a path.

use bytes::Bytes;
use std::borrow::Cow;
use std::fmt::Write;

/// An answer to a request without upgrade, or to one that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Cow<'static, [u8]>,
}

impl HttpResponse {
    /// A JSON answer; `body` is the JSON text.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "application/json; charset=utf-8", body.into().into_bytes())
    }

    /// A plain text answer; a line end is added.
    pub fn text(status: u16, body: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{body}\n").into_bytes())
    }

    /// An answer with any body, such as a page of the console.
    pub fn new(
        status: u16,
        content_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into() }
    }

    /// The same answer with one more header. Line breaks in the value are removed, so that no
    /// value can add a header of its own.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let mut value = value.into();
        value.retain(|character| !character.is_control());
        self.headers.push((name, value));
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The whole answer; for `HEAD` the same headers without the body (RFC 9110 section 9.3.2).
    pub fn encode(&self, head_only: bool) -> Bytes {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nConnection: close\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
            self.status,
            phrase(self.status),
            self.content_type,
            self.body.len(),
        );
        for (name, value) in &self.headers {
            // Writing to a String cannot fail.
            let _infallible = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut answer = head.into_bytes();
        if !head_only {
            answer.extend_from_slice(&self.body);
        }
        Bytes::from(answer)
    }
}

/// The answer that turns the connection into a WebSocket (RFC 6455 section 4.2.2); `accept` as
/// in [`crate::wire::head::Asked::Upgrade`]. No subprotocol and no extension is chosen.
pub fn switching_protocols(accept: &str) -> Bytes {
    Bytes::from(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        408 => "Request Timeout",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check(bytes: &Bytes, expected: &Expect) {
        expected.assert_eq(&String::from_utf8(bytes.to_vec()).unwrap().replace('\r', ""));
    }

    #[test]
    fn an_answer_carries_its_length_and_closes() {
        let answer = HttpResponse::json(200, r#"{"ok":true}"#)
            .with_header("Cache-Control", "no-store\r\nX-Injected: 1");
        check(
            &answer.encode(false),
            &expect![[r#"
                HTTP/1.1 200 OK
                Connection: close
                Content-Type: application/json; charset=utf-8
                Content-Length: 11
                Cache-Control: no-storeX-Injected: 1

                {"ok":true}"#]],
        );
    }

    #[test]
    fn head_has_the_headers_of_get_and_no_body() {
        check(
            &HttpResponse::text(404, "not found").encode(true),
            &expect![[r#"
                HTTP/1.1 404 Not Found
                Connection: close
                Content-Type: text/plain; charset=utf-8
                Content-Length: 10

            "#]],
        );
    }
}
