//! Topics and their partitions, as the metadata log knows them.

use std::sync::Arc;

use imbl::OrdMap;
use ottla_wire::primitives::Str;
use ottla_wire::{BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, Uuid};

/// A topic. Partitions are numbered from 0 without gaps.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    pub id: TopicId,
    pub name: Str,
    pub partitions: OrdMap<PartitionIndex, Arc<Partition>>,
}

/// One partition: who holds it, who leads it, and who may.
///
/// A leader is always in the ISR. With eligible leader replicas (KIP-966) the ISR may be empty while the
/// partition has no leader; `elr` then names those that hold every committed record.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Partition {
    /// In order of preference: the first is the preferred leader.
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    /// Eligible leader replicas: out of the ISR, yet without a committed record missing (KIP-966).
    pub elr: Vec<BrokerId>,
    /// The last leader of a partition whose ISR has become empty.
    pub last_known_elr: Vec<BrokerId>,
    /// Replicas that a reassignment is adding (a part of `replicas`).
    pub adding: Vec<BrokerId>,
    /// Replicas that go once the reassignment is complete (a part of `replicas`).
    pub removing: Vec<BrokerId>,
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub recovery: LeaderRecovery,
    /// The log directory of each replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
}

/// Whether the leader was elected uncleanly and has not yet said that it has recovered (KIP-704).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LeaderRecovery {
    #[default]
    Recovered,
    Recovering,
}

/// What [`Partition::directories`] holds for a replica whose broker has not said which directory it chose
/// (KIP-858).
pub const DIRECTORY_UNASSIGNED: Uuid = Uuid([0; 16]);

impl Topic {
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.partitions.get(&index)
    }

    /// How many partitions the topic has, as Kafka counts them.
    pub fn partition_count(&self) -> i32 {
        self.partitions.len() as i32
    }

    /// Replicas of the first partition; topics are created with one replication factor for all partitions.
    pub fn replication_factor(&self) -> i16 {
        self.partitions.values().next().map_or(0, |first| first.replicas.len() as i16)
    }
}

impl Partition {
    /// A reassignment is under way.
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// How many replicas there are once what is under way is complete.
    pub fn target_len(&self) -> usize {
        self.replicas.iter().filter(|broker| !self.removing.contains(broker)).count()
    }

    pub fn is_replica(&self, broker: BrokerId) -> bool {
        self.replicas.contains(&broker)
    }

    pub fn is_in_sync(&self, broker: BrokerId) -> bool {
        self.isr.contains(&broker)
    }

    /// The replica that leads when nothing is wrong.
    pub fn preferred_leader(&self) -> Option<BrokerId> {
        self.replicas.first().copied()
    }

    /// The leader as the wire says it: `-1` for none.
    pub fn leader_id(&self) -> BrokerId {
        self.leader.unwrap_or(BrokerId::NONE)
    }

    /// The log directory of `broker`'s replica, if the broker has said which.
    pub fn directory_of(&self, broker: BrokerId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(at).copied().filter(|id| *id != DIRECTORY_UNASSIGNED)
    }
}

impl LeaderRecovery {
    /// The value of the wire and of records.
    pub fn code(self) -> i8 {
        match self {
            LeaderRecovery::Recovered => 0,
            LeaderRecovery::Recovering => 1,
        }
    }

    pub fn from_code(code: i8) -> Option<LeaderRecovery> {
        match code {
            0 => Some(LeaderRecovery::Recovered),
            1 => Some(LeaderRecovery::Recovering),
            _ => None,
        }
    }
}
