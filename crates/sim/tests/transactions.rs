//! The simulator of transactions as a test.

use ottla_sim::txn::{TxnMutation, run};

/// More of them: `cargo run -p ottla-sim --release -- --transactions --seeds 10000`.
const SEEDS: u64 = 200;
/// How many seeds a broken rule may hide from.
const MUTATION_SEEDS: u64 = 60;

#[test]
fn transactions_keep_their_promises() {
    let mut committed = 0;
    for seed in 0..SEEDS {
        let report = run(seed, None, false);
        assert!(report.broken.is_none(), "{}", report.describe());
        committed += report.committed;
    }
    assert!(committed > 30 * SEEDS as i64, "hardly anything happens: {committed} transactions");
}

#[test]
fn the_same_seed_does_the_same_again() {
    let mut hashes = Vec::new();
    for seed in 0..10 {
        let [one, two] = [0, 1].map(|_| run(seed, None, false));
        assert_eq!((one.trace_hash, one.steps), (two.trace_hash, two.steps), "seed {seed}");
        hashes.push(one.trace_hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 10, "other seeds do other things");
}

/// A simulator that cannot fail proves nothing.
#[test]
fn every_broken_rule_shows() {
    for mutation in TxnMutation::ALL {
        let broken = (0..MUTATION_SEEDS).any(|seed| run(seed, Some(mutation), false).broken.is_some());
        assert!(broken, "{mutation:?} goes unnoticed");
    }
}
