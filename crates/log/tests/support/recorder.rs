//! Who keeps what a log shows in the tests.

use ottla_log::Replay;
use ottla_wire::AbortedTxn;
use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::messages::ProducerSnapshot;

use crate::transactions::Transactions;

/// Keeps what it is shown, and follows the transactions.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    pub snapshot: Option<ProducerSnapshot>,
    pub batches: Vec<BatchHeader>,
    pub transactions: Transactions,
}

impl Replay for Recorder {
    fn snapshot(&mut self, snapshot: Option<ProducerSnapshot>) {
        self.transactions.snapshot(snapshot.clone());
        self.snapshot = snapshot;
    }

    fn batch(&mut self, header: &BatchHeader, control: Option<ControlRecord>) -> Option<AbortedTxn> {
        self.batches.push(*header);
        self.transactions.batch(header, control)
    }
}
