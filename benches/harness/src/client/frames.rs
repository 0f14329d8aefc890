//! Frames as a client sends them, and server frames taken apart.
//!
//! The masking key is zero, which is legal and leaves the payload as it is: the server unmasks
//! all the same, and the generator spends nothing.

/// The opcode of a text frame.
pub(crate) const TEXT: u8 = 0x1;
/// The opcode of a close frame.
pub(crate) const CLOSE: u8 = 0x8;
/// The opcode of a ping.
pub(crate) const PING: u8 = 0x9;
/// The opcode of a pong.
pub(crate) const PONG: u8 = 0xA;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// A whole client frame.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.push(FIN | opcode);
    if let Ok(short @ 0..=125) = u8::try_from(payload.len()) {
        frame.push(MASKED | short);
    } else if let Ok(medium) = u16::try_from(payload.len()) {
        frame.push(MASKED | 126);
        frame.extend(medium.to_be_bytes());
    } else {
        frame.push(MASKED | 127);
        frame.extend((payload.len() as u64).to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A whole text frame.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    frame(TEXT, payload.as_bytes())
}

/// The first frame of what a server sent: its opcode, its payload, and where the next one begins.
/// `None` while it is not whole. Servers here send whole messages in one frame.
pub(crate) fn next(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (start, length) = match second & 0x7F {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let end = start + length;
    Some((first & 0x0F, bytes.get(start..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_length_form_that_fits() {
        for (len, header) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            assert_eq!(frame(TEXT, &vec![b'x'; len]).len(), header + len);
        }
    }

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let mut bytes = vec![0x81, 126, 0, 200];
        bytes.extend([b'y'; 200]);
        assert_eq!(next(&bytes), Some((TEXT, &bytes[4..], 204)));
        for cut in 0..204 {
            assert_eq!(next(&bytes[..cut]), None);
        }
    }
}
