//! A metadata log as Kafka 4.3.1 left it: its records are read, add up to an image, and are written back to
//! the same bytes.
//!
//! `data/kafka-metadata.log` is the one segment of `__cluster_metadata-0` of a broker with a dozen topics,
//! after a clean stop.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

use bytes::{Buf, Bytes};
use ottla_controller::image::ConfigResource;
use ottla_controller::{Delta, Image};
use ottla_wire::batch::batches;
use ottla_wire::messages::MetadataRecord;
use ottla_wire::{BrokerId, LeaderEpoch, Offset, TopicId};

const LOG: &[u8] = include_bytes!("data/kafka-metadata.log");

/// Topics and their numbers of partitions.
const TOPICS: [(&str, usize); 8] = [
    ("__consumer_offsets", 2),
    ("__transaction_state", 2),
    ("appendtime", 1),
    ("codecs", 5),
    ("compacted", 1),
    ("empty", 2),
    ("plain", 3),
    ("txn", 2),
];

#[test]
fn every_record_is_written_back_as_kafka_wrote_it() {
    let frames = frames();
    assert!(frames.len() > 100, "{} records", frames.len());
    for frame in frames {
        // Version of the frame, type and version of the record: all below 128, so one byte each.
        let version = i16::from(frame.clone().slice(2..).get_u8());
        let record = MetadataRecord::from_frame(frame.clone()).unwrap();
        assert_eq!(record.to_frame_at(version).unwrap(), frame, "{record:?}");
    }
}

#[test]
fn the_records_add_up_to_the_cluster_that_kafka_had() {
    let (image, delta) = image();
    let topics: Vec<(&str, usize)> =
        image.topics().map(|topic| (topic.name.as_str(), topic.partitions.len())).collect();
    assert_eq!(topics, TOPICS);
    assert_eq!(delta.partitions().count(), image.partition_count());
    let id = TopicId::parse("_qbhJAh0QYCkIDa2gBPMdA").unwrap();
    assert_eq!(image.topic_id("plain"), Some(id), "as partition.metadata has it");
    for partition in image.topics().flat_map(|topic| topic.partitions.values()) {
        // Its only broker has left, which is where it finds the data when it comes back (KIP-966).
        assert_eq!((partition.leader, &partition.isr[..]), (None, &[][..]));
        assert_eq!(partition.elr, [BrokerId(1)]);
        assert_eq!(partition.leader_epoch, LeaderEpoch(1));
    }
    let compacted = image.config_value(&ConfigResource::topic("compacted"), "cleanup.policy");
    assert_eq!(compacted.map(|value| value.as_str()), Some("compact"));
    let broker = image.broker(BrokerId(1)).unwrap();
    assert!(broker.in_controlled_shutdown, "it stopped cleanly");
}

#[test]
fn a_snapshot_of_it_leads_to_the_same_image() {
    let (image, _) = image();
    let (again, _) = Image::default().apply_all(&image.to_records()).unwrap();
    assert_eq!(again, image);
}

fn image() -> (Image, Delta) {
    let records = frames().into_iter().map(|frame| MetadataRecord::from_frame(frame).unwrap());
    // Kafka puts the first records of a cluster between marks of a transaction. An entry of our log is atomic
    // without.
    let marks = |record: &MetadataRecord| {
        matches!(record, MetadataRecord::BeginTransaction(_) | MetadataRecord::EndTransaction(_))
    };
    let records: Vec<_> = records.filter(|record| !marks(record)).collect();
    Image::default().apply_all(&records).unwrap()
}

/// The values of the log's records, without the control records of Kafka's quorum.
fn frames() -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut next = Offset(0);
    for batch in batches(Bytes::from_static(LOG)) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        assert_eq!(batch.header().base_offset, next);
        next = batch.header().last_offset().plus(1);
        if !batch.header().is_control() {
            frames.extend(batch.records(1 << 20).unwrap().map(|record| record.unwrap().value.unwrap()));
        }
    }
    assert_eq!(next, Offset(165));
    frames
}
