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

#[test]
fn every_broken_rule_shows() {
    let rules = [
        (Mutation::AnswerBeforeCommit, "committed offsets do not go back"),
        (Mutation::ForgetTombstones, "the log says it"),
        (Mutation::TakeAbortsForCommits, "the log says it"),
        (Mutation::CommitUnfenced, "committed offsets do not go back"),
        (Mutation::TrustRevocations, "a partition has one owner"),
        (Mutation::HideRebalances, "every partition comes to have its owner"),
    ];
    laws::every_broken_rule_shows(MUTATION_SEEDS, rules, |seed, mutation| {
        run(seed, &Options { mutation: Some(mutation), ..Options::default() })
    });
}
