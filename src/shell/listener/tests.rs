//! What `listener` promises.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use std::time::Duration;

use super::*;
use crate::base::close_reason::CloseReason;
use crate::base::ids::ConnId;
use crate::shell::bounds::ConnectionLimits;
use crate::shell::connection::{Flow, Handler};
use crate::shell::flusher::FlusherThread;
use crate::shell::link::{Class, Outgoing};
use crate::shell::tls::{self, TlsSlot};
use crate::wire::frame;
use crate::wire::head::Head;
use crate::wire::http::HttpResponse;

/// Echoes texts, obeys a few of them, and tells how every connection ended.
struct Echo {
    ended: Mutex<Sender<CloseReason>>,
    closed: Arc<Mutex<Vec<CloseReason>>>,
}

struct Echoing {
    deadline: Option<Instant>,
    closed: Arc<Mutex<Vec<CloseReason>>>,
}

impl Service for Echo {
    type Handler = Echoing;

    fn http(&self, head: &Head, _peer: SocketAddr, is_tls: bool) -> HttpResponse {
        HttpResponse::text(200, &format!("{} tls={is_tls}", head.path))
    }

    fn upgrade(
        &self,
        _conn: ConnId,
        _head: &Head,
        _peer: SocketAddr,
        _is_tls: bool,
    ) -> Result<Echoing, HttpResponse> {
        Ok(Echoing { deadline: None, closed: Arc::clone(&self.closed) })
    }

    fn ended(&self, _conn: ConnId, _peer: SocketAddr, reason: &CloseReason) {
        self.ended.lock().unwrap().send(reason.clone()).unwrap();
    }
}

impl Handler for Echoing {
    fn opened(&mut self, link: &Arc<Link>) -> Flow {
        link.queue(Outgoing { bytes: frame::text("welcome"), class: Class::Reply });
        Flow::Continue
    }
    fn text(&mut self, link: &Arc<Link>, text: &str) -> Flow {
        match text {
            "authenticate" => link.authenticated(),
            "expire" => self.deadline = Some(clock::instant() + Duration::from_millis(20)),
            "panic" => std::panic::resume_unwind(Box::new("as asked")),
            "refuse" => {
                let refused = CloseReason::Refused { code: 4001, text: "no".to_owned() };
                return Flow::Close(refused);
            }
            "nest" => {
                let json = format!("{}{}", "[".repeat(127), "]".repeat(127));
                assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
            }
            _ => {}
        }
        link.queue(Outgoing { bytes: frame::text(text), class: Class::Reply });
        Flow::Continue
    }
    fn binary(&mut self, _link: &Arc<Link>, _data: &[u8]) -> Flow {
        Flow::Close(CloseReason::BinaryFrame)
    }
    fn pong(&mut self, _link: &Arc<Link>, _payload: &[u8]) {}
    fn message_bytes_max(&self) -> usize {
        1 << 20
    }
    fn message_time_max(&self) -> Duration {
        MESSAGE_TIME
    }

    fn over_limit(&self) -> CloseReason {
        CloseReason::MessageTooLarge
    }
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
    fn expired(&mut self, _link: &Arc<Link>) -> Flow {
        Flow::Close(CloseReason::HandshakeTimeout)
    }
    fn closed(&mut self, reason: &CloseReason) {
        self.closed.lock().unwrap().push(reason.clone());
    }
}

/// A running listener.
struct Kit {
    listener: Listener,
    bounds: Arc<Bounds>,
    registry: Arc<Registry>,
    ended: Receiver<CloseReason>,
    closed: Arc<Mutex<Vec<CloseReason>>>,
    cert: Option<CertificateDer<'static>>,
    _flusher: FlusherThread,
}

/// Short, so that a test can wait for it.
const MESSAGE_TIME: Duration = Duration::from_secs(3);

