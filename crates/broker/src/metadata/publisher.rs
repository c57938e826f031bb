//! Makes true on this broker what the metadata log says, then publishes it.
//!
//! New partitions are opened before the image that names them is published, changed ones are told, and deleted ones are
//! taken out of the published state before their files go. Runs alone, so the published state has one writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_controller::image::{ConfigResource, ResourceKind};
use ottla_controller::{Delta, Image};
use ottla_settings::TopicConfig;
use ottla_wire::primitives::Str;
use ottla_wire::{BrokerId, PartitionIndex, TopicId};
use tokio::sync::{oneshot, watch};

use super::assignment::partition_state;
use super::machine::{Inbox, News};
use super::open::{Opener, log_config, replica_config, warn_of_compaction};
use super::without_effect;
use crate::broker::FatalError;
use crate::coordinator::{Coordinators, World};
use crate::partition::PartitionHandle;
use crate::published::{LocalTopic, Place, Published};
use crate::shard::{Mail, Shards};

/// The task that publishes.
pub struct Publisher {
    pub node: BrokerId,
    pub inbox: Arc<Inbox>,
    pub published: Arc<ArcSwap<Published>>,
    /// The index of what is published.
    pub index: watch::Sender<u64>,
    pub shards: Shards,
    pub opener: Opener,
    pub coordinators: Arc<Coordinators>,
}

impl Publisher {
    /// Runs until the metadata log brings what cannot be applied.
    pub async fn run(mut self) -> FatalError {
        loop {
            let news = self.inbox.take().await;
            if let Some(why) = news.broken {
                return FatalError::Metadata(why);
            }
            if let Err(fatal) = self.publish(news).await {
                return fatal;
            }
        }
    }

    async fn publish(&mut self, news: News) -> Result<(), FatalError> {
        let before = self.published.load_full();
        let base = if news.restart { Image::default() } else { before.image.clone() };
        let (image, mut delta) =
            base.apply_all(&news.records).map_err(|e| FatalError::Metadata(e.to_string()))?;
        without_effect::warn(&base, &image, &delta);
        if news.restart {
            let gone = before.image.topics().filter(|topic| image.topic_by_id(topic.id).is_none());
            delta.topics_deleted.extend(gone.map(|topic| (topic.id, topic.name.clone())));
        }
        let mut next = Published::clone(&before);
        next.image = image;
        next.index = news.index;
        // Coordinators that begin with new partitions know the world already.
        let changed = self.turn_world(&next.image, &delta, news.restart);
        self.remove(&mut next, &delta).await;
        self.change(&mut next, &delta).await;
        self.configure(&mut next, &delta).await;
        if changed {
            self.tell_coordinators(&delta).await;
        }
        self.reach_shards().await;
        let index = next.index;
        self.published.store(Arc::new(next));
        self.index.send_replace(index);
        Ok(())
    }

    /// Takes deleted topics out of sight, then their partitions off the disk.
    async fn remove(&self, next: &mut Published, delta: &Delta) {
        let gone: Vec<Arc<LocalTopic>> =
            delta.topics_deleted.keys().filter_map(|id| next.remove(*id)).collect();
        if gone.is_empty() {
            return;
        }
        let mut hidden = Published::clone(&self.published.load());
        gone.iter().for_each(|topic| drop(hidden.remove(topic.id)));
        self.published.store(Arc::new(hidden));
        let mut waiting = Vec::new();
        for partition in gone.iter().flat_map(|topic| topic.partitions()) {
            let (done, retired) = oneshot::channel();
            let _stopping = partition.shard.send(Mail::Retire { partition: partition.key, done }).await;
            waiting.push(retired);
        }
        for retired in waiting {
            let _stopping = retired.await;
        }
    }

    /// Opens partitions that are new here, and tells the others what has changed.
    async fn change(&self, next: &mut Published, delta: &Delta) {
        let mut opening: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
        for (id, index) in self.affected(next, delta) {
            let Some(partition) = next.image.partition(id, index) else { continue };
            if !partition.is_replica(self.node) {
                continue;
            }
            let local = next.topic_by_id(id).and_then(|topic| topic.partition(index));
            match local {
                Some(handle) => {
                    let state = partition_state(&next.image, partition);
                    let _stopping = handle.shard.send(Mail::Assign(handle.key, state)).await;
                }
                None => opening.entry(id).or_default().push(index),
            }
        }
        if !opening.is_empty() {
            self.open(next, opening).await;
        }
    }

    /// Partitions that changed, and those with a replica on a broker that changed.
    fn affected(&self, next: &Published, delta: &Delta) -> BTreeSet<(TopicId, PartitionIndex)> {
        let mut affected: BTreeSet<_> = delta.partitions().collect();
        if delta.brokers_changed.is_empty() {
            return affected;
        }
        for partition in next.topics().flat_map(|topic| topic.partitions()) {
            let known = next.image.partition(partition.topic_id, partition.index);
            if known.is_some_and(|known| known.replicas.iter().any(|id| delta.brokers_changed.contains(id))) {
                affected.insert((partition.topic_id, partition.index));
            }
        }
        affected
    }

