//! Groups in the simulator: some seeds, the proof that a seed decides everything, and the proof that broken rules show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ottla_sim::Report;
use ottla_sim::group::run::Options;
use ottla_sim::group::{Mutation, run};

/// More of them: `cargo run -p ottla-sim --release -- --groups --seeds 100000`.
const SEEDS: u64 = 1000;
/// How many seeds a broken rule may hide from.
const MUTATION_SEEDS: u64 = 100;

#[test]
fn no_promise_is_broken() {
    let next = AtomicU64::new(0);
    let work = || {
        let mut broken: Vec<Report> = Vec::new();
        let mut committed = 0;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return (broken, committed);
            }
            let report = run(seed, &Options::default());
            committed += report.committed;
            if report.broken.is_some() {
                broken.push(report);
            }
        }
    };
    let results: Vec<(Vec<Report>, i64)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    if let Some(report) = results.iter().flat_map(|(broken, _)| broken).min_by_key(|report| report.seed) {
        panic!("{}", report.describe());
    }
    let committed: i64 = results.iter().map(|(_, committed)| committed).sum();
    assert!(committed > 20 * SEEDS as i64, "hardly anything happens: {committed} offsets");
}

#[test]
fn the_same_seed_does_the_same_again() {
    let mut hashes: Vec<u64> = Vec::new();
    for seed in 0..10 {
        let [one, two] = [0, 1].map(|_| run(seed, &Options::default()));
        assert_eq!((one.trace_hash, one.steps), (two.trace_hash, two.steps), "seed {seed}");
        hashes.push(one.trace_hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 10, "other seeds do other things");
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
