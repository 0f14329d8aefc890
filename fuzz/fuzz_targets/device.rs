//! See `fuzz::device`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::leave("device").expect("FUZZ_SEEDS names a folder"),
    |data: &[u8]| fuzz::device::run(data)
);
