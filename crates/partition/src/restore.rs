//! Restores a partition from its files: its log and the checkpoints.

use ottla_log::{DataDir, Log, LogConfig, LogError, Recovery, Replay};
use ottla_replica::{ProducerTable, ReplicaConfig, Restored, Restorer};
use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{AbortedTxn, Offset, PartitionIndex, TopicId};

/// The identity of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    pub topic: &'a str,
    pub topic_id: TopicId,
    pub index: PartitionIndex,
}

/// A log, and the state of its replica according to it.
#[derive(Debug)]
pub struct Found {
    pub log: Log,
    pub restored: Restored,
    /// The damaged bytes cut off the end of the log.
    pub cut_bytes: u64,
}

/// Creates the files of a new partition.
pub fn create(
    dir: &DataDir,
    identity: Identity<'_>,
    replica: &ReplicaConfig,
    config: LogConfig,
) -> Result<Found, LogError> {
    let log = Log::create(dir, identity.topic, identity.index, identity.topic_id, config)?;
    Ok(Found { log, restored: Restored::empty(replica), cut_bytes: 0 })
}

/// Opens existing files. `recovery` and `high_watermark` come from the checkpoints of the directory.
pub fn open(
    dir: &DataDir,
    identity: Identity<'_>,
    replica: &ReplicaConfig,
    config: LogConfig,
    recovery: Recovery,
    high_watermark: Offset,
) -> Result<Found, LogError> {
    let Identity { topic, topic_id, index } = identity;
    let mut rebuilt = Rebuilt::new(replica);
    let mut opened = Log::open(dir, topic, index, Some(topic_id), config, recovery, &mut rebuilt)?;
    if opened.epochs_learnt {
        opened.log.store_epochs(&opened.epochs);
    }
    let log = opened.log;
    let restored = Restored {
        log_start: log.log_start(),
        log_end: log.log_end(),
        durable_end: log.durable_end(),
        high_watermark,
        epochs: opened.epochs,
        producers: rebuilt.into_producers(),
    };
    Ok(Found { log, restored, cut_bytes: opened.cut_bytes })
}

/// The state of producers, collected while the log is replayed.
pub(crate) struct Rebuilt {
    restorer: Restorer,
}

impl Rebuilt {
    pub fn new(config: &ReplicaConfig) -> Rebuilt {
        // The log finds its epochs itself.
        Rebuilt { restorer: Restorer::new(config, []) }
    }

    pub fn into_producers(self) -> ProducerTable {
        self.restorer.finish().0
    }
}

impl Replay for Rebuilt {
    fn snapshot(&mut self, snapshot: Option<ProducerSnapshot>) {
        self.restorer.snapshot(&snapshot.unwrap_or_default());
    }

    fn batch(&mut self, header: &BatchHeader, control: Option<ControlRecord>) -> Option<AbortedTxn> {
        self.restorer.batch(header, control.as_ref())
    }
}
