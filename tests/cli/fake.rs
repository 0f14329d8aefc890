//! A gateway that says what a test tells it to, over the socket of a state directory of its own.
//!
//! For what the real one does only by chance (events that overtake answers, gaps, repeats), and for
//! answers that are worth a golden. Every `connect` over the socket is let in.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

/// What the gateway does next.
pub(crate) enum Say {
    /// Answers the request with this body; a second time, if it is said twice.
    Ok(Value),
    /// Answers the request with this error.
    Error(Value),
    /// Sends an event.
    Event(&'static str, Value),
    /// Closes with this code and reason.
    Close(u16, &'static str),
}

/// The gateway, for a number of connections.
pub(crate) struct Fake {
    dir: PathBuf,
    thread: JoinHandle<Vec<Value>>,
}

impl Fake {
    /// Listens; the script is asked about each request, with its method and parameters.
    pub(crate) fn start(
        connections: usize,
        mut script: impl FnMut(&str, &Value) -> Vec<Say> + Send + 'static,
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("openclaw-cli-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        let listener = UnixListener::bind(dir.join("control.sock")).unwrap();
        let thread = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for _ in 0..connections {
                let (socket, _) = listener.accept().unwrap();
                socket.set_read_timeout(Some(crate::PATIENCE)).unwrap();
                serve(socket, &mut script, &mut requests);
            }
            requests
        });
        Self { dir, thread }
    }

    pub(crate) fn state_dir(&self) -> &Path {
        &self.dir
    }

    /// Waits for the last connection's end; returns the requests after each `connect`, as
    /// `{method, params}`.
    pub(crate) fn requests(self) -> Vec<Value> {
        let requests = self.thread.join().unwrap();
        fs::remove_dir_all(self.dir).unwrap();
        requests
    }
}

fn serve(
    socket: UnixStream,
    script: &mut impl FnMut(&str, &Value) -> Vec<Say>,
    requests: &mut Vec<Value>,
) {
    let mut socket = tungstenite::accept(socket).unwrap();
    let challenge = json!({ "nonce": "nonce-1", "ts": 0, "protocols": [3, 4] });
    send(&mut socket, &event("connect.challenge", &challenge));
    let connect = hear(&mut socket).unwrap();
    assert_eq!(connect["method"], "connect");
    let params = &connect["params"];
    assert!(params.get("device").is_none() && params.get("auth").is_none(), "{params}");
    let hello = json!({ "type": "hello-ok", "features": { "methods": ["logs.subscribe"] } });
    send(&mut socket, &json!({ "type": "res", "id": connect["id"], "ok": true, "payload": hello }));
    while let Some(request) = hear(&mut socket) {
        let method = request["method"].as_str().unwrap();
        requests.push(json!({ "method": method, "params": request["params"] }));
        let id = &request["id"];
        for say in script(method, &request["params"]) {
            match say {
                Say::Ok(body) => {
                    send(
                        &mut socket,
                        &json!({ "type": "res", "id": id, "ok": true, "payload": body }),
                    );
                }
                Say::Error(error) => {
                    send(
                        &mut socket,
                        &json!({ "type": "res", "id": id, "ok": false, "error": error }),
                    );
                }
                Say::Event(name, payload) => send(&mut socket, &event(name, &payload)),
                Say::Close(code, reason) => {
                    let frame = CloseFrame { code: code.into(), reason: reason.into() };
                    socket.close(Some(frame)).unwrap();
                }
            }
        }
    }
}

fn event(name: &str, payload: &Value) -> Value {
    json!({ "type": "event", "event": name, "payload": payload })
}

fn send(socket: &mut WebSocket<UnixStream>, frame: &Value) {
    socket.send(Message::text(frame.to_string())).unwrap();
}

/// The next request, or `None` at the end of the connection.
fn hear(socket: &mut WebSocket<UnixStream>) -> Option<Value> {
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}
