//! The partition's part in transactions: their ends, and guards for writes that are not confirmed yet.

use ottla_coordinator::Producer;
use ottla_log::Writer;
use ottla_replica::{AppendError, Event, VerificationGuard, WriteMarker};
use ottla_wire::batch::{BatchHeader, ControlRecord, end_txn_marker};
use ottla_wire::{Instant, Sequence};

use super::{Partition, Turn, Waiter};

/// The producer's claim for a write in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub producer: Producer,
    /// Of the first record.
    pub sequence: Sequence,
    /// It uses transaction version 2 (KIP-890).
    pub bumps_epochs: bool,
}

/// The end of a transaction that a partition must write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkerRequest {
    pub producer: Producer,
    pub commit: bool,
    pub coordinator_epoch: i32,
    pub transaction_version: i8,
    pub deadline: Instant,
}

impl<W, D> Partition<W, D> {
    /// Writes the end of a transaction, acknowledged by all in-sync replicas.
    pub fn write_marker(&mut self, turn: Turn, marker: &MarkerRequest, waiter: W) {
        let reply = self.next_reply();
        let Producer { id: producer, epoch: producer_epoch } = marker.producer;
        let &MarkerRequest { coordinator_epoch, commit, transaction_version, deadline, .. } = marker;
        let outcome = match commit {
            true => ControlRecord::Commit { coordinator_epoch },
            false => ControlRecord::Abort { coordinator_epoch },
        };
        let bytes = end_txn_marker(producer, producer_epoch, &outcome, turn.wall);
        if let Ok(header) = bytes.and_then(|bytes| BatchHeader::parse(&bytes))
            && !self.has_room_for(turn, &header, Writer::Broker)
        {
            return self.refuse(Waiter::Sender(waiter));
        }
        self.appends.push(reply, Waiter::Sender(waiter));
        self.step(
            turn,
            Event::WriteMarker(WriteMarker {
                producer,
                producer_epoch,
                coordinator_epoch,
                commit,
                transaction_version,
                deadline,
                reply,
            }),
        );
    }

    /// The guard for a write that is not confirmed yet. `None` if the transaction is already open here.
    pub fn begin_verification(&mut self, turn: Turn, claim: &Claim) -> Option<VerificationGuard> {
        let &Claim { producer, sequence, bumps_epochs } = claim;
        self.core.begin_verification(turn.now, producer.id, producer.epoch, sequence, bumps_epochs)
    }

    /// Whether a lodger's write for this producer would be appended now. With `verify` the transaction must
    /// be open here or confirmed under the guard.
    pub fn check_claim(
        &self,
        claim: &Claim,
        guard: Option<VerificationGuard>,
        verify: bool,
    ) -> Result<(), AppendError> {
        self.core.check_claim(claim.producer.id, claim.producer.epoch, guard, verify)
    }
}
