//! The kit itself, against a scripted server in this process: it must report what happened,
//! and must not wait for what never comes.

use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

use super::{Client, Connect, Device, Dial, Heard};

type ServerSide = WebSocket<std::net::TcpStream>;

/// Plays `script` to one client.
fn serve(script: impl FnOnce(ServerSide) + Send + 'static) -> (Client, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        script(tungstenite::accept(stream).unwrap());
    });
    (Dial::new(address, None).open(), server)
}

fn challenge() -> Message {
    let payload = json!({ "nonce": "n-1", "ts": 1, "protocols": [3, 4] });
    let event = json!({ "type": "event", "event": "connect.challenge", "payload": payload });
    Message::text(event.to_string())
}

fn read_json(socket: &mut ServerSide) -> Value {
    serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap()
}

#[test]
fn client_sends_connect_with_the_nonce_and_reports_the_refusal() {
    let (mut client, server) = serve(|mut socket| {
        socket.send(challenge()).unwrap();
        let connect = read_json(&mut socket);
        assert_eq!(connect["params"]["device"]["nonce"], "n-1");
        let error = json!({ "code": "NOT_PAIRED", "message": "no", "details": { "code": "X" } });
        let response = json!({ "type": "res", "id": connect["id"], "ok": false, "error": error });
        socket.send(Message::text(response.to_string())).unwrap();
        socket.close(Some(CloseFrame { code: 4001.into(), reason: "no".into() })).unwrap();
        while socket.read().is_ok() {}
    });
    let device = Device::new();
    let refusal = client.refused(&Connect::operator(&device));
    assert_eq!((refusal.message(), refusal.details_code()), ("no", "X"));
    assert_eq!((refusal.close_code, refusal.close_reason.as_str()), (4001, "no"));
    server.join().unwrap();
}

#[test]
fn client_gives_up_at_its_deadline() {
    let (mut client, server) = serve(|mut socket| while socket.read().is_ok() {});
    let began = Instant::now();
    assert_eq!(client.hear(began + Duration::from_millis(50)), None);
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(50) && waited < Duration::from_secs(5), "{waited:?}");
    drop(client);
    server.join().unwrap();
}

#[test]
fn muted_client_hears_pings_but_answers_none() {
    let (mut client, server) = serve(|mut socket| {
        socket.get_mut().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket.send(Message::Ping("a".into())).unwrap();
        assert!(matches!(socket.read(), Ok(Message::Pong(_))), "the first ping is answered");
        socket.send(challenge()).unwrap();
        assert!(socket.read().is_ok(), "the client says that it is muted from here on");
        socket.send(Message::Ping("b".into())).unwrap();
        assert!(socket.read().is_err(), "the second ping is not answered");
    });
    assert_eq!(client.hear(Instant::now() + Duration::from_secs(5)), Some(Heard::Ping));
    client.challenge();
    client.send_text("muted");
    client.mute();
    assert_eq!(client.hear(Instant::now() + Duration::from_secs(5)), Some(Heard::Ping));
    assert!(matches!(client.ended(), Heard::Gone(_)));
    server.join().unwrap();
}
