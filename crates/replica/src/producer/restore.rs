//! Replay of a log after its newest usable snapshot: at start-up, and after a truncation.

use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{AbortedTxn, EpochStart};

use super::table::ProducerTable;
use crate::config::ReplicaConfig;
use crate::epochs::Epochs;

/// Rebuilds what a replica knows from what its log says. First the snapshot (if there is a usable one), then
/// every batch after it, in order, from the log as it will be kept.
#[derive(Clone, Debug)]
pub struct Restorer {
    producers: ProducerTable,
    epochs: Epochs,
}

impl Restorer {
    /// `epochs` is the checkpoint, which may lag behind the log.
    pub fn new(config: &ReplicaConfig, epochs: impl IntoIterator<Item = EpochStart>) -> Restorer {
        Restorer { producers: ProducerTable::new(config), epochs: Epochs::new(epochs) }
    }

    /// Starts from a snapshot; what was replayed before is forgotten.
    pub fn snapshot(&mut self, snapshot: &ProducerSnapshot) {
        self.producers.clear();
        self.producers.load(snapshot);
    }

    /// The next batch of the log; `control` is its control record if it is a control batch that has one.
    /// Tells of a transaction that it aborts, for rebuilding the transaction index.
    pub fn batch(&mut self, header: &BatchHeader, control: Option<&ControlRecord>) -> Option<AbortedTxn> {
        self.epochs.assign(header.partition_leader_epoch, header.base_offset);
        self.producers.appended(header, control, None)
    }

    /// For a snapshot in the middle of the replay (one for each segment that recovery has rebuilt).
    pub fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    /// What [`crate::Restored`] and [`crate::Event::Truncated`] want.
    pub fn finish(self) -> (ProducerTable, Epochs) {
        (self.producers, self.epochs)
    }
}
