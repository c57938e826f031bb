//! Requests of transactions. Nobody has this transactional id: that every version is understood shows in the
//! answer.

use bytes::Bytes;
use ottla_wire::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_wire::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_wire::messages::*;
use ottla_wire::primitives::Request;

use super::groups::READERS;
use super::{Benign, CORRELATION_ID, Subject, decode, frame};

const NOBODY: &str = "nobody";
const PRODUCER_ID: i64 = 4711;

/// Error codes in answers about a transactional id that is not known.
const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
const TRANSACTIONAL_ID_NOT_FOUND: i16 = 105;

pub fn transactions(of: &Subject, all: &mut Vec<Benign>) {
    partitions(of, all);
    add!(
        all,
        EndTxnRequest,
        |_| EndTxnRequest { transactional_id: NOBODY.into(), producer_id: PRODUCER_ID, ..Default::default() },
        |answer| [answer.error_code].into_iter().filter(|code| *code != INVALID_PRODUCER_ID_MAPPING)
    );
    // Nothing of this producer is open in the partition; the marker does no harm.
    add!(
        all,
        WriteTxnMarkersRequest,
        |_| {
            let topics = vec![WritableTxnMarkerTopic { name: of.name.into(), partition_indexes: vec![0] }];
            let marker = WritableTxnMarker { producer_id: PRODUCER_ID, topics, ..Default::default() };
            WriteTxnMarkersRequest { markers: vec![marker] }
        },
        |answer| {
            assert_eq!(answer.markers.len(), 1);
            let topics = answer.markers.into_iter().flat_map(|marker| marker.topics);
            topics.flat_map(|topic| topic.partitions).map(|p| p.error_code)
        }
    );
    add!(
        all,
        DescribeTransactionsRequest,
        |_| DescribeTransactionsRequest { transactional_ids: vec![NOBODY.into()] },
        |answer| {
            assert_eq!(answer.transaction_states.len(), 1);
            let codes = answer.transaction_states.into_iter().map(|one| one.error_code);
            codes.filter(|code| *code != TRANSACTIONAL_ID_NOT_FOUND)
        }
    );
    add!(
        all,
        ListTransactionsRequest,
        |_| ListTransactionsRequest { duration_filter: -1, ..Default::default() },
        |answer| [answer.error_code]
    );
}

fn partitions(of: &Subject, all: &mut Vec<Benign>) {
    add!(
        all,
        AddPartitionsToTxnRequest,
        |version| {
            let topics = vec![AddPartitionsToTxnTopic { name: of.name.into(), partitions: vec![0] }];
            let transaction = AddPartitionsToTxnTransaction {
                transactional_id: NOBODY.into(),
                producer_id: PRODUCER_ID,
                topics: topics.clone(),
                ..Default::default()
            };
            match version {
                ..4 => AddPartitionsToTxnRequest {
                    v3_and_below_transactional_id: NOBODY.into(),
                    v3_and_below_producer_id: PRODUCER_ID,
                    v3_and_below_topics: topics,
                    ..Default::default()
                },
                4.. => AddPartitionsToTxnRequest { transactions: vec![transaction], ..Default::default() },
            }
        },
        |answer| {
            let several = answer.results_by_transaction.into_iter().flat_map(|one| one.topic_results);
            let topics: Vec<_> = answer.results_by_topic_v3_and_below.into_iter().chain(several).collect();
            assert_eq!(topics.len(), 1);
            let partitions = topics.into_iter().flat_map(|topic| topic.results_by_partition);
            let codes = partitions.map(|p| p.partition_error_code).chain([answer.error_code]);
            codes.filter(|code| *code != INVALID_PRODUCER_ID_MAPPING)
        }
    );
    add!(
        all,
        AddOffsetsToTxnRequest,
        |_| AddOffsetsToTxnRequest {
            transactional_id: NOBODY.into(),
            producer_id: PRODUCER_ID,
            group_id: READERS.into(),
            ..Default::default()
        },
        |answer| [answer.error_code].into_iter().filter(|code| *code != INVALID_PRODUCER_ID_MAPPING)
    );
    add!(
        all,
        TxnOffsetCommitRequest,
        |_| {
            let partition = TxnOffsetCommitRequestPartition { committed_offset: 1, ..Default::default() };
            let topic = TxnOffsetCommitRequestTopic { name: of.name.into(), partitions: vec![partition] };
            TxnOffsetCommitRequest {
                transactional_id: NOBODY.into(),
                group_id: READERS.into(),
                producer_id: PRODUCER_ID,
                topics: vec![topic],
                ..Default::default()
            }
        },
        |answer| {
            let partitions: Vec<_> = answer.topics.into_iter().flat_map(|topic| topic.partitions).collect();
            assert_eq!(partitions.len(), 1);
            let codes = partitions.into_iter().map(|p| p.error_code);
            codes.filter(|code| *code != INVALID_PRODUCER_ID_MAPPING)
        }
    );
}
