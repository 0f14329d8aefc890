//! Bytes of one peer in, messages out (RFC 6455 sections 5 and 7), for the server's side.
//!
//! Owns what a cut between two reads leaves unfinished: a header, a control frame's payload, a
//! message. Takes memory as bytes arrive, never by what a header announces. Does not read, does
//! not answer pings or closes, and does not know what is in the messages.
//! Called by `shell::connection`, which hands it every byte after the upgrade.
//!
//! A message that lies whole and unfragmented in the caller's buffer is unmasked there and handed
//! out borrowed; anything else is assembled.

use std::io::Cursor;
use std::ops::Range;
use std::str;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::base::close_reason::CloseReason;
use crate::wire::frame::CONTROL_PAYLOAD_BYTES_MAX;
use crate::wire::text::{NotUtf8, PartialText};

/// The longest header of a masked frame.
const HEADER_BYTES_MAX: usize = 14;

/// The first allocation for a message that did not arrive in one read.
const ASSEMBLY_BYTES_MIN: usize = 4 * 1024;

/// A message, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping; its payload belongs into the pong.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// A close, with its code and text if it has any. The last message: feed nothing after it.
    Close(Option<(u16, &'a str)>),
}

/// What the peer did wrong. The decoder is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An illegal frame: 1002.
    Protocol(&'static str),
    /// Text that is not UTF-8: 1007.
    InvalidUtf8,
    /// A message over the limit: 1009.
    TooLarge,
}

impl Violation {
    /// The close reason; `over_limit` is the one for a message over the limit.
    pub fn close_reason(self, over_limit: CloseReason) -> CloseReason {
        match self {
            Self::Protocol(what) => CloseReason::ProtocolViolation(what),
            Self::InvalidUtf8 => CloseReason::InvalidUtf8,
            Self::TooLarge => over_limit,
        }
    }
}

impl From<NotUtf8> for Violation {
    fn from(_: NotUtf8) -> Self {
        Self::InvalidUtf8
    }
}

/// The reading state of one connection.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: usize,
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    frame: Option<Frame>,
    control: [u8; CONTROL_PAYLOAD_BYTES_MAX],
    control_len: usize,
    assembly: Option<Assembly>,
    /// The message in `assembly` or `control` was handed out and goes with the next call.
    delivered: Delivered,
}

/// A frame whose header is read and whose payload is not, or not all.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    /// Rotated so that its first byte belongs to the next byte of payload.
    mask: [u8; 4],
    remaining: usize,
}

#[derive(Debug)]
enum Assembly {
    Text(PartialText),
    Binary(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivered {
    Nothing,
    Control,
    Assembly,
}

/// Where a finished message lies.
enum Found {
    Input(OpCode, Range<usize>),
    Control(OpCode),
    Assembly,
}

impl Decoder {
    /// A decoder at the start of a stream, for messages of at most `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            header: [0; HEADER_BYTES_MAX],
            header_len: 0,
            frame: None,
            control: [0; CONTROL_PAYLOAD_BYTES_MAX],
            control_len: 0,
            assembly: None,
            delivered: Delivered::Nothing,
        }
    }

    /// Changes the limit, from the next frame on.
    pub fn set_message_bytes_max(&mut self, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max;
    }

    /// Whether some of a message, or of a frame, has arrived and the rest has not, even if that
    /// takes no memory: a header's first byte, or a fragment without payload. Ask once
    /// [`Decoder::next`] has given `None`.
    pub fn has_begun(&self) -> bool {
        self.header_len > 0 || self.frame.is_some() || self.assembly.is_some()
    }

    /// Bytes of memory that the unfinished message takes.
    pub fn held_bytes(&self) -> usize {
        match &self.assembly {
            None => 0,
            Some(Assembly::Text(text)) => text.capacity(),
            Some(Assembly::Binary(data)) => data.capacity(),
        }
    }

