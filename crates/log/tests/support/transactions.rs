//! Who follows the transactions of a log in the tests, as a replica does. The fuzz targets use it, too.

use std::collections::BTreeMap;

use ottla_log::Replay;
use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::messages::producer_snapshot::ProducerEntry;
use ottla_wire::{AbortedTxn, Offset, ProducerId};

/// The transactions that are open, by producer, each with its first offset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transactions(pub BTreeMap<ProducerId, Offset>);

impl Transactions {
    /// What a producer snapshot keeps of them.
    pub fn to_snapshot(&self) -> ProducerSnapshot {
        let entry = |(id, first): (&ProducerId, &Offset)| ProducerEntry {
            producer_id: id.0,
            current_txn_first_offset: first.0,
            ..ProducerEntry::default()
        };
        ProducerSnapshot {
            producer_entries: self.0.iter().map(entry).collect(),
            ..ProducerSnapshot::default()
        }
    }
}

impl Replay for Transactions {
    fn snapshot(&mut self, snapshot: Option<ProducerSnapshot>) {
        let entries = snapshot.into_iter().flat_map(|snapshot| snapshot.producer_entries);
        let open = entries.filter(|entry| entry.current_txn_first_offset >= 0);
        self.0 = open.map(|e| (ProducerId(e.producer_id), Offset(e.current_txn_first_offset))).collect();
    }

    fn batch(&mut self, header: &BatchHeader, control: Option<ControlRecord>) -> Option<AbortedTxn> {
        let Some(marker) = control else {
            if header.is_transactional() {
                self.0.entry(header.producer_id).or_insert(header.base_offset);
            }
            return None;
        };
        let first_offset = self.0.remove(&header.producer_id)?;
        matches!(marker, ControlRecord::Abort { .. }).then(|| AbortedTxn {
            producer_id: header.producer_id,
            first_offset,
            last_offset: header.last_offset(),
            last_stable_offset: self.0.values().copied().min().unwrap_or(header.next_offset()),
        })
    }
}
