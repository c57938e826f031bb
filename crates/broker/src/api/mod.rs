//! The served APIs: one file for each key, under Kafka's name, with the changes of its versions.
//!
//! - [`table`]: the list of served APIs, with their handlers.
//! - [`passed_on`]: the APIs that only pass a request to a coordinator.
//! - [`call`]: one request in flight.
//! - [`frame`]: from a body to a request, and from a response to a frame.
//! - [`shared`]: code that several APIs share.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod api_versions;
mod call;
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
mod fetch;
mod find_coordinator;
mod frame;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod passed_on;
mod produce;
mod shared;
mod table;
mod txn_offset_commit;
mod update_features;
mod write_txn_markers;

pub use api_versions::unsupported as unsupported_api_versions;
pub use call::Call;
pub use offset_commit::start as start_offset_commit;
pub use produce::start as start_produce;
pub use table::{SERVED, dispatch};
