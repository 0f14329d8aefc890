//! Encodes the frames that a server sends: whole, unfragmented, unmasked (RFC 6455 section 5.1).
//!
//! A frame becomes one [`Bytes`], so that fan-out encodes once and shares it among receivers.
//! Does not decide what may be sent when; that is the link's work.

use std::io;

use bytes::Bytes;

/// The longest header of an unmasked frame: two bytes and a 64-bit length.
const HEADER_BYTES_MAX: usize = 10;

/// What a control frame may hold (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// A text frame.
pub fn text(payload: &str) -> Bytes {
    data(TEXT, &[payload.as_bytes()])
}

/// A text frame from pieces that together are UTF-8, in one allocation and without joining them
/// first.
pub fn text_from_pieces(pieces: &[&[u8]]) -> Bytes {
    data(TEXT, pieces)
}

/// A binary frame.
pub fn binary(payload: &[u8]) -> Bytes {
    data(BINARY, &[payload])
}

/// A ping with at most [`CONTROL_PAYLOAD_BYTES_MAX`] bytes; what is over is cut off.
pub fn ping(payload: &[u8]) -> Bytes {
    control(PING, payload)
}

/// A pong with at most [`CONTROL_PAYLOAD_BYTES_MAX`] bytes; what is over is cut off.
pub fn pong(payload: &[u8]) -> Bytes {
    control(PONG, payload)
}

/// A close frame (RFC 6455 section 5.5.1); the text is cut at a character to what fits.
pub fn close(code: u16, text: &str) -> Bytes {
    let mut end = text.len().min(CONTROL_PAYLOAD_BYTES_MAX - 2);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.as_bytes().get(..end).unwrap_or_default();
    data(CLOSE, &[&code.to_be_bytes(), text])
}

/// Whether this is a whole text frame as they are encoded here.
pub fn is_text(frame: &[u8]) -> bool {
    frame.first() == Some(&(FIN | TEXT))
}

/// A text frame that is written piece by piece (by `serde_json::to_writer`, say) into the very
/// allocation that is then sent: room for the header is left in front.
#[derive(Debug)]
pub struct TextFrame {
    /// `HEADER_BYTES_MAX` bytes of room, then the payload.
    buffer: Vec<u8>,
}

impl TextFrame {
    /// An empty frame with room for `payload_bytes`; it grows when more is written.
    pub fn with_capacity(payload_bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(payload_bytes.saturating_add(HEADER_BYTES_MAX));
        buffer.extend_from_slice(&[0; HEADER_BYTES_MAX]);
        Self { buffer }
    }

    /// A whole frame whose payload `write` appends to a buffer that has room in front for the
    /// header. What it appends must be UTF-8, and it must not touch what stands there already.
    pub fn build(payload_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut frame = Self::with_capacity(payload_bytes);
        write(&mut frame.buffer);
        frame.finish()
    }

    /// Appends to the payload, which must be UTF-8 in the end.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// Bytes of payload so far.
    pub fn payload_bytes(&self) -> usize {
        self.buffer.len() - HEADER_BYTES_MAX
    }

    /// The frame, whole.
    pub fn finish(mut self) -> Bytes {
        let (header, len) = header(TEXT, self.payload_bytes());
        let start = HEADER_BYTES_MAX - len;
        for (room, byte) in self.buffer.iter_mut().skip(start).zip(header.iter().take(len)) {
            *room = *byte;
        }
        Bytes::from(self.buffer).slice(start..)
    }
}

impl io::Write for TextFrame {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.push(piece);
        Ok(piece.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let payload = payload.get(..CONTROL_PAYLOAD_BYTES_MAX).unwrap_or(payload);
    data(opcode, &[payload])
}

fn data(opcode: u8, pieces: &[&[u8]]) -> Bytes {
    let payload_bytes = pieces.iter().map(|piece| piece.len()).sum();
    let (header, len) = header(opcode, payload_bytes);
    let mut frame = Vec::with_capacity(len + payload_bytes);
    frame.extend(header.iter().take(len));
    for piece in pieces {
        frame.extend_from_slice(piece);
    }
    Bytes::from(frame)
}

/// The header and how much of it is used: the shortest form of the length, as RFC 6455
/// section 5.2 demands.
fn header(opcode: u8, payload_bytes: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    let first = FIN | opcode;
    let mut header = [0; HEADER_BYTES_MAX];
    if let Ok(short @ 0..=125) = u8::try_from(payload_bytes) {
        [header[0], header[1]] = [first, short];
        (header, 2)
    } else if let Ok(medium) = u16::try_from(payload_bytes) {
        let [a, b] = medium.to_be_bytes();
        [header[0], header[1], header[2], header[3]] = [first, 126, a, b];
        (header, 4)
    } else {
        let [a, b, c, d, e, f, g, h] = (payload_bytes as u64).to_be_bytes();
        header = [first, 127, a, b, c, d, e, f, g, h];
        (header, HEADER_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(frame: &[u8], header: &[u8], payload: &[u8]) {
        assert_eq!(frame, [header, payload].concat());
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        let long = "x".repeat(70_000);
        check(&text(""), &[0x81, 0], b"");
        check(&text(&long[..125]), &[0x81, 125], &long.as_bytes()[..125]);
        check(&text(&long[..126]), &[0x81, 126, 0, 126], &long.as_bytes()[..126]);
        check(&text(&long[..65_535]), &[0x81, 126, 255, 255], &long.as_bytes()[..65_535]);
        check(&text(&long), &[0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70], long.as_bytes());
        check(&binary(b"\0\xff"), &[0x82, 2], b"\0\xff");
    }

    #[test]
    fn control_frames_are_cut_to_what_they_may_hold() {
        check(&ping(b"hi"), &[0x89, 2], b"hi");
        check(&pong(&[7; 200]), &[0x8A, 125], &[7; 125]);
        check(&close(1000, ""), &[0x88, 2], &[0x03, 0xE8]);
        let text = format!("{}é", "x".repeat(122));
        check(
            &close(4001, &text),
            &[0x88, 124],
            &[&[0x0F, 0xA1], &text.as_bytes()[..122]].concat(),
        );
    }

    #[test]
    fn a_frame_written_piece_by_piece_equals_one_framed_whole() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = "y".repeat(len);
            let mut frame = TextFrame::with_capacity(16);
            for piece in payload.as_bytes().chunks(1_000) {
                frame.push(piece);
            }
            assert_eq!(frame.finish(), text(&payload));
            assert_eq!(text_from_pieces(&[payload.as_bytes(), b"", b"z"]), text(&(payload + "z")));
        }
    }
}
