//! What the property tests share.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// Returns a configuration with the same cases in every run; `PROPTEST_RNG_SEED=7 PROPTEST_CASES=10000 cargo test` tries
/// others.
pub fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(0), failure_persistence: None, ..ProptestConfig::with_cases(count) }
}
