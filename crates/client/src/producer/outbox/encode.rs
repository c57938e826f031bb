//! Requests for batches.

use ottla_wire::messages::ProduceRequest;
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};

use super::{Outbox, RequestId, Sent, World};
use crate::cluster::Metadata;
use crate::producer::batch::Batch;
use crate::producer::record::ProduceError;
use crate::producer::transaction::TransactionVersion;

/// The last version of Produce that names topics rather than their ids.
const PRODUCE_BY_NAME_MAX: i16 = 12;
/// The last version of Produce that does not add its partitions to a transaction.
pub(in crate::producer) const PRODUCE_V1_MAX: i16 = 11;

/// A request as it is to be sent.
pub(in crate::producer) struct Encoded {
    pub(in crate::producer) request: ProduceRequest,
    pub(in crate::producer) version_max: i16,
    /// What could not be put into bytes is not in it.
    pub(in crate::producer) unencodable: Vec<(Batch, String)>,
}

impl Outbox {
    /// What [`Effect::Send`](super::Effect::Send) is to send. `version` is that of the transaction.
    pub(in crate::producer) fn request(
        &mut self,
        id: RequestId,
        metadata: &Metadata,
        version: Option<TransactionVersion>,
    ) -> Encoded {
        let request = ProduceRequest {
            acks: self.rules.acks.on_wire(),
            timeout_ms: i32::try_from(self.rules.request_timeout.as_millis()).unwrap_or(i32::MAX),
            transactional_id: self.rules.transactional_id.clone(),
            ..ProduceRequest::default()
        };
        let version_max = match version {
            Some(TransactionVersion::V1) => PRODUCE_V1_MAX,
            Some(TransactionVersion::V2) | None => i16::MAX,
        };
        let mut encoded = Encoded { request, version_max, unencodable: Vec::new() };
        let Some(in_flight) = self.requests.get_mut(&id) else { return encoded };
        let batches = std::mem::take(&mut in_flight.batches);
        for mut sent in batches {
            match sent.batch.records(sent.stamp) {
                Ok(records) => {
                    let index = sent.batch.partition.partition;
                    encoded.add(&sent, PartitionProduceData { index, records: Some(records) }, metadata);
                    in_flight.batches.push(sent);
                }
                Err(error) => encoded.unencodable.push((sent.batch, error.to_string())),
            }
        }
        encoded
    }

    /// Ends batches that could not be put into bytes. True if nothing is left of the request, which then MUST
    /// NOT be sent.
    pub(in crate::producer) fn unencodable(
        &mut self,
        id: RequestId,
        batches: Vec<(Batch, String)>,
        world: &mut World<'_>,
    ) -> bool {
        for (batch, reason) in batches {
            self.fail(&batch, ProduceError::Unencodable(reason), false, world);
        }
        let is_empty = self.requests.get(&id).is_none_or(|request| request.batches.is_empty());
        if is_empty {
            self.take_request(id);
        }
        is_empty
    }

    /// Takes a request that is over; its broker may get another.
    pub(super) fn take_request(&mut self, id: RequestId) -> Option<Vec<Sent>> {
        let request = self.requests.remove(&id)?;
        if let Some(channel) = self.brokers.get_mut(&request.broker) {
            channel.in_flight = channel.in_flight.saturating_sub(1);
        }
        Some(request.batches)
    }
}

impl Encoded {
    fn add(&mut self, sent: &Sent, data: PartitionProduceData, metadata: &Metadata) {
        let name = &sent.batch.partition.topic;
        match self.request.topic_data.iter_mut().find(|topic| topic.name == *name) {
            Some(topic) => topic.partition_data.push(data),
            None => {
                let topic_id = metadata.topic(name).map(|topic| topic.id).unwrap_or_default();
                if topic_id.is_zero() {
                    self.version_max = self.version_max.min(PRODUCE_BY_NAME_MAX);
                }
                let topic = TopicProduceData { name: name.clone(), topic_id, partition_data: vec![data] };
                self.request.topic_data.push(topic);
            }
        }
    }
}
