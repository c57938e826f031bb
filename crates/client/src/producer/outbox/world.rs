//! What the core sees, and what it wants done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::primitives::Str;
use ottla_wire::{BrokerId, LeaderEpoch};

use crate::cluster::{Broker, Metadata, TopicPartition};
use crate::error::Error;
use crate::producer::accumulator::Accumulator;
use crate::producer::delivery::{Outcome, Settlement};
use crate::producer::sequences::Identity;
use crate::producer::transaction::Core as Transaction;
use crate::seam::Instant;

/// What others change as well: records that callers add, the transaction, what is known of the cluster.
pub(in crate::producer) struct World<'a> {
    pub(in crate::producer) now: Instant,
    pub(in crate::producer) accumulator: &'a mut Accumulator,
    pub(in crate::producer) transaction: Option<&'a mut Transaction>,
    pub(in crate::producer) metadata: &'a Metadata,
    /// Batches leave without lingering: somebody waits for them, or for their memory.
    pub(in crate::producer) urgent: bool,
    /// Whether there is an open connection to a broker.
    pub(in crate::producer) is_connected: &'a dyn Fn(BrokerId) -> bool,
    /// The delay after so many failures in a row.
    pub(in crate::producer) pause: &'a dyn Fn(u32) -> Duration,
    pub(in crate::producer) effects: &'a mut Vec<Effect>,
}

/// Names a request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::producer) struct RequestId(u64);

impl RequestId {
    pub(super) const FIRST: RequestId = RequestId(0);

    pub(super) fn next(self) -> RequestId {
        RequestId(self.0 + 1)
    }
}

/// What the core wants done.
#[derive(Debug)]
pub(in crate::producer) enum Effect {
    /// Send what [`Outbox::request`](super::Outbox::request) gives, in the order of these effects. MUST come
    /// back, once, as [`Outbox::answered`](super::Outbox::answered).
    Send { request: RequestId, broker: BrokerId },
    /// Make a connection. MUST come back as [`Outbox::connected`](super::Outbox::connected).
    Connect(BrokerId),
    /// Ask any broker for the id of a producer. MUST come back as
    /// [`Outbox::identified`](super::Outbox::identified).
    AskIdentity,
    /// Tell the coordinator of partitions. MUST come back as [`Outbox::added`](super::Outbox::added).
    AddPartitions { identity: Identity, partitions: BTreeSet<TopicPartition> },
    /// Fetch metadata soon.
    Refresh,
    /// This topic is of interest.
    Want(Str),
    /// An answer has named a leader (KIP-951).
    Learn { of: TopicPartition, leader: BrokerId, epoch: LeaderEpoch, endpoint: Option<Broker> },
    /// Tell those who sent the records of a batch. Once for each.
    Settle(Arc<Settlement>, Outcome),
    /// So much of `buffer.memory` is free again: a batch is over.
    Release(usize),
    /// The producer cannot go on.
    Fail(Error),
}
