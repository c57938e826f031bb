//! Rules broken on purpose: what shows that the simulator can fail.

/// A rule that a broker or the controller breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Says that a flush is done when it is asked for.
    AckBeforeFlush,
    /// A follower goes on where its log parted from the leader's.
    IgnoreDivergence,
    /// A broker that starts knows nothing of the producers.
    ForgetProducers,
    /// A leader takes it that followers hold whatever it has.
    TrustFollowers,
    /// Consumers get what is not committed.
    ServeUncommitted,
    /// `read_committed` consumers get what is undecided.
    ServeUnstable,
    /// Consumers are not told of aborted transactions.
    HideAborts,
    /// A broker acts on metadata from before its own registration.
    ActOnOldMetadata,
    /// A controller does not make whole what the one before it broke off in the middle.
    LeaveHalfDone,
}

impl Mutation {
    pub const ALL: [Mutation; 9] = [
        Mutation::AckBeforeFlush,
        Mutation::IgnoreDivergence,
        Mutation::ForgetProducers,
        Mutation::TrustFollowers,
        Mutation::ServeUncommitted,
        Mutation::ServeUnstable,
        Mutation::HideAborts,
        Mutation::ActOnOldMetadata,
        Mutation::LeaveHalfDone,
    ];
}
