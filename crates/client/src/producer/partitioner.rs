//! Which partition a record goes to, as Kafka's own client decides it: same key, same partition, in every
//! language.

use crate::seam::Dice;

/// Kafka's hash of keys: murmur2 with Kafka's seed, 32 bits.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for &word in words {
        let mut k = u32::from_le_bytes(word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

/// The partition of a key: `toPositive(murmur2(key)) % partitions`. `partitions` MUST NOT be 0.
pub fn partition_of_key(key: &[u8], partitions: usize) -> i32 {
    let positive = (murmur2(key) & 0x7fff_ffff) as usize;
    // The remainder of a number below 2^31 is below 2^31.
    (positive % partitions) as i32
}

/// Where records of one topic that have no key go: to one partition until it has got a batch's worth, then to
/// another (KIP-480, and KIP-794 for counting bytes rather than batches, so that a slow broker does not get
/// more).
#[derive(Debug, Default)]
pub(super) struct Sticky {
    partition: Option<i32>,
    bytes: usize,
}

/// A partition that could be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) partition: i32,
    pub(super) has_leader: bool,
    /// Batches that wait to be sent to it.
    pub(super) queued: usize,
}

impl Sticky {
    /// The partition to use now. `candidates` is asked only when one is to be chosen; it MUST NOT be empty.
    pub(super) fn partition(
        &mut self,
        dice: &Dice,
        adaptive: bool,
        candidates: impl FnOnce() -> Vec<Candidate>,
    ) -> i32 {
        *self.partition.get_or_insert_with(|| choose(dice, adaptive, &candidates()))
    }

    /// Notes that `bytes` went to the partition. It is left once it has got `batch_size`, at the end of a
    /// batch if that comes before twice as much.
    pub(super) fn produced(&mut self, bytes: usize, batch_size: usize, at_batch_end: bool) {
        self.bytes += bytes;
        if self.bytes >= batch_size && at_batch_end || self.bytes >= batch_size.saturating_mul(2) {
            *self = Sticky::default();
        }
    }
}

fn choose(dice: &Dice, adaptive: bool, candidates: &[Candidate]) -> i32 {
    let mut usable: Vec<Candidate> = candidates.iter().copied().filter(|c| c.has_leader).collect();
    if usable.is_empty() {
        usable = candidates.to_vec();
    }
    let longest = usable.iter().map(|c| c.queued).max().unwrap_or(0);
    // The longest queue weighs 1, an empty one most; without adaptation all weigh the same.
    let weight = |c: &Candidate| if adaptive { longest + 1 - c.queued } else { 1 };
    let mut draw = dice.below(usable.iter().map(weight).sum());
    for candidate in &usable {
        match draw.checked_sub(weight(candidate)) {
            Some(rest) => draw = rest,
            None => return candidate.partition,
        }
    }
    unreachable!("the draw is below the sum of the weights, and there is a candidate")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own test.
    #[test]
    fn murmur2_is_kafkas() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn a_negative_hash_gives_a_partition() {
        // As Java: (-973932308 & 0x7fffffff) % 10.
        assert_eq!(partition_of_key(b"21", 10), 1_173_551_340 % 10);
        for n in 1..50 {
            assert!((0..n as i32).contains(&partition_of_key(b"foobar", n)));
        }
    }

    fn candidates(queued: &[usize]) -> Vec<Candidate> {
        let of = |(partition, &queued)| Candidate { partition, has_leader: true, queued };
        (0..).zip(queued).map(of).collect()
    }

    fn spread(adaptive: bool, queued: &[usize]) -> Vec<usize> {
        let dice = Dice::new(Some(7));
        let mut counts = vec![0; queued.len()];
        for _ in 0..10_000 {
            counts[choose(&dice, adaptive, &candidates(queued)) as usize] += 1;
        }
        counts
    }

    #[test]
    fn keyless_records_spread_evenly() {
        for (queued, adaptive) in [([0; 8], true), ([9, 0, 3, 0, 0, 0, 7, 1], false)] {
            for count in spread(adaptive, &queued) {
                assert!((1_050..1_450).contains(&count), "of 10000 over 8: {count}");
            }
        }
    }

    #[test]
    fn longer_queues_get_less() {
        let counts = spread(true, &[0, 3]); // weights 4 and 1
        assert!((7_700..8_300).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn partitions_without_a_leader_are_avoided_while_there_are_others() {
        let dice = Dice::new(Some(1));
        let mut all = candidates(&[0, 0, 0]);
        all[0].has_leader = false;
        assert!((0..200).all(|_| choose(&dice, true, &all) != 0));
        all.iter_mut().for_each(|c| c.has_leader = false);
        assert!((0..200).any(|_| choose(&dice, true, &all) == 0));
    }

    #[test]
    fn stays_until_a_batch_is_full() {
        let dice = Dice::new(Some(1));
        let mut sticky = Sticky::default();
        let first = sticky.partition(&dice, true, || candidates(&[0; 100]));
        sticky.produced(900, 1000, true);
        assert_eq!(sticky.partition(&dice, true, || unreachable!()), first, "not a batch's worth yet");
        sticky.produced(200, 1000, false);
        assert_eq!(sticky.partition(&dice, true, || unreachable!()), first, "in the middle of a batch");
        sticky.produced(1, 1000, true);
        assert!(sticky.partition.is_none());
        sticky.partition(&dice, true, || candidates(&[0; 100]));
        sticky.produced(2000, 1000, false);
        assert!(sticky.partition.is_none(), "twice a batch's worth");
    }
}
