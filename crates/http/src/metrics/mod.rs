//! What there is to count, and the text that it is told in.
//!
//! - [`facts`]: what is counted; [`process`]: what the operating system says
//! - [`families`]: the metrics by name; [`exposition`]: the text of them

mod exposition;
mod facts;
mod families;
mod process;

pub use exposition::{TOPICS_ITEMIZED_MAX, render};
pub use facts::{
    ApiFacts, CoordinatorFacts, DirFacts, GroupFacts, Lag, LevelFacts, Metrics, NetFacts, NodeFacts,
    RequestFacts, RoomFacts, TopicFacts, TxnFacts,
};
pub use process::ProcessFacts;
