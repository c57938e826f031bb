//! A partition and its machine, as handed to the shard.

use std::sync::Arc;

use ottla_partition::DeleteOutcome;
use tokio::sync::oneshot;

use super::appends::Ticket;
use crate::partition::{PartitionHandle, PartitionKey};

/// The machine of a partition, with the broker's types for waiters.
pub type Partition = ottla_partition::Partition<Ticket, oneshot::Sender<DeleteOutcome>>;

/// An opened partition.
pub struct PartitionDriver {
    pub(super) handle: Arc<PartitionHandle>,
    pub(super) partition: Partition,
}

impl PartitionDriver {
    pub fn new(handle: Arc<PartitionHandle>, partition: Partition) -> PartitionDriver {
        PartitionDriver { handle, partition }
    }

    pub fn key(&self) -> PartitionKey {
        self.handle.key
    }

    pub fn handle(&self) -> &Arc<PartitionHandle> {
        &self.handle
    }
}
