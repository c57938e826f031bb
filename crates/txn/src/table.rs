//! All transactional ids of the partition, by id, by age and by state.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::Timestamp;
use ottla_wire::primitives::Str;

use crate::state::{STATES, TxnState};
use crate::transaction::Transaction;

/// The metrics of a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    counts: [usize; STATES],
    /// The start of the oldest transaction that has not ended.
    pub oldest_open: Option<Timestamp>,
}

impl Facts {
    /// The number of transactional ids in a state.
    pub fn count(&self, state: TxnState) -> usize {
        self.counts[position(state)]
    }
}

/// Every transactional id of the partition.
#[derive(Debug, Default)]
pub struct Table {
    transactions: BTreeMap<Str, Transaction>,
    /// Those that may expire, by their last change.
    idle: BTreeSet<(Timestamp, Str)>,
    /// Those that have not ended, by their beginning.
    open: BTreeSet<(Timestamp, Str)>,
    counts: [usize; STATES],
}

impl Table {
    pub fn get(&self, transactional_id: &str) -> Option<&Transaction> {
        self.transactions.get(transactional_id)
    }

    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&Str, &Transaction)> {
        self.transactions.iter()
    }

    pub fn put(&mut self, transactional_id: &Str, transaction: Transaction) {
        // The strings of a request are copied, so they do not keep its frame.
        let id = match self.remove(transactional_id) {
            Some((id, _)) => id,
            None => transactional_id.detached(),
        };
        if transaction.state.is_open() {
            self.open.insert((transaction.started, id.clone()));
        } else {
            self.idle.insert((transaction.updated, id.clone()));
        }
        self.counts[position(transaction.state)] += 1;
        self.transactions.insert(id, transaction);
    }

    pub fn remove(&mut self, transactional_id: &str) -> Option<(Str, Transaction)> {
        let (id, transaction) = self.transactions.remove_entry(transactional_id)?;
        self.open.remove(&(transaction.started, id.clone()));
        self.idle.remove(&(transaction.updated, id.clone()));
        self.counts[position(transaction.state)] -= 1;
        Some((id, transaction))
    }

    /// The ids of transactions that have not ended.
    pub fn open_ids(&self) -> Vec<Str> {
        self.open.iter().map(|(_, id)| id.clone()).collect()
    }

    /// Up to `limit` ids that are idle and have not changed since `cutoff`, the longest idle first.
    pub fn idle_since(&self, cutoff: Timestamp, limit: usize) -> Vec<Str> {
        let old = self.idle.iter().take_while(|(updated, _)| *updated <= cutoff);
        old.take(limit).map(|(_, id)| id.clone()).collect()
    }

    pub fn facts(&self) -> Facts {
        Facts { counts: self.counts, oldest_open: self.open.first().map(|(started, _)| *started) }
    }
}

fn position(state: TxnState) -> usize {
    // Records number the states from 0 without a gap.
    state.id() as usize
}
