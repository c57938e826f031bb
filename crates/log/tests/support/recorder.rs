//! Who follows the producers of a log in the tests.

use std::collections::BTreeMap;

use ottla_log::{AbortedTxn, Replay};
use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::messages::producer_snapshot::ProducerEntry;
use ottla_wire::{Offset, ProducerId};

/// Keeps what it is shown, and follows transactions as a replica does.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    pub snapshot: Option<ProducerSnapshot>,
    pub batches: Vec<BatchHeader>,
    pub ongoing: BTreeMap<ProducerId, Offset>,
}

impl Recorder {
    /// What a producer snapshot keeps of the transactions that are open.
    pub fn to_snapshot(&self) -> ProducerSnapshot {
        let entry = |(id, first): (&ProducerId, &Offset)| ProducerEntry {
            producer_id: id.0,
            current_txn_first_offset: first.0,
            ..ProducerEntry::default()
        };
        ProducerSnapshot {
            producer_entries: self.ongoing.iter().map(entry).collect(),
            ..ProducerSnapshot::default()
        }
    }
}

impl Replay for Recorder {
    fn snapshot(&mut self, snapshot: Option<ProducerSnapshot>) {
        self.ongoing.clear();
        for entry in snapshot.iter().flat_map(|snapshot| &snapshot.producer_entries) {
            if entry.current_txn_first_offset >= 0 {
                self.ongoing.insert(ProducerId(entry.producer_id), Offset(entry.current_txn_first_offset));
            }
        }
        self.snapshot = snapshot;
    }

    fn batch(&mut self, header: &BatchHeader, control: Option<ControlRecord>) -> Option<AbortedTxn> {
        self.batches.push(*header);
        let marker = match control {
            None if header.is_transactional() => {
                self.ongoing.entry(header.producer_id).or_insert(header.base_offset);
                return None;
            }
            None => return None,
            Some(marker) => marker,
        };
        let first_offset = self.ongoing.remove(&header.producer_id)?;
        let next = header.next_offset();
        matches!(marker, ControlRecord::Abort { .. }).then(|| AbortedTxn {
            producer_id: header.producer_id,
            first_offset,
            last_offset: header.last_offset(),
            last_stable_offset: self.ongoing.values().copied().min().unwrap_or(next),
        })
    }
}
