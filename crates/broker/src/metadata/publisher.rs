//! Applies the metadata log to this broker and publishes the result.
//!
//! Partitions that change are informed first, all at once. Then the image is published, so a change of leader
//! does not wait for files. One job at a time opens and removes files in the background. Each partition is
//! published as soon as it is open. The publisher runs alone, so the published state has one writer.
//!
//! Until the image holds the registration of this process, it was meant for another one. Logs are opened in
//! advance, but no replica is informed, and nothing is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_controller::image::{ConfigResource, ResourceKind};
use ottla_controller::{Delta, Image};
use ottla_log::FoundPartition;
use ottla_partition::{Fate, partition_state};
use ottla_settings::TopicConfig;
use ottla_wire::primitives::Str;
use ottla_wire::{BrokerId, PartitionIndex, TopicId, Uuid};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::holdings::{Holdings, PartitionId};
use super::job::{self, Progress};
use super::machine::{Inbox, News};
use super::open::{OpenedPartition, Opener, log_config, replica_config, warn_of_compaction};
use super::{internal, without_effect};
use crate::broker::FatalError;
use crate::coordinator::{Coordinators, World};
use crate::partition::PartitionHandle;
use crate::published::{LocalTopic, Place, Published};
use crate::shard::{Mail, ShardStates, Shards};

/// The most partitions that were opened and that the publisher has not taken over. Beyond it the opening
/// threads wait.
const OPENED_MAX: usize = 256;

/// The parts that the publishing task works with.
pub struct Publisher {
    pub node: BrokerId,
    /// Identifies this process in its registration.
    pub incarnation: Uuid,
    pub inbox: Arc<Inbox>,
    pub published: Arc<ArcSwap<Published>>,
    /// The published index of the metadata log.
    pub index: watch::Sender<u64>,
    /// The index up to which the files agree with the metadata log, too: partitions are open, or their files
    /// are out of the way.
    pub ready: watch::Sender<u64>,
    pub shards: Shards,
    pub opener: Opener,
    pub coordinators: Arc<Coordinators>,
}

impl Publisher {
    /// Runs until the metadata log holds something that cannot be applied.
    pub async fn run(self) -> FatalError {
        let (progress, mut came) = mpsc::channel(OPENED_MAX);
        let mut publishing = Publishing {
            of: self,
            holdings: Holdings::default(),
            registered: false,
            strays: Vec::new(),
            reconfigured: false,
            progress,
            jobs: JoinSet::new(),
        };
        let inbox = publishing.of.inbox.clone();
        let mut steps = Vec::with_capacity(OPENED_MAX);
        loop {
            let outcome = tokio::select! {
                news = inbox.take() => publishing.take(news).await,
                _ = came.recv_many(&mut steps, OPENED_MAX) => publishing.advance(&mut steps).await,
                Some(ended) = publishing.jobs.join_next() => {
                    ended.map_err(|error| FatalError::Task(format!("opening and removing partitions: {error}")))
                }
            };
            if let Err(fatal) = outcome {
                return fatal;
            }
        }
    }
}

/// The publishing task and its state.
struct Publishing {
    of: Publisher,
    holdings: Holdings<Arc<PartitionHandle>>,
    /// The image holds the registration of this process.
    registered: bool,
    /// Folders of partitions that this broker does not hold, until a job takes them.
    strays: Vec<FoundPartition>,
    /// Settings have changed since the current job began.
    reconfigured: bool,
    progress: mpsc::Sender<Progress>,
    jobs: JoinSet<()>,
}

impl Publishing {
    async fn take(&mut self, news: News) -> Result<(), FatalError> {
        if let Some(why) = news.broken {
            return Err(FatalError::Metadata(why));
        }
        let before = self.of.published.load_full();
        let base = if news.restart { Image::default() } else { before.image.clone() };
        let (image, mut delta) =
            base.apply_all(&news.records).map_err(|e| FatalError::Metadata(e.to_string()))?;
        without_effect::warn(&base, &image, &delta);
        internal::warn(&base, &image, &delta);
        if news.restart {
            let gone = before.image.topics().filter(|topic| image.topic_by_id(topic.id).is_none());
            delta.topics_deleted.extend(gone.map(|topic| (topic.id, topic.name.clone())));
        }
        let mut next = Published::clone(&before);
        next.image = image;
        next.index = news.index;
        // Coordinators in new partitions already know the world.
        let changed = self.turn_world(&next.image, &delta, news.restart);
        let affected = self.affected(&next.image, &delta);
        if self.registered {
            self.tell(&next.image, &affected).await;
        }
        self.hold(&mut next, affected);
        self.configure(&mut next, &delta).await;
        if changed {
            self.tell_coordinators(&delta).await;
        }
        self.show(next).await;
        self.start_job();
        Ok(())
    }

