//! What `head` promises.

use super::*;
use expect_test::{Expect, expect};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn upgrade(path: &str, change: (&str, &str)) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\n\
         Connection: keep-alive, Upgrade\r\n{KEY}Sec-WebSocket-Version: 13\r\n\r\n"
    )
    .replace(change.0, change.1)
}

/// One line: what the head asks for, or status and text of the refusal.
fn describe(progress: Progress) -> String {
    match progress {
        Progress::Partial => "partial".to_owned(),
        Progress::Whole(head) => {
            let headers: Vec<_> = head.headers().collect();
            format!("{:?} {} {:?} {headers:?}", head.method, head.path, head.asked)
        }
        Progress::Refused(response) => {
            let bytes = response.encode(false);
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            text.replace("\r\n", " | ").trim_end().to_owned()
        }
    }
}

#[track_caller]
fn check(request: &str, expected: &Expect) {
    expected.assert_eq(&describe(HeadReader::default().push(request.as_bytes())));
}

#[test]
fn an_upgrade_is_accepted_on_five_paths_and_its_query_is_forgotten() {
    for path in UPGRADE_PATHS {
        let request = upgrade(&format!("{path}?token=secret"), ("", ""));
        let mut reader = HeadReader::default();
        let Progress::Whole(head) = reader.push(request.as_bytes()) else { panic!("{request}") };
        assert_eq!(head.path, path);
        // The key and its answer are the example of RFC 6455 section 1.3.
        assert_eq!(
            head.asked,
            Asked::Upgrade { accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned() }
        );
        assert!(!format!("{head:?}").contains("secret"));
    }
    check(
        &upgrade("/other", ("", "")),
        &expect![
            "HTTP/1.1 404 Not Found | Connection: close | Content-Type: text/plain; charset=utf-8 | Content-Length: 18 |  | no WebSocket here"
        ],
    );
    check(
        &upgrade("http://localhost:8080/ws?x", ("keep-alive, Upgrade", "upgrade")),
        &expect![[
            r#"Get /ws Upgrade { accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" } [("host", "localhost:8080")]"#
        ]],
    );
}

#[test]
fn a_handshake_out_of_order_is_refused_with_its_reason() {
    let refused = |change: (&str, &str)| {
        let line = describe(HeadReader::default().push(upgrade("/", change).as_bytes()));
        line.replace("Connection: close | Content-Type: text/plain; charset=utf-8 | ", "")
    };
    let cases = [
        ("keep-alive, Upgrade", "keep-alive"),
        ("Version: 13", "Version: 8"),
        ("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13"),
        (KEY, ""),
        (KEY, &KEY.repeat(2)),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
        ("Host: localhost:8080\r\n", ""),
        ("Host: localhost:8080\r\n", "Host: a\r\nHost: b\r\n"),
        (KEY, "Origin: http://a\r\nOrigin: http://b\r\n"),
        ("Version: 13", "Version: 13\r\nContent-Length: 5"),
        ("Version: 13", "Version: 13\r\nTransfer-Encoding: chunked"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1", "HTTP/2.0"),
        ("GET", "POST"),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Host:", "Host :"),
    ];
    let lines: Vec<String> = cases.iter().map(|case| refused(*case)).collect();
    expect![[r#"
        HTTP/1.1 400 Bad Request | Content-Length: 56 |  | Connection: Upgrade is missing; does a proxy remove it?
        HTTP/1.1 426 Upgrade Required | Content-Length: 36 | Sec-WebSocket-Version: 13 | Upgrade: websocket |  | WebSocket version 13 is spoken here
        HTTP/1.1 426 Upgrade Required | Content-Length: 36 | Sec-WebSocket-Version: 13 | Upgrade: websocket |  | WebSocket version 13 is spoken here
        HTTP/1.1 400 Bad Request | Content-Length: 36 |  | there must be one Sec-WebSocket-Key
        HTTP/1.1 400 Bad Request | Content-Length: 36 |  | there must be one Sec-WebSocket-Key
        HTTP/1.1 400 Bad Request | Content-Length: 45 |  | Sec-WebSocket-Key must be 16 bytes in base64
        HTTP/1.1 400 Bad Request | Content-Length: 27 |  | the Host header is missing
        HTTP/1.1 400 Bad Request | Content-Length: 26 |  | more than one Host header
        HTTP/1.1 400 Bad Request | Content-Length: 28 |  | more than one Origin header
        HTTP/1.1 400 Bad Request | Content-Length: 32 |  | a WebSocket upgrade has no body
        HTTP/1.1 400 Bad Request | Content-Length: 32 |  | a WebSocket upgrade has no body
        HTTP/1.1 400 Bad Request | Content-Length: 27 |  | a WebSocket needs HTTP/1.1
        HTTP/1.1 505 HTTP Version Not Supported | Content-Length: 24 |  | HTTP/1.1 is spoken here
        HTTP/1.1 405 Method Not Allowed | Content-Length: 31 | Allow: GET, HEAD |  | only GET and HEAD are answered
        Get / Http [("host", "localhost:8080")]
        HTTP/1.1 400 Bad Request | Content-Length: 18 |  | malformed request"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn headers_of_proxies_are_kept_and_noticed() {
    let plain = "GET /health HTTP/1.1\r\nHost: h\r\nCookie: secret\r\nAccept: */*\r\n\r\n";
    check(plain, &expect![[r#"Get /health Http [("host", "h")]"#]]);
    for name in ["Forwarded", "X-Forwarded-For", "X-Forwarded-Anything", "X-Real-IP", "Via"] {
        let request = plain.replace("Accept", name);
        let Progress::Whole(head) = HeadReader::default().push(request.as_bytes()) else {
            panic!("{request}")
        };
        assert!(head.is_forwarded(), "{name}");
        assert_eq!(head.header(&name.to_ascii_lowercase()), Some("*/*"));
    }
}

#[test]
fn a_head_may_arrive_byte_by_byte_and_what_follows_is_kept() {
    for request in [upgrade("/", ("", "")), upgrade("/", ("", "")).replace('\r', "")] {
        let mut reader = HeadReader::default();
        let (last, all_but) = request.as_bytes().split_last().unwrap();
        for byte in all_but {
            assert_eq!(describe(reader.push(&[*byte])), "partial");
        }
        assert!(matches!(reader.push(&[*last, b'x', b'y']), Progress::Whole(_)));
        assert_eq!(reader.into_rest(), b"xy");
    }
}

#[test]
fn what_is_no_request_is_refused_at_its_first_bytes() {
    for garbage in ["\0\0\0\0", "\x16\x03\x01\x02", "{\"type\":\"req\"} \x01"] {
        let line = describe(HeadReader::default().push(garbage.as_bytes()));
        assert!(line.starts_with("HTTP/1.1 400"), "{garbage:?}: {line}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(HTTP_HEAD_BYTES_MAX));
    assert!(describe(HeadReader::default().push(long.as_bytes())).starts_with("HTTP/1.1 431"));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HTTP_HEADERS_MAX + 1));
    assert!(describe(HeadReader::default().push(many.as_bytes())).starts_with("HTTP/1.1 431"));
}
