//! See `fuzz::records`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::leave("records").expect("FUZZ_SEEDS names a folder"),
    |data: &[u8]| fuzz::records::run(data)
);