    /// The next message that ends in `input` at or after `*position`, which advances past what
    /// was used. `None` when all of `input` is used up; call again with the same `input` until
    /// then. `input` is unmasked in place: never feed the same bytes twice.
    pub fn next<'m>(
        &'m mut self,
        input: &'m mut [u8],
        position: &mut usize,
    ) -> Result<Option<Message<'m>>, Violation> {
        self.forget_delivered();
        let Some(found) = self.find(input, position)? else { return Ok(None) };
        let message = match found {
            Found::Input(opcode, range) => {
                unfragmented(opcode, input.get(range).unwrap_or_default())?
            }
            Found::Control(opcode) => {
                self.delivered = Delivered::Control;
                unfragmented(opcode, self.control.get(..self.control_len).unwrap_or_default())?
            }
            Found::Assembly => {
                self.delivered = Delivered::Assembly;
                match &self.assembly {
                    Some(Assembly::Text(text)) => Message::Text(text.whole()?),
                    Some(Assembly::Binary(data)) => Message::Binary(data),
                    None => Message::Binary(&[]),
                }
            }
        };
        Ok(Some(message))
    }

    /// Gives back the memory of the message handed out last.
    fn forget_delivered(&mut self) {
        match self.delivered {
            Delivered::Nothing => {}
            Delivered::Control => self.control_len = 0,
            Delivered::Assembly => self.assembly = None,
        }
        self.delivered = Delivered::Nothing;
    }

    fn find(&mut self, input: &mut [u8], position: &mut usize) -> Result<Option<Found>, Violation> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => match self.read_header(input, position)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if let Some(found) = self.read_payload(frame, input, position)? {
                return Ok(Some(found));
            }
            if self.frame.is_some() {
                return Ok(None);
            }
        }
    }

    /// Parses a header that may have been cut; `None` when it is not whole yet.
    fn read_header(
        &mut self,
        input: &[u8],
        position: &mut usize,
    ) -> Result<Option<Frame>, Violation> {
        let arrived = input.get(*position..).unwrap_or_default();
        let (parsed, used) = if self.header_len == 0 {
            let mut cursor = Cursor::new(arrived);
            let parsed = FrameHeader::parse(&mut cursor);
            (parsed, usize::try_from(cursor.position()).unwrap_or(usize::MAX))
        } else {
            let before = self.header_len;
            let mut header = self.header;
            let mut len = before;
            for (slot, byte) in header.iter_mut().skip(before).zip(arrived) {
                *slot = *byte;
                len += 1;
            }
            let mut cursor = Cursor::new(header.get(..len).unwrap_or_default());
            let parsed = FrameHeader::parse(&mut cursor);
            let used = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
            (parsed, used.saturating_sub(before))
        };
        match parsed {
            Err(_) => Err(Violation::Protocol("reserved opcode")),
            Ok(Some((header, length))) => {
                let header_bytes = self.header_len + used;
                self.header_len = 0;
                *position += used;
                if header.len(length) != header_bytes {
                    return Err(Violation::Protocol("length not in its shortest form"));
                }
                self.start_frame(&header, length).map(Some)
            }
            Ok(None) => {
                for (slot, byte) in self.header.iter_mut().skip(self.header_len).zip(arrived) {
                    *slot = *byte;
                }
                self.header_len += arrived.len();
                *position = input.len();
                Ok(None)
            }
        }
    }

    /// Checks what a header alone can violate (RFC 6455 sections 5.1, 5.2, 5.4, 5.5).
    fn start_frame(&self, header: &FrameHeader, length: u64) -> Result<Frame, Violation> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::Protocol("reserved bit set"));
        }
        let Some(mask) = header.mask else {
            return Err(Violation::Protocol("frame not masked"));
        };
        if length > i64::MAX.cast_unsigned() {
            return Err(Violation::Protocol("length with its highest bit set"));
        }
        let length = usize::try_from(length).map_err(|_| Violation::TooLarge)?;
        let frame =
            Frame { opcode: header.opcode, is_final: header.is_final, mask, remaining: length };
        match header.opcode {
            OpCode::Control(_) => {
                if !header.is_final {
                    return Err(Violation::Protocol("fragmented control frame"));
                }
                if length > CONTROL_PAYLOAD_BYTES_MAX {
                    return Err(Violation::Protocol("control frame over 125 bytes"));
                }
                return Ok(frame);
            }
            OpCode::Data(Data::Continue) => {
                if self.assembly.is_none() {
                    return Err(Violation::Protocol("continuation of nothing"));
                }
            }
            OpCode::Data(_) => {
                if self.assembly.is_some() {
                    return Err(Violation::Protocol("message inside a fragmented message"));
                }
            }
        }
        if self.assembled_bytes().saturating_add(length) > self.message_bytes_max {
            return Err(Violation::TooLarge);
        }
        Ok(frame)
    }

    fn assembled_bytes(&self) -> usize {
        match &self.assembly {
            None => 0,
            Some(Assembly::Text(text)) => text.len(),
            Some(Assembly::Binary(data)) => data.len(),
        }
    }

    /// Takes what `input` has of the frame's payload. Afterwards `self.frame` is set when more is
    /// to come, and something is found when this frame ended a message.
    fn read_payload(
        &mut self,
        mut frame: Frame,
        input: &mut [u8],
        position: &mut usize,
    ) -> Result<Option<Found>, Violation> {
        let is_start = self.frame.is_none();
        let start = *position;
        let end = start.saturating_add(frame.remaining).min(input.len());
        let payload = input.get_mut(start..end).unwrap_or_default();
        unmask(payload, frame.mask);
        frame.mask.rotate_left(payload.len() % 4);
        frame.remaining -= payload.len();
        *position = end;
        let is_whole = frame.remaining == 0;
        self.frame = (!is_whole).then_some(frame);

        if matches!(frame.opcode, OpCode::Control(_)) {
            if is_start && is_whole {
                return Ok(Some(Found::Input(frame.opcode, start..end)));
            }
            for (slot, byte) in self.control.iter_mut().skip(self.control_len).zip(&*payload) {
                *slot = *byte;
            }
            self.control_len += payload.len();
            return Ok(is_whole.then_some(Found::Control(frame.opcode)));
        }
        if is_start {
            match frame.opcode {
                OpCode::Data(Data::Continue) | OpCode::Control(_) => {}
                opcode if is_whole && frame.is_final => {
                    return Ok(Some(Found::Input(opcode, start..end)));
                }
                OpCode::Data(Data::Text) => {
                    self.assembly = Some(Assembly::Text(PartialText::default()));
                }
                OpCode::Data(_) => self.assembly = Some(Assembly::Binary(Vec::new())),
            }
        }
        self.assemble(payload, frame.remaining)?;
        Ok((is_whole && frame.is_final).then_some(Found::Assembly))
    }

    /// Appends to the message; `expected` more bytes of this frame are announced.
    fn assemble(&mut self, payload: &[u8], expected: usize) -> Result<(), Violation> {
        match &mut self.assembly {
            None => {}
            Some(Assembly::Text(text)) => {
                let room = growth(text.capacity(), text.len(), payload.len(), expected);
                if room > 0 {
                    text.reserve(room);
                }
                text.push(payload)?;
            }
            Some(Assembly::Binary(data)) => {
                let room = growth(data.capacity(), data.len(), payload.len(), expected);
                if room > 0 {
                    data.reserve_exact(room);
                }
                data.extend_from_slice(payload);
            }
        }
        Ok(())
    }
}

