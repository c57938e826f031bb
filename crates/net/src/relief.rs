//! Cuts off peers that hold up others: those that have begun a large request and do not send the rest.
//!
//! A task runs while anyone waits for memory. Its patience with a peer depends on who holds the memory. If
//! all of it is with the service, which returns it, the patience is `contended_read_max`. The more of it
//! belongs to arriving requests, the shorter it gets, down to [`GRACE_MIN`]. The slowest peers go first, and
//! no more of them than necessary.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::control::{Control, Pending};
use crate::pool::Fill;
use crate::shared::Shared;

/// How often the line is looked at.
const INTERVAL: Duration = Duration::from_millis(50);
/// A sound peer may be silent for this long, because its packets were lost twice.
const GRACE_MIN: Duration = Duration::from_secs(1);
/// A peer that sends less than this a second is as good as silent, in bytes.
const RATE_MIN: f64 = 65_536.0;

/// Makes sure that the task runs. MUST be called within a tokio runtime.
pub(crate) fn call(shared: &Arc<Shared>) {
    if !shared.relief_runs.swap(true, SeqCst) {
        shared.tasks.part("the relief of those who wait for memory", run(Arc::downgrade(shared)));
    }
}

async fn run(shared: std::sync::Weak<Shared>) {
    loop {
        let before = Instant::now();
        sleep(INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        if !shared.pool.contended() {
            shared.relief_runs.store(false, SeqCst);
            // Anyone who arrived earlier saw the task running.
            if !shared.pool.contended() || shared.relief_runs.swap(true, SeqCst) {
                return;
            }
        }
        shared.pool.settle_line();
        let now = Instant::now();
        // A machine that is late may also be late to see what has arrived.
        let late = now.saturating_duration_since(before).saturating_sub(INTERVAL);
        relieve(&shared, now, late);
    }
}

fn relieve(shared: &Shared, now: Instant, late: Duration) {
    let fill = shared.pool.fill();
    let patience = Patience::new(fill, shared.settings.contended_read_max, late);
    let pending = |control: Arc<Control>| control.pending(now).map(|pending| (pending, control));
    let all = shared.controls().into_iter().filter_map(pending).collect();
    for control in slowest(all, fill.wanted, &patience) {
        control.give_up();
    }
}

/// How long peers are tolerated.
struct Patience {
    grace: Duration,
    max: Duration,
}

impl Patience {
    fn new(fill: Fill, max: Duration, late: Duration) -> Patience {
        let with_service = fill.served as f64 / fill.used.max(1) as f64;
        let least = GRACE_MIN.min(max);
        let grace = least + (max - least).mul_f64(with_service.clamp(0.0, 1.0));
        Patience { grace: grace + late, max: max + late }
    }

    fn is_over(&self, one: &Pending) -> bool {
        one.silent >= self.grace
            || one.waited >= self.max
            || (one.waited >= self.grace && rate(one) < RATE_MIN)
    }
}

/// The requests to give up: as few as will return `wanted` bytes.
fn slowest<T>(mut all: Vec<(Pending, T)>, wanted: usize, patience: &Patience) -> Vec<T> {
    all.retain(|(pending, _)| patience.is_over(pending));
    all.sort_by(|(a, _), (b, _)| rate(a).total_cmp(&rate(b)));
    let mut given_back = 0;
    let enough = |(pending, one): (Pending, T)| {
        let more = given_back < wanted;
        given_back += pending.arrived;
        more.then_some(one)
    };
    all.into_iter().map_while(enough).collect()
}

/// Bytes for each second that the peer was waited for.
fn rate(one: &Pending) -> f64 {
    one.arrived as f64 / one.waited.as_secs_f64().max(f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(30);

    fn pending(arrived: usize, waited_millis: u64, silent_millis: u64) -> Pending {
        let (waited, silent) = (Duration::from_millis(waited_millis), Duration::from_millis(silent_millis));
        Pending { arrived, waited, silent }
    }

    fn patience(served: usize) -> Patience {
        Patience::new(Fill { used: 100, served, wanted: 1 }, MAX, Duration::ZERO)
    }

    #[test]
    fn patience_shrinks_with_what_is_not_served() {
        for (served, grace) in [(100, 30_000), (50, 15_500), (0, 1_000)] {
            assert_eq!(patience(served).grace.as_millis(), grace, "{served} of 100 are served");
        }
        let late = Patience::new(Fill { used: 0, served: 0, wanted: 1 }, MAX, Duration::from_secs(2));
        assert_eq!((late.grace, late.max), (Duration::from_secs(3), MAX + Duration::from_secs(2)));
        let short = Patience::new(Fill { used: 1, served: 0, wanted: 1 }, INTERVAL, Duration::ZERO);
        assert_eq!(short.grace, INTERVAL, "a setting below the least");
    }

    #[test]
    fn silence_and_trickles_end_patience_and_a_steady_stream_does_not() {
        for (what, one, is_over) in [
            ("a pause between packets", pending(1 << 20, 900, 900), false),
            ("silence after much", pending(50 << 20, 1_000, 1_000), true),
            ("a byte now and then", pending(20_000, 5_000, 10), true),
            ("a slow link", pending(2 << 20, 10_000, 200), false),
            ("a slow link for too long", pending(20 << 20, 30_000, 200), true),
        ] {
            assert_eq!(patience(0).is_over(&one), is_over, "{what}");
        }
    }

    #[test]
    fn the_slowest_go_first_and_no_more_than_needed() {
        let all = || {
            vec![
                (pending(400, 2_000, 2_000), "slow"),
                (pending(10, 2_000, 2_000), "slowest"),
                (pending(9_000, 2_000, 2_000), "less slow"),
                (pending(1, 500, 500), "new"),
            ]
        };
        assert_eq!(slowest(all(), 5, &patience(0)), ["slowest"]);
        assert_eq!(slowest(all(), 11, &patience(0)), ["slowest", "slow"]);
        assert_eq!(slowest(all(), 1_000_000, &patience(0)), ["slowest", "slow", "less slow"]);
        assert!(slowest(all(), 5, &patience(100)).is_empty());
    }
}
