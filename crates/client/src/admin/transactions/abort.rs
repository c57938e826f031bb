//! WriteTxnMarkers (key 27): ends a transaction in one partition, past its coordinator.

use ottla_wire::messages::WriteTxnMarkersRequest;
use ottla_wire::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_wire::primitives::Request;
use ottla_wire::{ProducerEpoch, ProducerId};

use super::super::{Admin, Repeat};
use crate::cluster::{Lane, TopicPartition};
use crate::error::{ApiError, Error};

/// A transaction to be aborted in a partition. [`Admin::describe_producers`] tells all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortTransaction {
    pub partition: TopicPartition,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    /// Of the coordinator; 0 if the partition does not know any.
    pub coordinator_epoch: i32,
}

impl Admin {
    /// Aborts a transaction in one partition, without asking its coordinator: for one that hangs. One that
    /// the coordinator still knows would be cut in two; fence its producer instead.
    pub async fn abort_transaction(&self, of: &AbortTransaction) -> Result<(), Error> {
        self.repeat(Repeat::Harmless, || self.mark_aborted(of)).await
    }

    async fn mark_aborted(&self, of: &AbortTransaction) -> Result<(), Error> {
        let timeout = self.cluster.config().default_api_timeout;
        let (leader, _) = self.cluster.leader(&of.partition, timeout).await?;
        let topic = WritableTxnMarkerTopic {
            name: of.partition.topic.clone(),
            partition_indexes: vec![of.partition.partition],
        };
        let marker = WritableTxnMarker {
            producer_id: of.producer_id.0,
            producer_epoch: of.producer_epoch.0,
            transaction_result: false,
            topics: vec![topic],
            coordinator_epoch: of.coordinator_epoch,
            ..WritableTxnMarker::default()
        };
        let request = WriteTxnMarkersRequest { markers: vec![marker] };
        let response = self.cluster.connection(leader, Lane::SHARED).await?.call(&request).await?;
        let topics = response.markers.iter().flat_map(|marker| &marker.topics);
        let Some(answer) = topics.flat_map(|topic| &topic.partitions).next() else {
            let reason = "the partition that was asked for is missing".to_owned();
            return Err(Error::malformed(WriteTxnMarkersRequest::KEY, &format!("broker {leader}"), reason));
        };
        Ok(ApiError::check(answer.error_code, None)?)
    }
}
