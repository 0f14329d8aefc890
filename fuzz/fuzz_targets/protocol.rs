//! See `fuzz::protocol`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::leave("protocol").expect("FUZZ_SEEDS names a folder"),
    |data: &[u8]| fuzz::protocol::run(data)
);
