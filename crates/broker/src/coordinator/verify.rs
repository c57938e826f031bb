//! Whether the partitions that a producer writes to are part of its transaction (KIP-890).
//!
//! A write without this check could open a transaction in a partition that nobody ever ends. Clients of version 1 add
//! partitions themselves, and the check asks whether they have; those of version 2 leave the adding to the broker. Between
//! the question and the append a guard in the partition makes sure that the transaction has not ended meanwhile.

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

use super::transactions::{AddPartitionsToTxn, ask};
use super::txn_config::Verification;
use crate::context::Context;
use crate::partition::PartitionHandle;
use crate::shard::{Claim, ShardClaims};

/// The version of AddPartitionsToTxn that brokers speak.
const BROKER_VERSION: i16 = 5;

/// What is done for a client, by the version of the API that it writes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The partition must have been added. The client does not know TRANSACTION_ABORTABLE.
    Verify,
    /// The partition must have been added.
    VerifyAbortable,
    /// The partition is added.
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

    /// Each transaction of the client has its own epoch. So a guard that is given out after the coordinator has agreed is as
    /// good as one from before, which the marker of the transaction before may have voided meanwhile: a marker that ends this
    /// transaction makes the partition refuse the write by its epoch. For other clients only the guard from before shows it.
    pub fn bumps_epochs(self) -> bool {
        self == Support::Add
    }

    /// Whether there is anything to be done for such a client.
    pub fn is_due(self, verification: &Verification) -> bool {
        self.bumps_epochs() || verification.enabled
    }
}

/// Asks partitions for guards, in order. For those that the coordinator has added since ([`Support::Add`]) it is to be asked
/// again: the marker of the transaction before voids a guard, and a late marker of this one cannot do harm, because it
/// leaves the partition with a higher epoch than the batch has; `None` where the transaction is open, which is proof enough, and of a partition
/// that is gone, which the append will find.
pub async fn begin<'a>(
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

/// A transaction and the partitions whose guards were given out for it.
pub struct Question<'a> {
    pub transactional_id: &'a Str,
    pub claim: Claim,
    pub support: Support,
    pub partitions: &'a [(Str, PartitionIndex)],
}

/// Asks the transaction's coordinator: the code for each partition. Those that may be written to have none.
pub async fn add_or_verify(ctx: &Context, question: &Question<'_>) -> Vec<ErrorCode> {
    let verification = ctx.coordinators.world().verification;
    let since = ctx.clock.now();
    loop {
        let codes = ask_once(ctx, question).await;
        let tired = ctx.clock.now().since(since) >= verification.retry_max;
        if tired || question.support != Support::Add || !codes.contains(&ConcurrentTransactions) {
            return codes;
        }
        tokio::time::sleep(verification.retry_backoff).await;
    }
}

async fn ask_once(ctx: &Context, question: &Question<'_>) -> Vec<ErrorCode> {
    let Question { transactional_id, claim, support, partitions } = question;
    let request = AddPartitionsToTxnTransaction {
        transactional_id: (*transactional_id).clone(),
        producer_id: claim.producer.id.0,
        producer_epoch: claim.producer.epoch.0,
        verify_only: !support.bumps_epochs(),
        topics: by_topic(partitions),
    };
    match ask(ctx, transactional_id, BROKER_VERSION, AddPartitionsToTxn(request)).await {
        Ok(result) => {
            partitions.iter().map(|(topic, index)| code(&result, topic, *index, *support)).collect()
        }
        Err(code) => vec![code; partitions.len()],
    }
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

/// The code of a partition, as the client knows it.
fn code(
    result: &AddPartitionsToTxnResult,
    topic: &str,
    index: PartitionIndex,
    support: Support,
) -> ErrorCode {
    let topic = result.topic_results.iter().find(|known| known.name == topic);
    let partitions = topic.into_iter().flat_map(|topic| &topic.results_by_partition);
    let found = partitions.into_iter().find(|known| known.partition_index == index.0);
    // What is not answered for is not known to be part of the transaction.
    let code = found.and_then(|known| ErrorCode::from_code(known.partition_error_code));
    match code.unwrap_or(InvalidTxnState) {
        // Producers expect it of writes.
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
