//! What can be asked of a transaction coordinator, the answers, and what it asks of the broker.
//!
//! Requests are those of the wire, cut down to one transactional id each where the wire allows several: the
//! API files put the answers together again. Names and authorization of topics are the API files' matter,
//! too.

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

/// A request, and the version of the API that it came with: some answers depend on it.
#[derive(Clone, Debug)]
pub struct Call {
    pub version: i16,
    pub request: Request,
}

/// One thing that is asked of one transactional id (ListTransactions: of all of this partition).
#[derive(Clone, Debug)]
pub enum Request {
    /// With a transactional id: producers without one have nothing to do with a coordinator.
    InitProducerId(InitProducerIdRequest),
    /// Versions 0 to 3 carry one transaction, outside of a list; it is asked for in the same way.
    AddPartitionsToTxn(AddPartitionsToTxnTransaction),
    AddOffsetsToTxn(AddGroup),
    EndTxn(EndTxnRequest),
    DescribeTransaction(Str),
    ListTransactions(ListTransactionsRequest),
}

/// AddOffsetsToTxn. `partition` is that of `__consumer_offsets` which keeps the group.
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

/// What leaves once the records behind it are committed.
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

/// A transaction has ended: its markers are to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteMarkers {
    pub transactional_id: Str,
    /// Given back with the answer: an answer to anything but the newest request is ignored.
    pub token: MarkerToken,
    pub producer: Producer,
    pub outcome: Outcome,
    pub coordinator_epoch: LeaderEpoch,
    /// `TransactionVersion` of WriteTxnMarkers v2+: with version 2 leaders demand that the marker's epoch is
    /// above that of the records.
    pub transaction_version: TransactionVersion,
    /// Those that still lack the marker.
    pub partitions: Partitions,
}

/// Names one request to write markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkerToken(pub(crate) Uuid);

/// What came of [`WriteMarkers`]. Partitions that are missing here are asked for again.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkersAnswer {
    pub transactional_id: Str,
    pub token: MarkerToken,
    pub partitions: Vec<(Str, PartitionIndex, MarkerOutcome)>,
}

/// What came of one marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerOutcome {
    /// It is written, or nothing is left in the partition that it could end.
    Done,
    /// The topic was deleted, as the metadata says.
    Gone,
    /// Not now.
    Retry,
    /// The partition has seen a newer coordinator of this transactional id, so this one is to stop.
    Fenced,
}

impl From<ErrorCode> for MarkerOutcome {
    fn from(code: ErrorCode) -> MarkerOutcome {
        match code {
            ErrorCode::None => MarkerOutcome::Done,
            // A newer epoch of the producer is at work there, or it has ended: no transaction of this one can
            // be open.
            ErrorCode::InvalidProducerEpoch => MarkerOutcome::Done,
            ErrorCode::TransactionCoordinatorFenced => MarkerOutcome::Fenced,
            // Codes are many and may grow. Whatever it is, the transaction must end some time.
            _ => MarkerOutcome::Retry,
        }
    }
}
