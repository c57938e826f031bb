//! Reading for consumers and followers: sessions, plans, long polls.
//!
//! - [`session`]: one incremental fetch session and its partitions (KIP-227).
//! - [`cache`]: all sessions of the broker, bounded.
//! - [`read`]: what one partition has for one fetch.

mod cache;
mod read;
mod session;

pub use cache::{Opened, SessionError, Sessions};
pub use read::{Content, Found, PartitionFetch, ReadFailure, Reader, plan, unreadable};
pub use session::{FetchSession, PartitionId, TopicRef, epoch};