/// How many bytes of room to make for `arrived` more bytes, 0 if there is enough: doubling, but
/// never beyond what is announced, so that a header alone buys at most as much as has arrived.
fn growth(capacity: usize, len: usize, arrived: usize, expected: usize) -> usize {
    if capacity - len >= arrived {
        return 0;
    }
    let ahead = expected.min(len.saturating_add(arrived).max(ASSEMBLY_BYTES_MIN));
    arrived.saturating_add(ahead)
}

/// Removes the mask (RFC 6455 section 5.3), eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

fn unfragmented(opcode: OpCode, payload: &[u8]) -> Result<Message<'_>, Violation> {
    match opcode {
        OpCode::Data(Data::Text) => {
            str::from_utf8(payload).map(Message::Text).map_err(|_| Violation::InvalidUtf8)
        }
        OpCode::Data(_) => Ok(Message::Binary(payload)),
        OpCode::Control(Control::Ping) => Ok(Message::Ping(payload)),
        OpCode::Control(Control::Pong) => Ok(Message::Pong(payload)),
        OpCode::Control(_) => close_message(payload),
    }
}

/// A close frame's payload: nothing, or a legal code and a text (RFC 6455 sections 5.5.1, 7.4).
fn close_message(payload: &[u8]) -> Result<Message<'_>, Violation> {
    match payload {
        [] => Ok(Message::Close(None)),
        [_] => Err(Violation::Protocol("close code cut in half")),
        [high, low, text @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::from(code).is_allowed() {
                return Err(Violation::Protocol("illegal close code"));
            }
            let text = str::from_utf8(text).map_err(|_| Violation::InvalidUtf8)?;
            Ok(Message::Close(Some((code, text))))
        }
    }
}

#[cfg(test)]
mod tests;
