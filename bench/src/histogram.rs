//! Counts of times, in buckets whose width is at most 1/64 of what they hold.

use std::time::Duration;

/// Each power of two has 64 buckets.
const SUB_BITS: u32 = 6;
const BUCKETS: usize = 64 << SUB_BITS;

/// Nanoseconds, from 0 to `u64::MAX`, in a fixed 32 KiB.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    pub fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    /// The time which `part` (0 to 1) of those recorded do not exceed, in microseconds; 0 if there are none.
    pub fn quantile_us(&self, part: f64) -> f64 {
        let rank = ((self.total as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle(bucket) / 1_000.0;
            }
        }
        0.0
    }
}

fn bucket(nanos: u64) -> usize {
    let bits = u64::BITS - nanos.leading_zeros();
    let shift = bits.saturating_sub(SUB_BITS + 1);
    if bits <= SUB_BITS {
        return nanos as usize;
    }
    ((shift as usize + 1) << SUB_BITS) | ((nanos >> shift) as usize & ((1 << SUB_BITS) - 1))
}

fn middle(bucket: usize) -> f64 {
    if bucket < 1 << SUB_BITS {
        return bucket as f64;
    }
    let shift = (bucket >> SUB_BITS) - 1;
    let low = ((1 << SUB_BITS) | (bucket & ((1 << SUB_BITS) - 1))) as f64;
    (low + 0.5) * 2f64.powi(shift as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_near_its_middle() {
        let mut nanos = 1u64;
        while nanos < u64::MAX / 3 {
            let off = (middle(bucket(nanos)) - nanos as f64).abs() / nanos as f64;
            assert!(off <= 1.0 / 64.0, "{nanos} is told as {}", middle(bucket(nanos)));
            nanos = nanos * 3 / 2 + 1;
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn buckets_are_in_order_without_a_hole() {
        let buckets: Vec<usize> = (0..100_000).map(bucket).collect();
        assert!(buckets.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
    }

    #[test]
    fn quantiles_of_a_thousand_times() {
        let mut histogram = Histogram::default();
        (1..=1_000).for_each(|us| histogram.record(Duration::from_micros(us)));
        for (part, us) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1_000.0)] {
            let found = histogram.quantile_us(part);
            assert!((found - us).abs() / us < 0.02, "{part}: {found}");
        }
        assert_eq!(Histogram::default().quantile_us(0.5), 0.0);
    }
}
