//! Text that arrives in pieces, checked as it arrives (RFC 6455 section 8.1).
//!
//! Owns the text so far and the bytes of a character that a cut left unfinished. Fails at the
//! first byte that cannot be UTF-8, not at the end of the frame. Called by `wire::decoder`.

use std::str;

/// A text so far. The longest UTF-8 character has four bytes.
#[derive(Debug, Default)]
pub(crate) struct PartialText {
    text: String,
    tail: [u8; 4],
    tail_len: usize,
}

/// These bytes cannot become UTF-8, whatever follows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl PartialText {
    /// Appends bytes, keeping an unfinished character at their end for later.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), NotUtf8> {
        while self.tail_len > 0 {
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            let Some(slot) = self.tail.get_mut(self.tail_len) else { return Err(NotUtf8) };
            *slot = *first;
            self.tail_len += 1;
            bytes = rest;
            match str::from_utf8(self.tail.get(..self.tail_len).unwrap_or_default()) {
                Ok(character) => {
                    self.text.push_str(character);
                    self.tail_len = 0;
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(NotUtf8),
            }
        }
        match str::from_utf8(bytes) {
            Ok(text) => self.text.push_str(text),
            Err(error) if error.error_len().is_some() => return Err(NotUtf8),
            Err(error) => {
                let (valid, tail) = bytes.split_at(error.valid_up_to());
                self.text.push_str(str::from_utf8(valid).map_err(|_| NotUtf8)?);
                for (slot, byte) in self.tail.iter_mut().zip(tail) {
                    *slot = *byte;
                }
                self.tail_len = tail.len();
            }
        }
        Ok(())
    }

    /// The text, if it does not end inside a character.
    pub(crate) fn whole(&self) -> Result<&str, NotUtf8> {
        if self.tail_len == 0 { Ok(&self.text) } else { Err(NotUtf8) }
    }

    /// Bytes so far, an unfinished character included.
    pub(crate) fn len(&self) -> usize {
        self.text.len() + self.tail_len
    }

    /// Bytes of memory taken.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Makes room for exactly this many bytes more.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.text.reserve_exact(additional + self.tail_len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` one by one; `fails_at` is the index of the byte that must be refused.
    #[track_caller]
    fn check(bytes: &[u8], fails_at: Option<usize>) {
        let mut partial = PartialText::default();
        for (index, byte) in bytes.iter().enumerate() {
            let outcome = partial.push(&[*byte]);
            assert_eq!(outcome.is_err(), fails_at == Some(index), "byte {index} of {bytes:x?}");
            if outcome.is_err() {
                return;
            }
        }
        assert_eq!(partial.whole().map(str::as_bytes), Ok(bytes));
    }

    #[test]
    fn the_first_impossible_byte_is_refused() {
        check("κόσμε 𝄞 \u{10FFFF}".as_bytes(), None);
        check(b"ok\xff", Some(2));
        check(b"\xc0", Some(0));
        check(b"\xed\xa0\x80", Some(1)); // a surrogate
        check(b"\xf4\x90\x80\x80", Some(1)); // over U+10FFFF
        check(b"\xe2\x82x", Some(2));
        check(b"\xf5", Some(0));
    }

    #[test]
    fn a_text_cut_anywhere_is_the_same_text() {
        let text = "aé\u{20ac}𝄞z";
        for cut in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(cut);
            let mut partial = PartialText::default();
            partial.push(head).unwrap();
            assert_eq!(partial.len(), cut);
            partial.push(tail).unwrap();
            assert_eq!(partial.whole(), Ok(text));
        }
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_refused() {
        let mut partial = PartialText::default();
        partial.push(b"x\xf0\x9d").unwrap();
        assert_eq!(partial.whole(), Err(NotUtf8));
    }
}
