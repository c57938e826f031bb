//! Checks that the partitions of a producer's write are part of its transaction (KIP-890).
//!
//! Without this check a write could open a transaction in a partition that nobody ever ends. Clients of
//! version 1 add partitions themselves, and the check asks whether they have. For clients of version 2 the
//! broker adds them. A guard in the partition makes sure that the transaction does not end between the check
//! and the append.

use ottla_partition::Claim;
use ottla_replica::VerificationGuard;
use ottla_wire::PartitionIndex;
use ottla_wire::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_wire::messages::add_partitions_to_txn_response::AddPartitionsToTxnResult;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::protocol::ErrorCode::{
    ConcurrentTransactions, InvalidProducerEpoch, InvalidTxnState, ProducerFenced, TransactionAbortable,
};

use super::desk::Coordinators;
use super::transactions::AddPartitionsToTxn;
use super::world::Verification;
use crate::partition::PartitionHandle;
use crate::shard::ShardClaims;

/// The version of AddPartitionsToTxn that brokers speak.
const BROKER_VERSION: i16 = 5;

/// The work to do for a client, by the version of its API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Check that the partition has been added. The client does not know TRANSACTION_ABORTABLE.
    Verify,
    /// Check that the partition has been added.
    VerifyAbortable,
    /// Add the partition.
    Add,
}

impl Support {
    pub fn of_produce(version: i16) -> Support {
        match version {
            12.. => Support::Add,
            11 => Support::VerifyAbortable,
            _ => Support::Verify,
        }
    }

    pub fn of_txn_offset_commit(version: i16) -> Support {
        match version {
            5.. => Support::Add,
            4 => Support::VerifyAbortable,
            _ => Support::Verify,
        }
    }

    /// Whether each transaction of the client has its own epoch. Then a guard from after the coordinator's
    /// consent is as good as one from before: if a marker ends this transaction, the epoch makes the
    /// partition refuse the write. For other clients only a guard from before shows that the transaction has
    /// not ended.
    pub fn bumps_epochs(self) -> bool {
        self == Support::Add
    }

    /// Whether such a client needs any work.
    pub fn is_due(self, verification: &Verification) -> bool {
        self.bumps_epochs() || verification.enabled
    }
}

/// A write in a transaction, as its producer describes it.
pub struct Unverified<'a> {
    pub partition: &'a PartitionHandle,
    pub transactional_id: &'a Str,
    pub claim: Claim,
    pub support: Support,
}

/// The write may go ahead, with the guard of its partition. `None` means that no guard is needed: the
/// transaction is already open there, or the partition is gone and the write will find that out. An error is
/// the code of the transaction's coordinator.
pub type Verified = Result<Option<VerificationGuard>, ErrorCode>;

impl Coordinators {
    /// Checks that the partitions of these writes are part of their transactions.
    ///
    /// Each partition is asked for a guard first. For writes with a guard the coordinator is asked, once for
    /// each transaction. If it has added a partition, the marker of the previous transaction may have voided
    /// that guard, so the partition is asked for a new one. A late marker of this transaction does no harm:
    /// it leaves the partition with a higher epoch than that of the write.
    pub async fn verify(&self, writes: &[Unverified<'_>]) -> Vec<Verified> {
        let guards = begin(writes.iter().map(Unverified::claimed)).await;
        let mut verified: Vec<Verified> = guards.into_iter().map(Ok).collect();
        let mut added = Vec::new();
        for transaction in by_transaction(writes, &verified) {
            let codes = self.add_or_verify(&transaction).await;
            for (at, code) in transaction.numbers.into_iter().zip(codes) {
                match code {
                    ErrorCode::None if transaction.first.support.bumps_epochs() => added.push(at),
                    ErrorCode::None => {}
                    code => verified[at] = Err(code),
                }
            }
        }
        let guards = begin(added.iter().map(|at| writes[*at].claimed())).await;
        for (at, guard) in added.into_iter().zip(guards) {
            verified[at] = Ok(guard);
        }
        verified
    }

    /// Asks the transaction's coordinator. Returns the error code for each partition; partitions that may be
    /// written to have none.
    async fn add_or_verify(&self, transaction: &Transaction<'_>) -> Vec<ErrorCode> {
        let verification = self.world().verification;
        let since = self.clock.now();
        loop {
            let codes = self.add_or_verify_once(transaction).await;
            let tired = self.clock.now().since(since) >= verification.retry_max;
            let adds = transaction.first.support == Support::Add;
            if tired || !adds || !codes.contains(&ConcurrentTransactions) {
                return codes;
            }
            tokio::time::sleep(verification.retry_backoff).await;
        }
    }

    async fn add_or_verify_once(&self, transaction: &Transaction<'_>) -> Vec<ErrorCode> {
        let Transaction { first: Unverified { transactional_id, claim, support, .. }, partitions, .. } =
            transaction;
        let request = AddPartitionsToTxnTransaction {
            transactional_id: (*transactional_id).clone(),
            producer_id: claim.producer.id.0,
            producer_epoch: claim.producer.epoch.0,
            verify_only: !support.bumps_epochs(),
            topics: by_topic(partitions),
        };
        match self.transactions().ask(BROKER_VERSION, AddPartitionsToTxn(request)).await {
            Ok(result) => {
                partitions.iter().map(|(topic, index)| code(&result, topic, *index, *support)).collect()
            }
            Err(code) => vec![code; partitions.len()],
        }
    }
}

impl Unverified<'_> {
    fn claimed(&self) -> (&PartitionHandle, Claim) {
        (self.partition, self.claim)
    }

