//! The head of an HTTP/1.1 request: is it an upgrade, plain HTTP, or neither?
//!
//! Owns the bytes of an unfinished head, at most `HTTP_HEAD_BYTES_MAX`. Keeps of a finished one
//! only what the gateway decides by; the query string is dropped here, so that a token in it can
//! be neither believed nor logged. Does not answer paths and does not interpret addresses.
//! Called by `shell::connection`.

use httparse::{EMPTY_HEADER, Header, Status};
use tungstenite::handshake::derive_accept_key;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::base::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};
use crate::wire::http::HttpResponse;

/// Where a WebSocket upgrade is accepted (`docs/protocol.md`, "Transport").
pub const UPGRADE_PATHS: [&str; 5] = ["/", "/gateway-ws", "/gw", "/gateway", "/ws"];

/// A request head, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `GET` or `HEAD`; anything else was refused.
    pub method: Method,
    /// The path without the query string, as sent.
    pub path: String,
    /// What the request asks for.
    pub asked: Asked,
    /// The headers kept, names in lower case, in the order sent.
    headers: Vec<(String, String)>,
}

/// The methods that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A WebSocket, on one of [`UPGRADE_PATHS`].
    Upgrade {
        /// The value of `Sec-WebSocket-Accept`.
        accept: String,
    },
    /// An answer.
    Http,
}

impl Head {
    /// The first header of this name (lower case), if it is one that is kept: `host`, `origin`,
    /// `user-agent`, `forwarded`, `via`, `x-real-ip` and `x-forwarded-*`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    /// Every header of this name (lower case), in the order sent. See [`Head::header`].
    pub fn headers_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(kept, _)| kept.as_str() == name)
            .map(|(_, value)| value.as_str())
    }

    /// The kept headers, names in lower case, in the order sent.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `Host`, as sent.
    pub fn host(&self) -> Option<&str> {
        self.header("host")
    }

    /// `Origin`, as sent.
    pub fn origin(&self) -> Option<&str> {
        self.header("origin")
    }

    /// Whether any proxy left a trace: `Forwarded`, `X-Forwarded-*`, `X-Real-IP` or `Via`.
    pub fn is_forwarded(&self) -> bool {
        self.headers.iter().any(|(name, _)| {
            matches!(name.as_str(), "forwarded" | "x-real-ip" | "via")
                || name.starts_with("x-forwarded-")
        })
    }
}

/// How far a head has come.
#[derive(Debug)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// The head is whole. The bytes after it are [`HeadReader::into_rest`].
    Whole(Head),
    /// It is not an HTTP request that could be served: answer this and close.
    Refused(HttpResponse),
}

/// Collects a head that may arrive in pieces.
#[derive(Debug, Default)]
pub struct HeadReader {
    bytes: Vec<u8>,
    /// The head's end was not found before this offset.
    searched: usize,
    head_bytes: usize,
}

impl HeadReader {
    /// Takes more bytes. At most one read's worth beyond the head's own limit is kept.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        let is_first = self.bytes.is_empty();
        self.bytes.extend_from_slice(bytes);
        let Some(end) = self.find_end() else {
            if self.bytes.len() > HTTP_HEAD_BYTES_MAX {
                return too_large();
            }
            // Once, so that what is no HTTP at all is refused at its first bytes; not at every
            // byte, which would be quadratic.
            return if is_first { self.parse(self.bytes.len()) } else { Progress::Partial };
        };
        if end > HTTP_HEAD_BYTES_MAX {
            return too_large();
        }
        self.head_bytes = end;
        match self.parse(end) {
            Progress::Partial => bad("malformed request"),
            other => other,
        }
    }

    /// What arrived after the head.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.bytes.split_off(self.head_bytes.min(self.bytes.len()))
    }

    /// The offset after the empty line that ends a head. A bare LF ends a line, too
    /// (RFC 9112 section 2.2).
    fn find_end(&mut self) -> Option<usize> {
        let from = self.searched.saturating_sub(2);
        let tail = self.bytes.get(from..).unwrap_or_default();
        let found = tail.iter().enumerate().find_map(|(index, byte)| {
            let after = match (byte, tail.get(index + 1..)?) {
                (b'\n', [b'\n', ..]) => 2,
                (b'\n', [b'\r', b'\n', ..]) => 3,
                _ => return None,
            };
            Some(from + index + after)
        });
        self.searched = self.bytes.len();
        found
    }

    #[inline(never)]
    fn parse(&self, end: usize) -> Progress {
        let mut headers = [EMPTY_HEADER; HTTP_HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(self.bytes.get(..end).unwrap_or_default()) {
            Ok(Status::Complete(_)) => {}
            Ok(Status::Partial) => return Progress::Partial,
            Err(httparse::Error::TooManyHeaders) => return too_large(),
            Err(httparse::Error::Version) => {
                return Progress::Refused(HttpResponse::text(505, "HTTP/1.1 is spoken here"));
            }
            Err(_) => return bad("malformed request"),
        }
        match judge(&request) {
            Ok(head) => Progress::Whole(head),
            Err(response) => Progress::Refused(*response),
        }
    }
}

