//! Classic groups: members that agree among themselves who reads what (JoinGroup, SyncGroup).

mod group;

pub use group::{
    ClassicGroup, first_join, heartbeat_in_unknown_group, leave_unknown_group, replay, sync_in_unknown_group,
};
