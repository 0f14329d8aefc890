//! Floor T: the smallest thread-per-connection WebSocket server that does the benchmark's work.
//!
//! It speaks the handshake with one Ed25519 verification, answers `ping`, and broadcasts what
//! `logs.append` brings from the producer's own thread, one write per receiver. There is no TLS,
//! no hub, no journal, no durability, no limit and no heartbeat: whatever the gateway does more
//! than this is what its features cost. 4 KiB read buffers, 128 KiB stacks.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;
use serde_json::value::RawValue;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Message, WebSocket};

const READ_BUFFER_BYTES: usize = 4 * 1024;
const STACK_BYTES: usize = 128 * 1024;

/// A socket that its own thread reads and any thread writes, one whole frame at a time.
struct Peer {
    stream: TcpStream,
    writing: Mutex<()>,
}

/// The peer as tungstenite sees it.
struct Socket(Arc<Peer>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0.stream).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let _whole = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.stream).write_all(bytes)
    }
}

/// Everybody who hears broadcasts, and the number of the last one.
#[derive(Default)]
struct Operators {
    peers: Vec<Arc<Peer>>,
    seq: u64,
}

type Shared = Arc<Mutex<Operators>>;

#[derive(Deserialize)]
struct Request<'a> {
    id: &'a str,
    method: &'a str,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Connect<'a> {
    #[serde(borrow)]
    client: Client<'a>,
    role: &'a str,
    scopes: Vec<&'a str>,
    device: Device<'a>,
}

#[derive(Deserialize)]
struct Client<'a> {
    id: &'a str,
    mode: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device<'a> {
    id: &'a str,
    public_key: &'a str,
    signature: &'a str,
    signed_at: i64,
}

#[derive(Deserialize)]
struct Append<'a> {
    #[serde(borrow)]
    entries: Vec<&'a RawValue>,
}

fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{{\"url\":\"ws://{}\"}}", listener.local_addr()?);
    let shared = Shared::default();
    loop {
        let (stream, _) = listener.accept()?;
        let shared = Arc::clone(&shared);
        Builder::new().stack_size(STACK_BYTES).spawn(move || {
            // A peer that is gone is how every connection ends here.
            let _ended = serve(stream, &shared);
        })?;
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let peer = Arc::new(Peer { stream, writing: Mutex::default() });
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let mut socket = tungstenite::accept_with_config(Socket(Arc::clone(&peer)), Some(config))
        .ok()
        .context("no upgrade")?;
    let is_operator = shake_hands(&mut socket)?;
    if is_operator {
        lock(shared).peers.push(Arc::clone(&peer));
    }
    let ended = answer(&mut socket, shared);
    lock(shared).peers.retain(|other| !Arc::ptr_eq(other, &peer));
    ended
}

/// Whether the peer is an operator, once it has proven its key.
fn shake_hands(socket: &mut WebSocket<Socket>) -> Result<bool> {
    let mut random = [0; 24];
    getrandom::fill(&mut random)?;
    let nonce = URL_SAFE_NO_PAD.encode(random);
    let challenge = format!(
        "{{\"type\":\"event\",\"event\":\"connect.challenge\",\"payload\":{{\"nonce\":\"{nonce}\"}}}}"
    );
    socket.send(Message::text(challenge))?;
    let text = socket.read()?.into_text()?;
    let request: Request<'_> = serde_json::from_str(&text)?;
    let params = request.params.context("connect without params")?;
    let connect: Connect<'_> = serde_json::from_str(params.get())?;
    verify(&connect, &nonce)?;
    let id = request.id;
    socket.send(Message::text(format!(
        "{{\"type\":\"res\",\"id\":\"{id}\",\"ok\":true,\"payload\":{{\"type\":\"hello-ok\"}}}}"
    )))?;
    Ok(connect.role == "operator")
}

fn verify(connect: &Connect<'_>, nonce: &str) -> Result<()> {
    let Connect { client, role, scopes, device } = connect;
    let text = format!(
        "v2|{}|{}|{}|{role}|{}|{}||{nonce}",
        device.id,
        client.id,
        client.mode,
        scopes.join(","),
        device.signed_at
    );
    let key: [u8; 32] = URL_SAFE_NO_PAD.decode(device.public_key)?.as_slice().try_into()?;
    let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(device.signature)?)?;
    VerifyingKey::from_bytes(&key)?.verify_strict(text.as_bytes(), &signature)?;
    Ok(())
}

fn answer(socket: &mut WebSocket<Socket>, shared: &Shared) -> Result<()> {
    loop {
        let Message::Text(text) = socket.read()? else { continue };
        let request: Request<'_> = serde_json::from_str(&text)?;
        let id = request.id;
        match request.method {
            "ping" => {}
            "logs.append" => {
                let params = request.params.context("logs.append without params")?;
                let append: Append<'_> = serde_json::from_str(params.get())?;
                for entry in append.entries {
                    broadcast(shared, entry.get());
                }
            }
            other => bail!("unknown method {other}"),
        }
        socket.send(Message::text(format!("{{\"type\":\"res\",\"id\":\"{id}\",\"ok\":true}}")))?;
    }
}

fn broadcast(shared: &Shared, entry: &str) {
    let mut operators = lock(shared);
    operators.seq += 1;
    let seq = operators.seq;
    let text =
        format!("{{\"type\":\"event\",\"event\":\"log\",\"payload\":{entry},\"seq\":{seq}}}");
    let mut frame = Vec::with_capacity(text.len() + 10);
    if Frame::message(text, OpCode::Data(Data::Text), true).format(&mut frame).is_err() {
        return;
    }
    for peer in &operators.peers {
        // Its own thread notices when it is gone.
        let _gone = peer.write(&frame);
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Operators> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