    fn is_of(&self, other: &Unverified<'_>) -> bool {
        self.transactional_id == other.transactional_id
            && self.claim.producer == other.claim.producer
            && self.support == other.support
    }
}

/// Asks partitions for guards, in order.
pub(super) async fn begin<'a>(
    claims: impl Iterator<Item = (&'a PartitionHandle, Claim)>,
) -> Vec<Option<VerificationGuard>> {
    let mut asked = ShardClaims::default();
    let waiting: Vec<_> = claims.map(|(partition, claim)| asked.add(partition, claim)).collect();
    asked.send().await;
    let mut guards = Vec::with_capacity(waiting.len());
    for guard in waiting {
        guards.push(guard.await.ok().flatten());
    }
    guards
}

/// The writes of one transaction that need its coordinator's consent.
struct Transaction<'a> {
    first: &'a Unverified<'a>,
    partitions: Vec<(Str, PartitionIndex)>,
    /// The numbers of the writes to these partitions, among all writes.
    numbers: Vec<usize>,
}

/// Groups the writes that have a guard by transaction.
fn by_transaction<'a>(writes: &'a [Unverified<'a>], verified: &[Verified]) -> Vec<Transaction<'a>> {
    let mut transactions: Vec<Transaction> = Vec::new();
    let guarded = writes.iter().zip(verified).enumerate().filter(|(_, (_, guard))| **guard != Ok(None));
    for (number, (write, _)) in guarded {
        let partition = (write.partition.topic.clone(), write.partition.index);
        match transactions.iter_mut().find(|known| known.first.is_of(write)) {
            Some(known) => {
                known.partitions.push(partition);
                known.numbers.push(number);
            }
            None => {
                let (partitions, numbers) = (vec![partition], vec![number]);
                transactions.push(Transaction { first: write, partitions, numbers });
            }
        }
    }
    transactions
}

fn by_topic(partitions: &[(Str, PartitionIndex)]) -> Vec<AddPartitionsToTxnTopic> {
    let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
    for (name, index) in partitions {
        match topics.iter_mut().find(|topic| topic.name == *name) {
            Some(topic) => topic.partitions.push(index.0),
            None => topics.push(AddPartitionsToTxnTopic { name: name.clone(), partitions: vec![index.0] }),
        }
    }
    topics
}

/// The code for a partition that the client understands.
fn code(
    result: &AddPartitionsToTxnResult,
    topic: &str,
    index: PartitionIndex,
    support: Support,
) -> ErrorCode {
    let topic = result.topic_results.iter().find(|known| known.name == topic);
    let partitions = topic.into_iter().flat_map(|topic| &topic.results_by_partition);
    let found = partitions.into_iter().find(|known| known.partition_index == index.0);
    // A partition without an answer is not known to be part of the transaction.
    let code = found.and_then(|known| ErrorCode::from_code(known.partition_error_code));
    match code.unwrap_or(InvalidTxnState) {
        // The code that producers expect for writes.
        ProducerFenced => InvalidProducerEpoch,
        TransactionAbortable if support == Support::Verify => InvalidTxnState,
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_depends_on_the_version_of_the_client() {
        let all: Vec<Support> = (3..=13).map(Support::of_produce).collect();
        let (verified, added) = all.split_at(9);
        assert!(added.iter().all(|support| *support == Support::Add) && added.len() == 2);
        assert!(verified[..8].iter().all(|support| *support == Support::Verify));
        assert_eq!(verified[8], Support::VerifyAbortable);
        let offsets = (0..=5).map(Support::of_txn_offset_commit);
        assert_eq!(offsets.filter(|support| *support == Support::Verify).count(), 4);
    }
}
