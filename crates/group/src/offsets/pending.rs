//! Offsets that wait for the end of their transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use ottla_wire::ProducerId;
use ottla_wire::primitives::Str;

use super::store::{Entry, GroupTopicPartition};
use crate::memory::{of_map, of_one_more, of_text};

/// What open transactions will commit. No map in it is empty.
///
/// Producers are known by their id alone: the epoch may have been raised between the commit and the marker
/// (KIP-890).
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_producer: BTreeMap<ProducerId, BTreeMap<GroupTopicPartition, Entry>>,
    by_place: BTreeMap<GroupTopicPartition, BTreeSet<ProducerId>>,
    len: usize,
    /// Bytes of all but the two outermost maps.
    bytes: usize,
}

/// Bytes that a waiting offset refers to.
fn bytes(place: &GroupTopicPartition, entry: &Entry) -> usize {
    of_text(&place.group) + of_text(&place.topic) + of_text(&entry.committed.metadata)
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
            .map(|(place, producers)| (place, self.entries(place, producers)))
    }

    /// What every transaction would commit, in order.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &GroupTopicPartition, &Entry)> {
        self.by_producer
            .iter()
            .flat_map(|(producer, places)| places.iter().map(|(place, entry)| (*producer, place, entry)))
    }

    pub fn put(&mut self, producer: ProducerId, place: &GroupTopicPartition, entry: Entry) {
        self.bytes += bytes(place, &entry);
        let places = self.by_producer.entry(producer).or_default();
        if let Some(before) = places.get_mut(place) {
            self.bytes -= bytes(place, before);
            *before = entry;
            return;
        }
        self.len += 1;
        let place = place.detached();
        self.bytes += of_one_more::<GroupTopicPartition, Entry>(places.len());
        places.insert(place.clone(), entry);
        let producers = self.by_place.entry(place).or_default();
        self.bytes += of_one_more::<ProducerId, ()>(producers.len());
        producers.insert(producer);
    }

    /// No transaction commits anything for `place` any more.
    pub fn remove(&mut self, place: &GroupTopicPartition) {
        let producers = self.by_place.remove(place).unwrap_or_default();
        self.bytes -= of_map::<ProducerId, ()>(producers.len());
        for producer in producers {
            let Some(places) = self.by_producer.get_mut(&producer) else { continue };
            if let Some(removed) = places.remove(place) {
                self.len -= 1;
                self.bytes -=
                    bytes(place, &removed) + of_one_more::<GroupTopicPartition, Entry>(places.len());
            }
            if places.is_empty() {
                self.by_producer.remove(&producer);
            }
        }
    }

    /// The transaction of `producer` has ended: what it would have committed is taken out.
    pub fn take(&mut self, producer: ProducerId) -> BTreeMap<GroupTopicPartition, Entry> {
        let places = self.by_producer.remove(&producer).unwrap_or_default();
        self.len -= places.len();
        self.bytes -= of_map::<GroupTopicPartition, Entry>(places.len());
        for (place, entry) in &places {
            self.bytes -= bytes(place, entry);
            let Some(producers) = self.by_place.get_mut(place) else { continue };
            producers.remove(&producer);
            self.bytes -= of_one_more::<ProducerId, ()>(producers.len());
            if producers.is_empty() {
                self.by_place.remove(place);
            }
        }
        places
    }

    /// Bytes that the waiting offsets take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes + self.outermost_bytes()
    }

    /// The same, counted from scratch.
    pub fn count_bytes(&self) -> usize {
        let entries: usize = self.iter().map(|(_, place, entry)| bytes(place, entry)).sum();
        let places =
            self.by_producer.values().map(|places| of_map::<GroupTopicPartition, Entry>(places.len()));
        let producers = self.by_place.values().map(|producers| of_map::<ProducerId, ()>(producers.len()));
        entries + places.sum::<usize>() + producers.sum::<usize>() + self.outermost_bytes()
    }

    fn outermost_bytes(&self) -> usize {
        of_map::<ProducerId, BTreeMap<GroupTopicPartition, Entry>>(self.by_producer.len())
            + of_map::<GroupTopicPartition, BTreeSet<ProducerId>>(self.by_place.len())
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
