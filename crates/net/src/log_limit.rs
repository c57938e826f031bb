//! Keeps peers that send nonsense from filling the log.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The most warnings about connections in one second. More are logged at debug level, and still counted.
pub(crate) const FAULTS_PER_S_MAX: u64 = 10;

/// Lets some lines through each second.
#[derive(Debug)]
pub(crate) struct LogLimit {
    started: Instant,
    lines_per_s_max: u64,
    /// The second that is counted, and in the low bits its lines.
    state: AtomicU64,
}

impl LogLimit {
    pub fn new(lines_per_s_max: u64) -> LogLimit {
        LogLimit { started: Instant::now(), lines_per_s_max, state: AtomicU64::new(0) }
    }
}

impl LogLimit {
    /// Whether one more line may be written now.
    pub fn allows(&self) -> bool {
        self.allows_in(self.started.elapsed().as_secs())
    }

    fn allows_in(&self, second: u64) -> bool {
        let count = |state: u64| match state {
            of_now if of_now >> 32 == second => of_now + 1,
            _ => (second << 32) + 1,
        };
        let before = self.state.fetch_update(Relaxed, Relaxed, |state| Some(count(state)));
        before.is_ok_and(|before| count(before) & 0xffff_ffff <= self.lines_per_s_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_share_of_lines() {
        let limit = LogLimit::new(10);
        let lines = |second| (0..100).filter(|_| limit.allows_in(second)).count() as u64;
        assert_eq!((lines(0), lines(0), lines(7)), (10, 0, 10));
    }
}
