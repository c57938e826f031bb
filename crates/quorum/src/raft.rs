//! This room's names for openraft's generic types, and the content of a log entry.

use bytes::Bytes;
use openraft::{CommittedLeaderId, TokioRuntime};
use ottla_wire::ids::BrokerId;

openraft::declare_raft_types!(
    /// The types of the metadata log.
    pub(crate) TypeConfig:
        D = Batch,
        R = Vec<Outcome>,
        NodeId = BrokerId,
        Node = (),
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = tokio::fs::File,
        Responder = openraft::impls::OneshotResponder<TypeConfig>,
        AsyncRuntime = TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type Payload = openraft::EntryPayload<TypeConfig>;
pub(crate) type LogId = openraft::LogId<BrokerId>;
pub(crate) type Vote = openraft::Vote<BrokerId>;
pub(crate) type Membership = openraft::Membership<BrokerId, ()>;
pub(crate) type StoredMembership = openraft::StoredMembership<BrokerId, ()>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<BrokerId, ()>;
pub(crate) type StorageError = openraft::StorageError<BrokerId>;
pub(crate) type StorageIoError = openraft::StorageIOError<BrokerId>;
pub(crate) type Fatal = openraft::error::Fatal<BrokerId>;

/// The content of a log entry: the proposals that waited at the same time, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch(pub(crate) Vec<Proposal>);

/// Records that are applied together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// Applied only if the leader of this epoch appended it. No leader has epoch 0, which stands for any.
    pub(crate) epoch: u64,
    pub(crate) records: Vec<Bytes>,
}

impl Proposal {
    /// Its size in bytes, with the length before each record.
    pub(crate) fn size(&self) -> usize {
        self.records.iter().map(|record| record.len() + 4).sum()
    }
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was applied and has this index.
    Applied(u64),
    /// A leader of another epoch appended it, so it was not applied.
    OtherEpoch,
}

/// The id of the entry at `index` that the leader of `term` appended.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    // A term has at most one leader, so a log id does not name the leader.
    LogId::new(CommittedLeaderId::new(term, BrokerId::NONE), index)
}
