//! One partition from its folder to its driver.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_controller::Image;
use ottla_log::{DataDir, FoundPartition, LogConfig, LogError};
use ottla_partition::{Found, Identity};
use ottla_replica::{Durability, Replica, ReplicaConfig};
use ottla_settings::{BrokerSettings, TopicConfig, key};
use ottla_wire::batch::TimestampType;
use ottla_wire::primitives::Str;
use ottla_wire::{BrokerId, PartitionIndex, TopicId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::holdings::PartitionId;
use super::job::Progress;
use crate::partition::{PartitionHandle, PartitionKey};
use crate::shard::{Partition, PartitionDriver, Shards};

/// Opens the partitions of this broker, many in parallel.
#[derive(Clone)]
pub struct Opener {
    pub node: BrokerId,
    pub settings: Arc<BrokerSettings>,
    pub dir: DataDir,
    pub found: Arc<FoundPartitions>,
    pub shards: Shards,
    pub next_key: Arc<AtomicU64>,
    pub progress: Arc<RecoveryProgress>,
}

/// How many partitions have been opened, for readiness.
#[derive(Debug, Default)]
pub struct RecoveryProgress {
    pub partitions: AtomicUsize,
    pub opened: AtomicUsize,
}

/// The folders found at the start of the broker, until each is opened or set aside.
#[derive(Default)]
pub struct FoundPartitions {
    by_name: Mutex<BTreeMap<(String, i32), FoundPartition>>,
}

/// A partition that was opened, or the reason why not.
pub struct OpenedPartition {
    pub id: PartitionId,
    pub driver: Result<Box<PartitionDriver>, LogError>,
}

/// A partition to open.
struct Wanted {
    topic: Str,
    id: TopicId,
    index: PartitionIndex,
    config: TopicConfig,
}

/// The queue of the opening threads. Each takes the next partition, so none is idle while another has many
/// large ones.
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
    /// The settings of a topic on this broker.
    pub fn topic_config(&self, image: &Image, topic: &str) -> TopicConfig {
        TopicConfig::effective(image, &self.settings, topic)
    }

    /// Prepares the data directory for `config`. A topic that acknowledges before it flushes takes away the
    /// mark that everything is flushed first. May block.
    pub fn prepare(&self, config: &TopicConfig) -> Result<(), LogError> {
        if durability(config) == Durability::Flushed {
            return Ok(());
        }
        let doing = || "take back that everything is flushed first".to_owned();
        self.dir.give_up_flushed_first().map_err(|error| LogError::Io { doing: doing(), error })
    }

    /// Opens partitions on `num.recovery.threads.per.data.dir` threads. Reports each as it is opened. An
    /// error means that a thread has failed.
    pub async fn open_all(
        &self,
        image: &Image,
        wanted: Vec<(PartitionId, Str)>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<(), String> {
        let mut all: Vec<Wanted> = Vec::with_capacity(wanted.len());
        for ((id, index), topic) in wanted {
            // Partitions of one topic are adjacent.
            let config = match all.last().filter(|before| before.id == id) {
                Some(before) => before.config.clone(),
                None => {
                    let config = self.topic_config(image, &topic);
                    warn_of_compaction(&topic, &config);
                    config
                }
            };
            all.push(Wanted { topic, id, index, config });
        }
        self.progress.partitions.fetch_add(all.len(), Ordering::Relaxed);
        let settings = Arc::new(self.settings.with_dynamic(image));
        let threads = settings.read(key::NUM_RECOVERY_THREADS_PER_DATA_DIR);
        let queue = Arc::new(Queue { wanted: all, taken: AtomicUsize::new(0) });
        let mut opening = JoinSet::new();
        for _ in 0..threads.min(queue.wanted.len()) {
            let (opener, settings, queue) = (self.clone(), settings.clone(), queue.clone());
            let progress = progress.clone();
            opening.spawn_blocking(move || opener.open_some(&settings, &queue, &progress));
        }
        while let Some(ended) = opening.join_next().await {
            ended.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn open_some(&self, settings: &BrokerSettings, queue: &Queue, progress: &mpsc::Sender<Progress>) {
        while let Some(one) = queue.take() {
            let driver = self.open(settings, one);
            self.progress.opened.fetch_add(1, Ordering::Relaxed);
            let opened = OpenedPartition { id: (one.id, one.index), driver };
            if progress.blocking_send(Progress::Opened(opened)).is_err() {
                return; // the broker ends
            }
        }
    }

    /// Whether a folder of this very partition was found at the start and is still unopened.
    pub fn has_found(&self, topic: &str, index: PartitionIndex, id: TopicId) -> bool {
        let name = (topic.to_owned(), index.0);
        self.found.lock().get(&name).is_some_and(|found| found.topic_id.is_none_or(|found| found == id))
    }

    /// Takes the folders of partitions that are not here.
    pub fn strays(&self, is_here: impl Fn(&str, PartitionIndex) -> bool) -> Vec<FoundPartition> {
        let mut found = self.found.lock();
        let all = std::mem::take(&mut *found).into_iter();
        let (here, strays): (Vec<_>, Vec<_>) = all.partition(|(_, one)| is_here(&one.topic, one.partition));
        found.extend(here);
        strays.into_iter().map(|(_, stray)| stray).collect()
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

    /// Opens the log from its folder. Creates it if there is none, or if the folder is from an older topic of
    /// the same name.
    fn open_log(&self, wanted: &Wanted, replica: &ReplicaConfig) -> Result<Found, LogError> {
        let config = log_config(&wanted.config);
        let (topic, index) = (&wanted.topic, wanted.index);
        let identity = Identity { topic, topic_id: wanted.id, index };
        let found = self.found.lock().remove(&(topic.to_string(), index.0));
        let ours = |found: &&FoundPartition| found.topic_id.is_none_or(|id| id == wanted.id);
        let Some(there) = found.as_ref().filter(ours) else {
            if let Some(of_another) = &found {
                tracing::warn!(folder = %of_another.path.display(), "this partition is of an older topic: set aside");
                self.dir.set_aside(topic, index).map_err(|error| LogError::Io {
                    doing: format!("set aside {}", of_another.path.display()),
                    error,
                })?;
            }
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
}

impl FoundPartitions {
    pub fn new(found: impl IntoIterator<Item = FoundPartition>) -> FoundPartitions {
        let named = found.into_iter().map(|one| ((one.topic.clone(), one.partition.0), one));
        FoundPartitions { by_name: Mutex::new(named.collect()) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, i32), FoundPartition>> {
        // Entries are only ever removed, each in one step.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether records are flushed before they are acknowledged.
fn durability(topic: &TopicConfig) -> Durability {
    if topic.flush_messages == 1 { Durability::Flushed } else { Durability::PageCache }
}

/// A replica's configuration from its topic and broker.
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

/// A log's configuration from its topic.
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

/// Warns that compaction does not exist yet: a compacted topic keeps everything.
pub fn warn_of_compaction(topic: &str, config: &TopicConfig) {
    if config.cleanup_compact {
        tracing::warn!(topic, "cleanup.policy=compact is not carried out yet: the topic keeps every record");
    }
}
