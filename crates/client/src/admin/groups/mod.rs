//! Groups: list, describe, remove members, delete; and what they have committed.
//!
//! - `list`, `describe`: what there is.
//! - `offsets`: read, alter and delete what groups have committed.
//! - `remove`: members and whole groups.

mod describe;
mod list;
mod offsets;
mod remove;

pub use describe::{GroupDescription, GroupEpochs, MemberDescription};
pub use list::{GroupFilter, GroupListing, GroupListings, GroupState, GroupType};
pub use remove::MemberToRemove;