    /// The partitions that may be affected by a change. Each comes with the fate of its files if it is gone.
    fn affected(&mut self, image: &Image, delta: &Delta) -> BTreeMap<PartitionId, Fate> {
        let known = image.broker(self.of.node).is_some_and(|known| known.incarnation == self.of.incarnation);
        if known && !self.registered {
            self.registered = true;
            return self.registered_now(image);
        }
        let mut affected: BTreeSet<PartitionId> = delta.partitions().collect();
        for id in delta.topics_deleted.keys() {
            affected.extend(self.holdings.of_topic(*id));
        }
        if !delta.brokers_changed.is_empty() {
            let with_them = |(id, index): &PartitionId| {
                let known = image.partition(*id, *index);
                known.is_some_and(|known| known.replicas.iter().any(|id| delta.brokers_changed.contains(id)))
            };
            affected.extend(self.holdings.ids().filter(with_them));
        }
        affected.into_iter().map(|id| (id, Fate::Delete)).collect()
    }

    /// From now on the image is meant for this process. Compares everything that was found with it.
    fn registered_now(&mut self, image: &Image) -> BTreeMap<PartitionId, Fate> {
        let me = self.of.node;
        let is_here = |topic: &str, index| {
            let known = image.topic(topic).and_then(|topic| topic.partition(index));
            known.is_some_and(|known| known.is_replica(me))
        };
        self.strays = self.of.opener.strays(is_here);
        if !self.strays.is_empty() {
            self.holdings.want_job();
        }
        let here = image.topics().flat_map(|topic| {
            let here = topic.partitions.iter().filter(|(_, partition)| partition.is_replica(me));
            here.map(|(index, _)| (topic.id, *index))
        });
        self.holdings.ids().chain(here).map(|id| (id, Fate::SetAside)).collect()
    }

    /// Informs open partitions of their new state, including those that are no longer held here.
    async fn tell(&self, image: &Image, affected: &BTreeMap<PartitionId, Fate>) {
        let mut states = ShardStates::default();
        for id in affected.keys() {
            if let Some(handle) = self.holdings.get(*id)
                && let Some(partition) = image.partition(id.0, id.1)
            {
                states.add(handle, partition_state(image, partition));
            }
        }
        states.send().await;
    }

    /// Notes which partitions to open and which to give up. The latter are no longer published.
    fn hold(&mut self, next: &mut Published, affected: BTreeMap<PartitionId, Fate>) {
        let mut gone: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
        for ((id, index), fate) in affected {
            let topic = next.image.topic_by_id(id);
            let here = topic.filter(|topic| {
                topic.partition(index).is_some_and(|partition| partition.is_replica(self.of.node))
            });
            match here {
                // Before the registration only partitions with folders are opened.
                Some(topic) if self.registered || self.of.opener.has_found(&topic.name, index, id) => {
                    self.holdings.assign((id, index), &topic.name);
                }
                None if self.registered => {
                    self.holdings.give_up((id, index), fate);
                    gone.entry(id).or_default().push(index);
                }
                Some(_) | None => {}
            }
        }
        gone.into_iter().for_each(|(id, indexes)| next.remove(id, &indexes));
    }

    /// Begins the pending work on files, unless the last job still runs.
    fn start_job(&mut self) {
        let published = self.of.published.load_full();
        if let Some(job) = self.holdings.next_job() {
            let strays = std::mem::take(&mut self.strays);
            self.reconfigured = false;
            let at = (published.image.clone(), published.index);
            self.jobs.spawn(job::run(self.of.opener.clone(), at, job, strays, self.progress.clone()));
        } else if !self.holdings.is_busy() {
            self.is_ready(published.index);
        }
    }

    fn is_ready(&self, index: u64) {
        self.of.ready.send_if_modified(|at| {
            let further = index > *at;
            *at = index.max(*at);
            further
        });
    }

    /// Takes over the results of the job.
    async fn advance(&mut self, steps: &mut Vec<Progress>) -> Result<(), FatalError> {
        let mut opened = Vec::new();
        let mut done = None;
        for step in steps.drain(..) {
            match step {
                Progress::Opened(partition) => opened.push(partition),
                Progress::Done { index } => done = Some(index),
                Progress::Failed(why) => {
                    return Err(FatalError::Task(format!("opening and removing partitions: {why}")));
                }
            }
        }
        if !opened.is_empty() {
            self.adopt(opened).await;
        }
        if let Some(index) = done {
            self.is_ready(index);
            self.holdings.done();
            self.start_job();
        }
        Ok(())
    }

