//! Random numbers that can be repeated: the seed is printed, and taken from the environment.

/// SplitMix64: enough for choosing moments and sizes.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Seeds from `OPENCLAW_TEST_SEED`, else from the operating system, and prints the seed
    /// (the test runner shows it when the test fails).
    pub(crate) fn announced() -> Self {
        let seed = super::number_from_env("OPENCLAW_TEST_SEED", {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        });
        eprintln!("seed: OPENCLAW_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `low` up to and without `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    /// Another generator, for a thread of its own.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// This many random bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}
