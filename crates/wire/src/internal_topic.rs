//! The topics that a cluster keeps for itself.

/// Topics that coordinators keep their state in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalTopic {
    /// Groups and their committed offsets.
    Offsets,
    /// Transactional ids and their transactions.
    TransactionState,
}

impl InternalTopic {
    /// The topic's name.
    pub const fn topic(self) -> &'static str {
        match self {
            InternalTopic::Offsets => "__consumer_offsets",
            InternalTopic::TransactionState => "__transaction_state",
        }
    }

    /// Whether clients are told that a topic of this name is internal, and may not write to it. The topic of
    /// share groups has no coordinator yet; its name is kept for it.
    pub fn is_internal(name: &str) -> bool {
        const SHARE_GROUP_STATE: &str = "__share_group_state";
        let coordinated = [InternalTopic::Offsets, InternalTopic::TransactionState];
        name == SHARE_GROUP_STATE || coordinated.iter().any(|one| one.topic() == name)
    }
}
