//! How long to wait after failures in a row.
//!
//! Without jitter, which needs randomness: those who would come back at once are partitions of one lane, and
//! they share a request.

use std::time::Duration;

/// Doubles from `first` to `most`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row; none after none.
    pub fn after(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first.checked_mul(factor).unwrap_or(self.most).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_most() {
        let backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(1) };
        for (failures, ms) in [(0, 0), (1, 50), (2, 100), (5, 800), (6, 1_000), (u32::MAX, 1_000)] {
            assert_eq!(backoff.after(failures), Duration::from_millis(ms), "{failures} failures");
        }
    }
}
