//! A transactional producer of plain requests, in both versions of the protocol, and what a reader of
//! committed data sees.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::batch::{BatchBuilder, ControlRecord, batches};
use ottla_wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::messages::*;
use ottla_wire::primitives::Records;
use ottla_wire::{ErrorCode, ProducerEpoch, ProducerId, Sequence};

use super::{Broker, Wire, batch_of, eventually, produce};

/// A version of the protocol of transactions, as clients speak it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Partitions are added before they are written to.
    One,
    /// KIP-890: the broker adds them, and each end brings another epoch.
    Two,
}

impl Protocol {
    pub const BOTH: [Protocol; 2] = [Protocol::One, Protocol::Two];

    fn pick(self, one: i16, two: i16) -> i16 {
        match self {
            Protocol::One => one,
            Protocol::Two => two,
        }
    }
}

/// A producer with a transactional id and a connection.
pub struct TxnProducer {
    pub wire: Wire,
    pub id: &'static str,
    pub protocol: Protocol,
    pub producer: (ProducerId, ProducerEpoch),
    sequences: BTreeMap<(String, i32), i32>,
}

pub fn name_of(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap()
}

/// Clients ask again: a coordinator that has just begun may not have its state yet, or the transaction before
/// is being ended.
pub fn is_passing(code: i16) -> bool {
    matches!(
        name_of(code),
        ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::ConcurrentTransactions
    )
}

impl TxnProducer {
    /// Begins with the id: whoever had it before is fenced.
    #[track_caller]
    pub fn begin(broker: &Broker, id: &'static str, protocol: Protocol) -> TxnProducer {
        TxnProducer::begin_with_timeout(broker, id, protocol, 60_000)
    }

    #[track_caller]
    pub fn begin_with_timeout(
        broker: &Broker,
        id: &'static str,
        protocol: Protocol,
        transaction_timeout_ms: i32,
    ) -> TxnProducer {
        let mut wire = broker.connect();
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms,
            ..Default::default()
        };
        let mut answer = InitProducerIdResponse::default();
        eventually("a producer id", || {
            answer = wire.call(&request, protocol.pick(4, 5));
            !is_passing(answer.error_code)
        });
        assert_eq!(name_of(answer.error_code), ErrorCode::None);
        let producer = (ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch));
        TxnProducer { wire, id, protocol, producer, sequences: BTreeMap::new() }
    }

    /// Adds a partition, as version 1 does.
    pub fn add(&mut self, topic: &str, partition: i32) -> ErrorCode {
        let topics = vec![AddPartitionsToTxnTopic { name: topic.into(), partitions: vec![partition] }];
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.into(),
            v3_and_below_producer_id: self.producer.0.0,
            v3_and_below_producer_epoch: self.producer.1.0,
            v3_and_below_topics: topics,
            ..Default::default()
        };
        let mut code = 0;
        eventually("the partition is added", || {
            let answer = self.wire.call(&request, 3);
            code = answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
            !is_passing(code)
        });
        name_of(code)
    }

    /// Sends a batch in a version of Produce, without anything before it.
    pub fn send(&mut self, topic: &str, partition: i32, values: &[&str], version: i16) -> ErrorCode {
        let request = self.request(topic, partition, values);
        let answer = self.wire.call(&request, version);
        let code = name_of(answer.responses[0].partition_responses[0].error_code);
        if code == ErrorCode::None {
            let next = self.sequences.entry((topic.to_owned(), partition)).or_default();
            *next += i32::try_from(values.len()).unwrap();
        }
        code
    }

    /// Sends batches of one record each before the first is answered.
    #[track_caller]
    pub fn pipeline(&mut self, topic: &str, partition: i32, values: &[&str]) {
        let (version, mut sent) = (self.protocol.pick(11, 12), Vec::new());
        for value in values {
            let request = self.request(topic, partition, &[value]);
            sent.push(self.wire.send(&request, version).unwrap());
            *self.sequences.entry((topic.to_owned(), partition)).or_default() += 1;
        }
        for correlation in sent {
            let answer = self.wire.answer::<ProduceRequest>(correlation, version).unwrap();
            assert_eq!(name_of(answer.responses[0].partition_responses[0].error_code), ErrorCode::None);
        }
    }

    /// A batch as a request, with the sequence that comes next.
    pub fn request(&mut self, topic: &str, partition: i32, values: &[&str]) -> ProduceRequest {
        let next = *self.sequences.entry((topic.to_owned(), partition)).or_default();
        let (id, epoch) = self.producer;
        let builder = BatchBuilder::new().producer(id, epoch, Sequence(next)).transactional();
        let mut request = produce(topic, partition, batch_of(builder, values), -1);
        request.transactional_id = Some(self.id.into());
        request
    }

    /// Writes, as its protocol does.
    #[track_caller]
    pub fn write(&mut self, topic: &str, partition: i32, values: &[&str]) {
        assert_eq!(self.try_write(topic, partition, values), ErrorCode::None);
    }

    /// The same, for who may be told that the transaction is over already.
    #[track_caller]
    pub fn try_write(&mut self, topic: &str, partition: i32, values: &[&str]) -> ErrorCode {
        let version = self.protocol.pick(11, 12);
        if self.protocol == Protocol::One {
            let added = self.add(topic, partition);
            if added != ErrorCode::None {
                return added;
            }
        }
        let mut code = ErrorCode::None;
        eventually("the write", || {
            code = self.send(topic, partition, values, version);
            code != ErrorCode::NotEnoughReplicas
        });
        code
    }

    /// Commits an offset of a group within the transaction.
    pub fn commit_offset(&mut self, group: &str, topic: &str, offset: i64) -> ErrorCode {
        if self.protocol == Protocol::One {
            let request = AddOffsetsToTxnRequest {
                transactional_id: self.id.into(),
                producer_id: self.producer.0.0,
                producer_epoch: self.producer.1.0,
                group_id: group.into(),
            };
            let mut code = 0;
            eventually("the offsets are added", || {
                code = self.wire.call(&request, 3).error_code;
                !is_passing(code)
            });
            if code != 0 {
                return name_of(code);
            }
        }
        let version = self.protocol.pick(4, 5);
        self.send_offset(group, topic, offset, version)
    }

    /// Sends an offset in a version of TxnOffsetCommit, without anything before it.
    pub fn send_offset(&mut self, group: &str, topic: &str, offset: i64, version: i16) -> ErrorCode {
        let partition = TxnOffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let topic = TxnOffsetCommitRequestTopic { name: topic.into(), partitions: vec![partition] };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.into(),
            group_id: group.into(),
            producer_id: self.producer.0.0,
            producer_epoch: self.producer.1.0,
            topics: vec![topic],
            ..Default::default()
        };
        let mut code = 0;
        eventually("the offset", || {
            code = self.wire.call(&request, version).topics[0].partitions[0].error_code;
            !is_passing(code)
        });
        name_of(code)
    }

    /// Asks once for the end of the transaction.
    pub fn try_end(&mut self, committed: bool) -> ErrorCode {
        let request = EndTxnRequest {
            transactional_id: self.id.into(),
            producer_id: self.producer.0.0,
            producer_epoch: self.producer.1.0,
            committed,
        };
        let answer = self.wire.call(&request, self.protocol.pick(4, 5));
        if answer.error_code == 0 && self.protocol == Protocol::Two {
            self.producer = (ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch));
            self.sequences.clear();
        }
        name_of(answer.error_code)
    }

    #[track_caller]
    pub fn end(&mut self, committed: bool) {
        let mut code = ErrorCode::None;
        eventually("the end", || {
            code = self.try_end(committed);
            !is_passing(code.code())
        });
        assert_eq!(code, ErrorCode::None, "commit: {committed}");
    }

    /// Where the transactional id stands, as DescribeTransactions tells it.
    #[track_caller]
    pub fn state(&mut self) -> String {
        let request = DescribeTransactionsRequest { transactional_ids: vec![self.id.into()] };
        let mut answer = DescribeTransactionsResponse::default();
        eventually("the state", || {
            answer = self.wire.call(&request, 0);
            !is_passing(answer.transaction_states[0].error_code)
        });
        answer.transaction_states[0].transaction_state.as_str().to_owned()
    }
}

