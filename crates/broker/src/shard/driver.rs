//! A partition on its way to its shard: the machine, and what everybody else sees of it.

use std::sync::Arc;

use ottla_partition::DeleteOutcome;
use tokio::sync::oneshot;

use super::appends::Ticket;
use crate::partition::{PartitionHandle, PartitionKey};

/// The machine, with who waits for it in a broker.
pub type Partition = ottla_partition::Partition<Ticket, oneshot::Sender<DeleteOutcome>>;

/// A partition that has been opened.
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