    async fn open(&self, next: &mut Published, opening: BTreeMap<TopicId, Vec<PartitionIndex>>) {
        let opened = self.opener.open_all(&next.image, &opening).await;
        let mut by_topic: BTreeMap<TopicId, Vec<(PartitionIndex, Place)>> = BTreeMap::new();
        for (id, index, driver) in opened {
            let place = match driver {
                Ok(driver) => {
                    let handle = driver.handle().clone();
                    self.adopt(&next.image, &handle, driver).await;
                    Place::Here(handle)
                }
                Err(error) => {
                    tracing::error!(topic = %id, partition = index.0, %error, "a partition cannot be opened");
                    Place::Failed
                }
            };
            by_topic.entry(id).or_default().push((index, place));
        }
        for (id, places) in by_topic {
            let Some(topic) = next.image.topic_by_id(id).cloned() else { continue };
            let config = self.opener.topic_config(&next.image, &topic.name);
            let mut local = next.topic_by_id(id).map_or_else(
                || LocalTopic::new(topic.name.clone(), id, config.clone()),
                |known| known.with_config(config.clone()),
            );
            places.into_iter().for_each(|(index, place)| local.put(index, place));
            next.insert(local);
        }
    }

    async fn adopt(
        &self,
        image: &Image,
        handle: &Arc<PartitionHandle>,
        driver: Box<crate::shard::PartitionDriver>,
    ) {
        let _stopping = handle.shard.send(Mail::Adopt(driver)).await;
        if let Some(partition) = image.partition(handle.topic_id, handle.index) {
            let state = partition_state(image, partition);
            let _stopping = handle.shard.send(Mail::Assign(handle.key, state)).await;
        }
    }

    /// Tells partitions of changed settings.
    async fn configure(&self, next: &mut Published, delta: &Delta) {
        let of_brokers = |resource: &ConfigResource| resource.kind == ResourceKind::Broker;
        // Replicas go by settings of the broker, too.
        let everywhere = delta.configs_changed.iter().any(of_brokers);
        let changed: Vec<Arc<LocalTopic>> = if everywhere {
            next.topics().cloned().collect()
        } else {
            let named = |resource: &&ConfigResource| resource.kind == ResourceKind::Topic;
            let topics = delta.configs_changed.iter().filter(named);
            topics.filter_map(|resource| next.topic(&resource.name).cloned()).collect()
        };
        if changed.is_empty() {
            return;
        }
        let settings = self.opener.settings.with_dynamic(&next.image);
        for topic in changed {
            let config = self.opener.topic_config(&next.image, &topic.name);
            let same = config == topic.config;
            if same && !everywhere {
                continue;
            }
            if !same {
                warn_of_compaction(&topic.name, &config);
                if !self.prepare(&config).await {
                    continue;
                }
            }
            for partition in topic.partitions() {
                let (replica, log) = (replica_config(self.node, &settings, &config), log_config(&config));
                let _stopping = partition.shard.send(Mail::Configure(partition.key, replica, log)).await;
            }
            next.insert(topic.with_config(config));
        }
    }

    /// Makes the data directory ready for what `config` allows. False if it cannot be: the directory has failed then.
    async fn prepare(&self, config: &TopicConfig) -> bool {
        let (opener, config) = (self.opener.clone(), config.clone());
        let prepared = tokio::task::spawn_blocking(move || opener.prepare(&config)).await;
        let failed = match prepared {
            Ok(prepared) => prepared.err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = &failed {
            tracing::error!(error, "settings of a topic cannot be applied");
        }
        failed.is_none()
    }

    /// Changes what coordinators know of settings and topics; false if nothing of that has changed.
    fn turn_world(&self, image: &Image, delta: &Delta, restart: bool) -> bool {
        let concerns_groups =
            |resource: &ConfigResource| matches!(resource.kind, ResourceKind::Broker | ResourceKind::Group);
        let settings = restart || delta.features_changed || delta.configs_changed.iter().any(concerns_groups);
        let topics = !delta.topics_deleted.is_empty()
            || !delta.partitions_changed.is_empty()
            || !delta.brokers_changed.is_empty();
        if settings {
            let settings = self.opener.settings.with_dynamic(image);
            self.coordinators.set_world(World::new(&settings, image));
        } else if topics {
            let world = self.coordinators.world().with_topics(image);
            self.coordinators.set_world(world);
        }
        settings || topics
    }

    async fn tell_coordinators(&self, delta: &Delta) {
        let deleted: Arc<[Str]> = delta.topics_deleted.values().cloned().collect();
        for shard in self.shards.iter() {
            let _stopping = shard.send(Mail::Learn(deleted.clone())).await;
        }
    }

    /// Waits until the shards have taken in what they were sent: what is published next is true.
    async fn reach_shards(&self) {
        let mut waiting = Vec::new();
        for shard in self.shards.iter() {
            let (passed, barrier) = oneshot::channel();
            let _stopping = shard.send(Mail::Barrier(passed)).await;
            waiting.push(barrier);
        }
        for barrier in waiting {
            let _stopping = barrier.await;
        }
    }
}
