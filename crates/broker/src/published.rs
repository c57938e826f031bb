//! The broker's current knowledge in one immutable snapshot: the metadata image, and the partitions held
//! here.
//!
//! An image is published as soon as the open partitions have taken it in. A partition that is new on this
//! broker becomes visible once it is open. The creation of a topic is answered after that, so the topic is
//! usable.

use std::sync::Arc;

use ottla_controller::Image;
use ottla_settings::TopicConfig;
use ottla_wire::primitives::Str;
use ottla_wire::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};

use crate::partition::{PartitionError, PartitionHandle};

/// A topic with partitions on this broker.
#[derive(Clone)]
pub struct LocalTopic {
    pub name: Str,
    pub id: TopicId,
    pub config: TopicConfig,
    /// By partition index.
    places: Vec<Place>,
}

/// The place of a partition, from the viewpoint of this broker.
#[derive(Clone)]
pub enum Place {
    Here(Arc<PartitionHandle>),
    /// It belongs here but cannot be opened.
    Failed,
    /// It is only on other brokers.
    Elsewhere,
}

impl LocalTopic {
    pub fn new(name: Str, id: TopicId, config: TopicConfig) -> LocalTopic {
        LocalTopic { name, id, config, places: Vec::new() }
    }

    /// The same topic with a different configuration.
    pub fn with_config(&self, config: TopicConfig) -> LocalTopic {
        LocalTopic { config, ..self.clone() }
    }

    /// Sets the place of a partition.
    pub fn put(&mut self, index: PartitionIndex, place: Place) {
        let at = usize::try_from(index.0).unwrap_or(0);
        if at >= self.places.len() {
            self.places.resize(at + 1, Place::Elsewhere);
        }
        self.places[at] = place;
    }

    /// A partition that is held here.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<PartitionHandle>> {
        match self.place(index)? {
            Place::Here(handle) => Some(handle),
            Place::Failed | Place::Elsewhere => None,
        }
    }

    /// The partitions held here, in order of their indexes.
    pub fn partitions(&self) -> impl Iterator<Item = &Arc<PartitionHandle>> {
        self.places.iter().filter_map(|place| match place {
            Place::Here(handle) => Some(handle),
            Place::Failed | Place::Elsewhere => None,
        })
    }

    fn is_empty(&self) -> bool {
        self.places.iter().all(|place| matches!(place, Place::Elsewhere))
    }

    fn place(&self, index: PartitionIndex) -> Option<&Place> {
        self.places.get(usize::try_from(index.0).ok()?)
    }
}

/// One snapshot of the broker's knowledge.
#[derive(Clone, Default)]
pub struct Published {
    pub image: Image,
    /// The index up to which the metadata log is applied.
    pub index: u64,
    by_name: imbl::HashMap<Str, Arc<LocalTopic>>,
    by_id: imbl::HashMap<TopicId, Arc<LocalTopic>>,
}

impl Published {
    pub fn topic(&self, name: &str) -> Option<&Arc<LocalTopic>> {
        self.by_name.get(name)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<LocalTopic>> {
        self.by_id.get(&id)
    }

    /// All topics with partitions here, in no particular order.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<LocalTopic>> {
        self.by_id.values()
    }

    /// A partition by its topic's name, or the reason why it is not here.
    pub fn partition(
        &self,
        topic: &str,
        index: PartitionIndex,
    ) -> Result<&Arc<PartitionHandle>, PartitionError> {
        match self.topic(topic).and_then(|local| local.place(index)) {
            Some(Place::Here(handle)) => return Ok(handle),
            Some(Place::Failed) => return Err(PartitionError::Offline),
            Some(Place::Elsewhere) | None => {}
        }
        match self.image.topic(topic).and_then(|known| known.partition(index)) {
            Some(_) => Err(PartitionError::NotLeader),
            None => Err(PartitionError::Unknown),
        }
    }

    /// The current leader of a partition, and its epoch. The newest of two sources: the partition may be
    /// ahead of the image, which is published later, or behind it.
    pub fn leader(&self, topic: &str, index: PartitionIndex) -> Option<(BrokerId, LeaderEpoch)> {
        let known = self.image.topic(topic).and_then(|known| known.partition(index));
        let of_image = known.map(|known| (known.leader_epoch, known.leader));
        let here = self.topic(topic).and_then(|local| local.partition(index));
        let of_view = here.map(|partition| {
            let view = partition.view();
            (view.replica.leader_epoch, view.replica.leader)
        });
        let (epoch, leader) = of_image.max(of_view)?;
        leader.map(|leader| (leader, epoch))
    }

    /// A partition by its topic's id, or the reason why it is not here.
    pub fn partition_by_id(
        &self,
        id: TopicId,
        index: PartitionIndex,
    ) -> Result<&Arc<PartitionHandle>, PartitionError> {
        match self.image.topic_by_id(id) {
            Some(topic) => self.partition(&topic.name, index),
            None => Err(PartitionError::UnknownId),
        }
    }

    /// Adds a topic or replaces it.
    pub fn insert(&mut self, topic: LocalTopic) {
        let topic = Arc::new(topic);
        self.by_name.insert(topic.name.clone(), topic.clone());
        self.by_id.insert(topic.id, topic);
    }

    /// Removes partitions of a topic, and the topic with its last one. A younger topic of the same name
    /// stays.
    pub fn remove(&mut self, id: TopicId, indexes: &[PartitionIndex]) {
        let Some(topic) = self.by_id.get(&id) else { return };
        let mut left = LocalTopic::clone(topic);
        // A partition that is not open yet has no place to remove.
        let known = indexes.iter().filter(|index| left.place(**index).is_some()).copied();
        known.collect::<Vec<_>>().into_iter().for_each(|index| left.put(index, Place::Elsewhere));
        let is_named = self.by_name.get(&left.name).is_some_and(|named| named.id == id);
        let left = (!left.is_empty()).then(|| Arc::new(left));
        match left {
            Some(left) => {
                if is_named {
                    self.by_name.insert(left.name.clone(), left.clone());
                }
                self.by_id.insert(id, left);
            }
            None => {
                if is_named {
                    self.by_name.remove(&topic.name.clone());
                }
                self.by_id.remove(&id);
            }
        }
    }
}
