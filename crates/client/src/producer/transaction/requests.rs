//! What a transactional producer asks of coordinators, once each, over a connection to them and up to a
//! deadline.

use std::collections::{BTreeMap, BTreeSet};

use ottla_link::{Connection, Instant, Office, Terms};
use ottla_wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_wire::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest,
    TxnOffsetCommitRequest,
};
use ottla_wire::primitives::{Request, Str};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{ProducerEpoch, ProducerId};

use super::core::{End, TransactionVersion};
use super::transactions::Transactions;
use crate::cluster::{TopicPartition, by_topic};
use crate::error::{ApiError, Error};
use crate::offsets::{GroupMetadata, Offsets};
use crate::producer::sequences::Identity;

/// The feature that decides on the version of transactions, and the level from which on they are of version
/// 2.
const FEATURE: &str = "transaction.version";
const V2_MIN: i16 = 2;
/// The version of AddPartitionsToTxn for clients; later ones are for brokers.
const ADD_PARTITIONS_MAX: i16 = 3;
/// The first versions that belong to transactions of version 2.
const END_V2_MIN: i16 = 5;
const COMMIT_OFFSETS_V2_MIN: i16 = 5;
/// The first version of TxnOffsetCommit that says which member of the group commits (KIP-447).
const MEMBER_MIN: i16 = 3;

/// InitProducerId: a new identity, or the next epoch after `before`.
pub(super) async fn identity(
    of: &Transactions,
    (connection, deadline): (Connection, Instant),
    before: Option<Identity>,
) -> Result<(Identity, TransactionVersion), Error> {
    let (id, epoch) = before.unwrap_or((ProducerId::NONE, ProducerEpoch(-1)));
    let request = InitProducerIdRequest {
        transactional_id: Some(of.coordinator.key().clone()),
        transaction_timeout_ms: of.timeout_ms,
        producer_id: id.0,
        producer_epoch: epoch.0,
        ..InitProducerIdRequest::default()
    };
    let response = connection.call_on(&request, Terms::by(deadline)).await?;
    ApiError::check(response.error_code, None)?;
    let identity = (ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch));
    Ok((identity, version_of(&connection)))
}

/// AddPartitionsToTxn, with a connection of its own.
pub(in crate::producer) async fn add_partitions(
    of: &Transactions,
    identity: Identity,
    partitions: &BTreeSet<TopicPartition>,
) -> Result<(), Error> {
    let outcome = ask_to_add(of, identity, partitions).await;
    if let Err(error) = &outcome {
        of.coordinator.learn_from(error);
    }
    outcome
}

async fn ask_to_add(
    of: &Transactions,
    (id, epoch): Identity,
    partitions: &BTreeSet<TopicPartition>,
) -> Result<(), Error> {
    let connection = of.coordinator.find().await?;
    let topic = |(name, partitions)| AddPartitionsToTxnTopic { name, partitions };
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: of.coordinator.key().clone(),
        v3_and_below_producer_id: id.0,
        v3_and_below_producer_epoch: epoch.0,
        v3_and_below_topics: by_topic(partitions).into_iter().map(topic).collect(),
        ..AddPartitionsToTxnRequest::default()
    };
    let response = connection.call_on(&request, Terms::up_to(ADD_PARTITIONS_MAX)).await?;
    let mut answered = BTreeMap::new();
    for topic in &response.results_by_topic_v3_and_below {
        for of in &topic.results_by_partition {
            let partition = TopicPartition::new(topic.name.detached(), of.partition_index);
            answered.insert(partition, of.partition_error_code);
        }
    }
    worst_of(partitions, &answered)
}

/// AddOffsetsToTxn.
pub(super) async fn add_offsets(
    of: &Transactions,
    (connection, deadline): (Connection, Instant),
    (id, epoch): Identity,
    group: &Str,
) -> Result<(), Error> {
    let request = AddOffsetsToTxnRequest {
        transactional_id: of.coordinator.key().clone(),
        producer_id: id.0,
        producer_epoch: epoch.0,
        group_id: group.clone(),
    };
    let response = connection.call_on(&request, Terms::by(deadline)).await?;
    Ok(ApiError::check(response.error_code, None)?)
}