/// What a fetch of committed data brings that does not wait.
#[track_caller]
pub fn fetch_committed(wire: &mut Wire, topic: &str, partition: i32, offset: i64) -> PartitionData {
    let asked = FetchPartition {
        partition,
        fetch_offset: offset,
        current_leader_epoch: -1,
        partition_max_bytes: 8 << 20,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![asked], ..Default::default() }];
    let request =
        FetchRequest { max_wait_ms: 0, min_bytes: 1, isolation_level: 1, topics, ..Default::default() };
    let mut answer = wire.call(&request, 12);
    let partition = answer.responses.remove(0).partitions.remove(0);
    assert_eq!((answer.error_code, partition.error_code), (0, 0));
    partition
}

/// The values that a reader of committed data sees, up to the last stable offset: it leaves out aborted
/// transactions as the list that comes with the records tells it to.
#[track_caller]
pub fn committed_values(wire: &mut Wire, topic: &str, partition: i32) -> Vec<String> {
    let (mut next, mut values) = (0, Vec::new());
    loop {
        let answer = fetch_committed(wire, topic, partition, next);
        let Some(Records::Bytes(bytes)) = answer.records.filter(|records| !records.is_empty()) else {
            assert_eq!(next, answer.last_stable_offset, "readable up to the last stable offset");
            return values;
        };
        let mut begins: BTreeMap<i64, i64> = BTreeMap::new();
        for aborted in answer.aborted_transactions.into_iter().flatten() {
            begins.insert(aborted.first_offset, aborted.producer_id);
        }
        let mut aborted = BTreeSet::new();
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            let header = *batch.header();
            assert!(header.last_offset().0 < answer.last_stable_offset, "nothing that may yet be aborted");
            next = header.next_offset().0;
            let begun = begins.range(..=header.last_offset().0).map(|(first, _)| *first).collect::<Vec<_>>();
            aborted.extend(begun.into_iter().filter_map(|first| begins.remove(&first)));
            for record in batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                if header.is_control() {
                    let marker = ControlRecord::parse(record.key.as_ref(), record.value.as_ref()).unwrap();
                    if let Some(ControlRecord::Abort { .. }) = marker {
                        aborted.remove(&header.producer_id.0);
                    }
                } else if !header.is_transactional() || !aborted.contains(&header.producer_id.0) {
                    values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                }
            }
        }
    }
}
