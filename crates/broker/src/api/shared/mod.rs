//! Code that several APIs share.

pub mod config_resources;
pub mod new_leaders;
pub mod unknown_partitions;
