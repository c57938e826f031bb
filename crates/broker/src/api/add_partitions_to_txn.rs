//! AddPartitionsToTxn (key 24): partitions become part of a transaction. KIP-98. Versions 4 and up are for
//! brokers: they name several transactions, and can ask whether partitions are part of one (KIP-890).
//!
//! - 2: INVALID_PRODUCER_EPOCH became PRODUCER_FENCED (KIP-588).
//! - 3: flexible; the last one for clients.
//! - 4: several transactions, and an error of the whole.
//! - 5: TRANSACTION_ABORTABLE (KIP-890).
//!
//! All partitions of a transaction are added or none. If one does not exist, the answer for the others is
//! that nothing was attempted.

use ottla_wire::PartitionIndex;
use ottla_wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use ottla_wire::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use ottla_wire::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::coordinator::transactions::AddPartitionsToTxn;
use crate::door::{Operation, Resource};
use crate::published::Published;

/// From this version on, a request names several transactions.
const SEVERAL_VERSION: i16 = 4;

pub async fn handle(call: &mut Call<'_>, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
    if call.version >= SEVERAL_VERSION {
        if let Err(code) = call.authorize(Operation::ClusterAction, Resource::Cluster) {
            return AddPartitionsToTxnResponse { error_code: code.code(), ..Default::default() };
        }
        let mut results = Vec::with_capacity(request.transactions.len());
        for transaction in request.transactions {
            results.push(add(call, transaction).await);
        }
        return AddPartitionsToTxnResponse { results_by_transaction: results, ..Default::default() };
    }
    let transaction = AddPartitionsToTxnTransaction {
        transactional_id: request.v3_and_below_transactional_id,
        producer_id: request.v3_and_below_producer_id,
        producer_epoch: request.v3_and_below_producer_epoch,
        verify_only: false,
        topics: request.v3_and_below_topics,
    };
    let result =
        match call.authorize(Operation::Write, Resource::TransactionalId(&transaction.transactional_id)) {
            Ok(()) => add_authorized(call, transaction).await,
            Err(code) => results(&transaction, |_, _| code),
        };
    AddPartitionsToTxnResponse { results_by_topic_v3_and_below: result.topic_results, ..Default::default() }
}

/// Adds partitions for a client, of topics that it may write to.
async fn add_authorized(
    call: &Call<'_>,
    transaction: AddPartitionsToTxnTransaction,
) -> AddPartitionsToTxnResult {
    let may = |topic: &str| call.authorize(Operation::Write, Resource::Topic(topic));
    if transaction.topics.iter().all(|topic| may(&topic.name).is_ok()) {
        return add(call, transaction).await;
    }
    results(&transaction, |topic, _| may(topic).err().unwrap_or(ErrorCode::OperationNotAttempted))
}

async fn add(call: &Call<'_>, transaction: AddPartitionsToTxnTransaction) -> AddPartitionsToTxnResult {
    let published = call.ctx.published.load_full();
    let there = |topic: &str, partition: i32| is_there(&published, topic, partition);
    let lacks = transaction.topics.iter().any(|t| t.partitions.iter().any(|p| !there(&t.name, *p)));
    if lacks {
        return results(&transaction, |topic, partition| match there(topic, partition) {
            true => ErrorCode::OperationNotAttempted,
            false => ErrorCode::UnknownTopicOrPartition,
        });
    }
    let question = AddPartitionsToTxn(transaction.clone());
    let answer = call.ctx.coordinators.transactions().ask(call.version, question).await;
    answer.unwrap_or_else(|code| results(&transaction, |_, _| code))
}

fn is_there(published: &Published, topic: &str, partition: i32) -> bool {
    let topic = published.image.topic(topic);
    topic.is_some_and(|topic| topic.partition(PartitionIndex(partition)).is_some())
}

fn results(
    transaction: &AddPartitionsToTxnTransaction,
    code: impl Fn(&str, i32) -> ErrorCode,
) -> AddPartitionsToTxnResult {
    let topics = transaction.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|&partition_index| AddPartitionsToTxnPartitionResult {
            partition_index,
            partition_error_code: code(&topic.name, partition_index).code(),
        });
        AddPartitionsToTxnTopicResult { name: topic.name.clone(), results_by_partition: partitions.collect() }
    });
    AddPartitionsToTxnResult {
        transactional_id: transaction.transactional_id.clone(),
        topic_results: topics.collect(),
    }
}
