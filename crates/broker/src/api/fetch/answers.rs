//! The answer to a Fetch, partition by partition, and who leads instead.

use ottla_log::ReadPlan;
use ottla_wire::messages::FetchResponse;
use ottla_wire::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use ottla_wire::primitives::Records;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{AbortedTxn, PartitionIndex};

use crate::api::Call;
use crate::api::shared::new_leaders::NewLeaders;
use crate::fetch::{PartitionId, ReadFailure, TopicRef};

/// From this version on, answers name new leaders (KIP-951). The field is older, but was only used for the
/// metadata log.
pub const NEW_LEADERS_VERSION: i16 = 16;

/// The bytes of a plan, left in their file.
pub fn gap(plan: ReadPlan, files: &mut Vec<ReadPlan>) -> Records {
    let (id, len) = (files.len() as u32, plan.len() as u32);
    files.push(plan);
    Records::Gap { id, len }
}

pub fn aborted_transaction(txn: &AbortedTxn) -> AbortedTransaction {
    AbortedTransaction { producer_id: txn.producer_id.0, first_offset: txn.first_offset.0 }
}

pub fn failed(index: PartitionIndex, failure: &ReadFailure) -> PartitionData {
    let mut data = PartitionData {
        partition_index: index.0,
        error_code: ErrorCode::from(failure).code(),
        high_watermark: -1,
        records: Some(Records::default()),
        aborted_transactions: None,
        ..Default::default()
    };
    match failure {
        ReadFailure::OutOfRange(view) => data.log_start_offset = view.replica.log_start.0,
        ReadFailure::Storage(error) => {
            tracing::error!(partition = index.0, %error, "a fetch cannot be served")
        }
        ReadFailure::Partition(_)
        | ReadFailure::NotAReplica(_)
        | ReadFailure::NotRegistered { .. }
        | ReadFailure::NotAuthorized => {}
    }
    data
}

pub fn name_new_leaders(call: &Call<'_>, response: &mut FetchResponse) {
    let published = call.ctx.published.load();
    let mut leaders = NewLeaders::new(&published);
    for topic in &mut response.responses {
        // These versions name topics by their ids.
        let id = TopicRef::Id(topic.topic_id);
        for partition in &mut topic.partitions {
            let index = PartitionIndex(partition.partition_index);
            if let Some((leader, epoch)) = leaders.name(partition.error_code, &id, index) {
                partition.current_leader = LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: epoch.0 };
            }
        }
    }
    let endpoint = |node_id, host, port, rack| NodeEndpoint { node_id, host, port, rack };
    response.node_endpoints = leaders.endpoints(&call.session.peer.listener, endpoint);
}

/// Adds a partition under its topic. Adjacent partitions of a topic share one entry.
pub fn push(response: &mut FetchResponse, id: &PartitionId, data: PartitionData) {
    let same = response.responses.last().is_some_and(|topic| match &id.topic {
        TopicRef::Name(name) => topic.topic == *name,
        TopicRef::Id(id) => topic.topic_id == *id,
    });
    if !same {
        let mut topic = FetchableTopicResponse::default();
        match &id.topic {
            TopicRef::Name(name) => topic.topic = name.clone(),
            TopicRef::Id(id) => topic.topic_id = *id,
        }
        response.responses.push(topic);
    }
    if let Some(topic) = response.responses.last_mut() {
        topic.partitions.push(data);
    }
}