fn too_large() -> Progress {
    Progress::Refused(HttpResponse::text(431, "the request head is too large"))
}

fn bad(why: &str) -> Progress {
    Progress::Refused(HttpResponse::text(400, why))
}

fn refusal(status: u16, why: &str) -> Box<HttpResponse> {
    Box::new(HttpResponse::text(status, why))
}

/// Decides what a whole head asks for (RFC 6455 section 4.2.1, RFC 9112 section 3.2).
fn judge(request: &httparse::Request<'_, '_>) -> Result<Head, Box<HttpResponse>> {
    let headers = &*request.headers;
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => {
            let refused = HttpResponse::text(405, "only GET and HEAD are answered");
            return Err(Box::new(refused.with_header("Allow", "GET, HEAD")));
        }
    };
    let is_old = request.version == Some(0);
    match values(headers, "host").count() {
        0 if is_old => {}
        1 => {}
        0 => return Err(refusal(400, "the Host header is missing")),
        _ => return Err(refusal(400, "more than one Host header")),
    }
    if values(headers, "origin").count() > 1 {
        return Err(refusal(400, "more than one Origin header"));
    }
    let path = origin_form(request.path.unwrap_or_default());
    let asks_websocket = has_token(headers, "upgrade", "websocket");
    let asked = if asks_websocket && method == Method::Get {
        let accept = accept_upgrade(headers, is_old)?;
        if !UPGRADE_PATHS.contains(&path) {
            return Err(refusal(404, "no WebSocket here"));
        }
        Asked::Upgrade { accept }
    } else {
        Asked::Http
    };
    let kept = headers.iter().filter_map(|header| {
        let name = header.name.to_ascii_lowercase();
        let is_kept = matches!(
            name.as_str(),
            "host" | "origin" | "user-agent" | "forwarded" | "via" | "x-real-ip"
        ) || name.starts_with("x-forwarded-");
        is_kept.then(|| (name, String::from_utf8_lossy(header.value).trim().to_owned()))
    });
    Ok(Head { method, path: path.to_owned(), asked, headers: kept.collect() })
}

/// The path of a request target in origin form or absolute form, without the query.
fn origin_form(target: &str) -> &str {
    let rest = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => target,
    };
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    if path.is_empty() { "/" } else { path }
}

/// The value of `Sec-WebSocket-Accept`, if the handshake is in order.
fn accept_upgrade(headers: &[Header<'_>], is_old: bool) -> Result<String, Box<HttpResponse>> {
    if is_old {
        return Err(refusal(400, "a WebSocket needs HTTP/1.1"));
    }
    // What follows the head would be a body to a proxy, and frames to us.
    let has_length = values(headers, "content-length").any(|length| length != "0");
    if has_length || values(headers, "transfer-encoding").next().is_some() {
        return Err(refusal(400, "a WebSocket upgrade has no body"));
    }
    if !has_token(headers, "connection", "upgrade") {
        return Err(refusal(400, "Connection: Upgrade is missing; does a proxy remove it?"));
    }
    let mut versions = values(headers, "sec-websocket-version");
    if versions.next() != Some("13") || versions.next().is_some() {
        let refused = HttpResponse::text(426, "WebSocket version 13 is spoken here");
        return Err(Box::new(
            refused.with_header("Sec-WebSocket-Version", "13").with_header("Upgrade", "websocket"),
        ));
    }
    let mut keys = values(headers, "sec-websocket-key");
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(refusal(400, "there must be one Sec-WebSocket-Key"));
    };
    match STANDARD.decode(key) {
        Ok(nonce) if nonce.len() == 16 => Ok(derive_accept_key(key.as_bytes())),
        _ => Err(refusal(400, "Sec-WebSocket-Key must be 16 bytes in base64")),
    }
}

/// The values of every header of this name, as text; one that is no text counts as empty.
fn values<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| str::from_utf8(header.value).unwrap_or_default().trim())
}

/// Whether a comma-separated header holds this token, whatever its case.
fn has_token(headers: &[Header<'_>], name: &str, token: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests;
