//! The producer table to and from Kafka's `.snapshot` files.
//!
//! Kafka writes one row for each producer, with its last batch. Here each remembered batch has a row, oldest
//! first, so that a restart forgets nothing; Kafka reads such a file too and keeps the last row of each
//! producer.

use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::messages::producer_snapshot::ProducerEntry;
use ottla_wire::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::entry::{Entry, RememberedBatch};
use super::table::ProducerTable;

impl ProducerTable {
    /// Everything that a restart needs, by producer id. The CRC is left 0: it belongs to the file, and
    /// whoever writes the file sets it.
    pub fn snapshot(&self) -> ProducerSnapshot {
        let mut producers: Vec<(&ProducerId, &Entry)> = self.entries.iter().collect();
        producers.sort_unstable_by_key(|(id, _)| **id);
        let producer_entries = producers.into_iter().flat_map(|(&id, entry)| rows(id, entry)).collect();
        ProducerSnapshot { producer_entries, ..ProducerSnapshot::default() }
    }

    /// Takes over what a snapshot holds; the table MUST be empty.
    pub(super) fn load(&mut self, snapshot: &ProducerSnapshot) {
        for row in &snapshot.producer_entries {
            let epoch = ProducerEpoch(row.epoch);
            let entry = self.entries.entry(ProducerId(row.producer_id)).or_insert_with(|| Entry::new(epoch));
            load_row(entry, row);
        }
        for (&id, entry) in &self.entries {
            if let Some(first) = entry.txn_first {
                self.open.insert(first, id);
            }
        }
    }
}

fn rows(id: ProducerId, entry: &Entry) -> Vec<ProducerEntry> {
    let mut rows: Vec<ProducerEntry> =
        entry.batches().iter().map(|batch| row(id, entry, batch, batch.timestamp)).collect();
    // A marker after the last batch moves the time of the last append: the last batch is told once more, with
    // that time.
    if rows.last().is_none_or(|last| last.timestamp != entry.last_timestamp.0) {
        let last = entry.batches().last().copied().unwrap_or(RememberedBatch {
            last_sequence: Sequence::NONE,
            last_offset: Offset(-1),
            offset_delta: 0,
            timestamp: Timestamp::NONE,
        });
        rows.push(row(id, entry, &last, entry.last_timestamp));
    }
    rows
}

fn row(id: ProducerId, entry: &Entry, batch: &RememberedBatch, timestamp: Timestamp) -> ProducerEntry {
    ProducerEntry {
        producer_id: id.0,
        epoch: entry.epoch.0,
        last_sequence: batch.last_sequence.0,
        last_offset: batch.last_offset.0,
        offset_delta: batch.offset_delta,
        timestamp: timestamp.0,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_first_offset: entry.txn_first.map_or(-1, |first| first.0),
    }
}

fn load_row(entry: &mut Entry, row: &ProducerEntry) {
    entry.coordinator_epoch = row.coordinator_epoch;
    entry.txn_first = (row.current_txn_first_offset >= 0).then_some(Offset(row.current_txn_first_offset));
    entry.restore(
        ProducerEpoch(row.epoch),
        RememberedBatch {
            last_sequence: Sequence(row.last_sequence),
            last_offset: Offset(row.last_offset),
            offset_delta: row.offset_delta,
            timestamp: Timestamp(row.timestamp),
        },
    );
}