const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 50,
    connections_per_address: 50,
    handshake: Duration::from_secs(20),
    preauth_connections: 50,
    preauth_connections_per_address: 50,
    preauth_bytes: 64 << 10,
    backlog_bytes: 4 << 20,
    inbound_bytes_total: 64 << 20,
    backlog_bytes_total: 64 << 20,
};

fn kit(limits: ConnectionLimits, is_tls: bool) -> Kit {
    let (mut tls, mut cert) = (None, None);
    if is_tls {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
        cert = Some(CertificateDer::from_pem_slice(cert_pem.as_bytes()).unwrap());
        let name = std::path::Path::new("made");
        let pair = ((name, cert_pem.as_bytes()), (name, key_pem.as_bytes()));
        tls = Some(TlsSlot::new(tls::server_config_from_pem(pair.0, pair.1).unwrap()));
    }
    let (ended_in, ended) = channel();
    let closed = Arc::default();
    let service = Arc::new(Echo { ended: Mutex::new(ended_in), closed: Arc::clone(&closed) });
    let flusher = FlusherThread::start().unwrap();
    let registry = Registry::new();
    let bounds = Bounds::new(limits);
    let setup = ListenerSetup {
        bounds: Arc::clone(&bounds),
        tls,
        gap_frame: |_| Bytes::new(),
        flusher: flusher.handle(),
        registry: Arc::clone(&registry),
        metrics: Arc::default(),
    };
    let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = Listener::start(socket, service, setup).unwrap();
    Kit { listener, bounds, registry, ended, closed, cert, _flusher: flusher }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Kit {
    fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.listener.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn stream(&self) -> Box<dyn Stream> {
        let Some(cert) = &self.cert else { return Box::new(self.dial()) };
        let mut roots = RootCertStore::empty();
        roots.add(cert.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        Box::new(StreamOwned::new(client, self.dial()))
    }

    /// An open WebSocket that has been welcomed.
    fn open(&self) -> WebSocket<Box<dyn Stream>> {
        let (mut socket, _) = tungstenite::client("ws://localhost/ws", self.stream()).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("welcome"));
        socket
    }

    #[track_caller]
    fn expect_end(&self, expected: &CloseReason) {
        assert_eq!(&self.ended.recv_timeout(Duration::from_secs(20)).unwrap(), expected);
    }

    /// Sends one message and checks the close that follows, and how the server names it.
    #[track_caller]
    fn check_close(&self, message: Message, code: u16, expected: &CloseReason) {
        let mut socket = self.open();
        socket.send(message).unwrap();
        loop {
            match socket.read().unwrap() {
                Message::Close(Some(close)) => {
                    assert_eq!(close.code, CloseCode::from(code));
                    break;
                }
                Message::Text(_) => {}
                other => panic!("{other:?}"),
            }
        }
        // The end of the stream, not a reset.
        assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
        // The server drains for as long as we keep our side open, up to its grace.
        drop(socket);
        self.expect_end(expected);
        assert_eq!(self.closed.lock().unwrap().pop().as_ref(), Some(expected));
    }
}

/// Everything the server says to these bytes until it ends the stream.
fn say(mut stream: impl Read + Write, bytes: &[u8]) -> String {
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn messages_go_round_plain_and_over_tls() {
    for is_tls in [false, true] {
        let kit = kit(LIMITS, is_tls);
        let mut socket = kit.open();
        for text in ["a".to_owned(), "nest".to_owned(), "b".repeat(200_000), "c".repeat(1 << 20)] {
            socket.send(Message::text(&text)).unwrap();
            assert_eq!(socket.read().unwrap(), Message::text(&text));
        }
        for number in 0..1_000 {
            socket.write(Message::text(number.to_string())).unwrap();
        }
        socket.flush().unwrap();
        for number in 0..1_000 {
            assert_eq!(socket.read().unwrap(), Message::text(number.to_string()));
        }
        socket.send(Message::Ping(Bytes::from_static(b"beat"))).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong(Bytes::from_static(b"beat")));
        socket.close(None).unwrap();
        assert!(matches!(socket.read(), Ok(Message::Close(_))));
        assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
        drop(socket);
        kit.expect_end(&CloseReason::ClosedByPeer(None));
    }
}

#[test]
fn every_close_of_ours_reaches_the_peer_with_its_code() {
    for is_tls in [false, true] {
        let kit = kit(LIMITS, is_tls);
        let refused = CloseReason::Refused { code: 4001, text: "no".to_owned() };
        kit.check_close(Message::text("refuse"), 4001, &refused);
        kit.check_close(Message::text("panic"), 1011, &CloseReason::Bug);
        kit.check_close(Message::text("expire"), 1008, &CloseReason::HandshakeTimeout);
        kit.check_close(Message::binary(vec![1]), 1003, &CloseReason::BinaryFrame);
        let long = Message::text("x".repeat((1 << 20) + 1));
        kit.check_close(long, 1009, &CloseReason::MessageTooLarge);
        assert!(kit.registry.join_all(clock::instant() + Duration::from_secs(20)));
        assert_eq!(kit.bounds.admission().connections(), 0);
        assert_eq!((kit.bounds.inbound().used(), kit.bounds.backlog().used()), (0, 0));
    }
}

#[test]
fn a_peer_that_vanishes_is_told_to_the_handler_once() {
    let kit = kit(LIMITS, false);
    drop(kit.open());
    kit.expect_end(&CloseReason::Vanished);
    assert_eq!(*kit.closed.lock().unwrap(), [CloseReason::Vanished]);
}

#[test]
fn http_is_answered_on_the_same_port_and_closed() {
    for is_tls in [false, true] {
        let kit = kit(LIMITS, is_tls);
        let get = b"GET /healthz?token=x HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = say(kit.stream(), get);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n/healthz tls={is_tls}\n")), "{answer}");
        kit.expect_end(&CloseReason::HttpAnswered);
        let head = say(
            kit.stream(),
            &get.map(|byte| byte)
                .strip_prefix(b"GET")
                .map(|rest| [b"HEAD", rest].concat())
                .unwrap(),
        );
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        let posted = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
        assert!(say(kit.stream(), posted).starts_with("HTTP/1.1 405"));
    }
}

