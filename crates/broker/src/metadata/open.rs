//! One partition from its folder to its driver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ottla_controller::Image;
use ottla_log::{DataDir, FoundPartition, Log, LogConfig, LogError, NoReplay};
use ottla_partition::{Found, Identity};
use ottla_replica::{Durability, Replica, ReplicaConfig};
use ottla_settings::{BrokerSettings, TopicConfig, key};
use ottla_wire::batch::TimestampType;
use ottla_wire::primitives::Str;
use ottla_wire::{BrokerId, PartitionIndex, TopicId};
use tokio::task::JoinSet;

use crate::partition::{PartitionHandle, PartitionKey};
use crate::shard::{Partition, PartitionDriver, Shards};

/// Opens the partitions of this broker, many at once.
#[derive(Clone)]
pub struct Opener {
    pub node: BrokerId,
    pub settings: Arc<BrokerSettings>,
    pub dir: DataDir,
    /// The folders that were there when the broker started, until each is opened.
    pub found: Arc<BTreeMap<(String, i32), FoundPartition>>,
    pub shards: Shards,
    pub next_key: Arc<AtomicU64>,
    pub progress: Arc<RecoveryProgress>,
}

/// How far the opening of partitions has come, for readiness.
#[derive(Debug, Default)]
pub struct RecoveryProgress {
    pub partitions: AtomicUsize,
    pub opened: AtomicUsize,
}

/// A partition to open.
struct Wanted {
    topic: Str,
    id: TopicId,
    index: PartitionIndex,
    config: TopicConfig,
}

/// What the threads that open share: each takes the next one, so that none is idle while another has many that are large.
struct Queue {
    wanted: Vec<Wanted>,
    taken: AtomicUsize,
}

impl Queue {
    fn take(&self) -> Option<&Wanted> {
        self.wanted.get(self.taken.fetch_add(1, Ordering::Relaxed))
    }
}

type Opening = Result<Box<PartitionDriver>, LogError>;

impl Opener {
    /// What holds for a topic on this broker.
    pub fn topic_config(&self, image: &Image, topic: &str) -> TopicConfig {
        TopicConfig::effective(image, &self.settings, topic)
    }

    /// Makes the data directory ready for what `config` allows: who acknowledges before it flushes does not vouch for
    /// the opposite any more. May block.
    pub fn prepare(&self, config: &TopicConfig) -> Result<(), LogError> {
        if durability(config) == Durability::Flushed {
            return Ok(());
        }
        let doing = || "take back that everything is flushed first".to_owned();
        self.dir.give_up_flushed_first().map_err(|error| LogError::Io { doing: doing(), error })
    }

    /// Opens partitions on as many threads as `num.recovery.threads.per.data.dir` says.
    pub async fn open_all(
        &self,
        image: &Image,
        wanted: &BTreeMap<TopicId, Vec<PartitionIndex>>,
    ) -> Vec<(TopicId, PartitionIndex, Opening)> {
        let mut all = Vec::new();
        for (id, indexes) in wanted {
            let Some(topic) = image.topic_by_id(*id) else { continue };
            let config = self.topic_config(image, &topic.name);
            warn_of_compaction(&topic.name, &config);
            let wanted = |index: &PartitionIndex| Wanted {
                topic: topic.name.clone(),
                id: *id,
                index: *index,
                config: config.clone(),
            };
            all.extend(indexes.iter().map(wanted));
        }
        self.progress.partitions.fetch_add(all.len(), Ordering::Relaxed);
        let settings = Arc::new(self.settings.with_dynamic(image));
        let threads = settings.read(key::NUM_RECOVERY_THREADS_PER_DATA_DIR);
        let queue = Arc::new(Queue { wanted: all, taken: AtomicUsize::new(0) });
        let mut opening = JoinSet::new();
        for _ in 0..threads.min(queue.wanted.len()) {
            let (opener, settings, queue) = (self.clone(), settings.clone(), queue.clone());
            opening.spawn_blocking(move || opener.open_some(&settings, &queue));
        }
        let mut opened = Vec::new();
        while let Some(part) = opening.join_next().await {
            match part {
                Ok(part) => opened.extend(part),
                Err(error) => tracing::error!(%error, "a thread that opens partitions has failed"),
            }
        }
        opened
    }

    fn open_some(&self, settings: &BrokerSettings, queue: &Queue) -> Vec<(TopicId, PartitionIndex, Opening)> {
        let open = |one: &Wanted| {
            let opened = self.open(settings, one);
            self.progress.opened.fetch_add(1, Ordering::Relaxed);
            (one.id, one.index, opened)
        };
        std::iter::from_fn(|| queue.take()).map(open).collect()
    }

