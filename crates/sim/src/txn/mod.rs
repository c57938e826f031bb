//! Transactions: the real coordinator and real partition leaders in one process, with clients that crash,
//! pause, are fenced and come back, and a network that loses, delays and repeats. One seed, one run.
//!
//! Each application reads numbered input, commits how far it has read with what it makes of it, and goes on
//! from there: in what is committed every input counts exactly once, whatever happens.
//!
//! Every partition is one as brokers run it ([`crate::leader`]): what replicas and disks do is the other
//! simulator's matter ([`crate::world`]). Here the brokers of the coordinators fail, that of transactions
//! between any two records, and messages go wrong.
//!
//! Before version 2 of transactions a request that arrives late can do harm that Kafka knows of (KIP-890): an
//! epoch has many transactions, and nothing says which of them a late EndTxn or a late marker belongs to. So
//! only clients of version 2 get late messages, unless a mutation asks for them. The level of
//! `transaction.version` changes meanwhile.
//!
//! - [`run`]: one run.
//! - `world`: the calendar and the messages; `service`: the coordinator's side of it; `markers`: messages of
//!   markers; `wire`: what messages say.
//! - [`coordinator`]: the partition that keeps the transactional ids, with its coordinator.
//! - `leaders`: what partitions are asked to write. [`partition`]: one of them. [`offsets`]: the one that
//!   keeps the offsets of groups, with its coordinator.
//! - `client`: applications that read and write.
//! - [`ledger`]: what was promised, and whether it is kept.

pub mod client;
pub mod coordinator;
mod leaders;
pub mod ledger;
mod markers;
pub mod offsets;
pub mod partition;
pub mod run;
mod service;
mod wire;
mod world;

pub use run::run;

/// A rule broken on purpose, to see that the ledger notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnMutation {
    /// Messages come late in version 1, too.
    LateInVersion1,
    /// Clients go by what is not committed: the coordinator's log loses the last batch that was answered for.
    LoseCommitted,
    /// Markers that were asked for and not written count as written.
    TrustMarkers,
    /// Partitions take transactional records without asking the coordinator.
    SkipVerification,
    /// A coordinator that takes over does not go on with what was decided.
    ForgetDecisions,
    /// A coordinator of groups that takes over knows nothing of offsets whose transaction is open.
    ForgetPendingOffsets,
    /// A coordinator of groups takes the offsets of aborted transactions for committed.
    TakeAbortedOffsets,
}

impl TxnMutation {
    pub const ALL: [TxnMutation; 7] = [
        TxnMutation::LateInVersion1,
        TxnMutation::LoseCommitted,
        TxnMutation::TrustMarkers,
        TxnMutation::SkipVerification,
        TxnMutation::ForgetDecisions,
        TxnMutation::ForgetPendingOffsets,
        TxnMutation::TakeAbortedOffsets,
    ];
}
