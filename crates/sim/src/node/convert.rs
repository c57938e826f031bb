//! The same things in the words of the core and in those of the log.

use ottla_replica::{AbortedTxn, EpochStart, Epochs, WriteMarker};
use ottla_wire::batch::{BatchHeader, HEADER_LEN, LOG_OVERHEAD};
use ottla_wire::{LeaderEpoch, Offset, Timestamp};

pub fn for_log(txn: AbortedTxn) -> ottla_log::AbortedTxn {
    ottla_log::AbortedTxn {
        producer_id: txn.producer_id,
        first_offset: txn.first_offset,
        last_offset: txn.last_offset,
        last_stable_offset: txn.last_stable_offset,
    }
}

pub fn for_checkpoint(epochs: &Epochs) -> Vec<ottla_log::EpochStart> {
    let entry = |entry: &EpochStart| ottla_log::EpochStart { epoch: entry.epoch, start: entry.start };
    epochs.entries().iter().map(entry).collect()
}

/// The header that the marker will have, as far as it matters for the segment.
pub fn likely_marker(base_offset: Offset, marker: &WriteMarker, wall: Timestamp) -> BatchHeader {
    const MARKER_RECORDS_LEN: usize = 32;
    BatchHeader {
        base_offset,
        batch_length: (HEADER_LEN + MARKER_RECORDS_LEN - LOG_OVERHEAD) as i32,
        partition_leader_epoch: LeaderEpoch(0),
        crc: 0,
        attributes: ottla_wire::batch::Attributes(0),
        last_offset_delta: 0,
        base_timestamp: wall,
        max_timestamp: wall,
        producer_id: marker.producer,
        producer_epoch: marker.producer_epoch,
        base_sequence: ottla_wire::Sequence::NONE,
        record_count: 1,
    }
}
