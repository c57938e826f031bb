//! A partition on this broker, as request handlers see it: the newest view, its files, and the fetches that
//! wait for it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use ottla_log::{Bound, LogReader};
use ottla_partition::PartitionView;
use ottla_replica::ViewRole;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{LeaderEpoch, PartitionIndex, TopicId, Uuid};

use crate::shard::ShardHandle;
use crate::waiters::{Progress, Waiters};

/// Identifies a partition within its shard. Never reused, so no message for a removed partition reaches
/// another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionKey(pub u64);

/// A map by partition, for shards.
pub type ByPartition<T> = HashMap<PartitionKey, T, BuildHasherDefault<KeyHasher>>;

/// This process assigns the keys in sequence, so nobody can choose colliding ones.
#[derive(Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        /// Spreads adjacent keys over all bits, including the high ones.
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = key.wrapping_mul(GOLDEN);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The change from one view to the next, for waiting fetches.
fn progress(before: &PartitionView, after: &PartitionView) -> Progress {
    let (old, new) = (&before.replica, &after.replica);
    let other_rule = old.role != new.role || old.leader_epoch != new.leader_epoch || old.leader != new.leader;
    if other_rule || new.log_end < old.log_end || new.high_watermark < old.high_watermark {
        return Progress::Everything;
    }
    Progress::Bytes {
        high_watermark: gained(before.high_watermark, after.high_watermark),
        last_stable: gained(before.last_stable, after.last_stable),
        log_end: gained(before.log_end, after.log_end),
    }
}

/// The bytes between two bounds. Across segments the exact number would need a look into the files, so it
/// counts as enough for any fetch.
fn gained(from: Bound, to: Bound) -> i64 {
    if from.offset == to.offset {
        0
    } else if from.segment_base == to.segment_base {
        i64::try_from(to.position.saturating_sub(from.position)).unwrap_or(i64::MAX)
    } else {
        i64::MAX
    }
}

/// A partition of this broker. Its shard owns it, and everyone reads it.
pub struct PartitionHandle {
    pub topic: Str,
    pub topic_id: TopicId,
    pub index: PartitionIndex,
    pub key: PartitionKey,
    pub shard: ShardHandle,
    /// The id of the data directory that holds it.
    pub directory: Uuid,
    pub reader: LogReader,
    pub waiters: Waiters,
    view: ArcSwap<PartitionView>,
}

impl PartitionHandle {
    pub fn new(
        (topic, topic_id, index): (Str, TopicId, PartitionIndex),
        key: PartitionKey,
        shard: ShardHandle,
        directory: Uuid,
        reader: LogReader,
        view: PartitionView,
    ) -> PartitionHandle {
        let view = ArcSwap::from_pointee(view);
        PartitionHandle {
            topic,
            topic_id,
            index,
            key,
            shard,
            directory,
            reader,
            waiters: Waiters::default(),
            view,
        }
    }

    /// The newest view.
    pub fn view(&self) -> Guard<Arc<PartitionView>> {
        self.view.load()
    }

    /// The newest view, if this broker leads and the caller knows the current leader epoch (KIP-320). `None`
    /// is for a caller that does not state an epoch.
    pub fn leader_view(
        &self,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Guard<Arc<PartitionView>>, PartitionError> {
        let view = self.view();
        let replica = &view.replica;
        match replica.role {
            ViewRole::Leader => {}
            ViewRole::Offline => return Err(PartitionError::Offline),
            ViewRole::Follower | ViewRole::Idle | ViewRole::Retired => {
                return Err(PartitionError::NotLeader);
            }
        }
        match current_leader_epoch {
            Some(epoch) if epoch < replica.leader_epoch => Err(PartitionError::FencedEpoch),
            Some(epoch) if epoch > replica.leader_epoch => Err(PartitionError::UnknownEpoch),
            _ => Ok(view),
        }
    }

    /// Publishes the changes of a turn and wakes the fetches that wait for them. For the owning shard only.
    pub fn publish(&self, view: PartitionView) {
        let view = Arc::new(view);
        let before = self.view.swap(view.clone());
        self.waiters.tell(progress(&before, &view));
    }
}

/// Why a partition cannot serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    #[error("there is no such topic or partition on this broker")]
    Unknown,
    #[error("there is no topic with this id on this broker")]
    UnknownId,
    #[error("this broker does not lead the partition; refresh the metadata and ask the leader")]
    NotLeader,
    #[error("the leader epoch of the request has passed")]
    FencedEpoch,
    #[error("the leader epoch of the request is not known here yet")]
    UnknownEpoch,
    #[error("the log directory of this partition has failed")]
    Offline,
}

impl From<PartitionError> for ErrorCode {
    fn from(error: PartitionError) -> ErrorCode {
        match error {
            PartitionError::Unknown => ErrorCode::UnknownTopicOrPartition,
            PartitionError::UnknownId => ErrorCode::UnknownTopicId,
            PartitionError::NotLeader => ErrorCode::NotLeaderOrFollower,
            PartitionError::FencedEpoch => ErrorCode::FencedLeaderEpoch,
            PartitionError::UnknownEpoch => ErrorCode::UnknownLeaderEpoch,
            PartitionError::Offline => ErrorCode::KafkaStorageError,
        }
    }
}
