//! The simulator as a test: some seeds, the proof that a seed decides everything, and the proof that broken
//! rules show.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

mod laws;

use ottla_sim::{Mutation, Options, run};

/// More of them: `cargo run -p ottla-sim --release -- --seeds 10000`.
const SEEDS: u64 = 250;
/// How many seeds a broken rule may hide from.
const MUTATION_SEEDS: u64 = 60;

#[test]
fn no_promise_is_broken() {
    laws::no_promise_is_broken(SEEDS, 100, |seed| run(seed, &Options::default()));
}

#[test]
fn a_seed_decides_everything() {
    laws::a_seed_decides_everything(|seed| run(seed, &Options::default()));
}

#[test]
fn every_broken_rule_shows() {
    let rules = [
        (Mutation::AckBeforeFlush, "what is flushed stays"),
        (Mutation::IgnoreDivergence, "it comes to rest"),
        (Mutation::ForgetProducers, "sequences are gapless"),
        (Mutation::TrustFollowers, "the high watermark is held by all in sync, and never goes back"),
        (Mutation::ServeUncommitted, "readers see the log"),
        (Mutation::ServeUnstable, "read_committed is atomic"),
        (Mutation::HideAborts, "read_committed is atomic"),
        (Mutation::ActOnOldMetadata, "one leader an epoch"),
        (Mutation::LeaveHalfDone, "decisions become whole"),
    ];
    laws::every_broken_rule_shows(MUTATION_SEEDS, rules, |seed, mutation| {
        run(seed, &Options { mutation: Some(mutation), ..Options::default() })
    });
}
