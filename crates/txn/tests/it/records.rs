//! Records, byte for byte as Kafka writes them.

use bytes::Bytes;
use ottla_coordinator::{Coordinator, Frame, Moment, Output, Producer, Record, ReplayError, Ticket};
use ottla_txn::{
    Call, MarkerOutcome, MarkersAnswer, Outbound, Request, TransactionVersion, TxnConfig, TxnCoordinator,
    TxnRecord, TxnState, WriteMarkers, record,
};
use ottla_wire::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Uuid};

use crate::world::{ABORT, COMMIT, World, add_request, end_request, init_request};

/// `__transaction_state` as a Kafka 4.3.1 broker left it: partition, offset, key and value. Clients spoke
/// version 0 of transactions, the cluster version 2.
const KAFKA: &str = include_str!("transaction_state.golden.tsv");

fn kafka_records() -> Vec<(i32, Record)> {
    let hex = |text: &str| -> Bytes {
        let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect::<Vec<u8>>().into()
    };
    KAFKA
        .lines()
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            (columns[0].parse().unwrap(), Record { key: hex(columns[2]), value: Some(hex(columns[3])) })
        })
        .collect()
}

#[test]
fn kafka_records_are_written_again_as_they_were() {
    let records = kafka_records();
    assert_eq!(records.len(), 38);
    for (_, record) in records {
        let TxnRecord { transactional_id, transaction } = TxnRecord::decode(record.clone()).unwrap();
        assert_eq!(record::set(&transactional_id, &transaction.unwrap(), TransactionVersion::V2), record);
    }
}

/// The same requests at the same times bring the same records.
#[test]
fn the_same_requests_bring_the_records_that_kafka_wrote() {
    for partition in [0, 1] {
        let kafka = kafka_records().into_iter().filter(|(p, _)| *p == partition).map(|(_, record)| record);
        let mut core = TxnCoordinator::new(TxnConfig::default(), LeaderEpoch(0));
        let mut out = Output::default();
        let mut markers = None;
        for (step, expected) in kafka.enumerate() {
            let TxnRecord { transactional_id: id, transaction } =
                TxnRecord::decode(expected.clone()).unwrap();
            let transaction = transaction.unwrap();
            let mut at = World::v2().at();
            at.wall = transaction.updated;
            at.uuid = Uuid([step as u8; 16]);
            let who = (transaction.producer_id.0, transaction.epoch.0);
            match transaction.state {
                TxnState::Empty => {
                    core.producer_ids(&at, [transaction.producer_id], &mut out);
                    ask(&mut core, &at, &mut out, 1, Request::InitProducerId(init_request(&id, (-1, -1))));
                }
                TxnState::Ongoing => {
                    let partitions: Vec<_> =
                        transaction.partitions.iter().map(|(t, p)| (t.as_str(), p)).collect();
                    let request = add_request(&id, who, false, &partitions);
                    ask(&mut core, &at, &mut out, 3, Request::AddPartitionsToTxn(request));
                }
                TxnState::Prepare(how) => {
                    let request = end_request(&id, who, how);
                    ask(&mut core, &at, &mut out, 4, Request::EndTxn(request));
                }
                TxnState::Complete(_) => {
                    let asked: WriteMarkers = markers.take().unwrap();
                    let done = asked
                        .partitions
                        .iter()
                        .map(|(topic, p)| (topic.clone(), PartitionIndex(p), MarkerOutcome::Done));
                    let answer = MarkersAnswer {
                        transactional_id: asked.transactional_id.clone(),
                        token: asked.token,
                        partitions: done.collect(),
                    };
                    core.markers_answered(&at, &answer, &mut out);
                }
            }
            let (batches, outbound) = out.take();
            let written: Vec<Record> = batches.into_iter().flat_map(|batch| batch.records).collect();
            assert_eq!(written, [expected], "record {step} of partition {partition}");
            for outbound in outbound {
                if let Outbound::WriteMarkers(asked) = outbound {
                    markers = Some(asked);
                }
            }
        }
    }
}

