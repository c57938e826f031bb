//! Brokers as processes, raw connections to them, and what is in their logs.

mod broker;
mod logs;
mod transactions;
mod tree;
mod wire;

pub use broker::{Broker, Setup, files};
pub use logs::{
    batch, batch_of, create_topic, create_topic_with, delete_topic, earliest, fetch, latest, now, produce,
    produced, read_all, read_from, segments, try_fetch, try_produce, values,
};
pub use transactions::{Protocol, TxnProducer, committed_values, fetch_committed, is_passing, name_of};
pub use tree::{changes, tree};
pub use wire::{Closed, Wire, frame};

/// How often a test repeats what it repeats: `quick` times, or `soak` times with `OTTLA_SOAK=1`.
pub fn times(quick: usize, soak: usize) -> usize {
    if std::env::var_os("OTTLA_SOAK").is_some_and(|value| value == "1") { soak } else { quick }
}

/// Numbers that look random and are the same in each run (xorshift64*).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }
}

/// Waits for something that takes its time, on a busy machine even long; panics if it does not come.
#[track_caller]
pub fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
