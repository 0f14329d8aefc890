//! Bytes of a stranger: the frame decoder, the request head, and what we write ourselves.
//!
//! The first byte chooses what reads the rest. What arrives in pieces must come out as if it had
//! arrived whole, nothing may be larger or hold more memory than the limits say, and what we
//! write must be well-formed whatever text it carries.

use openclaw_gateway::base::limits::HTTP_HEAD_BYTES_MAX;
use openclaw_gateway::wire::decoder::{Decoder, Message, Violation};
use openclaw_gateway::wire::frame;
use openclaw_gateway::wire::head::{Head, HeadReader, Progress};
use openclaw_gateway::wire::http::HttpResponse;

use super::bytes::Bytes;

/// Small enough that inputs reach it.
const MESSAGE_BYTES_MAX: usize = 300;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let kind = bytes.byte();
    let splits = bytes.byte();
    match kind % 4 {
        0 => check_decoder(bytes.rest(), splits),
        1 => check_decoder(&frames(bytes.rest()), splits),
        2 => check_head(bytes.rest(), splits),
        _ => check_written(bytes.rest()),
    }
}

/// Well-formed client frames that carry the bytes: first byte, length, payload, and again.
fn frames(data: &[u8]) -> Vec<u8> {
    let mut bytes = Bytes::new(data);
    let mut stream = Vec::new();
    while !bytes.is_empty() {
        let (first, len) = (bytes.byte(), bytes.byte());
        let payload: Vec<u8> = match len {
            255 => vec![b'a'; 200],
            len => (0..len % 140).map(|_| bytes.byte()).collect(),
        };
        let mask = [0x12, 0x34, 0x56, len];
        stream.push(first);
        match u8::try_from(payload.len()) {
            Ok(len @ 0..=125) => stream.push(0x80 | len),
            _ => {
                stream.push(0x80 | 126);
                stream.extend((payload.len() as u16).to_be_bytes());
            }
        }
        stream.extend(mask);
        stream.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
    stream
}

/// The lengths of the pieces, of a few bytes each, different for each `splits`.
fn pieces(data: &[u8], splits: u8) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut rest, mut state) = (data, u32::from(splits) | 1);
    while !rest.is_empty() {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let len = (1 + (state >> 16) as usize % 13).min(rest.len());
        let (piece, after) = rest.split_at(len);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[derive(Debug, PartialEq)]
enum Decoded {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Violation(Violation),
}

fn check_decoder(data: &[u8], splits: u8) {
    let whole = decode(&[data]);
    assert_eq!(decode(&data.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    assert_eq!(decode(&pieces(data, splits)), whole, "in pieces");
}

fn decode(pieces: &[&[u8]]) -> Vec<Decoded> {
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
    let mut decoded = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut position = 0;
        loop {
            let before = position;
            let message = match decoder.next(&mut input, &mut position) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(violation) => {
                    decoded.push(Decoded::Violation(violation));
                    return decoded;
                }
            };
            assert!(before <= position && position <= piece.len(), "it goes forward");
            let is_last = matches!(message, Message::Close(_));
            decoded.push(owned(message));
            if is_last {
                return decoded;
            }
        }
        assert_eq!(position, piece.len(), "everything is used up");
        assert!(decoder.held_bytes() <= 2 * MESSAGE_BYTES_MAX, "{} held", decoder.held_bytes());
    }
    decoded
}

fn owned(message: Message<'_>) -> Decoded {
    let bounded = |len: usize| assert!(len <= MESSAGE_BYTES_MAX, "a message of {len} bytes");
    let control = |len: usize| assert!(len <= 125, "a control frame of {len} bytes");
    match message {
        Message::Text(text) => {
            bounded(text.len());
            Decoded::Text(text.to_owned())
        }
        Message::Binary(data) => {
            bounded(data.len());
            Decoded::Binary(data.to_vec())
        }
        Message::Ping(data) => {
            control(data.len());
            Decoded::Ping(data.to_vec())
        }
        Message::Pong(data) => {
            control(data.len());
            Decoded::Pong(data.to_vec())
        }
        Message::Close(None) => Decoded::Close(None),
        Message::Close(Some((code, text))) => {
            control(text.len() + 2);
            let is_ours = matches!(code, 1005 | 1006 | 1015) || !(1000..5000).contains(&code);
            assert!(!is_ours, "{code} may not be sent");
            Decoded::Close(Some((code, text.to_owned())))
        }
    }
}

/// How a head came out.
#[derive(Debug, PartialEq)]
enum Read {
    Partial,
    Whole(Head, Vec<u8>),
    Refused(u16),
}

fn check_head(data: &[u8], splits: u8) {
    let whole = read_head(&[data]);
    if let Read::Whole(head, rest) = &whole {
        assert!(data.ends_with(rest), "what follows the head is kept");
        assert!(!head.path.contains('?'), "the query string is dropped");
        assert!(head.headers().all(|(name, value)| {
            name.bytes().all(|byte| byte.is_ascii_graphic()) && !value.contains(['\r', '\n'])
        }));
        let names_proxy = head.headers().any(|(name, _)| name == "via");
        assert!(head.is_forwarded() || !names_proxy, "a proxy leaves a trace");
    }
    for pieces in [data.chunks(1).collect(), pieces(data, splits)] {
        let split = read_head(&pieces);
        match (&whole, &split) {
            // What is wrong is refused at the latest when the head ends; a part of it may
            // already be refused for what it is, and then for its size.
            (Read::Partial | Read::Refused(_), Read::Partial | Read::Refused(_)) => {
                let is_over = data.len() > HTTP_HEAD_BYTES_MAX;
                assert!(!is_over || split != Read::Partial, "an endless head is refused");
            }
            _ => assert_eq!(split, whole),
        }
    }
}

fn read_head(pieces: &[&[u8]]) -> Read {
    let mut reader = HeadReader::default();
    for (index, piece) in pieces.iter().enumerate() {
        match reader.push(piece) {
            Progress::Partial => {}
            Progress::Refused(response) => {
                check_response(&response);
                return Read::Refused(response.status());
            }
            Progress::Whole(head) => {
                let mut rest = reader.into_rest();
                rest.extend(pieces[index + 1..].concat());
                return Read::Whole(head, rest);
            }
        }
    }
    Read::Partial
}

fn check_response(response: &HttpResponse) {
    let encoded = response.encode(false);
    let text = String::from_utf8_lossy(&encoded);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head ends");
    assert!(head.starts_with("HTTP/1.1 "));
    let length = format!("\r\nContent-Length: {}", body.len());
    assert!(head.contains(&length), "{head}");
    assert!(encoded.starts_with(&response.encode(true)));
}

/// What we say to a peer, with text from anywhere in it.
fn check_written(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let plain = HttpResponse::text(404, "x").encode(true);
    let injected = HttpResponse::text(404, "x").with_header("X-Test", &*text).encode(true);
    let lines = |head: &[u8]| head.iter().filter(|byte| matches!(**byte, b'\r' | b'\n')).count();
    assert_eq!(lines(&injected), lines(&plain) + 2, "one header, whatever is in it");
    check_response(&HttpResponse::text(404, &text));
    check_frame(&frame::text(&text), 0x81, text.as_bytes());
    check_frame(&frame::text_from_pieces(&[b"", data]), 0x81, data);
    check_frame(&frame::binary(data), 0x82, data);
    let close = frame::close(4001, &text);
    assert!(close.len() <= 2 + frame::CONTROL_PAYLOAD_BYTES_MAX);
    let said = std::str::from_utf8(&close[4..]).expect("a close says text");
    assert!(text.starts_with(said), "the text is cut, not changed");
}

/// An unmasked frame of a server, its length in the shortest form (RFC 6455 section 5.2).
fn check_frame(frame: &[u8], first: u8, payload: &[u8]) {
    assert_eq!(frame[0], first);
    let header = match payload.len() {
        len @ 0..=125 => {
            assert_eq!(usize::from(frame[1]), len);
            2
        }
        len @ 126..=0xffff => {
            assert_eq!((frame[1], &frame[2..4]), (126, &(len as u16).to_be_bytes()[..]));
            4
        }
        len => {
            assert_eq!((frame[1], &frame[2..10]), (127, &(len as u64).to_be_bytes()[..]));
            10
        }
    };
    assert_eq!(&frame[header..], payload);
}
