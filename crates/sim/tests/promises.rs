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

/// A simulator that cannot fail proves nothing: each of these rules is broken on purpose, and must be missed.
#[test]
fn every_broken_rule_shows() {
    for (mutation, expected) in [
        (Mutation::AckBeforeFlush, "what is flushed stays"),
        (Mutation::IgnoreDivergence, "it comes to rest"),
        (Mutation::ForgetProducers, "sequences are gapless"),
        (Mutation::TrustFollowers, "the high watermark is held by all in sync, and never goes back"),
        (Mutation::ServeUncommitted, "readers see the log"),
        (Mutation::ServeUnstable, "read_committed is atomic"),
        (Mutation::HideAborts, "read_committed is atomic"),
        (Mutation::ActOnOldMetadata, "one leader an epoch"),
        (Mutation::LeaveHalfDone, "decisions become whole"),
    ] {
        let options = Options { mutation: Some(mutation), ..Options::default() };
        let mut broken = (0..MUTATION_SEEDS).filter_map(|seed| run(seed, &options).broken);
        assert!(broken.any(|broken| broken.invariant == expected), "{mutation:?} goes unnoticed");
    }
}
