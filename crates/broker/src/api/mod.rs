//! The APIs that are served: one file for each key, named as Kafka names it.
//!
//! - [`table`]: which are served, and by what.
//! - [`call`]: one request on its way, and the connection that it came by.
//! - [`frame`]: from a frame to a request, and from a response to a frame.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod api_versions;
mod authorized;
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
mod end_txn;
mod fetch;
mod find_coordinator;
mod frame;
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
mod table;
mod transactional;
mod txn_offset_commit;
mod unknown_partitions;
mod update_features;
mod write_txn_markers;

pub use api_versions::unsupported as unsupported_api_versions;
pub use call::{Call, Session};
pub use frame::{ParsedHeader, is_of};
pub use offset_commit::start as start_offset_commit;
pub use produce::start as start_produce;
pub use table::{SERVED, dispatch};