    fn open(&self, settings: &BrokerSettings, wanted: &Wanted) -> Opening {
        self.prepare(&wanted.config)?;
        let config = replica_config(self.node, settings, &wanted.config);
        let Found { log, restored, .. } = self.open_log(wanted, &config)?;
        let partition = Partition::new(Replica::new(config, restored), log);
        let key = PartitionKey(self.next_key.fetch_add(1, Ordering::Relaxed));
        let shard = self.shards.for_key(key).clone();
        let name = (wanted.topic.clone(), wanted.id, wanted.index);
        let directory = self.dir.meta().directory_id;
        let (reader, view) = (partition.log().reader(), partition.view());
        let handle = Arc::new(PartitionHandle::new(name, key, shard, directory, reader, view));
        Ok(Box::new(PartitionDriver::new(handle, partition)))
    }

    /// The log from its folder; a new one if there is none, or if what is there is of an older topic of the same name.
    fn open_log(&self, wanted: &Wanted, replica: &ReplicaConfig) -> Result<Found, LogError> {
        let config = log_config(&wanted.config);
        let (topic, index) = (&wanted.topic, wanted.index);
        let identity = Identity { topic, topic_id: wanted.id, index };
        let found = self.found.get(&(topic.to_string(), index.0)).filter(|found| found.path.exists());
        let ours = |found: &&FoundPartition| found.topic_id.is_none_or(|id| id == wanted.id);
        let Some(there) = found.filter(ours) else {
            found.map_or(Ok(()), |of_another| self.set_aside(of_another))?;
            return ottla_partition::create(&self.dir, identity, replica, config);
        };
        let (recovery, high_watermark) = (there.recovery, there.high_watermark);
        let opened = ottla_partition::open(&self.dir, identity, replica, config, recovery, high_watermark)?;
        if opened.cut_bytes > 0 {
            let (partition, cut_bytes) = (index.0, opened.cut_bytes);
            tracing::warn!(%topic, partition, cut_bytes, "what was not whole at the end of the log is cut off");
        }
        Ok(opened)
    }

    /// Takes a folder out of service that belongs to no partition of this broker; its files are kept.
    pub fn set_aside(&self, found: &FoundPartition) -> Result<(), LogError> {
        tracing::warn!(folder = %found.path.display(), "the cluster does not know this partition: set aside");
        let (topic, index, config) = (&found.topic, found.partition, LogConfig::default());
        let recovery = found.recovery;
        Log::open(&self.dir, topic, index, found.topic_id, config, recovery, &mut NoReplay)?.log.set_aside()
    }
}

/// Whether a record is flushed before it is acknowledged.
fn durability(topic: &TopicConfig) -> Durability {
    if topic.flush_messages == 1 { Durability::Flushed } else { Durability::PageCache }
}

/// What a replica is told of its topic and broker.
pub fn replica_config(node: BrokerId, settings: &BrokerSettings, topic: &TopicConfig) -> ReplicaConfig {
    ReplicaConfig {
        min_isr: u32::try_from(topic.min_insync_replicas).unwrap_or(1),
        durability: durability(topic),
        timestamp_type: match topic.log_append_time {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        },
        lag_max: settings.read(key::REPLICA_LAG_TIME_MAX_MS),
        producer_expiry: settings.read(key::PRODUCER_ID_EXPIRATION_MS),
        producer_expiry_check: settings.read(key::PRODUCER_ID_EXPIRATION_CHECK_INTERVAL_MS),
        verify_transactions: settings.read(key::TRANSACTION_PARTITION_VERIFICATION_ENABLE),
        records_deletable: topic.cleanup_delete,
        hash_seed: rand::random(),
        ..ReplicaConfig::new(node)
    }
}

/// What a log is told of its topic.
pub fn log_config(topic: &TopicConfig) -> LogConfig {
    let bytes = |value: i32| u64::try_from(value).unwrap_or(0);
    LogConfig {
        segment_bytes: bytes(topic.segment_bytes),
        segment_ms: topic.segment_ms,
        segment_jitter_ms: topic.segment_jitter_ms,
        segment_index_bytes: bytes(topic.segment_index_bytes),
        index_interval_bytes: bytes(topic.index_interval_bytes),
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        flush_messages: topic.flush_messages,
        flush_ms: topic.flush_ms,
        file_delete_delay_ms: u64::try_from(topic.file_delete_delay_ms).unwrap_or(0),
        preallocate: topic.preallocate,
        delete: topic.cleanup_delete,
        compact: topic.cleanup_compact,
        ..LogConfig::default()
    }
}

/// Compaction is not there yet: a compacted topic keeps everything, and its owner should know.
pub fn warn_of_compaction(topic: &str, config: &TopicConfig) {
    if config.cleanup_compact {
        tracing::warn!(topic, "cleanup.policy=compact is not carried out yet: the topic keeps every record");
    }
}
