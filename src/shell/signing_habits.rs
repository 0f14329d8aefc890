//! Which form of the signed text a client is likely to have signed.
//!
//! Owns a guess for each client software, nothing of any device: a wrong guess costs a signature
//! verification, and a right one saves it, which is a third of a handshake. Proofs themselves are
//! checked by `protocol::device`. Called by the dialogues, on the connections' threads.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::limits::SIGNING_HABITS;
use crate::protocol::connect::Connect;
use crate::protocol::device::{DeviceProof, SignedForm, prove_trying};

/// What clients signed last, by `client.id`. Those that share a place share the guess.
#[derive(Debug)]
pub struct SigningHabits {
    signs_v2: [AtomicBool; SIGNING_HABITS],
}

impl Default for SigningHabits {
    fn default() -> Self {
        Self { signs_v2: [const { AtomicBool::new(false) }; SIGNING_HABITS] }
    }
}

impl SigningHabits {
    /// Checks a proof, as `device::prove` does, and remembers what was signed.
    pub fn prove(&self, connect: &Connect, nonce: &str, now_unix_ms: u64) -> DeviceProof {
        let Some(place) = self.place(&connect.client.id) else {
            return prove_trying(connect, nonce, now_unix_ms, &mut SignedForm::default());
        };
        let guess = match place.load(Ordering::Relaxed) {
            true => SignedForm::V2,
            false => SignedForm::V3,
        };
        let mut form = guess;
        let proof = prove_trying(connect, nonce, now_unix_ms, &mut form);
        if form != guess {
            place.store(form == SignedForm::V2, Ordering::Relaxed);
        }
        proof
    }

    fn place(&self, client_id: &str) -> Option<&AtomicBool> {
        let mut hasher = DefaultHasher::new();
        client_id.hash(&mut hasher);
        let places = self.signs_v2.len() as u64;
        self.signs_v2.get(usize::try_from(hasher.finish() % places).ok()?)
    }
}
