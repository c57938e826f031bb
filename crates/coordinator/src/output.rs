//! The output of one step of a coordinator.

use crate::record::{Producer, Record};

/// Records that are written together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The transaction of the records, if they belong to one (TxnOffsetCommit).
    pub producer: Option<Producer>,
    pub records: Vec<Record>,
}

/// The output of a step: the records of its changes, and what leaves once they are committed. `O` stands for
/// answers to requests and other effects.
#[derive(Debug)]
pub struct Output<O> {
    batches: Vec<Batch>,
    outbound: Vec<O>,
}

impl<O> Default for Output<O> {
    fn default() -> Output<O> {
        Output { batches: Vec::new(), outbound: Vec::new() }
    }
}

impl<O> Output<O> {
    /// Writes a record outside of any transaction.
    pub fn write(&mut self, record: Record) {
        self.write_for(None, record);
    }

    /// Writes a record of a producer's transaction.
    pub fn write_in(&mut self, producer: Producer, record: Record) {
        self.write_for(Some(producer), record);
    }

    /// Sends something out. It leaves once every record written so far is committed.
    pub fn send(&mut self, outbound: O) {
        self.outbound.push(outbound);
    }

    /// The records of this step, in order. They form one batch unless they belong to different transactions.
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    pub fn outbound(&self) -> &[O] {
        &self.outbound
    }

    /// Whether there are neither records nor anything to send.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.outbound.is_empty()
    }

    /// Takes everything out, so that the same output can serve the next step.
    pub fn take(&mut self) -> (Vec<Batch>, Vec<O>) {
        (std::mem::take(&mut self.batches), std::mem::take(&mut self.outbound))
    }

    fn write_for(&mut self, producer: Option<Producer>, record: Record) {
        match self.batches.last_mut().filter(|batch| batch.producer == producer) {
            Some(batch) => batch.records.push(record),
            None => self.batches.push(Batch { producer, records: vec![record] }),
        }
    }
}
