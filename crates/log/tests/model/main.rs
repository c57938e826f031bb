//! A log on a disk that fails, held against a list of batches.
//!
//! Random operations run on a [`Log`](ottla_log::Log) over a simulated disk that stops at random moments and
//! loses what was not synced. After every operation the log shows the batches of the model; after every crash
//! a prefix of them that holds everything that was durable.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

mod check;
mod model;
mod ops;
#[path = "../support/transactions.rs"]
mod transactions;
mod world;

use ops::any_op;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use world::World;

/// A failure is the same each time. `OTTLA_MODEL_SEED=n` looks elsewhere.
fn seed() -> u64 {
    std::env::var("OTTLA_MODEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, rng_seed: RngSeed::Fixed(seed()), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn log_is_the_list_of_its_batches(
        ops in proptest::collection::vec((any_op(), any::<u64>()), 1..120),
        short_writes in proptest::option::weighted(0.2, 20..400usize),
    ) {
        let mut world = World::new(short_writes);
        for (op, pick) in &ops {
            world.run(op);
            world.check(*pick);
        }
    }
}
