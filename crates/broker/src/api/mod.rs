//! The APIs that are served: one file for each key, named as Kafka names it, and the table that joins them.
//!
//! What is not in the table is not advertised, and a request for it closes the connection.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod api_versions;
mod authorized;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod describe_transactions;
mod end_txn;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_transactions;
mod metadata;
mod new_leaders;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;
mod transactional;
mod txn_offset_commit;
mod unknown_partitions;
mod update_features;
mod write_txn_markers;

use ottla_net::{CloseReason, Part, Response};
use ottla_wire::messages::ResponseHeader;
use ottla_wire::primitives::{
    EncodeError, Encoded, Message, Part as WirePart, Reader, Request, Writer, encode_with_header, put_frame,
};
use ottla_wire::protocol::{ApiKey, response_header_version};

use crate::context::Context;
use crate::service::Session;

pub use api_versions::unsupported as unsupported_api_versions;
pub(crate) use offset_commit::start as start_offset_commit;
pub(crate) use produce::start as start_produce;

/// One request on its way: who asks, and in which version.
pub struct Call<'a> {
    pub ctx: &'a Context,
    pub session: &'a mut Session,
    pub key: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
}

/// Makes the table of served APIs and the dispatch from it, so that neither can forget what the other has.
macro_rules! served {
    ($($key:ident => $handler:path),+ $(,)?) => {
        /// Every API that is served. Produce and OffsetCommit are served in runs ([`start_produce`],
        /// [`start_offset_commit`]), all others by [`dispatch`].
        pub const SERVED: &[ApiKey] =
            &[ApiKey::Produce, ApiKey::Fetch, ApiKey::OffsetCommit, $(ApiKey::$key),+];

        /// Serves one request of a version that has been checked.
        pub async fn dispatch(mut call: Call<'_>, body: Reader) -> Result<Response, CloseReason> {
            match call.key {
                // Its answer holds pieces of files.
                ApiKey::Fetch => {
                    let request = decode(call.key, call.version, body)?;
                    fetch::handle(&mut call, request).await
                }
                $(ApiKey::$key => {
                    let request = decode(call.key, call.version, body)?;
                    let response = $handler(&mut call, request).await;
                    encode(call.key, call.version, call.correlation_id, &response)
                })+
                other => Err(CloseReason::refused(format!("{other} is not served"))),
            }
        }
    };
}

served! {
    ListOffsets => list_offsets::handle,
    Metadata => metadata::handle,
    ApiVersions => api_versions::handle,
    OffsetFetch => offset_fetch::handle,
    FindCoordinator => find_coordinator::handle,
    JoinGroup => join_group::handle,
    Heartbeat => heartbeat::handle,
    LeaveGroup => leave_group::handle,
    SyncGroup => sync_group::handle,
    DescribeGroups => describe_groups::handle,
    ListGroups => list_groups::handle,
    CreateTopics => create_topics::handle,
    DeleteTopics => delete_topics::handle,
    DeleteRecords => delete_records::handle,
    InitProducerId => init_producer_id::handle,
    AddPartitionsToTxn => add_partitions_to_txn::handle,
    AddOffsetsToTxn => add_offsets_to_txn::handle,
    EndTxn => end_txn::handle,
    WriteTxnMarkers => write_txn_markers::handle,
    TxnOffsetCommit => txn_offset_commit::handle,
    OffsetForLeaderEpoch => offset_for_leader_epoch::handle,
    DescribeConfigs => describe_configs::handle,
    AlterConfigs => alter_configs::handle,
    DescribeLogDirs => describe_log_dirs::handle,
    CreatePartitions => create_partitions::handle,
    DeleteGroups => delete_groups::handle,
    IncrementalAlterConfigs => incremental_alter_configs::handle,
    OffsetDelete => offset_delete::handle,
    UpdateFeatures => update_features::handle,
    DescribeCluster => describe_cluster::handle,
    DescribeProducers => describe_producers::handle,
    DescribeTransactions => describe_transactions::handle,
    ListTransactions => list_transactions::handle,
    ConsumerGroupHeartbeat => consumer_group_heartbeat::handle,
    ConsumerGroupDescribe => consumer_group_describe::handle,
    ListConfigResources => list_config_resources::handle,
    DescribeTopicPartitions => describe_topic_partitions::handle,
}

/// Reads a request body. One that does not parse ends the connection: nothing after it can be trusted to be in step.
fn decode<R: Request>(key: ApiKey, version: i16, mut body: Reader) -> Result<R, CloseReason> {
    // Bytes after the end are left alone, as Kafka does: librdkafka sends some after Metadata.
    R::decode(&mut body, version)
        .map_err(|error| CloseReason::refused(format!("{key} version {version}: {error}")))
}

/// A response with its header.
fn encode<M: Message>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Response, CloseReason> {
    let encoded = encode_parts(key, version, correlation_id, response)?;
    let mut parts = Vec::with_capacity(encoded.parts.len());
    for part in encoded.parts {
        match part {
            WirePart::Bytes(bytes) => parts.push(Part::Bytes(bytes)),
            WirePart::Gap { .. } => return Err(CloseReason::refused(format!("{key} answered with a gap"))),
        }
    }
    Ok(Response { parts, ..Response::default() })
}

/// Adds a whole response to `out`, with its length.
fn encode_behind<M: Message>(
    out: &mut Writer,
    (key, version): (ApiKey, i16),
    correlation_id: i32,
    response: &M,
) -> Result<(), CloseReason> {
    let header = ResponseHeader { correlation_id };
    let header_version = response_header_version(key, version);
    put_frame(out, (&header, header_version), (response, version))
        .map_err(|error| cannot_be_expressed(key, version, &error))
}

fn encode_parts<M: Message>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Encoded, CloseReason> {
    let header = ResponseHeader { correlation_id };
    let header_version = response_header_version(key, version);
    encode_with_header((&header, header_version), (response, version))
        .map_err(|error| cannot_be_expressed(key, version, &error))
}

fn cannot_be_expressed(key: ApiKey, version: i16, error: &EncodeError) -> CloseReason {
    tracing::error!(api = %key, version, %error, "a response cannot be expressed in the version that was asked");
    CloseReason::refused(format!("the answer to {key} version {version} cannot be expressed: {error}"))
}