/// TxnOffsetCommit, to the coordinator of the group.
pub(super) async fn commit_offsets(
    of: &Transactions,
    (connection, deadline): (Connection, Instant),
    ((id, epoch), version): (Identity, TransactionVersion),
    who: &GroupMetadata,
    offsets: &Offsets,
) -> Result<(), Error> {
    let version_max = match version {
        TransactionVersion::V1 => COMMIT_OFFSETS_V2_MIN - 1,
        TransactionVersion::V2 => at_least::<TxnOffsetCommitRequest>(&connection, COMMIT_OFFSETS_V2_MIN)?,
    };
    let mut request = TxnOffsetCommitRequest {
        transactional_id: of.coordinator.key().clone(),
        group_id: who.group_id.clone(),
        producer_id: id.0,
        producer_epoch: epoch.0,
        topics: topics(offsets),
        ..TxnOffsetCommitRequest::default()
    };
    // An old broker cannot fence a member that has lost its partitions; only its transaction can.
    if connection.version_of::<TxnOffsetCommitRequest>()? >= MEMBER_MIN {
        request.generation_id = who.generation;
        request.member_id = who.member_id.clone();
        request.group_instance_id = who.group_instance_id.clone();
    }
    let response = connection.call_on(&request, Terms { version_max, ..Terms::by(deadline) }).await?;
    let mut answered = BTreeMap::new();
    for topic in &response.topics {
        for of in &topic.partitions {
            answered.insert(TopicPartition::new(topic.name.detached(), of.partition_index), of.error_code);
        }
    }
    worst_of(offsets.keys(), &answered)
}

/// EndTxn; gives the identity of the next transaction if the coordinator does, and the version for it.
pub(super) async fn end(
    of: &Transactions,
    (connection, deadline): (Connection, Instant),
    end: End,
    (id, epoch): Identity,
    version: TransactionVersion,
) -> Result<(Option<Identity>, TransactionVersion), Error> {
    let version_max = match version {
        TransactionVersion::V1 => END_V2_MIN - 1,
        TransactionVersion::V2 => at_least::<EndTxnRequest>(&connection, END_V2_MIN)?,
    };
    let request = EndTxnRequest {
        transactional_id: of.coordinator.key().clone(),
        producer_id: id.0,
        producer_epoch: epoch.0,
        committed: end == End::Commit,
    };
    let response = connection.call_on(&request, Terms { version_max, ..Terms::by(deadline) }).await?;
    ApiError::check(response.error_code, None)?;
    let next = (response.producer_id >= 0)
        .then_some((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)));
    Ok((next, version_of(&connection)))
}

fn version_of(connection: &Connection) -> TransactionVersion {
    if connection.versions().feature(FEATURE) >= V2_MIN {
        TransactionVersion::V2
    } else {
        TransactionVersion::V1
    }
}

/// The newest version, which must be `min` or later.
fn at_least<R: Request>(connection: &Connection, min: i16) -> Result<i16, Error> {
    match connection.version_of::<R>()? {
        version if version >= min => Ok(version),
        _ => Err(Error::unsupported(R::KEY, connection.address())),
    }
}

fn topics(offsets: &Offsets) -> Vec<TxnOffsetCommitRequestTopic> {
    let mut topics: Vec<TxnOffsetCommitRequestTopic> = Vec::new();
    for (of, committed) in offsets {
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: of.partition,
            committed_offset: committed.offset.0,
            committed_leader_epoch: committed.leader_epoch.0,
            committed_metadata: Some(Str::from(&committed.metadata)),
        };
        // Partitions are in order, so those of a topic are together.
        match topics.last_mut().filter(|topic| topic.name == of.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => {
                let (name, partitions) = (of.topic.clone(), vec![partition]);
                topics.push(TxnOffsetCommitRequestTopic { name, partitions });
            }
        }
    }
    topics
}

/// The error that decides what happens next: one for good before one that may pass, and one that tells why
/// before OPERATION_NOT_ATTEMPTED.
fn worst_of<'a>(
    asked: impl IntoIterator<Item = &'a TopicPartition>,
    answered: &BTreeMap<TopicPartition, i16>,
) -> Result<(), Error> {
    let rank = |error: &ApiError| match error.code {
        code if code.is_retriable() => 0,
        ErrorCode::OperationNotAttempted => 1,
        _ => 2,
    };
    let mut worst: Option<ApiError> = None;
    for of in asked {
        let code = answered.get(of).copied().unwrap_or(ErrorCode::UnknownServerError.code());
        if let Err(error) = ApiError::check(code, Some(&format!("partition {of}")))
            && worst.as_ref().is_none_or(|worst| rank(&error) > rank(worst))
        {
            worst = Some(error);
        }
    }
    worst.map_or(Ok(()), |error| Err(Error::Api(error)))
}
