//! What clients and partitions ask the coordinator for, and what they look at in its answers.

use ottla_coordinator::Producer;
use ottla_txn::{AddGroup, Call, Outcome, Request, Response};
use ottla_wire::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_wire::messages::add_partitions_to_txn_response::AddPartitionsToTxnResult;
use ottla_wire::messages::{AddOffsetsToTxnRequest, EndTxnRequest, InitProducerIdRequest};
use ottla_wire::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, Str};

use super::client::{Told, Wish};
use super::world::{OFFSETS, TIMEOUT_MS, TOPIC};
use crate::leader::groups;

/// What a client asks the coordinator for; `None` if it cannot ask for that.
pub(super) fn call(id: &str, v2: bool, wish: &Wish, producer: Option<Producer>) -> Option<Call> {
    let none = Producer { id: ProducerId::NONE, epoch: ProducerEpoch(-1) };
    Some(match *wish {
        Wish::Init(goes_on) => {
            let Producer { id: producer_id, epoch } = goes_on.unwrap_or(none);
            let request = InitProducerIdRequest {
                transactional_id: Some(Str::from(id)),
                transaction_timeout_ms: TIMEOUT_MS,
                producer_id: producer_id.0,
                producer_epoch: epoch.0,
                ..InitProducerIdRequest::default()
            };
            Call { version: 5, request: Request::InitProducerId(request) }
        }
        Wish::Add { partition } => Call { version: 3, request: add(id, producer?, partition, false) },
        Wish::AddOffsets => {
            let producer = producer?;
            let request = AddOffsetsToTxnRequest {
                transactional_id: Str::from(id),
                producer_id: producer.id.0,
                producer_epoch: producer.epoch.0,
                group_id: Str::from(id),
            };
            let (_, partition) = place(OFFSETS);
            Call {
                version: 3,
                request: Request::AddOffsetsToTxn(AddGroup { request, partition: PartitionIndex(partition) }),
            }
        }
        Wish::End(outcome) => {
            let producer = producer?;
            let request = EndTxnRequest {
                transactional_id: Str::from(id),
                producer_id: producer.id.0,
                producer_epoch: producer.epoch.0,
                committed: outcome == Outcome::Commit,
            };
            Call { version: if v2 { 5 } else { 4 }, request: Request::EndTxn(request) }
        }
        Wish::FetchOffset | Wish::Produce { .. } | Wish::CommitOffset { .. } => return None,
    })
}

pub(super) fn add(id: &str, producer: Producer, partition: usize, verify_only: bool) -> Request {
    let (name, partition) = place(partition);
    Request::AddPartitionsToTxn(AddPartitionsToTxnTransaction {
        transactional_id: Str::from(id),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        verify_only,
        topics: vec![AddPartitionsToTxnTopic { name, partitions: vec![partition] }],
    })
}

/// The name of a partition on the wire.
pub(super) fn place(partition: usize) -> (Str, i32) {
    if partition == OFFSETS {
        (Str::from_static(groups::TOPIC), 0)
    } else {
        (Str::from_static(TOPIC), partition as i32)
    }
}

/// The number of a partition here.
pub(super) fn number(topic: &str, partition: i32) -> usize {
    if topic == groups::TOPIC { OFFSETS } else { partition as usize }
}

/// What clients look at in an answer.
pub(super) fn read(response: Response) -> (ErrorCode, Told) {
    let (code, producer) = match response {
        Response::InitProducerId(r) => (r.error_code, Some((r.producer_id, r.producer_epoch))),
        Response::EndTxn(r) => (r.error_code, Some((r.producer_id, r.producer_epoch))),
        Response::AddPartitionsToTxn(result) => (first_code(&result), None),
        Response::AddOffsetsToTxn(r) => (r.error_code, None),
        Response::DescribeTransaction(r) => (r.error_code, None),
        Response::ListTransactions(r) => (r.error_code, None),
    };
    let told = producer.map_or(Told::Nothing, |(id, epoch)| {
        Told::Producer(Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch) })
    });
    (ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError), told)
}

fn first_code(result: &AddPartitionsToTxnResult) -> i16 {
    let mut partitions = result.topic_results.iter().flat_map(|topic| &topic.results_by_partition);
    partitions.next().map_or(ErrorCode::UnknownServerError.code(), |partition| partition.partition_error_code)
}
