//! What partitions are asked to write, as the broker does it: the coordinator confirms that it is part of the
//! transaction, under a guard of the partition.

use ottla_coordinator::Producer;
use ottla_replica::{AppendError, VerificationGuard};
use ottla_txn::Call;
use ottla_wire::{ErrorCode, Sequence};

use super::TxnMutation;
use super::client::{Told, Wish};
use super::coordinator::Asker;
use super::wire;
use super::world::{Event, OFFSETS, World};
use crate::client::batch::{Numbered, Value};

/// What is to be written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    Record { partition: usize, numbered: Numbered, value: Value },
    Offset { producer: Producer, offset: i64 },
}

/// A write that waits for its verification.
#[derive(Debug)]
pub(super) struct Verification {
    client: usize,
    attempt: u64,
    id: String,
    write: Write,
    guard: VerificationGuard,
}

impl Write {
    pub(super) fn of(wish: &Wish) -> Option<Write> {
        match *wish {
            Wish::Produce { partition, numbered, value } => {
                Some(Write::Record { partition, numbered, value })
            }
            Wish::CommitOffset { producer, offset } => Some(Write::Offset { producer, offset }),
            Wish::Init(_) | Wish::FetchOffset | Wish::Add { .. } | Wish::AddOffsets | Wish::End(_) => None,
        }
    }

    fn partition(&self) -> usize {
        match *self {
            Write::Record { partition, .. } => partition,
            Write::Offset { .. } => OFFSETS,
        }
    }

    fn producer(&self) -> Producer {
        match *self {
            Write::Record { numbered, .. } => Producer { id: numbered.producer, epoch: numbered.epoch },
            Write::Offset { producer, .. } => producer,
        }
    }

    fn first(&self) -> Sequence {
        match *self {
            Write::Record { numbered, .. } => numbered.first,
            Write::Offset { .. } => Sequence::NONE,
        }
    }
}

impl World {
    pub(super) fn at_partition(&mut self, client: usize, attempt: u64, id: String, write: Write) {
        let verifies = self.mutation != Some(TxnMutation::SkipVerification);
        match self.guard(write).filter(|_| verifies) {
            Some(guard) => {
                let verification = self.next_count();
                // For clients of version 2 the partition is added by the broker.
                let request = wire::add(&id, write.producer(), write.partition(), !self.v2);
                let call = Call { version: 5, request };
                self.verifications.insert(verification, Verification { client, attempt, id, write, guard });
                let asker = Asker::Partition { verification };
                self.send(|| Event::AtCoordinator { asker, call: call.clone() });
            }
            None => self.write(client, attempt, &id, write, None),
        }
    }

    pub(super) fn verified(&mut self, verification: u64, code: ErrorCode) {
        let Some(waiting) = self.verifications.remove(&verification) else { return };
        let Verification { client, attempt, id, write, guard } = waiting;
        if code != ErrorCode::None {
            self.answer(client, attempt, code, Told::Nothing);
            return;
        }
        // The marker of the transaction before may have voided the first guard. One of this transaction
        // leaves another epoch behind, if the client bumps its epoch.
        let guard = if self.v2 { self.guard(write) } else { Some(guard) };
        self.write(client, attempt, &id, write, guard);
    }

    fn guard(&mut self, write: Write) -> Option<VerificationGuard> {
        let (turn, v2) = (self.broker_turn(), self.v2);
        let partition = match write.partition() {
            OFFSETS => &mut self.offsets.partition,
            partition => &mut self.partitions[partition],
        };
        partition.begin_verification(turn, write.producer(), write.first(), v2)
    }

    fn write(
        &mut self,
        client: usize,
        attempt: u64,
        id: &str,
        write: Write,
        guard: Option<VerificationGuard>,
    ) {
        let code = match write {
            Write::Record { partition, numbered, value } => {
                let turn = self.broker_turn();
                match self.partitions[partition].append(turn, numbered, value, guard) {
                    Ok(()) | Err(AppendError::DuplicateSequence { .. }) => ErrorCode::None,
                    Err(why) => ErrorCode::from(why),
                }
            }
            Write::Offset { producer, offset } => {
                let at = self.moment();
                let committed = self.offsets.commit(&at, id, producer, offset, guard);
                committed.err().unwrap_or(ErrorCode::None)
            }
        };
        self.trace.note(self.now, format_args!("  {code}"));
        self.answer(client, attempt, code, Told::Nothing);
    }

    pub(super) fn fetch_offset(&mut self, client: usize, attempt: u64, id: &str) {
        let at = self.moment();
        match self.offsets.fetch(&at, id) {
            Ok(offset) => self.answer(client, attempt, ErrorCode::None, Told::Offset(offset)),
            Err(code) => self.answer(client, attempt, code, Told::Nothing),
        }
    }
}
