//! The requests to a transaction coordinator, its answers, and its requests to the broker.
//!
//! Requests are those of the wire. Where the wire allows several transactional ids, each request here has
//! one, and the API files combine the answers. They also resolve and authorize topic names.

use ottla_coordinator::{Producer, Ticket};
use ottla_wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use ottla_wire::messages::add_partitions_to_txn_response::AddPartitionsToTxnResult;
use ottla_wire::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListTransactionsRequest, ListTransactionsResponse,
    describe_transactions_response,
};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, LeaderEpoch, PartitionIndex, Uuid};

use crate::state::Outcome;
use crate::transaction::Partitions;
use crate::version::TransactionVersion;

/// A request and the version of its API, on which some answers depend.
#[derive(Clone, Debug)]
pub struct Call {
    pub version: i16,
    pub request: Request,
}

/// One request about one transactional id (ListTransactions: about all of this partition).
#[derive(Clone, Debug)]
pub enum Request {
    /// With a transactional id. Producers without one do not need a coordinator.
    InitProducerId(InitProducerIdRequest),
    /// Versions 0 to 3 carry one transaction outside of a list. They become the same request.
    AddPartitionsToTxn(AddPartitionsToTxnTransaction),
    AddOffsetsToTxn(AddGroup),
    EndTxn(EndTxnRequest),
    DescribeTransaction(Str),
    ListTransactions(ListTransactionsRequest),
}

/// AddOffsetsToTxn. `partition` is the group's partition of `__consumer_offsets`.
#[derive(Clone, Debug)]
pub struct AddGroup {
    pub request: AddOffsetsToTxnRequest,
    pub partition: PartitionIndex,
}

/// The answer to the request of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    InitProducerId(InitProducerIdResponse),
    AddPartitionsToTxn(AddPartitionsToTxnResult),
    AddOffsetsToTxn(AddOffsetsToTxnResponse),
    EndTxn(EndTxnResponse),
    DescribeTransaction(describe_transactions_response::TransactionState),
    ListTransactions(ListTransactionsResponse),
}

/// The output, which leaves once its records are committed.
#[derive(Clone, Debug, PartialEq)]
pub enum Outbound {
    Reply {
        to: Ticket,
        response: Response,
    },
    /// To be answered once, with [`crate::TxnCoordinator::markers_answered`].
    WriteMarkers(WriteMarkers),
    /// To be answered once, with [`crate::TxnCoordinator::producer_ids`].
    WantProducerIds {
        count: usize,
    },
}

/// A transaction has ended, and its markers must be written.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteMarkers {
    pub transactional_id: Str,
    /// Returned with the answer. Only the answer to the newest request counts.
    pub token: MarkerToken,
    pub producer: Producer,
    pub outcome: Outcome,
    pub coordinator_epoch: LeaderEpoch,
    /// `TransactionVersion` of WriteTxnMarkers v2+. With version 2, leaders require a marker with a higher
    /// epoch than the records.
    pub transaction_version: TransactionVersion,
    /// The partitions that still lack the marker.
    pub partitions: Partitions,
}

/// Names one request to write markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkerToken(pub(crate) Uuid);

/// The outcomes of [`WriteMarkers`]. Partitions that are missing here are requested again.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkersAnswer {
    pub transactional_id: Str,
    pub token: MarkerToken,
    pub partitions: Vec<(Str, PartitionIndex, MarkerOutcome)>,
}

/// The outcome of one marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerOutcome {
    /// It is written, or the partition has nothing left to end.
    Done,
    /// The topic was deleted, according to the metadata.
    Gone,
    /// Not now.
    Retry,
    /// The partition has seen a newer coordinator of this transactional id, so this one must stop.
    Fenced,
}

impl From<ErrorCode> for MarkerOutcome {
    fn from(code: ErrorCode) -> MarkerOutcome {
        match code {
            ErrorCode::None => MarkerOutcome::Done,
            // The producer has a newer epoch there, or the transaction has ended. No transaction of this
            // epoch can be open.
            ErrorCode::InvalidProducerEpoch => MarkerOutcome::Done,
            ErrorCode::TransactionCoordinatorFenced => MarkerOutcome::Fenced,
            // There are many codes, and there may be more. Whatever the code, the transaction must end some
            // time.
            _ => MarkerOutcome::Retry,
        }
    }
}