    /// Gives opened partitions to their shards, informs them of their current state, and publishes them.
    async fn adopt(&mut self, opened: Vec<OpenedPartition>) {
        let mut next = Published::clone(&self.of.published.load());
        let mut states = ShardStates::default();
        let mut places: BTreeMap<TopicId, Vec<(PartitionIndex, Place)>> = BTreeMap::new();
        for OpenedPartition { id, driver } in opened {
            let mut handle = None;
            match driver {
                Ok(driver) => {
                    let open = driver.handle().clone();
                    let _stopping = open.shard.send(Mail::Adopt(driver)).await;
                    handle = Some(open);
                }
                Err(error) => {
                    tracing::error!(topic = %id.0, partition = id.1.0, %error, "a partition cannot be opened");
                }
            }
            if !self.holdings.opened(id, handle.clone()) {
                continue; // unassigned meanwhile; the next job gives it up
            }
            if let Some(handle) = handle.as_ref().filter(|_| self.registered)
                && let Some(partition) = next.image.partition(id.0, id.1)
            {
                states.add(handle, partition_state(&next.image, partition));
            }
            let place = handle.map_or(Place::Failed, Place::Here);
            places.entry(id.0).or_default().push((id.1, place));
        }
        states.send().await;
        for (id, places) in places {
            self.place(&mut next, id, places).await;
        }
        self.show(next).await;
    }

    async fn place(&self, next: &mut Published, id: TopicId, places: Vec<(PartitionIndex, Place)>) {
        let Some(topic) = next.image.topic_by_id(id).cloned() else { return };
        let config = self.of.opener.topic_config(&next.image, &topic.name);
        let mut local = next.topic_by_id(id).map_or_else(
            || LocalTopic::new(topic.name.clone(), id, config.clone()),
            |known| known.with_config(config.clone()),
        );
        // They were opened with the settings from the start of the job.
        let changed = self.reconfigured && self.prepare(&config).await;
        let changed = changed.then(|| self.of.opener.settings.with_dynamic(&next.image));
        for (index, place) in places {
            if let (Place::Here(handle), Some(settings)) = (&place, &changed) {
                let replica = replica_config(self.of.node, settings, &config);
                let mail = Mail::Configure(handle.key, replica, log_config(&config));
                let _stopping = handle.shard.send(mail).await;
            }
            local.put(index, place);
        }
        next.insert(local);
    }

    /// Informs partitions of changed settings.
    async fn configure(&mut self, next: &mut Published, delta: &Delta) {
        let of_brokers = |resource: &ConfigResource| resource.kind == ResourceKind::Broker;
        // Replicas depend on settings of the broker, too.
        let everywhere = delta.configs_changed.iter().any(of_brokers);
        let changed: Vec<Arc<LocalTopic>> = if everywhere {
            next.topics().cloned().collect()
        } else {
            let named = |resource: &&ConfigResource| resource.kind == ResourceKind::Topic;
            let topics = delta.configs_changed.iter().filter(named);
            topics.filter_map(|resource| next.topic(&resource.name).cloned()).collect()
        };
        self.reconfigured |= !delta.configs_changed.is_empty();
        if changed.is_empty() {
            return;
        }
        let settings = self.of.opener.settings.with_dynamic(&next.image);
        for topic in changed {
            let config = self.of.opener.topic_config(&next.image, &topic.name);
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
                let (replica, log) = (replica_config(self.of.node, &settings, &config), log_config(&config));
                let _stopping = partition.shard.send(Mail::Configure(partition.key, replica, log)).await;
            }
            next.insert(topic.with_config(config));
        }
    }

    /// Prepares the data directory for `config`. False if that failed, which takes the directory offline.
    async fn prepare(&self, config: &TopicConfig) -> bool {
        let (opener, config) = (self.of.opener.clone(), config.clone());
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

    /// Updates the coordinators' view of settings and topics. False if nothing in it has changed.
    fn turn_world(&self, image: &Image, delta: &Delta, restart: bool) -> bool {
        let concerns_groups =
            |resource: &ConfigResource| matches!(resource.kind, ResourceKind::Broker | ResourceKind::Group);
        let settings = restart || delta.features_changed || delta.configs_changed.iter().any(concerns_groups);
        let topics = !delta.topics_deleted.is_empty()
            || !delta.partitions_changed.is_empty()
            || !delta.brokers_changed.is_empty();
        if settings {
            let settings = self.of.opener.settings.with_dynamic(image);
            self.of.coordinators.set_world(World::new(&settings, image));
        } else if topics {
            let world = self.of.coordinators.world().with_topics(image);
            self.of.coordinators.set_world(world);
        }
        settings || topics
    }

    async fn tell_coordinators(&self, delta: &Delta) {
        let deleted: Arc<[Str]> = delta.topics_deleted.values().cloned().collect();
        for shard in self.of.shards.iter() {
            let _stopping = shard.send(Mail::Learn(deleted.clone())).await;
        }
    }

    /// Publishes, once the shards have processed their messages. So everything published is true.
    async fn show(&self, next: Published) {
        let mut waiting = Vec::new();
        for shard in self.of.shards.iter() {
            let (passed, barrier) = oneshot::channel();
            let _stopping = shard.send(Mail::Barrier(passed)).await;
            waiting.push(barrier);
        }
        for barrier in waiting {
            let _stopping = barrier.await;
        }
        let index = next.index;
        self.of.published.store(Arc::new(next));
        self.of.index.send_replace(index);
    }
}
