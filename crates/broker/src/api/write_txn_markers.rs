//! WriteTxnMarkers (key 27): ends transactions in partitions that this broker leads. KIP-98.
//!
//! - 1: flexible.
//! - 2: the transaction's version (KIP-1228).
//!
//! Sent by transaction coordinators, and by administrators to end a transaction that nothing else will
//! (KIP-664).

use std::sync::Arc;

use ottla_coordinator::Producer;
use ottla_partition::MarkerRequest;
use ottla_wire::messages::write_txn_markers_request::WritableTxnMarker;
use ottla_wire::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use ottla_wire::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{PartitionIndex, ProducerEpoch, ProducerId};

use super::call::Call;
use crate::coordinator::txn_markers::MARKER_TIMEOUT;
use crate::door::{Operation, Resource};
use crate::partition::PartitionHandle;
use crate::shard::{AppendGroup, ShardMarkers};

pub async fn handle(call: &mut Call<'_>, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    // From a broker, or from an administrator (KIP-664).
    let authorized = call.may(Operation::ClusterAction, Resource::Cluster)
        || call.may(Operation::Alter, Resource::Cluster);
    if !authorized {
        return refuse(request, Resource::Cluster.refusal());
    }
    let (mut response, here) = take(call, request);
    if here.is_empty() {
        return response;
    }
    let group = AppendGroup::new(here.len());
    let mut markers = ShardMarkers::default();
    for (at, one) in here.iter().enumerate() {
        markers.add(&one.partition, one.marker, &group, at);
    }
    markers.send().await;
    group.done().await;
    for (at, Here { place: (marker, topic, partition), .. }) in here.into_iter().enumerate() {
        let code = match group.outcome(at) {
            Some(Ok(_)) => ErrorCode::None,
            Some(Err(error)) => ErrorCode::from(*error),
            // `AppendGroup::done` has returned, so every outcome is set.
            None => ErrorCode::UnknownServerError,
        };
        response.markers[marker].topics[topic].partitions[partition].error_code = code.code();
    }
    response
}

fn refuse(request: WriteTxnMarkersRequest, code: ErrorCode) -> WriteTxnMarkersResponse {
    let partition =
        |partition_index| WritableTxnMarkerPartitionResult { partition_index, error_code: code.code() };
    let markers = request.markers.into_iter().map(|marker| WritableTxnMarkerResult {
        producer_id: marker.producer_id,
        topics: marker
            .topics
            .into_iter()
            .map(|topic| WritableTxnMarkerTopicResult {
                name: topic.name,
                partitions: topic.partition_indexes.into_iter().map(partition).collect(),
            })
            .collect(),
    });
    WriteTxnMarkersResponse { markers: markers.collect() }
}

/// A marker for a partition that is here, and the place of its outcome in the response.
struct Here {
    partition: Arc<PartitionHandle>,
    marker: MarkerRequest,
    place: (usize, usize, usize),
}

/// The known part of the answer, and the markers to write.
fn take(call: &Call<'_>, request: WriteTxnMarkersRequest) -> (WriteTxnMarkersResponse, Vec<Here>) {
    let published = call.ctx.published.load();
    let (mut response, mut here) = (WriteTxnMarkersResponse::default(), Vec::new());
    for asked in request.markers {
        let marker = marker(call, &asked);
        let mut topics = Vec::with_capacity(asked.topics.len());
        for topic in asked.topics {
            let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
            for index in topic.partition_indexes {
                let place = (response.markers.len(), topics.len(), partitions.len());
                let code = match published.partition(&topic.name, PartitionIndex(index)) {
                    // A producer id that is not valid: such a marker could not be read again.
                    Ok(_) if asked.producer_id < 0 || asked.producer_epoch < 0 => ErrorCode::InvalidRequest,
                    Ok(partition) => {
                        here.push(Here { partition: partition.clone(), marker, place });
                        ErrorCode::None
                    }
                    Err(error) => ErrorCode::from(error),
                };
                partitions.push(WritableTxnMarkerPartitionResult {
                    partition_index: index,
                    error_code: code.code(),
                });
            }
            topics.push(WritableTxnMarkerTopicResult { name: topic.name, partitions });
        }
        response.markers.push(WritableTxnMarkerResult { producer_id: asked.producer_id, topics });
    }
    (response, here)
}

fn marker(call: &Call<'_>, asked: &WritableTxnMarker) -> MarkerRequest {
    MarkerRequest {
        producer: Producer { id: ProducerId(asked.producer_id), epoch: ProducerEpoch(asked.producer_epoch) },
        commit: asked.transaction_result,
        coordinator_epoch: asked.coordinator_epoch,
        transaction_version: asked.transaction_version,
        deadline: call.ctx.clock.now() + MARKER_TIMEOUT,
    }
}