#[test]
fn the_wrong_protocol_for_the_port_is_noticed() {
    let plain = kit(LIMITS, false);
    assert_eq!(say(plain.dial(), b"\x16\x03\x01\x00\x05hello"), "");
    plain.expect_end(&CloseReason::ProtocolViolation("TLS on a port that speaks plain"));
    let tls = kit(LIMITS, true);
    let answer = say(tls.dial(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.contains("this port speaks TLS"), "{answer}");
    tls.expect_end(&CloseReason::HttpAnswered);
    say_bytes(&tls, b"\x16\x03\x01\x00\x05hello");
    tls.expect_end(&CloseReason::TlsFailed);
}

/// Like [`say`], where the answer is no text.
fn say_bytes(kit: &Kit, bytes: &[u8]) {
    let mut stream = kit.dial();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.first(), Some(&0x15), "a TLS alert");
}

#[test]
fn who_is_slow_with_the_head_is_ended_in_total_not_per_byte() {
    for is_tls in [false, true] {
        let limits = ConnectionLimits { handshake: Duration::from_millis(100), ..LIMITS };
        let kit = kit(limits, is_tls);
        let silent = kit.dial();
        let mut dripping = kit.dial();
        // A TLS record that announces 16 KiB of client hello, or an HTTP head without end.
        let start: &[u8] = if is_tls {
            b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"
        } else {
            b"GET / HTTP/1.1\r\nX: "
        };
        let mut request = start.iter().copied().chain(std::iter::repeat(b'x'));
        while dripping.write_all(&[request.next().unwrap()]).is_ok() {
            // Paced by the server's own end: a read that times out is one byte's pause.
            dripping.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
            if dripping.read(&mut [0; 512]).is_ok() {
                break;
            }
        }
        // The silent one, too, must have been ended by the server before we end it.
        // In clear only where the port speaks plain.
        let said = say(&silent, b"");
        assert_eq!(said.starts_with("HTTP/1.1 408"), !is_tls, "{said:?}");
        assert_eq!(said.is_empty(), is_tls, "{said:?}");
        drop((silent, dripping));
        kit.expect_end(&CloseReason::HeadTimeout);
        kit.expect_end(&CloseReason::HeadTimeout);
    }
}

