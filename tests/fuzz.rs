//! The fuzz targets for a few seconds on stable Rust: their seeds, and changes to them.
//!
//! The same code as `make fuzz` runs for minutes (`fuzz/src`), without its engine: a fixed count
//! of inputs, made from a seed that a failure prints. `FUZZ_SEED=N` plays another round.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and needs some instant to begin with"
)]

#[allow(unreachable_pub, reason = "a crate of its own when it is fuzzed")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use openclaw_gateway::protocol::methods;

/// Where the inputs come from; see the module.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// Runs a target on its seeds and on this many changes to them.
#[track_caller]
fn check(name: &str, count: usize) {
    let (_, run) = fuzz::TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    let seed = std::env::var("FUZZ_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15 ^ seed);
    let seeds = fuzz::seeds::of(name);
    assert!(seeds.len() > 5, "{name} has seeds");
    for input in &seeds {
        check_input(name, seed, run, input);
    }
    for _ in 0..count {
        let mut input = seeds[rng.below(seeds.len())].clone();
        for _ in 0..=rng.below(6) {
            change(&mut input, &seeds, &mut rng);
        }
        check_input(name, seed, run, &input);
    }
}

fn check_input(name: &str, seed: u64, run: fn(&[u8]), input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(input)));
    if let Err(panic) = outcome {
        eprintln!("{name}, FUZZ_SEED={seed}: \"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// One change of the kinds that find the most: bytes replaced, put in, taken out, or another
/// seed's.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.below(input.len());
    match rng.below(6) {
        0 if !input.is_empty() => input[at] = rng.byte(),
        1 => input.insert(at, rng.byte()),
        2 if !input.is_empty() => {
            let end = (at + 1 + rng.below(8)).min(input.len());
            input.drain(at..end);
        }
        3 if !input.is_empty() => input[at] ^= 1 << rng.below(8),
        4 => {
            let other = &seeds[rng.below(seeds.len())];
            let from = rng.below(other.len());
            let end = (from + rng.below(64)).min(other.len());
            input.splice(at..at, other[from..end].iter().copied());
        }
        _ => input.truncate(at + 1),
    }
}

#[test]
fn every_method_is_asked_for_by_the_histories() {
    let asked: BTreeSet<_> = fuzz::hub::requests::TABLE.iter().map(|(method, _)| *method).collect();
    let never: Vec<_> = methods::names().filter(|name| !asked.contains(name)).collect();
    assert_eq!(never, ["ping", "health"], "the hub never hears of these");
}

#[test]
fn bytes_of_a_stranger_are_read_the_same_however_they_are_cut() {
    check("wire", 20_000);
}

#[test]
fn text_of_a_peer_gets_an_answer_that_is_json_and_ends_nobody() {
    check("protocol", 3_000);
}

#[test]
fn a_configuration_is_accepted_whole_or_refused_with_a_reason() {
    check("config", 2_000);
}

#[test]
fn a_proof_that_verifies_says_what_was_signed() {
    check("device", 300);
}

#[test]
fn a_stored_record_is_an_error_or_what_it_says() {
    check("records", 2_000);
}

#[test]
fn no_history_breaks_an_invariant_or_gives_more_than_was_approved() {
    check("hub", 300);
}
