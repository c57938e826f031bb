//! What is sent.

use std::rc::Rc;

use bytes::Bytes;
use ottla_replica::{
    Acks, AppendError, Appended, DeleteError, DeleteTo, FetchRequest, LeaderReply, WriteMarker,
};
use ottla_wire::batch::ValidatedBatch;
use ottla_wire::messages::{
    AlterPartitionRequest, AlterPartitionResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
    BrokerRegistrationRequest, BrokerRegistrationResponse, MetadataRecord,
};
use ottla_wire::{AbortedTxn, BrokerEpoch, BrokerId, Offset};

/// Ties an answer to its request. Chosen by who asks; unique for the asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A request or an answer.
#[derive(Clone, Debug)]
pub enum Message {
    Register(Box<BrokerRegistrationRequest>),
    Registered(BrokerRegistrationResponse),
    Heartbeat(Box<BrokerHeartbeatRequest>),
    HeartbeatAnswered(BrokerHeartbeatResponse),
    AlterPartition(RequestId, Box<AlterPartitionRequest>),
    PartitionAltered(RequestId, Box<AlterPartitionResponse>),
    /// A broker has the metadata log up to this offset and wants the rest.
    FetchMetadata {
        from: usize,
    },
    /// All of the metadata log from an offset on.
    Metadata {
        from: usize,
        records: Rc<Vec<MetadataRecord>>,
    },

    FollowerFetch {
        id: RequestId,
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
        fetch: FetchRequest,
    },
    FollowerAnswered {
        id: RequestId,
        reply: LeaderReply,
    },

    Produce {
        id: RequestId,
        batch: ValidatedBatch,
        acks: Acks,
    },
    Produced {
        id: RequestId,
        outcome: Result<Appended, AppendError>,
    },
    WriteMarker {
        id: RequestId,
        marker: WriteMarker,
    },
    Consume {
        id: RequestId,
        offset: Offset,
        committed: bool,
    },
    Consumed {
        id: RequestId,
        found: Result<Found, ConsumeError>,
    },
    DeleteRecords {
        id: RequestId,
        before: DeleteTo,
    },
    RecordsDeleted {
        id: RequestId,
        outcome: Result<Offset, DeleteError>,
    },
}

/// What a consumer is given.
#[derive(Clone, Debug)]
pub struct Found {
    pub records: Bytes,
    /// The reader's limit: high watermark or last stable offset.
    pub end: Offset,
    pub aborted: Vec<AbortedTxn>,
}

/// Why a consumer is given nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeError {
    NotLeader,
    OutOfRange { start: Offset, end: Offset },
}

impl Message {
    /// One word for the trace.
    pub fn name(&self) -> &'static str {
        match self {
            Message::Register(_) => "register",
            Message::Registered(_) => "registered",
            Message::Heartbeat(_) => "heartbeat",
            Message::HeartbeatAnswered(_) => "heartbeat answer",
            Message::AlterPartition(..) => "alter partition",
            Message::PartitionAltered(..) => "partition altered",
            Message::FetchMetadata { .. } => "fetch metadata",
            Message::Metadata { .. } => "metadata",
            Message::FollowerFetch { .. } => "follower fetch",
            Message::FollowerAnswered { .. } => "follower answer",
            Message::Produce { .. } => "produce",
            Message::Produced { .. } => "produced",
            Message::WriteMarker { .. } => "write marker",
            Message::Consume { .. } => "consume",
            Message::Consumed { .. } => "consumed",
            Message::DeleteRecords { .. } => "delete records",
            Message::RecordsDeleted { .. } => "records deleted",
        }
    }

    /// What the trace says of it: enough to follow a story, and all that must not differ between two runs.
    pub fn describe(&self) -> String {
        match self {
            Message::FollowerFetch { fetch, broker_epoch, .. } => format!(
                "follower fetch epoch {} from {} after {:?} as {broker_epoch}",
                fetch.epoch, fetch.offset, fetch.last_fetched_epoch
            ),
            Message::FollowerAnswered { reply, .. } => match reply {
                LeaderReply::Records { records, high_watermark, log_start } => {
                    format!("follower answer {} bytes hw {high_watermark} start {log_start}", records.len())
                }
                other => format!("follower answer {other:?}"),
            },
            Message::Produce { batch, acks, .. } => {
                let header = batch.header();
                format!(
                    "produce {acks:?} pid {} epoch {} seq {} x{}",
                    header.producer_id, header.producer_epoch, header.base_sequence, header.record_count
                )
            }
            Message::Produced { outcome, .. } => match outcome {
                Ok(appended) => format!("produced at {}", appended.base_offset),
                Err(why) => format!("produce refused: {why}"),
            },
            Message::WriteMarker { marker, .. } => format!(
                "write marker pid {} epoch {} commit {}",
                marker.producer, marker.producer_epoch, marker.commit
            ),
            Message::AlterPartition(_, request) => format!("alter partition {:?}", request.topics),
            Message::PartitionAltered(_, response) => {
                format!("partition altered {} {:?}", response.error_code, response.topics)
            }
            Message::Registered(response) => {
                format!("registered {} epoch {}", response.error_code, response.broker_epoch)
            }
            Message::Metadata { from, records } => format!("metadata {from}+{}", records.len()),
            Message::Consume { offset, committed, .. } => {
                format!("consume from {offset} committed {committed}")
            }
            Message::Consumed { found: Ok(found), .. } => {
                format!("consumed {} bytes end {}", found.records.len(), found.end)
            }
            Message::Consumed { found: Err(why), .. } => format!("consume refused: {why:?}"),
            other => other.name().to_owned(),
        }
    }
}
