//! Who follows the transactions of a log here.

use std::collections::BTreeMap;

use ottla_log::{AbortedTxn, Replay};
use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::messages::producer_snapshot::ProducerEntry;
use ottla_wire::{Offset, ProducerId};

/// The transactions that are open, by producer, each with its first offset.
#[derive(Clone, Debug, Default)]
pub struct Transactions {
    open: BTreeMap<ProducerId, Offset>,
}

impl Transactions {
    /// What a producer snapshot keeps of them.
    pub fn to_snapshot(&self) -> ProducerSnapshot {
        let entry = |(id, first): (&ProducerId, &Offset)| ProducerEntry {
            producer_id: id.0,
            current_txn_first_offset: first.0,
            ..ProducerEntry::default()
        };
        ProducerSnapshot {
            producer_entries: self.open.iter().map(entry).collect(),
            ..ProducerSnapshot::default()
        }
    }
}

impl Replay for Transactions {
    fn snapshot(&mut self, snapshot: Option<ProducerSnapshot>) {
        let entries = snapshot.into_iter().flat_map(|snapshot| snapshot.producer_entries);
        let open = entries.filter(|entry| entry.current_txn_first_offset >= 0);
        self.open = open.map(|e| (ProducerId(e.producer_id), Offset(e.current_txn_first_offset))).collect();
    }

    fn batch(&mut self, header: &BatchHeader, control: Option<ControlRecord>) -> Option<AbortedTxn> {
        let Some(control) = control else {
            if header.is_transactional() {
                self.open.entry(header.producer_id).or_insert(header.base_offset);
            }
            return None;
        };
        // A snapshot that was given another name may speak of transactions that begin later.
        let first_offset =
            self.open.remove(&header.producer_id).filter(|first| *first < header.last_offset())?;
        matches!(control, ControlRecord::Abort { .. }).then(|| AbortedTxn {
            producer_id: header.producer_id,
            first_offset,
            last_offset: header.last_offset(),
            last_stable_offset: self.open.values().copied().min().unwrap_or(header.next_offset()),
        })
    }
}
