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

    /// What is lost with a topic of this name; `None` if it is not internal.
    pub fn holds(name: &str) -> Option<&'static str> {
        if name == InternalTopic::Offsets.topic() {
            Some(
                "the committed offsets of every consumer group: they begin where their auto.offset.reset says",
            )
        } else if name == InternalTopic::TransactionState.topic() {
            Some(
                "the state of every transaction: nobody ends those that are open, and readers of committed data wait for them",
            )
        } else {
            InternalTopic::is_internal(name).then_some("what the cluster keeps in it")
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
