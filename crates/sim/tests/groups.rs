//! Groups in the simulator: some seeds, the proof that a seed decides everything, and the proof that broken
//! rules show.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

mod laws;

use ottla_sim::group::run::Options;
use ottla_sim::group::{Mutation, run};

/// More of them: `cargo run -p ottla-sim --release -- --groups --seeds 100000`.
const SEEDS: u64 = 1000;
/// How many seeds a broken rule may hide from.
const MUTATION_SEEDS: u64 = 100;

#[test]
fn no_promise_is_broken() {
    laws::no_promise_is_broken(SEEDS, 20, |seed| run(seed, &Options::default()));
}

#[test]
fn a_seed_decides_everything() {
    laws::a_seed_decides_everything(|seed| run(seed, &Options::default()));
}

/// A simulator that cannot fail proves nothing: each of these rules is broken on purpose, and must be missed.
#[test]
fn every_broken_rule_shows() {
    for (mutation, expected) in [
        (Mutation::AnswerBeforeCommit, "committed offsets do not go back"),
        (Mutation::ForgetTombstones, "the log says it"),
        (Mutation::TakeAbortsForCommits, "the log says it"),
        (Mutation::CommitUnfenced, "committed offsets do not go back"),
        (Mutation::TrustRevocations, "a partition has one owner"),
        (Mutation::HideRebalances, "every partition comes to have its owner"),
    ] {
        let options = Options { mutation: Some(mutation), ..Options::default() };
        let mut broken = (0..MUTATION_SEEDS).filter_map(|seed| run(seed, &options).broken);
        assert!(broken.any(|broken| broken.invariant == expected), "{mutation:?} goes unnoticed");
    }
}
