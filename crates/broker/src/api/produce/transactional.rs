//! Batches of transactions on their way into a log: each partition must be part of its transaction (KIP-890).
//!
//! The connection waits for the coordinator here, so later requests do not overtake. If the transaction is
//! already open in a partition, there is nothing to ask.

use std::collections::BTreeMap;

use ottla_coordinator::Producer;
use ottla_partition::{AppendRequest, Claim};
use ottla_replica::AppendError;
use ottla_wire::ProducerId;
use ottla_wire::batch::ValidatedBatch;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use crate::context::Context;
use crate::coordinator::verify::{Support, Unverified};
use crate::partition::PartitionHandle;

/// The refused appends of a run, by their numbers, with the code and the reason.
pub type Refused = BTreeMap<usize, (ErrorCode, &'static str)>;

/// The error of the append itself if it is refused here.
pub const NOT_VERIFIED: AppendError = AppendError::NotVerified { producer: ProducerId::NONE };

/// An append that is part of a transaction.
pub struct TransactionalWrite {
    transactional_id: Str,
    claim: Claim,
    support: Support,
    /// The number of its request in the run.
    request: usize,
    /// The number of its append in the run.
    append: usize,
}

type Appends<'a> = [(&'a PartitionHandle, AppendRequest)];

impl TransactionalWrite {
    /// A batch in a Produce request of this version.
    pub fn new(
        transactional_id: &Str,
        version: i16,
        request: usize,
        append: usize,
        batch: &ValidatedBatch,
    ) -> TransactionalWrite {
        let (header, support) = (batch.header(), Support::of_produce(version));
        let producer = Producer { id: header.producer_id, epoch: header.producer_epoch };
        let bumps_epochs = support.bumps_epochs();
        let claim = Claim { producer, sequence: header.base_sequence, bumps_epochs };
        TransactionalWrite { transactional_id: transactional_id.clone(), claim, support, request, append }
    }
}

/// Confirms the writes with the coordinators of their transactions, and gives each append its guard. Returns
/// the refused appends.
pub async fn verify(ctx: &Context, writes: &[TransactionalWrite], appends: &mut Appends<'_>) -> Refused {
    let mut refused = of_several_producers(writes);
    let verification = ctx.coordinators.world().verification;
    let due = |write: &&TransactionalWrite| {
        !refused.contains_key(&write.append) && write.support.is_due(&verification)
    };
    let due: Vec<&TransactionalWrite> = writes.iter().filter(due).collect();
    let unverified = due.iter().map(|write| Unverified {
        partition: appends[write.append].0,
        transactional_id: &write.transactional_id,
        claim: write.claim,
        support: write.support,
    });
    let verified = ctx.coordinators.verify(&unverified.collect::<Vec<_>>()).await;
    for (write, verified) in due.into_iter().zip(verified) {
        match verified {
            Ok(guard) => appends[write.append].1.verified = guard,
            Err(code) => drop(refused.insert(write.append, refusal(code))),
        }
    }
    refused
}

/// Fails if the transactional batches of one request are from several producers.
fn of_several_producers(writes: &[TransactionalWrite]) -> Refused {
    let mut refused = Refused::new();
    for of_request in writes.chunk_by(|one, next| one.request == next.request) {
        let first = of_request.first().map(|write| write.claim.producer);
        if of_request.iter().any(|write| Some(write.claim.producer) != first) {
            let why = (ErrorCode::InvalidProducerIdMapping, "one producer in a transactional request");
            refused.extend(of_request.iter().map(|write| (write.append, why)));
        }
    }
    refused
}

/// The code for a producer. Temporary failures become NOT_ENOUGH_REPLICAS, which clients of any age retry
/// without looking for another leader.
fn refusal(code: ErrorCode) -> (ErrorCode, &'static str) {
    match code {
        ErrorCode::ConcurrentTransactions
        | ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => {
            let why = "the transaction cannot be verified now: its coordinator is away, or still ends the one before";
            (ErrorCode::NotEnoughReplicas, why)
        }
        ErrorCode::InvalidTxnState => (code, "the partition was not added to the transaction"),
        code => (code, "the transaction could not be verified with its coordinator"),
    }
}
