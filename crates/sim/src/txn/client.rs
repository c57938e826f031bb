//! An application that reads, and writes what it makes of it: one transaction after the other, one request at
//! a time. What is not answered is sent again. How far it has read is committed with what it writes, and
//! where it goes on from when it begins.

use std::collections::{BTreeMap, BTreeSet};

use ottla_coordinator::Producer;
use ottla_txn::Outcome;
use ottla_wire::{ErrorCode, Sequence};

use super::ledger::{Input, Ledger};
use crate::client::batch::{Numbered, Value};
use crate::rng::Rng;

/// What a client wants now.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    /// To be a producer: anew, or as the one that it was.
    Init(Option<Producer>),
    /// To know how far it has read.
    FetchOffset,
    Add {
        partition: usize,
    },
    Produce {
        partition: usize,
        numbered: Numbered,
        value: Value,
    },
    AddOffsets,
    CommitOffset {
        producer: Producer,
        offset: i64,
    },
    End(Outcome),
}

/// What an answer tells besides its code.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    Nothing,
    Producer(Producer),
    Offset(i64),
}

/// What a client does with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next wish, at once.
    GoOn,
    /// The same again, after a pause.
    Again,
    /// It is of no use any more; it starts again later.
    Die,
}

#[derive(Debug)]
struct Txn {
    number: u32,
    /// Partitions of the records that are still to be written.
    left: Vec<usize>,
    added: BTreeSet<usize>,
    written: u32,
    /// How many records of the input it reads.
    reads: i64,
    /// The offsets are part of the transaction (version 1).
    offsets_added: bool,
    offset_committed: bool,
    outcome: Outcome,
    /// A write was refused: what became of its sequence is not known.
    broken: bool,
}

#[derive(Debug)]
pub struct Client {
    pub transactional_id: String,
    /// Whether it speaks version 2 of transactions.
    v2: bool,
    partitions: usize,
    rng: Rng,
    producer: Option<Producer>,
    sequences: BTreeMap<usize, Sequence>,
    /// How far it has read.
    position: Option<i64>,
    txn: Option<Txn>,
    wish: Option<Wish>,
}

impl Client {
    pub fn new(transactional_id: String, v2: bool, partitions: usize, rng: Rng) -> Client {
        Client {
            transactional_id,
            v2,
            partitions,
            rng,
            producer: None,
            sequences: BTreeMap::new(),
            position: None,
            txn: None,
            wish: None,
        }
    }

    /// `None` while it is down.
    pub fn wish(&self) -> Option<&Wish> {
        self.wish.as_ref()
    }

    pub fn producer(&self) -> Option<Producer> {
        self.producer
    }

    pub fn start(&mut self) {
        self.wish = Some(Wish::Init(None));
    }

    /// It crashes, and remembers nothing.
    pub fn stop(&mut self) {
        (self.producer, self.position, self.txn, self.wish) = (None, None, None, None);
    }

    /// The answer to its wish. InitProducerId and, in version 2, EndTxn tell of a producer.
    pub fn answered(&mut self, code: ErrorCode, told: Told, ledger: &mut Ledger) -> Next {
        match code {
            ErrorCode::None => {}
            ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::UnstableOffsetCommit => return Next::Again,
            _ => return self.refused(ledger),
        }
        let Some(wish) = self.wish.take() else { return Next::Die };
        match wish {
            Wish::Init(_) => self.become_producer(told),
            Wish::FetchOffset => {
                if let Told::Offset(offset) = told {
                    self.position = Some(offset);
                }
            }
            Wish::AddOffsets => {
                if let Some(txn) = &mut self.txn {
                    txn.offsets_added = true;
                }
            }
            Wish::CommitOffset { .. } => {
                if let Some(txn) = &mut self.txn {
                    txn.offset_committed = true;
                }
            }
            Wish::Add { partition } => {
                if let Some(txn) = &mut self.txn {
                    txn.added.insert(partition);
                }
            }
            Wish::Produce { partition, numbered, value } => {
                ledger.acknowledged(value.producer, partition, value.number);
                self.sequences.insert(partition, numbered.first.plus(1));
                if let Some(txn) = &mut self.txn {
                    txn.left.pop();
                    txn.written += 1;
                }
            }
            Wish::End(outcome) => self.ended(outcome, told, ledger),
        }
        self.wish_next(ledger);
        Next::GoOn
    }

