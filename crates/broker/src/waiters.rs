//! Fetches that wait for a partition to grow.
//!
//! A waiting fetch registers with each of its partitions and is woken once. That happens when the bytes it
//! still lacks have become readable, or at once for a change that it must answer: another leader, a
//! truncation, a failed disk. Only waiting fetches take the lock, and publications that find one waiting.
//! Fetches that find their data never do.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ottla_partition::ReadLimit;
use tokio::sync::Notify;

/// One waiting fetch.
pub struct Wait {
    bytes_lacking: AtomicI64,
    woken: Notify,
}

impl Wait {
    /// A fetch that needs `bytes_lacking` more bytes, from any of its partitions.
    pub fn new(bytes_lacking: i64) -> Arc<Wait> {
        Arc::new(Wait { bytes_lacking: AtomicI64::new(bytes_lacking), woken: Notify::new() })
    }

    /// Waits for the wake-up. An earlier one counts, too.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    fn gained(&self, bytes: i64) -> bool {
        let enough = self.bytes_lacking.fetch_sub(bytes, Ordering::AcqRel) <= bytes;
        if enough {
            self.woken.notify_one();
        }
        enough
    }
}

/// The change in a publication, in bytes that have become readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A change that every waiting fetch must look at.
    Everything,
    Bytes {
        high_watermark: i64,
        last_stable: i64,
        log_end: i64,
    },
}

/// The fetches that wait for one partition.
#[derive(Default)]
pub struct Waiters {
    any: AtomicBool,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    waiting: Vec<(Arc<Wait>, ReadLimit)>,
    /// The length at which abandoned fetches are swept out: twice what the last sweep left.
    sweep_at: usize,
}

const SWEEP_LEN_MIN: usize = 16;

impl Waiters {
    /// Adds a fetch. The caller MUST look at the partition again afterwards, because it may have grown in
    /// between.
    pub fn register(&self, wait: &Arc<Wait>, limit: ReadLimit) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.waiting.len() >= list.sweep_at.max(SWEEP_LEN_MIN) {
            list.waiting.retain(|(wait, _)| Arc::strong_count(wait) > 1);
            list.sweep_at = 2 * list.waiting.len();
        }
        list.waiting.push((wait.clone(), limit));
        self.any.store(true, Ordering::SeqCst);
    }

    /// Informs the waiting fetches of `progress`. To be called after the view has been published.
    pub fn tell(&self, progress: Progress) {
        if !self.any.load(Ordering::SeqCst) {
            return;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.waiting.retain(|(wait, limit)| {
            let gained = match (progress, limit) {
                (Progress::Everything, _) => i64::MAX,
                (Progress::Bytes { high_watermark, .. }, ReadLimit::HighWatermark) => high_watermark,
                (Progress::Bytes { last_stable, .. }, ReadLimit::LastStable) => last_stable,
                (Progress::Bytes { log_end, .. }, ReadLimit::LogEnd) => log_end,
            };
            Arc::strong_count(wait) > 1 && (gained == 0 || !wait.gained(gained))
        });
        if list.waiting.is_empty() {
            self.any.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hw(bytes: i64) -> Progress {
        Progress::Bytes { high_watermark: bytes, last_stable: 0, log_end: 0 }
    }

    fn is_woken(wait: &Wait) -> bool {
        let waker = std::task::Waker::noop();
        let mut woken = std::pin::pin!(wait.woken());
        woken.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready()
    }

    #[test]
    fn a_fetch_is_woken_when_all_its_partitions_together_have_enough() {
        let (a, b) = (Waiters::default(), Waiters::default());
        let wait = Wait::new(100);
        a.register(&wait, ReadLimit::HighWatermark);
        b.register(&wait, ReadLimit::HighWatermark);
        a.tell(hw(60));
        assert!(!is_woken(&wait));
        b.tell(hw(40));
        assert!(is_woken(&wait));
    }

    #[test]
    fn what_lies_beyond_the_limit_of_a_fetch_does_not_wake_it() {
        let waiters = Waiters::default();
        let wait = Wait::new(1);
        waiters.register(&wait, ReadLimit::LastStable);
        waiters.tell(hw(60));
        assert!(!is_woken(&wait));
        waiters.tell(Progress::Everything);
        assert!(is_woken(&wait));
    }

    #[test]
    fn fetches_that_went_away_do_not_pile_up() {
        let waiters = Waiters::default();
        for _ in 0..10_000 {
            waiters.register(&Wait::new(1), ReadLimit::HighWatermark);
        }
        assert!(waiters.list.lock().unwrap().waiting.len() <= SWEEP_LEN_MIN + 1);
    }
}
