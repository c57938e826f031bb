//! What partitions are asked to write, as the broker does it: the coordinator confirms that it is part of the
//! transaction, under a guard of the partition.

use ottla_coordinator::Producer;
use ottla_partition::Claim;
use ottla_replica::{AppendError, VerificationGuard};
use ottla_txn::Call;
use ottla_wire::{ErrorCode, Sequence};

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
    /// Of the partition's leader: the guard and whoever waits go with it.
    term: u64,
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

    fn claim(&self, bumps_epochs: bool) -> Claim {
        Claim { producer: self.producer(), sequence: self.first(), bumps_epochs }
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

impl World<'_> {
    pub(super) fn at_partition(
        &mut self,
        client: usize,
        attempt: u64,
        id: String,
        write: Write,
    ) -> Result<(), String> {
        let guard = match self.guard(write) {
            Ok(Some(guard)) => guard,
            Ok(None) => return self.write(client, attempt, &id, write, None),
            // Only the partition of offsets is ever without a leader.
            Err(_) => {
                self.answer(client, attempt, ErrorCode::NotCoordinator, Told::Nothing);
                return Ok(());
            }
        };
        let verification = self.next_count();
        // For clients of version 2 the partition is added by the broker.
        let request = wire::add(&id, write.producer(), write.partition(), !self.v2);
        let call = Call { version: 5, request };
        let term = self.partition(write.partition()).leader.term();
        self.verifications.insert(verification, Verification { client, attempt, id, write, guard, term });
        let asker = Asker::Partition { verification };
        self.send(|| Event::AtCoordinator { asker, call: call.clone() });
        Ok(())
    }

    pub(super) fn verified(&mut self, verification: u64, code: ErrorCode) -> Result<(), String> {
        let Some(waiting) = self.verifications.remove(&verification) else { return Ok(()) };
        let Verification { client, attempt, id, write, guard, term } = waiting;
        let leader = &self.partition(write.partition()).leader;
        if !leader.is_led() || leader.term() != term {
            return Ok(());
        }
        if code != ErrorCode::None {
            self.answer(client, attempt, code, Told::Nothing);
            return Ok(());
        }
        // The marker of the transaction before may have voided the first guard. One of this transaction
        // leaves another epoch behind, if the client bumps its epoch.
        let guard = if self.v2 { self.guard(write).ok().flatten() } else { Some(guard) };
        self.write(client, attempt, &id, write, guard)
    }

    fn guard(&mut self, write: Write) -> Result<Option<VerificationGuard>, AppendError> {
        let (turn, v2) = (self.broker_turn(), self.v2);
        self.partition(write.partition()).begin_verification(turn, &write.claim(v2))
    }

    fn write(
        &mut self,
        client: usize,
        attempt: u64,
        id: &str,
        write: Write,
        guard: Option<VerificationGuard>,
    ) -> Result<(), String> {
        let code = match write {
            Write::Record { partition, numbered, value } => {
                let turn = self.broker_turn();
                match self.partitions[partition].append(turn, numbered, value, guard)? {
                    Ok(_) | Err(AppendError::DuplicateSequence { .. }) => ErrorCode::None,
                    Err(why) => ErrorCode::from(why),
                }
            }
            Write::Offset { producer, offset } => {
                let at = self.moment();
                let committed = self.offsets.commit(&at, id, producer, offset, guard)?;
                committed.err().unwrap_or(ErrorCode::None)
            }
        };
        self.trace.note(self.now, format_args!("  {code}"));
        self.answer(client, attempt, code, Told::Nothing);
        Ok(())
    }

    pub(super) fn fetch_offset(&mut self, client: usize, attempt: u64, id: &str) -> Result<(), String> {
        let at = self.moment();
        match self.offsets.fetch(&at, id)? {
            Ok(offset) => self.answer(client, attempt, ErrorCode::None, Told::Offset(offset)),
            Err(code) => self.answer(client, attempt, code, Told::Nothing),
        }
        Ok(())
    }
}
