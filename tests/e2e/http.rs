//! The few HTTP pages on the gateway's port.

use std::io::Write;

use serde_json::json;

use crate::kit::{Gateway, exchange};

#[test]
fn health_is_live_on_every_path_without_authentication() {
    for tls in [false, true] {
        let gateway = Gateway::setup().tls(tls).start();
        for path in ["/health", "/healthz", "/api/health", "/health?verbose=1"] {
            let answer = gateway.http("GET", path);
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            assert_eq!(answer.json(), json!({ "ok": true, "status": "live" }), "{path}");
            assert_eq!(answer.header("x-openclaw-version"), Some(env!("CARGO_PKG_VERSION")));
            assert_eq!(answer.header("Cache-Control"), Some("no-store"));
        }
    }
}

#[test]
fn ready_gateway_says_so() {
    let gateway = Gateway::start();
    for path in ["/ready", "/readyz"] {
        let answer = gateway.http("GET", path);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json(), json!({ "ready": true }));
    }
}

#[test]
fn status_counts_and_tells_no_secrets() {
    let gateway = Gateway::start();
    let _operator = gateway.operator();
    let answer = gateway.http("GET", "/api/status");
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = answer.json().to_string();
    assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    assert!(!text.contains(crate::kit::SECRET), "{text}");
}

#[test]
fn head_gets_the_headers_without_the_body() {
    let gateway = Gateway::start();
    let answer = gateway.http("HEAD", "/health");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{answer:?}");
}

#[test]
fn other_methods_are_told_which_are_allowed() {
    let gateway = Gateway::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = gateway.http(method, "/health");
        assert_eq!(answer.status, 405, "{method}: {answer:?}");
        let allow = answer.header("Allow").expect("405 names what is allowed");
        assert!(allow.contains("GET") && allow.contains("HEAD"), "{allow}");
    }
}

#[test]
fn unknown_pages_are_not_found() {
    let gateway = Gateway::start();
    for path in ["/no-such-page", "/../etc/passwd", "/health/x", "/ws"] {
        assert_ne!(gateway.http("GET", path).status, 200, "{path}");
    }
    assert_eq!(gateway.http("GET", "/no-such-page").status, 404);
}

#[test]
fn broken_requests_are_refused_and_end() {
    let gateway = Gateway::start();
    let garbage: [&[u8]; 3] = [
        b"GARBAGE\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n",
    ];
    for bytes in garbage {
        let answer = exchange(&gateway.dial(), bytes);
        assert!((400..=505).contains(&answer.status), "{answer:?}");
    }
    // A head that never ends is cut off, not collected.
    let (mut stream, _control) = gateway.dial().stream().unwrap();
    let refused = stream
        .write_all(b"GET / HTTP/1.1\r\n")
        .and_then(|()| (0..65_536).try_for_each(|_| stream.write_all(&[b'a'; 1024])));
    assert!(refused.is_err(), "64 MiB of head were taken");
    assert_eq!(gateway.http("GET", "/health").status, 200);
}
