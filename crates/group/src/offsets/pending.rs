//! Offsets that wait for the end of their transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use ottla_wire::ProducerId;
use ottla_wire::primitives::Str;

use super::store::{Entry, GroupTopicPartition};
use crate::counted::{Counted, CountedMap};
use crate::memory::{of_map, of_text};

/// The offsets of open transactions. No map in it is empty.
///
/// Producers are known by their id alone: the epoch may have been raised between the commit and the marker
/// (KIP-890).
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_producer: CountedMap<ProducerId, Entries>,
    by_place: CountedMap<GroupTopicPartition, Producers>,
    len: usize,
}

type Entries = CountedMap<GroupTopicPartition, Entry>;

/// The producers whose transactions wait with an offset for one place.
#[derive(Debug, Default)]
struct Producers(BTreeSet<ProducerId>);

impl Counted<ProducerId> for Entries {
    fn bytes(&self, _producer: &ProducerId) -> usize {
        self.bytes()
    }
}

impl Counted<GroupTopicPartition> for Entry {
    fn bytes(&self, place: &GroupTopicPartition) -> usize {
        of_text(&place.group) + of_text(&place.topic) + of_text(&self.committed.metadata)
    }
}

impl Counted<GroupTopicPartition> for Producers {
    /// The names of the place share the memory of the entry's.
    fn bytes(&self, _place: &GroupTopicPartition) -> usize {
        of_map::<ProducerId, ()>(self.0.len())
    }
}

impl Pending {
    /// How many offsets are waiting.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    pub fn get(&self, producer: ProducerId, place: &GroupTopicPartition) -> Option<&Entry> {
        self.by_producer.get(&producer)?.get(place)
    }

    pub fn contains(&self, place: &GroupTopicPartition) -> bool {
        self.by_place.contains_key(place)
    }

    /// Whether a transaction waits with an offset of `group`.
    pub fn concerns(&self, group: &Str) -> bool {
        self.places_from(&GroupTopicPartition::first_of(group))
            .next()
            .is_some_and(|place| place.group == *group)
    }

    /// The places of `group` that transactions wait for.
    pub fn places_of(&self, group: &Str) -> impl Iterator<Item = &GroupTopicPartition> {
        self.places_from(&GroupTopicPartition::first_of(group)).take_while(move |place| place.group == *group)
    }

    /// The places of `topic` in `group` that transactions wait for, each with what they would commit.
    pub fn places_in(
        &self,
        group: &Str,
        topic: &Str,
    ) -> impl Iterator<Item = (&GroupTopicPartition, Vec<&Entry>)> {
        self.by_place
            .range((Bound::Included(GroupTopicPartition::first_in(group, topic)), Bound::Unbounded))
            .take_while(move |(place, _)| place.group == *group && place.topic == *topic)
            .map(|(place, producers)| (place, self.entries(place, &producers.0)))
    }

    /// The offsets of every transaction, in order.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &GroupTopicPartition, &Entry)> {
        self.by_producer
            .iter()
            .flat_map(|(producer, places)| places.iter().map(|(place, entry)| (*producer, place, entry)))
    }

    pub fn put(&mut self, producer: ProducerId, place: &GroupTopicPartition, entry: Entry) {
        if !self.by_producer.contains_key(&producer) {
            self.by_producer.insert(producer, Entries::default());
        }
        let place = match self.by_place.get_key_value(place) {
            Some((known, _)) => known.clone(),
            None => place.detached(),
        };
        let before = self.by_producer.change(&producer, |entries| entries.insert(place.clone(), entry));
        self.len += usize::from(before.flatten().is_none());
        if !self.by_place.contains_key(&place) {
            self.by_place.insert(place.clone(), Producers::default());
        }
        self.by_place.change(&place, |producers| producers.0.insert(producer));
    }

    /// No transaction commits anything for `place` any more.
    pub fn remove(&mut self, place: &GroupTopicPartition) {
        for producer in self.by_place.remove(place).unwrap_or_default().0 {
            let removed = self.by_producer.change(&producer, |entries| entries.remove(place));
            self.len -= usize::from(removed.flatten().is_some());
            if self.by_producer.get(&producer).is_some_and(|entries| entries.is_empty()) {
                self.by_producer.remove(&producer);
            }
        }
    }

    /// The transaction of `producer` has ended: what it would have committed is taken out.
    pub fn take(&mut self, producer: ProducerId) -> BTreeMap<GroupTopicPartition, Entry> {
        let entries = self.by_producer.remove(&producer).unwrap_or_default();
        self.len -= entries.len();
        for place in entries.keys() {
            self.by_place.change(place, |producers| producers.0.remove(&producer));
            if self.by_place.get(place).is_some_and(|producers| producers.0.is_empty()) {
                self.by_place.remove(place);
            }
        }
        entries.into_map()
    }

    /// Bytes that the waiting offsets take in memory.
    pub fn bytes(&self) -> usize {
        self.by_producer.bytes() + self.by_place.bytes()
    }

    fn places_from(
        &self,
        first: &GroupTopicPartition,
    ) -> impl Iterator<Item = &GroupTopicPartition> + use<'_> {
        self.by_place.range((Bound::Included(first.clone()), Bound::Unbounded)).map(|(place, _)| place)
    }

    fn entries(&self, place: &GroupTopicPartition, producers: &BTreeSet<ProducerId>) -> Vec<&Entry> {
        producers.iter().filter_map(|producer| self.get(*producer, place)).collect()
    }
}
