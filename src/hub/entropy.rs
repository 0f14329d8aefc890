//! Random bytes from a seed: SHA-256 in counter mode.
//!
//! The hub is pure, so its randomness is an argument: 32 bytes from the operating system in the
//! product, fixed ones in tests. Knows nothing of what the bytes are for. Called by the parts of
//! the hub that make secrets and public ids.

use sha2::{Digest, Sha256};

/// A generator whose output cannot be told from random by anyone without the seed, and whose
/// earlier output cannot be computed from what it holds later.
pub(super) struct Entropy {
    state: [u8; 32],
}

impl Entropy {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { state: seed }
    }

    /// The next 32 bytes.
    pub(super) fn bytes(&mut self) -> [u8; 32] {
        let output = labelled(&self.state, b"output");
        self.state = labelled(&self.state, b"next state");
        output
    }

    /// The next 256 bits as 64 lowercase hex digits.
    pub(super) fn hex_256(&mut self) -> String {
        hex(&self.bytes())
    }

    /// The next 128 bits as 32 lowercase hex digits: enough for an id that must not be guessed.
    pub(super) fn hex_128(&mut self) -> String {
        hex(&self.bytes()[..16])
    }
}

fn labelled(state: &[u8; 32], label: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(state).chain_update(label).finalize().into()
}

/// Lowercase hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_no_two_draws_are_equal() {
        let (mut one, mut two) = (Entropy::new([7; 32]), Entropy::new([7; 32]));
        let draws: Vec<_> = (0..1_000).map(|_| one.bytes()).collect();
        assert_eq!(draws, (0..1_000).map(|_| two.bytes()).collect::<Vec<_>>());
        assert_eq!(draws.iter().collect::<BTreeSet<_>>().len(), draws.len());
        assert_ne!(Entropy::new([8; 32]).bytes(), draws[0]);
    }

    #[test]
    fn ids_are_lowercase_hex_of_the_promised_length() {
        let mut entropy = Entropy::new([0; 32]);
        let (long, short) = (entropy.hex_256(), entropy.hex_128());
        assert_eq!((long.len(), short.len()), (64, 32));
        assert!(long.chars().chain(short.chars()).all(|c| matches!(c, '0'..='9' | 'a'..='f')));
        assert_eq!(hex(&[0x00, 0x9f, 0xff]), "009fff");
    }
}
