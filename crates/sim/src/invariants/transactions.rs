//! `read_committed` is atomic: of a transaction that commits a reader is given everything, of one that aborts
//! nothing, and nothing before it is decided.
//!
//! That the marker is committed as well is not asked for: a leader that starts from a producer snapshot knows
//! of a marker in its log, not that it is undecided (as in Kafka), and the coordinator stands by its decision
//! if the marker is lost.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::{Offset, ProducerEpoch, ProducerId};

use super::ledger::{Committed, Ledger};
use super::promise::Invariant;
use super::scene::{Scene, Verdict};
use crate::client::ClientFact;

type Transaction = (ProducerId, ProducerEpoch);

#[derive(Default)]
pub struct ReadCommittedIsAtomic {
    decided: BTreeMap<Transaction, bool>,
    /// Transactions with committed records and no committed marker.
    open: BTreeMap<ProducerId, ProducerEpoch>,
    ended: BTreeMap<Transaction, bool>,
    delivered: BTreeSet<Offset>,
    /// Nothing before it is complete: the reader has skipped it.
    skipped_to: Offset,
}

impl Invariant for ReadCommittedIsAtomic {
    fn name(&self) -> &'static str {
        "read_committed is atomic"
    }

    fn committed(&mut self, batch: &Committed, _: &Ledger) -> Verdict {
        let header = &batch.header;
        if let Some(commit) = batch.marker {
            if let Some(epoch) = self.open.remove(&header.producer_id) {
                self.end((header.producer_id, epoch), commit)?;
            }
        } else if header.is_transactional() {
            self.open.insert(header.producer_id, header.producer_epoch);
        }
        Ok(())
    }

    fn client(&mut self, fact: &ClientFact, _: &Scene<'_>, _: &Ledger) -> Verdict {
        match fact {
            ClientFact::Decided { producer, epoch, commit } => {
                self.decided.insert((*producer, *epoch), *commit);
            }
            ClientFact::Delivered { committed: true, offset, value, transaction } => {
                self.delivered.insert(*offset);
                let Some(transaction) = transaction else { return Ok(()) };
                match self.decided.get(transaction) {
                    Some(true) => {}
                    Some(false) => {
                        return Err(format!("{value:?} of {transaction:?} was delivered and is aborted"));
                    }
                    None => {
                        return Err(format!("{value:?} of {transaction:?} was delivered and is undecided"));
                    }
                }
            }
            ClientFact::Skipped { committed: true, to } => self.skipped_to = self.skipped_to.max(*to),
            _ => {}
        }
        Ok(())
    }

    fn at_rest(&mut self, _: &Scene<'_>, ledger: &Ledger) -> Verdict {
        if let Some(open) = self.open.iter().next() {
            return Err(format!("{open:?} never ends"));
        }
        for batch in
            ledger.batches().filter(|batch| batch.header.is_transactional() && batch.marker.is_none())
        {
            let header = &batch.header;
            let commit = self.ended.get(&(header.producer_id, header.producer_epoch)) == Some(&true);
            let mut offsets = (0..batch.values.len() as i64).map(|n| header.base_offset.plus(n));
            let missing =
                offsets.find(|offset| *offset >= self.skipped_to && !self.delivered.contains(offset));
            if let Some(missing) = missing.filter(|_| commit) {
                return Err(format!("{missing} of {header:?} is committed and was not delivered"));
            }
        }
        Ok(())
    }
}

impl ReadCommittedIsAtomic {
    fn end(&mut self, transaction: Transaction, commit: bool) -> Verdict {
        let decided = self.decided.get(&transaction).copied();
        if decided != Some(commit) {
            return Err(format!("{transaction:?} ends with commit {commit}, decided was {decided:?}"));
        }
        self.ended.insert(transaction, commit);
        Ok(())
    }
}
