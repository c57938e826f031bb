//! Who is told when a consumer's share of its group changes.

use ottla_wire::Offset;

use crate::cluster::TopicPartition;
use crate::consumer::{Consumer, Seek};
use crate::error::Error;
use crate::offsets::{OffsetAndMetadata, Offsets};

/// Is called during [`crate::GroupConsumer::poll`] (or unsubscribe, or close), by whoever calls that. MUST
/// not block: while it does, nothing of the runtime's thread goes on.
pub trait RebalanceListener: Send {
    /// These partitions are about to be given up. Their positions have been committed if `enable.auto.commit`
    /// is on; what is given to [`Rebalance::commit`] is committed before they go.
    fn revoked(&mut self, rebalance: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        let _ = (rebalance, partitions);
    }

    /// These partitions, perhaps none, have come: a rebalance is over. They begin where the group has
    /// committed, unless [`Rebalance::seek`] says otherwise.
    fn assigned(&mut self, rebalance: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        let _ = (rebalance, partitions);
    }

    /// These partitions are gone, and others may have them already: nothing can be committed.
    fn lost(&mut self, rebalance: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        let _ = (rebalance, partitions);
    }
}

/// What a listener may do with the consumer.
pub struct Rebalance<'a> {
    pub(super) consumer: &'a mut Consumer,
    pub(super) commit: Offsets,
}

impl Rebalance<'_> {
    /// The offset of the next record of a partition; none while that is not known.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.consumer.position(partition)
    }

    /// Goes elsewhere in a partition that the consumer has.
    pub fn seek(&mut self, partition: &TopicPartition, to: Seek) -> Result<(), Error> {
        self.consumer.seek(partition, to)
    }

    /// Gives no records of a partition until it is resumed or given up.
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<(), Error> {
        self.consumer.pause(partition)
    }

    /// Commits an offset when the listener returns, before the rebalance goes on. If it fails, that is
    /// logged.
    pub fn commit(&mut self, partition: TopicPartition, offset: impl Into<OffsetAndMetadata>) {
        self.commit.insert(partition, offset.into());
    }
}
