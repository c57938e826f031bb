//! Transactions: which producer may use a transactional id, which partitions its transaction writes to, and
//! how it ends.
//!
//! One [`TxnCoordinator`] keeps the transactional ids of one partition of `__transaction_state`. It is a pure
//! core behind the frame that all coordinators share ([`ottla_coordinator`]): requests in, records and
//! answers out. Its records, in Kafka's formats, hold all of its lasting state.
//!
//! - [`coordinator`]: its state, and how a transaction changes. [`dispatch`]: requests, records and timers
//!   come in.
//! - [`request`]: the requests, their answers, and requests to the broker.
//! - [`transaction`]: one transactional id and its changes; [`state`]: the states of a transaction.
//! - [`table`]: all of them.
//! - [`record`]: the records of `__transaction_state`.
//! - [`version`]: the feature `transaction.version`.
//! - `init`: InitProducerId. `partitions`: AddPartitionsToTxn, AddOffsetsToTxn. `end`: EndTxn, timeouts,
//!   fencing. `describe`: DescribeTransactions, ListTransactions.
//! - [`markers`]: requests markers until every partition has its own; `ending`: which partitions still lack
//!   it.
//! - [`expiry`]: unused ids.
//! - [`producer_ids`]: the stock of producer ids.
//! - [`config`]: settings and limits. [`error`]: why a request is refused.
//!
//! # How a broker drives it
//!
//! For each partition of `__transaction_state` that it leads, the broker keeps a frame around
//! `TxnCoordinator::new(config, leader epoch)`. It replays the log up to its end, calls `loaded`, and from
//! then on
//!
//! - hands in requests, one [`Call`] for each transactional id. The API files route by id (the partition is
//!   the hash of the id, as for groups), authorize, refuse topics that do not exist before anything is added,
//!   take lists apart and put the answers together. InitProducerId without a transactional id never comes
//!   here. A [`Refusal`](ottla_coordinator::Refusal) is COORDINATOR_LOAD_IN_PROGRESS,
//!   COORDINATOR_NOT_AVAILABLE or NOT_COORDINATOR, and so is a ticket that was not answered when its frame is
//!   given up: NOT_COORDINATOR;
//! - appends batches with acks=all under the leader epoch it knows, and calls `tick` when `next_deadline`
//!   says so;
//! - carries out what is released. [`Outbound::WriteMarkers`] goes to the leaders of the partitions, several
//!   transactions in one WriteTxnMarkers request where that suits; every one MUST be answered once through
//!   `frame.act(|core, out| core.markers_answered(at, &answer, out))`, whatever became of it:
//!   [`MarkerOutcome`] is made of the error code, `Gone` of a topic that the metadata image does not have any
//!   more, `Retry` of a leader that is not known or does not answer in time. [`Outbound::WantProducerIds`] is
//!   answered in the same way with [`TxnCoordinator::producer_ids`], with none if the controller has given
//!   none. What the frame does not take because the partition cannot be written to is asked for again when it
//!   can;
//! - hands in changed settings with `core_mut`. A new leader epoch takes a new coordinator, which loads the
//!   log again.
//!
//! WriteTxnMarkers is the partition leaders' API. An administrator fences a producer with InitProducerId, and
//! ends a transaction that hangs in a partition with WriteTxnMarkers: neither is special here.
//!
//! # What waits for the commit of a record
//!
//! In Kafka a transition is pending while its record is being written, and other requests get
//! CONCURRENT_TRANSACTIONS meanwhile. Here a step is final, and the next one builds on it. The answers of
//! both leave only when the records of both are committed. So there are no pending transitions: partitions
//! can be added while others are being added, and a second EndTxn is judged by the state after the first. If
//! a record cannot be written, the whole core is given up, so no answer has left that depends on it.
//!
//! Clients see one part of this rule, and that part is kept. From the decision (`Prepare`) until every marker
//! is written (`Complete`), InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn and EndTxn get
//! CONCURRENT_TRANSACTIONS. In Kafka `Complete` is pending all that time, so the result is the same. For the
//! same reason this check comes before that of the epoch.

pub mod config;
pub mod coordinator;
mod describe;
pub mod dispatch;
mod end;
mod ending;
pub mod error;
pub mod expiry;
mod init;
pub mod markers;
mod partitions;
pub mod producer_ids;
pub mod record;
pub mod request;
pub mod state;
pub mod table;
pub mod transaction;
pub mod version;

pub use config::{Limits, TxnConfig};
pub use coordinator::TxnCoordinator;
pub use describe::PATTERN_BYTES_MAX;
pub use error::TxnError;
pub use record::TxnRecord;
pub use request::{
    AddGroup, Call, MarkerOutcome, MarkerToken, MarkersAnswer, Outbound, Request, Response, WriteMarkers,
};
pub use state::{Outcome, StateFilter, TxnState};
pub use table::Facts;
pub use transaction::{Partitions, Transaction};
pub use version::TransactionVersion;
