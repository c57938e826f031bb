//! What every simulator is held to: some seeds keep all promises, a seed decides everything, and rules
//! that are broken on purpose show.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ottla_sim::Report;

/// Runs seeds 0 to `seeds` on two threads: none may break a promise, and on the average `committed_min` must
/// be committed.
pub fn no_promise_is_broken(seeds: u64, committed_min: i64, run: impl Fn(u64) -> Report + Sync) {
    let next = AtomicU64::new(0);
    let work = || {
        let mut broken: Vec<Report> = Vec::new();
        let mut committed = 0;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return (broken, committed);
            }
            let report = run(seed);
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
    assert!(committed > committed_min * seeds as i64, "hardly anything happens: {committed} committed");
}

/// The same seed does the same again, and other seeds do other things.
pub fn a_seed_decides_everything(run: impl Fn(u64) -> Report) {
    let mut hashes: Vec<u64> = Vec::new();
    for seed in 0..10 {
        let [one, two] = [0, 1].map(|_| run(seed));
        assert_eq!((one.trace_hash, one.steps), (two.trace_hash, two.steps), "seed {seed}");
        hashes.push(one.trace_hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 10, "other seeds do other things");
}

/// A simulator that cannot fail proves nothing: each of these rules is broken on purpose, and the promise
/// that hangs on it must be missed within so many seeds.
pub fn every_broken_rule_shows<M: Copy + Debug>(
    seeds: u64,
    rules: impl IntoIterator<Item = (M, &'static str)>,
    run: impl Fn(u64, M) -> Report,
) {
    for (mutation, expected) in rules {
        let mut broken = (0..seeds).filter_map(|seed| run(seed, mutation).broken);
        assert!(broken.any(|broken| broken.invariant == expected), "{mutation:?} goes unnoticed");
    }
}
