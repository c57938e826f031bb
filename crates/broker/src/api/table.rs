//! The table of served APIs. Any other API is not advertised, and a request for it closes the connection.

use ottla_net::{CloseReason, Response};
use ottla_wire::primitives::Reader;
use ottla_wire::protocol::ApiKey;

use super::call::Call;
use super::frame::decode;

/// Makes both the table of served APIs and the dispatch, so they cannot differ.
macro_rules! served {
    ($($key:ident => $handler:path),+ $(,)?) => {
        /// Every served API. [`super::produce`] and [`super::offset_commit`] serve runs of requests,
        /// [`dispatch`] serves all others.
        pub const SERVED: &[ApiKey] =
            &[ApiKey::Produce, ApiKey::Fetch, ApiKey::OffsetCommit, $(ApiKey::$key),+];

        /// Serves one request. Its version has been checked.
        pub async fn dispatch(mut call: Call<'_>, body: Reader) -> Result<Response, CloseReason> {
            match call.key {
                // Its answer contains pieces of files.
                ApiKey::Fetch => {
                    let request = decode(call.key, call.version, body)?;
                    super::fetch::handle(&mut call, request).await
                }
                $(ApiKey::$key => {
                    let request = decode(call.key, call.version, body)?;
                    let response = $handler(&mut call, request).await;
                    call.answer(response)
                })+
                other => Err(CloseReason::refused(format!("{other} is not served"))),
            }
        }
    };
}

served! {
    ListOffsets => super::list_offsets::handle,
    Metadata => super::metadata::handle,
    ApiVersions => super::api_versions::handle,
    OffsetFetch => super::offset_fetch::handle,
    FindCoordinator => super::find_coordinator::handle,
    JoinGroup => super::join_group::handle,
    Heartbeat => super::passed_on::heartbeat,
    LeaveGroup => super::passed_on::leave_group,
    SyncGroup => super::passed_on::sync_group,
    DescribeGroups => super::describe_groups::handle,
    ListGroups => super::list_groups::handle,
    CreateTopics => super::create_topics::handle,
    DeleteTopics => super::delete_topics::handle,
    DeleteRecords => super::delete_records::handle,
    InitProducerId => super::init_producer_id::handle,
    AddPartitionsToTxn => super::add_partitions_to_txn::handle,
    AddOffsetsToTxn => super::add_offsets_to_txn::handle,
    EndTxn => super::passed_on::end_txn,
    WriteTxnMarkers => super::write_txn_markers::handle,
    TxnOffsetCommit => super::txn_offset_commit::handle,
    OffsetForLeaderEpoch => super::offset_for_leader_epoch::handle,
    DescribeConfigs => super::describe_configs::handle,
    AlterConfigs => super::alter_configs::handle,
    DescribeLogDirs => super::describe_log_dirs::handle,
    CreatePartitions => super::create_partitions::handle,
    DeleteGroups => super::delete_groups::handle,
    IncrementalAlterConfigs => super::incremental_alter_configs::handle,
    OffsetDelete => super::offset_delete::handle,
    UpdateFeatures => super::update_features::handle,
    DescribeCluster => super::describe_cluster::handle,
    DescribeProducers => super::describe_producers::handle,
    DescribeTransactions => super::describe_transactions::handle,
    ListTransactions => super::list_transactions::handle,
    ConsumerGroupHeartbeat => super::consumer_group_heartbeat::handle,
    ConsumerGroupDescribe => super::consumer_group_describe::handle,
    ListConfigResources => super::list_config_resources::handle,
    DescribeTopicPartitions => super::describe_topic_partitions::handle,
}
