//! What several APIs have in common.

pub mod config_resources;
pub mod new_leaders;
pub mod unknown_partitions;
