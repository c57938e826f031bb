//! When logs move their recovery points on their own. After a crash everything above a recovery point is
//! scanned.

use std::time::Duration;

/// How often all logs move theirs. Older writes are not scanned.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// The most bytes above the recovery points of a shard's logs before some of them move: about a tenth of a
/// second of scanning. A single log moves its own after a few MiB, but a thousand logs would have GiBs by
/// then.
const UNVOUCHED_BYTES_MAX: u64 = 512 << 20;

/// Which logs must move their recovery points: those with at least this many bytes above. `waited` is the
/// time since all of them moved, `unvouched` the bytes above each.
pub fn due(waited: Duration, unvouched: impl Iterator<Item = u64>) -> Option<u64> {
    if waited >= INTERVAL {
        return Some(1);
    }
    let (mut total, mut logs) = (0, 0);
    for bytes in unvouched.filter(|bytes| *bytes > 0) {
        total += bytes;
        logs += 1;
    }
    // The logs with more than the average have most of the bytes. Flushing a log with few would be wasted.
    (total > UNVOUCHED_BYTES_MAX).then(|| total / logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_do_now_and_then_and_those_with_much_when_all_have_too_much() {
        const MIB: u64 = 1 << 20;
        let (soon, now) = (INTERVAL - Duration::from_millis(1), INTERVAL);
        let cases = [
            ("nothing is written", soon, vec![0; 1000], None),
            ("no log has anything", soon, Vec::new(), None),
            ("all have waited long enough", now, vec![1, 0], Some(1)),
            ("as much as may be", soon, vec![MIB; 512], None),
            ("a little more", soon, vec![MIB; 513], Some(MIB)),
            ("one log has nearly all", soon, vec![MIB, MIB, 600 * MIB], Some(602 * MIB / 3)),
            ("quiet logs do not count", soon, [vec![0; 1000], vec![300 * MIB; 2]].concat(), Some(300 * MIB)),
        ];
        for (name, waited, unvouched, expected) in cases {
            assert_eq!(due(waited, unvouched.into_iter()), expected, "{name}");
        }
    }
}
