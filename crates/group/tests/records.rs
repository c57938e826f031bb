//! The records of `__consumer_offsets` as Kafka 4.3.1 encodes them, and a log of them that Kafka left.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_coordinator::{Coordinator, Record, ReplayError};
use ottla_group::offsets::{CommittedOffset, GroupTopicPartition};
use ottla_group::{GroupConfig, GroupCoordinator, GroupRecord, TopicFacts, Topics};
use ottla_wire::batch::batches;
use ottla_wire::primitives::Str;
use ottla_wire::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

/// Lines of `name, version, hex`, separated by tabs: Kafka's keys and values, four of each version.
const GOLDEN: &str = include_str!("data/records.golden.tsv");

/// `__consumer_offsets-0` as a broker of Kafka 4.3.1 left it.
const LOG: &[u8] = include_bytes!("data/consumer-offsets-0.log");

/// Record types, what Kafka calls them, and the version that their values are written at (chosen by the value
/// for offsets).
const TYPES: [(i16, &str, Option<i16>); 9] = [
    (1, "OffsetCommit", None),
    (2, "GroupMetadata", Some(3)),
    (3, "ConsumerGroupMetadata", Some(0)),
    (4, "ConsumerGroupPartitionMetadata", Some(0)),
    (5, "ConsumerGroupMemberMetadata", Some(0)),
    (6, "ConsumerGroupTargetAssignmentMetadata", Some(0)),
    (7, "ConsumerGroupTargetAssignmentMember", Some(0)),
    (8, "ConsumerGroupCurrentMemberAssignment", Some(0)),
    (16, "ConsumerGroupRegularExpression", Some(0)),
];

/// Messages by name and version.
fn golden() -> BTreeMap<(&'static str, i16), Vec<Bytes>> {
    let mut messages: BTreeMap<_, Vec<Bytes>> = BTreeMap::new();
    for line in GOLDEN.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let bytes: Vec<u8> = columns[2]
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
            .collect();
        let version = columns[1].parse().expect("a version");
        messages.entry((columns[0], version)).or_default().push(bytes.into());
    }
    messages
}

fn prefixed(prefix: i16, bytes: &Bytes) -> Bytes {
    [&prefix.to_be_bytes(), bytes.as_ref()].concat().into()
}

#[test]
fn every_record_is_written_as_kafka_writes_it() {
    let golden = golden();
    let mut compared = 0;
    for (record_type, name, written) in TYPES {
        let keys = &golden[&(format!("{name}Key").leak() as &str, 0)];
        let values = golden.iter().filter(|((found, _), _)| *found == format!("{name}Value"));
        for ((_, version), values) in values {
            for (key, value) in keys.iter().zip(values) {
                let key = prefixed(record_type, key);
                let tombstone = Record { key: key.clone(), value: None };
                assert_eq!(GroupRecord::decode(tombstone.clone()).unwrap().encode(), tombstone);
                let record = Record { key, value: Some(prefixed(*version, value)) };
                let read = GroupRecord::decode(record.clone()).unwrap();
                let again = read.encode();
                assert_eq!(again.key, record.key, "{name}");
                if written.is_none_or(|written| written == *version) && is_chosen(&read, *version) {
                    assert_eq!(again, record, "{name} v{version}");
                    compared += 1;
                }
                // What an older version says is read again from the one that is written.
                let means = |record: &GroupRecord| GroupRecord::decode(record.encode()).unwrap();
                assert_eq!(means(&means(&read)), means(&read), "{name} v{version}");
            }
        }
    }
    assert!(compared >= 9 * 4, "{compared}");
}

/// Kafka writes version 1 for offsets that say when they expire, 4 for those with the id of their topic, else
/// 3.
fn is_chosen(record: &GroupRecord, version: i16) -> bool {
    match record {
        GroupRecord::Offset { value: Some(value), .. } if value.expire_timestamp != -1 => version == 1,
        GroupRecord::Offset { value: Some(value), .. } => {
            version == if value.topic_id.is_zero() { 3 } else { 4 }
        }
        _ => true,
    }
}

