//! Committed offsets of all groups of the partition.

mod offsets_by_group;

pub use offsets_by_group::Offsets;
