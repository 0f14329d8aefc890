//! See `fuzz::hub`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::leave("hub").expect("FUZZ_SEEDS names a folder"),
    |data: &[u8]| fuzz::hub::run(data)
);
