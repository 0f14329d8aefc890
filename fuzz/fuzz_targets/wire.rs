//! See `fuzz::wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::leave("wire").expect("FUZZ_SEEDS names a folder"),
    |data: &[u8]| fuzz::wire::run(data)
);
