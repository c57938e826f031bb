//! The end of a transaction, for those who live beside a replica.

use ottla_coordinator::Producer;
use ottla_wire::Offset;
use ottla_wire::batch::{AppendBatch, BatchView, ControlRecord};

/// A control record has a key of 4 and a value of 6 bytes. Nothing larger is unpacked to look for one.
const CONTROL_RECORD_BYTES_MAX: usize = 1 << 16;

/// A marker that was written to the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    pub offset: Offset,
    pub producer: Producer,
    pub commit: bool,
}

impl Marker {
    /// The content of a control batch, or `None` if it is not about a transaction.
    pub fn of(batch: &AppendBatch) -> Option<Marker> {
        let view = BatchView::parse(batch.to_bytes()).ok()?;
        let record = view.records(CONTROL_RECORD_BYTES_MAX).ok()?.next()?.ok()?;
        let header = view.header();
        let producer = Producer { id: header.producer_id, epoch: header.producer_epoch };
        let commit = match ControlRecord::parse(record.key.as_ref(), record.value.as_ref()).ok()?? {
            ControlRecord::Commit { .. } => true,
            ControlRecord::Abort { .. } => false,
            ControlRecord::Raft { .. } => return None,
        };
        Some(Marker { offset: record.offset, producer, commit })
    }
}
