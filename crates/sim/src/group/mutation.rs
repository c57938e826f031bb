//! Rules broken on purpose: what shows that the simulator can fail.

/// A rule that the broker breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Answers leave before the records behind them are committed.
    AnswerBeforeCommit,
    /// A coordinator that loads skips the tombstones of its log.
    ForgetTombstones,
    /// A coordinator that loads takes every transaction for committed.
    TakeAbortsForCommits,
    /// Whoever commits is taken for a member of the present generation or epoch.
    CommitUnfenced,
    /// Members of consumer groups are taken to have given up what they were asked to.
    TrustRevocations,
    /// Classic members are not told of rebalances.
    HideRebalances,
}

impl Mutation {
    pub const ALL: [Mutation; 6] = [
        Mutation::AnswerBeforeCommit,
        Mutation::ForgetTombstones,
        Mutation::TakeAbortsForCommits,
        Mutation::CommitUnfenced,
        Mutation::TrustRevocations,
        Mutation::HideRebalances,
    ];
}
