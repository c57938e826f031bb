//! TxnOffsetCommit (key 28): stores how far a group has read, as part of a producer's transaction. KIP-98.
//!
//! - 2: the leader epoch of the last read record (KIP-320).
//! - 3: flexible; member and generation (KIP-447).
//! - 4: TRANSACTION_ABORTABLE (KIP-890).
//! - 5: transaction version 2: the offsets' partition is added to the transaction here (KIP-890).

use ottla_coordinator::Producer;
use ottla_partition::Claim;
use ottla_wire::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use ottla_wire::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_wire::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{PartitionIndex, ProducerEpoch, ProducerId, Sequence};

use super::call::Call;
use super::shared::unknown_partitions;
use crate::coordinator::Proof;
use crate::coordinator::internal::OFFSETS_TOPIC;
use crate::coordinator::verify::{Support, Unverified};
use crate::door::{Operation, Resource};
use crate::published::Published;

pub async fn handle(call: &mut Call<'_>, mut request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let allowed = authorize(call, &request);
    let mut unknown = Vec::new();
    if allowed.is_ok() {
        let published = call.ctx.published.load();
        request.topics.retain_mut(|topic| {
            unknown.extend(take_refused(call, &published, topic));
            !topic.partitions.is_empty()
        });
    }
    // If nothing is left to commit, the answer is known. A request that was empty is left to the coordinator.
    if request.topics.is_empty() && !unknown.is_empty() {
        return TxnOffsetCommitResponse { topics: unknown, ..Default::default() };
    }
    let asked: Vec<TxnOffsetCommitResponseTopic> = request.topics.iter().map(unanswered).collect();
    let answer = match allowed {
        Ok(()) => commit(call, request).await,
        Err(code) => Err(code),
    };
    let mut topics = match answer {
        Ok(response) => response.topics,
        Err(code) => refuse(asked, as_known(code)),
    };
    for topic in unknown {
        match topics.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => topics.push(topic),
        }
    }
    TxnOffsetCommitResponse { topics, ..Default::default() }
}

/// The permissions for the whole request.
fn authorize(call: &Call<'_>, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
    call.authorize(Operation::Write, Resource::TransactionalId(&request.transactional_id))?;
    call.authorize(Operation::Read, Resource::Group(&request.group_id))
}

async fn commit(
    call: &Call<'_>,
    request: TxnOffsetCommitRequest,
) -> Result<TxnOffsetCommitResponse, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let index = call.ctx.coordinators.groups().partition_for(&request.group_id).await?;
    let proof = prove(call, &request, index).await?;
    let groups = call.ctx.coordinators.groups();
    groups.ask_at(index, call.caller(), request, Some(proof)).await
}

/// Makes sure that the group's partition is part of the transaction.
async fn prove(
    call: &Call<'_>,
    request: &TxnOffsetCommitRequest,
    index: PartitionIndex,
) -> Result<Proof, ErrorCode> {
    let support = Support::of_txn_offset_commit(call.version);
    let producer =
        Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
    let claim = Claim { producer, sequence: Sequence::NONE, bumps_epochs: support.bumps_epochs() };
    let verify = support.is_due(&call.ctx.coordinators.world().verification);
    if !verify {
        return Ok(Proof { claim, verify, guard: None });
    }
    let partition = call.ctx.published.load().partition(OFFSETS_TOPIC, index).cloned();
    let partition = partition.map_err(|_| ErrorCode::NotCoordinator)?;
    let write =
        Unverified { partition: &partition, transactional_id: &request.transactional_id, claim, support };
    let verified = call.ctx.coordinators.verify(&[write]).await.pop();
    let guard = verified.unwrap_or(Err(ErrorCode::UnknownServerError))?;
    Ok(Proof { claim, verify, guard })
}

/// The code that producers understand here. Temporary failures become a code after which they ask again.
/// Kafka's clients take CONCURRENT_TRANSACTIONS as fatal here.
fn as_known(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::ConcurrentTransactions => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::NotEnoughReplicas => ErrorCode::CoordinatorNotAvailable,
        code => code,
    }
}

/// Removes partitions that do not exist or may not be read from the request, and answers for them.
fn take_refused(
    call: &Call<'_>,
    published: &Published,
    topic: &mut TxnOffsetCommitRequestTopic,
) -> Option<TxnOffsetCommitResponseTopic> {
    if let Err(code) = call.authorize(Operation::Read, Resource::Topic(&topic.name)) {
        let answer = unanswered(topic);
        topic.partitions.clear();
        return refuse(vec![answer], code).pop();
    }
    let known = published.image.topic(&topic.name);
    let unknown = unknown_partitions::take_unknown(known, &mut topic.partitions, |one| one.partition_index);
    let answer = |index| answer_for(index, ErrorCode::UnknownTopicOrPartition);
    let partitions: Vec<_> = unknown.into_iter().map(answer).collect();
    (!partitions.is_empty()).then(|| TxnOffsetCommitResponseTopic { name: topic.name.clone(), partitions })
}

fn unanswered(topic: &TxnOffsetCommitRequestTopic) -> TxnOffsetCommitResponseTopic {
    let partitions = topic.partitions.iter();
    TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: partitions.map(|one| answer_for(one.partition_index, ErrorCode::None)).collect(),
    }
}

/// No partition is known to be committed.
fn refuse(
    mut topics: Vec<TxnOffsetCommitResponseTopic>,
    code: ErrorCode,
) -> Vec<TxnOffsetCommitResponseTopic> {
    let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    partitions.for_each(|partition| partition.error_code = code.code());
    topics
}

fn answer_for(partition_index: i32, code: ErrorCode) -> TxnOffsetCommitResponsePartition {
    TxnOffsetCommitResponsePartition { partition_index, error_code: code.code() }
}
