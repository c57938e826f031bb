//! Records that wait to be sent, in batches for each partition. Pure but for the dice: time is given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ottla_wire::Timestamp;
use ottla_wire::primitives::Str;

use super::batch::{Batch, Packing};
use super::batch_id::BatchId;
use super::delivery::Delivery;
use super::partitioner::{Candidate, Sticky, partition_of_key};
use super::record::ProducerRecord;
use crate::cluster::{Partition, Topic, TopicPartition};
use crate::seam::{Dice, Instant};

/// What the accumulator needs of the producer's settings.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) batch_size: usize,
    pub(super) linger: Duration,
    pub(super) packing: Packing,
    pub(super) ignore_keys: bool,
    pub(super) adaptive: bool,
}

pub(super) struct Accumulator {
    rules: Rules,
    dice: Dice,
    topics: BTreeMap<Str, TopicQueues>,
    next_id: BatchId,
    /// Batches that are not settled, here or on their way.
    open: BTreeSet<BatchId>,
}

/// What waits for one topic.
#[derive(Default)]
struct TopicQueues {
    sticky: Sticky,
    /// Without empty ones.
    queues: BTreeMap<i32, VecDeque<Batch>>,
}

/// The state of the first batch of a partition.
pub(super) enum Front<'a> {
    /// May be sent now.
    Ready(&'a Batch),
    /// Waits for more records or for its backoff until then.
    NotBefore(Instant, &'a Batch),
}

impl Accumulator {
    pub(super) fn new(rules: Rules, dice: Dice) -> Accumulator {
        let (topics, open) = (BTreeMap::new(), BTreeSet::new());
        Accumulator { rules, dice, topics, next_id: BatchId::FIRST, open }
    }

    /// Adds a record, `size` bytes of memory being reserved for it. `topic` MUST have partitions, and that of
    /// the record if it names one. True if the sender should look: a batch was begun or became full.
    pub(super) fn append(
        &mut self,
        topic: &Topic,
        record: &ProducerRecord,
        size: usize,
        now: Instant,
        timestamp: Timestamp,
    ) -> (Delivery, bool) {
        if !self.topics.contains_key(&topic.name) {
            self.topics.insert(topic.name.clone(), TopicQueues::default());
        }
        let Some(waiting) = self.topics.get_mut(&topic.name) else { unreachable!("inserted above") };
        let key = record.key.as_deref().filter(|_| !self.rules.ignore_keys);
        let (partition, is_sticky) = match (record.partition, key) {
            (Some(partition), _) => (partition, false),
            (None, Some(key)) => (partition_of_key(key, topic.partitions.len()), false),
            (None, None) => (waiting.choose(topic, size, &self.dice, &self.rules), true),
        };
        let queue = waiting.queues.entry(partition).or_default();
        let begin = !queue.back().is_some_and(|batch| batch.has_room(size, self.rules.batch_size));
        if begin {
            let of = TopicPartition { topic: topic.name.clone(), partition };
            queue.push_back(Batch::new(self.next_id, of, self.rules.packing, now));
            self.open.insert(self.next_id);
            self.next_id = self.next_id.next();
        }
        let Some(batch) = queue.back_mut() else { unreachable!("pushed above") };
        let before = batch.len();
        let index = batch.push(record, timestamp);
        batch.reserved += size;
        let full = batch.len() >= self.rules.batch_size;
        let delivery =
            Delivery::new(batch.settlement.clone(), index, (topic.name.clone(), partition), timestamp);
        let grown = batch.len() - before;
        if is_sticky {
            waiting.sticky.produced(grown, self.rules.batch_size, full);
        }
        (delivery, begin || full)
    }

    /// Looks at the first batch of each partition that has one. `retry_delay` gives the backoff after so many
    /// attempts, `urgent` sends without lingering.
    pub(super) fn fronts(
        &self,
        urgent: bool,
        retry_delay: impl Fn(&Batch) -> Duration,
    ) -> impl Iterator<Item = Front<'_>> {
        let queues = self.topics.values().flat_map(|waiting| waiting.queues.values());
        queues.filter_map(move |queue| {
            let front = queue.front()?;
            let due = match front.last_attempt {
                Some(attempt) => Some(attempt.at + retry_delay(front)),
                None if urgent || queue.len() > 1 || front.len() >= self.rules.batch_size => None,
                None => Some(front.created + self.rules.linger),
            };
            Some(match due {
                Some(due) => Front::NotBefore(due, front),
                None => Front::Ready(front),
            })
        })
    }

    /// The first batch of a partition, to look at.
    pub(super) fn front(&self, of: &TopicPartition) -> Option<&Batch> {
        self.topics.get(&of.topic)?.queues.get(&of.partition)?.front()
    }

    /// Takes the first batch of a partition.
    pub(super) fn take(&mut self, of: &TopicPartition) -> Option<Batch> {
        let queues = &mut self.topics.get_mut(&of.topic)?.queues;
        let queue = queues.get_mut(&of.partition)?;
        let batch = queue.pop_front();
        if queue.is_empty() {
            queues.remove(&of.partition);
        }
        batch
    }

    /// Puts a batch that is to be sent again where it was, by age.
    pub(super) fn put_back(&mut self, batch: Batch) {
        let queues = &mut self.topics.entry(batch.partition.topic.clone()).or_default().queues;
        let queue = queues.entry(batch.partition.partition).or_default();
        let at = queue.partition_point(|queued| queued.id < batch.id);
        self.open.insert(batch.id);
        queue.insert(at, batch);
    }

    /// Takes every batch made before `limit`, oldest first in each partition.
    pub(super) fn take_older(&mut self, limit: Instant) -> Vec<Batch> {
        let mut taken = Vec::new();
        for waiting in self.topics.values_mut() {
            waiting.queues.retain(|_, queue| {
                let late = queue.iter().take_while(|batch| batch.created <= limit).count();
                taken.extend(queue.drain(..late));
                !queue.is_empty()
            });
        }
        taken
    }

    /// Takes every batch.
    pub(super) fn take_all(&mut self) -> Vec<Batch> {
        let queues = self.topics.values_mut().flat_map(|waiting| std::mem::take(&mut waiting.queues));
        queues.flat_map(|(_, queue)| queue).collect()
    }

    /// When the oldest batch was made.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let queues = self.topics.values().flat_map(|waiting| waiting.queues.values());
        queues.filter_map(|queue| Some(queue.front()?.created)).min()
    }

    /// Notes that a batch is settled.
    pub(super) fn settled(&mut self, id: BatchId) {
        self.open.remove(&id);
    }

    /// Whether every batch made before `limit` is settled.
    pub(super) fn settled_before(&self, limit: BatchId) -> bool {
        self.open.first().is_none_or(|&oldest| oldest >= limit)
    }

    /// The id of the next batch, whose predecessors a flush waits for. A batch that is still open counts as
    /// one of them.
    pub(super) fn next_id(&self) -> BatchId {
        self.next_id
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl TopicQueues {
    fn choose(&mut self, topic: &Topic, size: usize, dice: &Dice, rules: &Rules) -> i32 {
        let TopicQueues { sticky, queues } = self;
        let candidates = || {
            let candidate = |partition: &Partition| Candidate {
                partition: partition.index,
                has_leader: partition.leader.is_some(),
                queued: queues.get(&partition.index).map_or(0, VecDeque::len),
            };
            topic.partitions.iter().map(candidate).collect()
        };
        let partition = sticky.partition(dice, rules.adaptive, candidates);
        let open = queues.get(&partition).and_then(VecDeque::back);
        if open.is_none_or(|batch| !batch.has_room(size, rules.batch_size)) {
            // The record begins a batch anyway, so this is the moment to leave for another partition.
            sticky.produced(0, rules.batch_size, true);
        }
        sticky.partition(dice, rules.adaptive, candidates)
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::compress::Codec;
    use ottla_wire::{BrokerId, LeaderEpoch, TopicId};

    use super::*;
    use crate::producer::batch::Attempt;
    use crate::seam;

    const LINGER: Duration = Duration::from_millis(10);
    const NO_DELAY: fn(&Batch) -> Duration = |_| Duration::ZERO;

    fn accumulator(batch_size: usize) -> Accumulator {
        let packing = Packing { codec: Codec::None, level: None, transactional: false };
        let rules = Rules { batch_size, linger: LINGER, packing, ignore_keys: false, adaptive: true };
        Accumulator::new(rules, Dice::new(Some(1)))
    }

    fn topic(partitions: i32) -> Topic {
        let partition = |index| Partition {
            index,
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(0),
            replicas: Vec::new(),
            isr: Vec::new(),
            offline: Vec::new(),
        };
        let partitions = (0..partitions).map(partition).collect();
        Topic { name: "t".into(), id: TopicId::ZERO, internal: false, partitions }
    }

    fn add(accumulator: &mut Accumulator, record: ProducerRecord, now: Instant) -> (Delivery, bool) {
        let size = record.size_max();
        accumulator.append(&topic(4), &record, size, now, Timestamp(1))
    }

    fn to(partition: i32, len: usize) -> ProducerRecord {
        ProducerRecord::new("t", vec![b'x'; len]).partition(partition)
    }

    /// What may be sent at `now`: partition and number of records of each first batch.
    fn ready(accumulator: &Accumulator, now: Instant, urgent: bool) -> Vec<(i32, i32)> {
        let fronts = accumulator.fronts(urgent, NO_DELAY);
        let ready = fronts.filter_map(|front| match front {
            Front::NotBefore(due, _) if due > now => None,
            Front::Ready(batch) | Front::NotBefore(_, batch) => Some(batch),
        });
        ready.map(|batch| (batch.partition.partition, batch.record_count())).collect()
    }

    #[tokio::test]
    async fn a_batch_waits_for_its_linger_unless_it_is_full_or_urgent() {
        let (mut accumulator, now) = (accumulator(300), seam::now());
        assert!(add(&mut accumulator, to(0, 10), now).1, "a new batch wakes the sender");
        assert!(!add(&mut accumulator, to(0, 10), now).1);
        assert_eq!(ready(&accumulator, now, false), []);
        assert_eq!(ready(&accumulator, now, true), [(0, 2)]);
        assert_eq!(ready(&accumulator, now + LINGER, false), [(0, 2)]);
        assert!(add(&mut accumulator, to(0, 250), now).1, "a second batch: the first is full");
        assert_eq!(ready(&accumulator, now, false), [(0, 2)]);
    }

    #[tokio::test]
    async fn a_record_larger_than_a_batch_goes_alone() {
        let (mut accumulator, now) = (accumulator(100), seam::now());
        add(&mut accumulator, to(0, 1000), now);
        add(&mut accumulator, to(0, 1), now);
        let of = TopicPartition::new("t", 0);
        assert_eq!(accumulator.take(&of).unwrap().record_count(), 1);
        assert_eq!(accumulator.take(&of).unwrap().record_count(), 1);
    }

    #[tokio::test]
    async fn a_batch_put_back_goes_before_younger_ones_and_waits_for_its_backoff() {
        let (mut accumulator, now) = (accumulator(1), seam::now());
        (0..4).for_each(|_| drop(add(&mut accumulator, to(0, 1), now)));
        let of = TopicPartition::new("t", 0);
        let mut taken: Vec<Batch> = (0..3).map(|_| accumulator.take(&of).unwrap()).collect();
        let order: Vec<BatchId> = taken.iter().map(|batch| batch.id).collect();
        for batch in &mut taken {
            batch.last_attempt = Some(Attempt { at: now, pause: LINGER, leader_epoch: LeaderEpoch(0) });
        }
        // In any order.
        taken.rotate_left(1);
        taken.into_iter().for_each(|batch| accumulator.put_back(batch));
        let due = accumulator.fronts(true, |_| LINGER).map(|front| match front {
            Front::NotBefore(due, _) => due,
            Front::Ready(_) => panic!("the backoff counts even when it is urgent"),
        });
        assert_eq!(due.collect::<Vec<_>>(), [now + LINGER]);
        let again: Vec<BatchId> = (0..3).map(|_| accumulator.take(&of).unwrap().id).collect();
        assert_eq!(again, order);
    }

    /// The numbers of its records are given already, and those behind it have the next.
    #[tokio::test]
    async fn half_of_a_batch_takes_no_further_record() {
        let (mut accumulator, now) = (accumulator(10_000), seam::now());
        let of = TopicPartition::new("t", 0);
        (0..4).for_each(|_| drop(add(&mut accumulator, to(0, 1), now)));
        let mut batch = accumulator.take(&of).unwrap();
        batch.records(None).unwrap();
        let (halves, _) = batch.split(accumulator.rules.packing).unwrap();
        halves.into_iter().for_each(|half| accumulator.put_back(half));
        add(&mut accumulator, to(0, 1), now);
        let counts: Vec<i32> = (0..3).map(|_| accumulator.take(&of).unwrap().record_count()).collect();
        assert_eq!(counts, [2, 2, 1]);
    }

    #[tokio::test]
    async fn old_batches_are_taken_and_flush_knows_what_is_settled() {
        let (mut accumulator, now) = (accumulator(1), seam::now());
        add(&mut accumulator, to(0, 1), now);
        add(&mut accumulator, to(1, 1), now + LINGER);
        let limit = accumulator.next_id();
        add(&mut accumulator, to(1, 1), now + LINGER);
        assert_eq!(accumulator.oldest(), Some(now));
        let late = accumulator.take_older(now);
        assert_eq!(late.len(), 1);
        accumulator.settled(late[0].id);
        assert!(!accumulator.settled_before(limit));
        let batch = accumulator.take(&TopicPartition::new("t", 1)).unwrap();
        accumulator.settled(batch.id);
        assert!(accumulator.settled_before(limit) && !accumulator.is_empty());
        assert_eq!(accumulator.take_all().len(), 1);
    }

    #[tokio::test]
    async fn same_key_same_partition_unless_keys_are_ignored() {
        let (mut accumulator, now) = (accumulator(100), seam::now());
        let keyed = || ProducerRecord::new("t", "v").key("foobar");
        for _ in 0..20 {
            assert_eq!(add(&mut accumulator, keyed(), now).0.partition(), partition_of_key(b"foobar", 4));
        }
        accumulator.rules.ignore_keys = true;
        let partitions: BTreeSet<i32> =
            (0..100).map(|_| add(&mut accumulator, keyed(), now).0.partition()).collect();
        assert!(partitions.len() > 1);
    }
}
