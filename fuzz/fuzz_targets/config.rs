//! See `fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::leave("config").expect("FUZZ_SEEDS names a folder"),
    |data: &[u8]| fuzz::config::run(data)
);
