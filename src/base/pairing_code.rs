//! The form of one-time pairing codes: short enough to be read out, long enough not to be guessed.
//!
//! Owns the alphabet. Knows neither where the randomness comes from nor how long a code is good.
//! Called by the start and by `device.pair.code`.

use crate::base::limits::PAIRING_CODE_CHARACTERS;
use crate::base::secret::Secret;

/// Letters and digits that nobody mistakes for one another; 32 of them, so five bits each.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// A code of [`PAIRING_CODE_CHARACTERS`] from as many of these random bytes.
pub fn from_random(random: [u8; 32]) -> Secret {
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte % 32)]);
    Secret::new(random.iter().take(PAIRING_CODE_CHARACTERS).map(letter).collect::<String>())
}

const _: () = assert!(PAIRING_CODE_CHARACTERS <= 32);