#[test]
fn over_capacity_is_refused_before_a_thread_and_places_return() {
    let limits = ConnectionLimits { preauth_connections: 2, connections: 3, ..LIMITS };
    let kit = kit(limits, false);
    let mut first = kit.open();
    let second = kit.open();
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let refused = say(kit.dial(), get);
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("Retry-After: 5"), "{refused}");
    first.send(Message::text("authenticate")).unwrap();
    first.read().unwrap();
    assert!(say(kit.dial(), get).starts_with("HTTP/1.1 200"), "a place before authentication");
    kit.expect_end(&CloseReason::HttpAnswered);
    drop(second);
    kit.expect_end(&CloseReason::Vanished);
    // Not the registry: an entry goes last, after the end has been told.
    assert_eq!(kit.bounds.admission().connections(), 1);
}

#[test]
fn stopping_closes_every_peer_and_leaves_no_thread() {
    let mut kit = kit(LIMITS, true);
    let mut sockets: Vec<_> = (0..5).map(|_| kit.open()).collect();
    kit.listener.stop();
    assert!(TcpStream::connect(kit.listener.address()).is_err());
    kit.registry.close_all(&CloseReason::ServerStopping);
    for socket in &mut sockets {
        let Ok(Message::Close(Some(close))) = socket.read() else { panic!("no close") };
        assert_eq!((close.code, close.reason.as_str()), (CloseCode::Restart, "service restart"));
        assert!(socket.read().is_err());
    }
    drop(sockets);
    assert!(kit.registry.join_all(clock::instant() + Duration::from_secs(20)));
    assert!(kit.registry.is_empty());
}

#[test]
fn unfinished_messages_of_all_peers_share_one_budget() {
    let limits = ConnectionLimits { inbound_bytes_total: 300_000, ..LIMITS };
    let kit = kit(limits, false);
    let mut socket = kit.open();
    let big = Message::text("x".repeat(1 << 20));
    // The server may end the stream while we still write.
    let _sent_or_not = socket.send(big);
    drop(socket);
    kit.expect_end(&CloseReason::OverCapacity {
        retry_after: crate::base::limits::CAPACITY_RETRY_AFTER,
    });
    assert_eq!(kit.bounds.inbound().used(), 0);
}

#[test]
fn message_that_is_not_finished_in_time_ends_its_connection_whether_bytes_come_or_not() {
    for trickles in [false, true] {
        let kit = kit(LIMITS, false);
        let (mut socket, _) = tungstenite::client("ws://localhost/ws", kit.dial()).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("welcome"));
        // Text of 1,000 bytes, masked with zeros, of which few come.
        let began = b"\x81\xfe\x03\xe8\0\0\0\0x";
        socket.get_mut().write_all(began).unwrap();
        socket.get_mut().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let deadline = clock::instant() + Duration::from_secs(20);
        let closed = loop {
            match socket.read() {
                Ok(Message::Close(close)) => break close.unwrap(),
                Ok(other) => panic!("{other:?}"),
                Err(_) if trickles => drop(socket.get_mut().write_all(b"x")),
                Err(_) => {}
            }
            assert!(clock::instant() < deadline, "still open");
        };
        assert_eq!(u16::from(closed.code), 1008);
        drop(socket);
        kit.expect_end(&CloseReason::MessageTimeout);
        assert_eq!(kit.bounds.inbound().used(), 0);
    }
}