    fn refused(&mut self, ledger: &mut Ledger) -> Next {
        match (&self.wish, &mut self.txn) {
            // It cannot be part of the transaction, so the transaction is given up.
            (Some(Wish::Produce { .. } | Wish::CommitOffset { .. }), Some(txn)) if !txn.broken => {
                txn.broken = true;
                txn.outcome = Outcome::Abort;
                txn.left.clear();
                self.wish_next(ledger);
                Next::GoOn
            }
            (_, _) => {
                self.stop();
                Next::Die
            }
        }
    }

    fn become_producer(&mut self, told: Told) {
        let Told::Producer(producer) = told else { return };
        if Some(producer) != self.producer {
            self.sequences.clear();
        }
        self.producer = Some(producer);
    }

    fn ended(&mut self, outcome: Outcome, told: Told, ledger: &mut Ledger) {
        let Some(txn) = self.txn.take() else { return };
        ledger.ended(txn.number, outcome);
        if outcome == Outcome::Commit {
            self.position = self.position.map(|position| position + txn.reads);
        }
        if self.v2 {
            self.become_producer(told);
        } else if txn.broken {
            // KIP-360: another epoch, because sequences are in doubt.
            self.wish = Some(Wish::Init(self.producer));
        }
    }

    fn wish_next(&mut self, ledger: &mut Ledger) {
        if self.wish.as_ref().is_some_and(|wish| matches!(wish, Wish::Init(_))) {
            return;
        }
        let Some(producer) = self.producer else { return };
        let Some(position) = self.position else {
            self.wish = Some(Wish::FetchOffset);
            return;
        };
        if self.txn.is_none() {
            self.txn = Some(self.plan(position, ledger));
        }
        let Some(txn) = &self.txn else { return };
        let reads = txn.reads > 0 && !txn.offset_committed && !txn.broken;
        let wish = match txn.left.last() {
            Some(&partition) if !self.v2 && !txn.added.contains(&partition) => Wish::Add { partition },
            Some(&partition) => {
                let first = self.sequences.get(&partition).copied().unwrap_or(Sequence(0));
                let numbered =
                    Numbered { producer: producer.id, epoch: producer.epoch, first, transactional: true };
                let value = Value { producer: txn.number, number: txn.written };
                Wish::Produce { partition, numbered, value }
            }
            None if reads && !self.v2 && !txn.offsets_added => Wish::AddOffsets,
            None if reads => Wish::CommitOffset { producer, offset: position + txn.reads },
            None => {
                if txn.outcome == Outcome::Commit {
                    ledger.asks_to_commit(txn.number);
                }
                Wish::End(txn.outcome)
            }
        };
        self.wish = Some(wish);
    }

    fn plan(&mut self, position: i64, ledger: &mut Ledger) -> Txn {
        let records = self.rng.between(1, 5);
        let reads = if self.rng.chance(700) { self.rng.between(1, 9) as i64 } else { 0 };
        let id = self.transactional_id.clone();
        let input = (reads > 0).then(|| Input { id, from: position, to: position + reads });
        Txn {
            number: ledger.begin(input),
            left: (0..records).map(|_| self.rng.index(self.partitions)).collect(),
            added: BTreeSet::new(),
            written: 0,
            reads,
            offsets_added: false,
            offset_committed: false,
            outcome: if self.rng.chance(700) { Outcome::Commit } else { Outcome::Abort },
            broken: false,
        }
    }
}
