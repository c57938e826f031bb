//! How long to wait before trying again: exponential from a first delay to a ceiling, with 20 % jitter
//! (KIP-144, KIP-580).

use std::time::Duration;

use crate::seam::Dice;

/// Share of the delay by which jitter moves it either way, so that many clients do not come back at once.
const JITTER: f64 = 0.2;

/// Exponential backoff between `first` and `max`.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    dice: Dice,
}

impl Backoff {
    pub fn new(first: Duration, max: Duration, dice: Dice) -> Backoff {
        // Kafka: when the ceiling is below the first delay, the ceiling is the delay from the start.
        Backoff { first: first.min(max), max, dice }
    }

    /// The delay after `failures` failures in a row (the first failure is 1; 0 means no delay). Never above
    /// the ceiling.
    pub fn after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        // 2^31 times the smallest delay is far above any ceiling; the bound keeps the power finite.
        let grown = self.first.as_secs_f64() * 2f64.powi(doublings.min(31) as i32);
        let delay = grown.min(self.max.as_secs_f64()) * self.dice.factor(JITTER);
        Duration::from_secs_f64(delay.min(self.max.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_ceiling_and_jitters() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), Dice::new(Some(1)));
        assert_eq!(backoff.after(0), Duration::ZERO);
        for (failures, low, high) in
            [(1, 80, 120), (2, 160, 240), (3, 320, 480), (5, 800, 1000), (500, 800, 1000)]
        {
            let delay = backoff.after(failures).as_millis();
            assert!((low..=high).contains(&delay), "{failures} failures: {delay} ms");
        }
    }

    #[test]
    fn ceiling_below_the_first_delay_wins() {
        let backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(1), Dice::new(Some(1)));
        assert!(backoff.after(1) <= Duration::from_secs(1));
    }
}
