//! One HTTP/1.1 request and its answer, for the pages that the gateway serves on the same port.

use std::io::{Read, Write};

use super::{Dial, Gateway};

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value; names are compared without case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(held, _)| held.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.body))
    }
}

impl Gateway {
    /// Sends one request on a connection of its own and reads until the gateway ends it.
    #[track_caller]
    pub(crate) fn http(&self, method: &str, path: &str) -> Answer {
        let host = self.address();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        exchange(&self.dial(), request.as_bytes())
    }
}

/// Sends these bytes and reads an HTTP answer.
#[track_caller]
pub(crate) fn exchange(dial: &Dial, request: &[u8]) -> Answer {
    let (mut stream, _control) = dial.stream().expect("the gateway accepts");
    stream.write_all(request).unwrap();
    stream.flush().unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // Until the end of the stream, or until the body is as long as announced: a TLS peer that
    // ends TCP without a closing alert is an error to the reader, but not to this kit.
    while !is_complete(&answer) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) => panic!("reading {:?}: {error}", String::from_utf8_lossy(&answer)),
        }
    }
    parse(&String::from_utf8(answer).expect("an answer in UTF-8"))
}

fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    // The answer to HEAD announces a length and has no body; its reader meets the end of the
    // stream instead.
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    matches!(length, Some(Ok(length)) if body.len() >= length)
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap();
    let status = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap();
    let headers = lines
        .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}")))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Answer { status: status.parse().unwrap(), headers, body: body.to_owned() }
}