fn ask(core: &mut TxnCoordinator, at: &Moment, out: &mut Output<Outbound>, version: i16, request: Request) {
    core.handle(at, Ticket(1), Call { version, request }, out);
}

/// One transaction of version 2, byte for byte: the fields of KIP-890 are tagged.
#[test]
fn records_of_version_2() {
    let mut w = World::v2();
    let who = w.init("a").unwrap();
    w.add("a", who, &[("t", 0)]);
    w.end("a", who, COMMIT).unwrap();
    w.markers_written();
    let hex = |bytes: &Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let wall = format!("{:016x}", w.wall().0);
    let none = "f".repeat(16);
    // Version, producer id, epoch, timeout, state; partitions; updated, started; tags: previous producer id,
    // and the client's version unless it is 0.
    let expected = [
        format!("0001 00000000000003e8 0000 0000ea60 00 00 {wall} {none} 01 0008 00000000000003e8"),
        format!(
            "0001 00000000000003e8 0000 0000ea60 01 02 0274 02 00000000 00 {wall} {wall} 02 0008 00000000000003e8 0202 0002"
        ),
        format!(
            "0001 00000000000003e8 0001 0000ea60 02 02 0274 02 00000000 00 {wall} {wall} 02 0008 00000000000003e8 0202 0002"
        ),
        format!("0001 00000000000003e8 0001 0000ea60 04 01 {wall} {wall} 02 0008 00000000000003e8 0202 0002"),
    ];
    assert_eq!(w.log.len(), expected.len());
    for (record, expected) in w.log.iter().zip(expected) {
        assert_eq!(hex(&record.key), "0000000161");
        assert_eq!(hex(record.value.as_ref().unwrap()), expected.replace(' ', ""));
    }
}

/// Before `transaction.version` 1 values are as they were before KIP-890.
#[test]
fn records_of_version_0() {
    let mut w = World::of(TransactionVersion::V0);
    let who = w.init("a").unwrap();
    w.transact("a", who, ABORT);
    let versions: Vec<[u8; 2]> =
        w.log.iter().map(|r| r.value.as_ref().unwrap()[..2].try_into().unwrap()).collect();
    assert_eq!(versions, [[0, 0]; 4]);
    w.restart();
    assert_eq!(w.state("a"), TxnState::Complete(ABORT));
    // Raised while the cluster runs: what is written from then on has more in it.
    w.set_version(TransactionVersion::V2);
    w.log.clear();
    w.init("a").unwrap();
    assert_eq!(w.log[0].value.as_ref().unwrap()[..2], [0, 1]);
}

#[test]
fn what_is_no_record_is_told_of() {
    let sound = kafka_records().remove(1).1;
    let replay = |record: Record, producer: Option<Producer>| {
        let mut frame = Frame::loading(TxnCoordinator::new(TxnConfig::default(), LeaderEpoch(0)));
        frame.replay(Offset(0), producer, record)
    };
    assert_eq!(replay(sound.clone(), None), Ok(()));
    let producer = Producer { id: ProducerId(1), epoch: ProducerEpoch(0) };
    assert!(matches!(replay(sound.clone(), Some(producer)), Err(ReplayError::Contradiction(_))));
    let unknown = Record { key: Bytes::from_static(&[0, 9, 0, 1, b'a']), value: None };
    assert_eq!(replay(unknown, None), Err(ReplayError::UnknownType(9)));
    let value = sound.value.clone().unwrap();
    let with_value = |value: Vec<u8>| Record { value: Some(value.into()), ..sound.clone() };
    for length in 0..value.len() {
        assert!(replay(with_value(value[..length].to_vec()), None).is_err(), "cut at {length}");
    }
    for state in [6, 7, 8, 0x80] {
        let mut value = value.to_vec();
        value[16] = state;
        assert!(
            matches!(replay(with_value(value), None), Err(ReplayError::Contradiction(_))),
            "state {state}"
        );
    }
    let mut newer = value.to_vec();
    newer[1] = 2;
    assert!(matches!(replay(with_value(newer), None), Err(ReplayError::Decode(_))));
}
