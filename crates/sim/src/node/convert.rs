//! What the core asks for, as far as the log must know of it before.

use ottla_replica::WriteMarker;
use ottla_wire::batch::{BatchHeader, HEADER_LEN, LOG_OVERHEAD};
use ottla_wire::{LeaderEpoch, Offset, Timestamp};

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
