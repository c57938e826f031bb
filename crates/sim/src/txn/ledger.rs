//! What clients were promised, and whether a reader of what is committed finds it so.

use std::collections::BTreeMap;

use ottla_txn::Outcome;
use ottla_wire::{ProducerEpoch, ProducerId, Sequence};

use super::offsets::GroupLeader;
use super::partition::{Entry, Partition};
use crate::client::batch::Value;

/// What a transaction has read: where its id's group stood before, and where it stands if the transaction
/// commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub id: String,
    pub from: i64,
    pub to: i64,
}

/// One transaction as its client saw it.
#[derive(Clone, Debug, Default)]
pub struct Promise {
    /// `None` if it only writes.
    input: Option<Input>,
    /// Records that were acknowledged: partition and number.
    acknowledged: Vec<(usize, u32)>,
    /// The client has asked for the commit; what came of it may be unknown.
    asked_to_commit: bool,
    /// The client was told of the end.
    ended: Option<Outcome>,
}

/// All transactions, by their number: records carry it.
#[derive(Debug, Default)]
pub struct Ledger {
    promises: BTreeMap<u32, Promise>,
}

impl Ledger {
    pub fn begin(&mut self, input: Option<Input>) -> u32 {
        let number = self.promises.len() as u32;
        self.promises.insert(number, Promise { input, ..Promise::default() });
        number
    }

    pub fn acknowledged(&mut self, txn: u32, partition: usize, number: u32) {
        self.promises.entry(txn).or_default().acknowledged.push((partition, number));
    }

    pub fn asks_to_commit(&mut self, txn: u32) {
        self.promises.entry(txn).or_default().asked_to_commit = true;
    }

    pub fn ended(&mut self, txn: u32, outcome: Outcome) {
        self.promises.entry(txn).or_default().ended = Some(outcome);
    }

    /// How many transactions clients know to be committed.
    pub fn committed(&self) -> usize {
        self.promises.values().filter(|promise| promise.ended == Some(Outcome::Commit)).count()
    }

    /// What is wrong when everything has come to rest, if anything is.
    pub fn check(&self, partitions: &[Partition], offsets: &GroupLeader) -> Result<(), String> {
        let mut seen: BTreeMap<u32, Vec<(usize, u32)>> = BTreeMap::new();
        for (index, partition) in partitions.iter().enumerate() {
            if partition.is_undecided() {
                return Err(format!("partition {index}: readers of what is committed are stuck"));
            }
            let log = partition.entries()?;
            check_sequences(index, &log)?;
            for value in committed(&log) {
                seen.entry(value.producer).or_default().push((index, value.number));
            }
        }
        let mut inputs: BTreeMap<&str, Vec<&Input>> = BTreeMap::new();
        for (txn, promise) in &self.promises {
            let seen = seen.remove(txn).unwrap_or_default();
            if let Some(input) = &promise.input {
                let of_id = inputs.entry(&input.id).or_default();
                of_id.extend(Some(input).filter(|_| !seen.is_empty()));
            }
            promise.check(seen).map_err(|why| format!("transaction {txn}: {why}"))?;
        }
        offsets.check_rest()?;
        for (id, inputs) in inputs {
            let end = read_once(inputs).map_err(|why| format!("group {id}: {why}"))?;
            let committed = offsets.committed(id);
            if committed != end {
                return Err(format!("group {id} stands at {committed}; its output tells of {end}"));
            }
        }
        Ok(())
    }
}

impl Promise {
    /// All or nothing, once each; and which of them, if the client was told.
    fn check(&self, mut seen: Vec<(usize, u32)>) -> Result<(), String> {
        let mut acknowledged = self.acknowledged.clone();
        acknowledged.sort_unstable();
        seen.sort_unstable();
        let kept = match (self.ended, self.asked_to_commit) {
            (Some(Outcome::Commit), _) => seen == acknowledged,
            (Some(Outcome::Abort), _) | (None, false) => seen.is_empty(),
            (None, true) => seen.is_empty() || seen == acknowledged,
        };
        if kept { Ok(()) } else { Err(format!("{self:?}, but readers see {seen:?}")) }
    }
}

/// What committed transactions have read is all that there is, once each. Gives where that ends.
fn read_once(mut inputs: Vec<&Input>) -> Result<i64, String> {
    inputs.sort_unstable_by_key(|input| input.from);
    let mut end = 0;
    for input in &inputs {
        if input.from != end {
            return Err(format!("what is committed reads on from {} where {end} is due", input.from));
        }
        end = input.to;
    }
    Ok(end)
}

/// What a reader of what is committed is given: a record counts if the next marker of its producer is a
/// commit.
fn committed(log: &[Entry]) -> Vec<Value> {
    let mut open: BTreeMap<ProducerId, Vec<Value>> = BTreeMap::new();
    let mut committed = Vec::new();
    for entry in log {
        match *entry {
            Entry::Record { producer, value, .. } => open.entry(producer).or_default().push(value),
            Entry::Marker { producer, commit } => {
                let ended = open.remove(&producer).unwrap_or_default();
                if commit {
                    committed.extend(ended);
                }
            }
        }
    }
    committed
}

/// The sequences of one producer and epoch follow upon each other, from 0.
fn check_sequences(index: usize, log: &[Entry]) -> Result<(), String> {
    let mut last: BTreeMap<(ProducerId, ProducerEpoch), Sequence> = BTreeMap::new();
    for entry in log {
        let Entry::Record { producer, epoch, sequence, .. } = *entry else { continue };
        let expected = last.get(&(producer, epoch)).map_or(Sequence(0), |last| last.plus(1));
        if sequence != expected {
            return Err(format!(
                "partition {index}: {producer} epoch {epoch}: {sequence} where {expected} is due"
            ));
        }
        last.insert((producer, epoch), sequence);
    }
    Ok(())
}
