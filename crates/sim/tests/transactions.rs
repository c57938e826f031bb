//! The simulator of transactions as a test.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

mod laws;

use ottla_sim::txn::{TxnMutation, run};

/// More of them: `cargo run -p ottla-sim --release -- --transactions --seeds 10000`.
const SEEDS: u64 = 200;
/// How many seeds a broken rule may hide from.
const MUTATION_SEEDS: u64 = 60;

#[test]
fn no_promise_is_broken() {
    laws::no_promise_is_broken(SEEDS, 20, |seed| run(seed, None, false));
}

#[test]
fn a_seed_decides_everything() {
    laws::a_seed_decides_everything(|seed| run(seed, None, false));
}

#[test]
fn every_broken_rule_shows() {
    let rules = TxnMutation::ALL.map(|mutation| (mutation, "transactions are whole"));
    laws::every_broken_rule_shows(MUTATION_SEEDS, rules, |seed, mutation| run(seed, Some(mutation), false));
}
