//! Offsets: where logs begin and end or reach a time, and what groups have committed; for consumers, members
//! of groups, transactions and the admin client.
//!
//! - `list`: offsets by place or time (ListOffsets), from the leaders.
//! - `committed`: what a group commits, and who does.
//! - `commit`, `fetch`, `delete`: OffsetCommit, OffsetFetch, OffsetDelete. One attempt each; whoever asks
//!   knows whether to try again.
//! - `committer`: commits of a member, in order; `reader`: what its group has committed.

mod commit;
mod committed;
mod committer;
mod delete;
mod fetch;
mod list;
mod reader;

pub(crate) use commit::commit;
pub use committed::{Committed, GroupMetadata, OffsetAndMetadata, Offsets};
pub use committer::Commit;
pub(crate) use committer::Committer;
pub(crate) use delete::delete;
pub(crate) use fetch::{OffsetsQuery, fetch};
pub use list::{IsolationLevel, Listed, ListedOffset, OffsetSpec};
pub(crate) use list::{ask_once, list};
pub(crate) use reader::{Found, Reader};
