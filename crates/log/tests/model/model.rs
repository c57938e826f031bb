//! What the log is held against.

use bytes::Bytes;
use ottla_log::Replay;
use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::{AbortedTxn, Offset};

use crate::transactions::Transactions;

/// Every batch that was appended since the log was last restarted, also those that retention has removed.
#[derive(Debug, Default)]
pub struct Model {
    pub batches: Vec<(BatchHeader, Bytes, Option<ControlRecord>)>,
    /// Where the log was (re)started.
    pub first: Offset,
    pub log_start: Offset,
    /// Below this nothing may ever be lost.
    pub durable: Offset,
    pub epoch: i32,
    pub time: i64,
}

impl Model {
    pub fn end(&self) -> Offset {
        self.batches.last().map_or(self.first, |(header, ..)| header.next_offset())
    }

    /// What replaying everything gives: the open transactions and the aborted ones.
    pub fn replay(&self) -> (Transactions, Vec<AbortedTxn>) {
        let mut transactions = Transactions::default();
        let aborted =
            self.batches.iter().filter_map(|(h, _, control)| transactions.batch(h, control.clone()));
        let aborted = aborted.collect();
        (transactions, aborted)
    }

    pub fn truncate(&mut self, to: Offset) {
        self.batches.retain(|(header, ..)| header.last_offset() < to);
        self.durable = self.durable.min(self.end());
        self.log_start = self.log_start.min(self.end());
    }
}