#[test]
fn offsets_of_the_oldest_kafka_are_read_as_new_ones() {
    let golden = golden();
    let keys = &golden[&("LegacyOffsetCommitKey", 0)];
    for (key, value) in keys.iter().zip(&golden[&("LegacyOffsetCommitValue", 0)]) {
        let legacy = Record { key: prefixed(0, key), value: Some(prefixed(0, value)) };
        let modern = Record { key: prefixed(1, key), value: Some(prefixed(0, value)) };
        assert_eq!(GroupRecord::decode(legacy), GroupRecord::decode(modern));
        let gone = |record_type| GroupRecord::decode(Record { key: prefixed(record_type, key), value: None });
        assert_eq!(gone(0), gone(1));
    }
}

#[test]
fn records_of_other_kinds_of_groups_are_named_and_hostile_ones_are_errors() {
    let decode = |key: &'static [u8], value: Option<&'static [u8]>| {
        GroupRecord::decode(Record { key: key.into(), value: value.map(Bytes::from_static) })
    };
    for record_type in [9, 10, 15, 17, 24, i16::MAX, -1] {
        let key = Box::leak(Box::new(record_type.to_be_bytes()));
        assert_eq!(decode(key, None), Err(ReplayError::UnknownType(record_type)));
    }
    let hostile: [(&[u8], Option<&[u8]>); 7] = [
        (&[], None),
        (&[0], None),
        (&[0, 2], None),
        (&[0, 2, 0x7f, 0xff, b'g'], None),
        (&[0, 2, 0, 1, b'g', 0], None),
        (&[0, 2, 0, 1, b'g'], Some(&[])),
        (&[0, 2, 0, 1, b'g'], Some(&[0, 99])),
    ];
    for (key, value) in hostile {
        assert!(matches!(decode(key, value), Err(ReplayError::Decode(_))), "{key:?} {value:?}");
    }
}

/// No topic.
struct NoTopics;

impl Topics for NoTopics {
    fn by_name(&self, _: &str) -> Option<TopicFacts> {
        None
    }
    fn by_id(&self, _: TopicId) -> Option<TopicFacts> {
        None
    }
    fn each_name(&self, _: &mut dyn FnMut(&Str)) {}
    fn racks(&self, _: TopicId, _: i32) -> Vec<Str> {
        Vec::new()
    }
}

#[test]
fn a_log_that_kafka_left_is_read_to_its_groups_and_offsets() {
    let mut core = GroupCoordinator::new(GroupConfig::default(), Arc::new(NoTopics));
    let mut written = BTreeMap::new();
    let mut count = 0;
    for batch in batches(Bytes::from_static(LOG)) {
        for record in batch.unwrap().records(1 << 20).unwrap() {
            let found = record.unwrap();
            let record = Record { key: found.key.unwrap(), value: found.value };
            assert_eq!(GroupRecord::decode(record.clone()).unwrap().encode(), record, "{}", found.offset);
            core.replay(found.offset, None, record.clone()).unwrap();
            written.insert(record.key.clone(), record);
            count += 1;
        }
    }
    assert_eq!(count, 15);
    let names: Vec<&str> = core.groups().iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(names, ["classic-group", "new-group"]);
    let place = |group: &str, topic: &str, partition| GroupTopicPartition {
        group: group.into(),
        topic: topic.into(),
        partition: PartitionIndex(partition),
    };
    let plain = TopicId::parse("_qbhJAh0QYCkIDa2gBPMdA").unwrap();
    let codecs = TopicId::parse("KeIxOH8-Qeyrrw1qpjTZew").unwrap();
    let committed = |offset, leader_epoch, metadata: &str, at, topic_id| CommittedOffset {
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(leader_epoch),
        metadata: metadata.into(),
        committed_at: Timestamp(at),
        expires_at: Timestamp::NONE,
        topic_id,
    };
    let expected = [
        (place("classic-group", "plain", 1), committed(111, 0, "", 1795389885450, plain)),
        (place("classic-group", "plain", 2), committed(889, 0, "", 1795389885450, plain)),
        (place("new-group", "codecs", 0), committed(7, -1, "bookmark\0", 1795389885911, codecs)),
    ];
    let found: Vec<_> = core
        .offsets()
        .iter()
        .map(|(group, topic, partition, committed)| (place(group, topic, partition.0), committed.clone()))
        .collect();
    assert_eq!(found, expected);
    // What is left of the log is what the coordinator knows.
    let lasting = core.records();
    assert!(lasting.in_motion.is_empty());
    let known: BTreeMap<_, _> =
        lasting.records.iter().map(|record| (record.encode().key, record.encode())).collect();
    written.retain(|_, record| record.value.is_some());
    assert_eq!(known, written);
}
