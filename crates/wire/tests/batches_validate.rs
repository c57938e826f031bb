//! What a leader refuses, and with which error code.

use bytes::Bytes;
use ottla_wire::batch::{
    BatchBuilder, BatchError, BatchHeader, BatchLimits, BatchView, ControlRecord, HEADER_LEN, HeaderFault,
    Origin, RECORD_ERRORS_MAX, RecordFault, Scratch, TimestampType, ValidatedBatch, validate,
};
use ottla_wire::compress::{Codec, CodecError};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn check(bytes: impl Into<Bytes>, limits: &BatchLimits) -> Result<ValidatedBatch, BatchError> {
    validate(bytes.into(), limits, &mut Scratch::default())
}

fn refused(bytes: impl Into<Bytes>) -> BatchError {
    check(bytes, &BatchLimits::default()).expect_err("should be refused")
}

/// A batch of three records.
fn three() -> BatchBuilder {
    three_packed(Codec::None)
}

fn three_packed(codec: Codec) -> BatchBuilder {
    let mut builder = BatchBuilder::new().codec(codec);
    for i in 0..3 {
        builder.push(Timestamp(NOW.0 + i), Some(b"key"), Some(b"value"));
    }
    builder
}

fn three_of(producer: ProducerId, sequence: Sequence) -> BatchBuilder {
    let mut builder = BatchBuilder::new().producer(producer, ProducerEpoch(0), sequence).transactional();
    for _ in 0..3 {
        builder.push(NOW, Some(b"key"), Some(b"value"));
    }
    builder
}

fn built(builder: BatchBuilder) -> Bytes {
    builder.build().expect("builds")
}

/// The batch with its header changed and a CRC that fits.
fn with_header(batch: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(batch).expect("a header");
    change(&mut header);
    sealed(header, &batch[HEADER_LEN..])
}

/// The three records with a byte of the body changed and a CRC that fits.
fn with_body(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let batch = built(three());
    let mut body = batch[HEADER_LEN..].to_vec();
    change(&mut body);
    sealed(BatchHeader::parse(&batch).expect("a header"), &body)
}

fn sealed(mut header: BatchHeader, body: &[u8]) -> Bytes {
    header.seal(body).expect("not too long");
    [&header.encode()[..], body].concat().into()
}

#[test]
fn a_header_that_makes_no_sense_is_refused() {
    type Change = fn(&mut BatchHeader);
    let cases: [(&str, Change, HeaderFault); 11] = [
        ("no records", |h| h.record_count = 0, HeaderFault::RecordCount(0)),
        ("negative count", |h| h.record_count = -3, HeaderFault::RecordCount(-3)),
        (
            "gap after the last record",
            |h| h.last_offset_delta = 3,
            HeaderFault::OffsetRange { records: 3, last_offset_delta: 3 },
        ),
        (
            "delta below zero",
            |h| h.last_offset_delta = i32::MIN,
            HeaderFault::OffsetRange { records: 3, last_offset_delta: i32::MIN },
        ),
        ("control", |h| h.attributes = h.attributes.with_control(true), HeaderFault::Control),
        ("horizon", |h| h.attributes = h.attributes.with_delete_horizon(true), HeaderFault::DeleteHorizon),
        ("producer id", |h| h.producer_id = ProducerId(-2), HeaderFault::ProducerId(-2)),
        ("no epoch", |h| h.producer_id = ProducerId(1), HeaderFault::ProducerEpoch(-1)),
        (
            "no sequence",
            |h| (h.producer_id, h.producer_epoch) = (ProducerId(0), ProducerEpoch(0)),
            HeaderFault::Sequence(-1),
        ),
        (
            "sequence below none",
            |h| {
                (h.producer_id, h.producer_epoch) = (ProducerId(0), ProducerEpoch(0));
                h.base_sequence = Sequence(-7);
            },
            HeaderFault::Sequence(-7),
        ),
        (
            "transaction of nobody",
            |h| h.attributes = h.attributes.with_transactional(true),
            HeaderFault::TransactionalWithoutProducer,
        ),
    ];
    for (name, change, fault) in cases {
        let error = refused(with_header(&built(three()), change));
        assert_eq!(error, BatchError::Header(fault), "{name}");
        assert_eq!(error.code(), ErrorCode::InvalidRecord, "{name}");
    }
}

/// KafkaJS sends producer epoch 0 and sequence 0 without a producer id, Sarama sequence 0.
#[test]
fn producer_fields_without_a_producer_are_not_looked_at() {
    let batch = with_header(&built(three()), |h| {
        (h.producer_epoch, h.base_sequence) = (ProducerEpoch(0), Sequence(0));
    });
    assert!(check(batch, &BatchLimits::default()).is_ok());
}

#[test]
fn frames_that_are_not_one_batch_are_refused() {
    let batch = built(three());
    let cut = batch.slice(..batch.len() - 1);
    let twice = [&batch[..], &batch[..]].concat();
    let mut old = batch.to_vec();
    old[16] = 1;
    let mut future = batch.to_vec();
    future[16] = 3;
    let mut short = batch.to_vec();
    short[8..12].copy_from_slice(&48i32.to_be_bytes());
    let mut bad_crc = batch.to_vec();
    bad_crc[17] ^= 0x80;
    let mut unknown = batch.to_vec();
    unknown[22] |= 7;
    let cases: [(&str, Bytes, ErrorCode); 9] = [
        ("nothing", Bytes::new(), ErrorCode::InvalidRecord),
        ("cut off", cut, ErrorCode::InvalidRecord),
        ("part of a header", batch.slice(..40), ErrorCode::InvalidRecord),
        ("two batches", twice.into(), ErrorCode::InvalidRecord),
        ("magic 1", old.into(), ErrorCode::UnsupportedForMessageFormat),
        ("magic 3", future.into(), ErrorCode::CorruptMessage),
        ("length without room for a header", short.into(), ErrorCode::CorruptMessage),
        ("CRC", bad_crc.into(), ErrorCode::CorruptMessage),
        ("codec 7", with_header(&unknown.into(), |_| {}), ErrorCode::UnsupportedCompressionType),
    ];
    for (name, bytes, code) in cases {
        let error = refused(bytes);
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.record_errors().is_empty());
    }
}

#[test]
fn a_malformed_record_is_refused_and_named() {
    // The first record: length, attributes, timestamp delta, offset delta, key length, "key", value length,
    // "value", header count. Each is one byte where not a text.
    let (second, header_count) = (15, 14);
    let cases: [(&str, Bytes, i32, RecordFault); 8] = [
        ("length too large", with_body(|b| b[0] += 2), 0, RecordFault::Length),
        ("length too small", with_body(|b| b[0] -= 2), 0, RecordFault::Number),
        ("length negative", with_body(|b| b[0] = 1), 0, RecordFault::Number),
        ("key length below null", with_body(|b| b[4] = 3), 0, RecordFault::Number),
        ("headers below zero", with_body(|b| b[header_count] = 1), 0, RecordFault::Header),
        ("headers that are not there", with_body(|b| b[header_count] = 2), 0, RecordFault::Header),
        (
            "offset delta",
            with_body(|b| b[second + 3] = 4),
            1,
            RecordFault::OffsetDelta { found: 2, expected: 1 },
        ),
        ("too few records", with_body(|b| b.truncate(30)), 2, RecordFault::Number),
    ];
    for (name, bytes, index, fault) in cases {
        let error = refused(bytes);
        assert_eq!(error, BatchError::Record { index, fault }, "{name}");
        assert_eq!(error.code(), ErrorCode::InvalidRecord, "{name}");
    }
    assert_eq!(refused(with_body(|b| b.push(0))), BatchError::BytesAfterRecords(1));
}

#[test]
fn a_batch_over_its_size_is_refused_before_anything_else_is_looked_at() {
    let mut batch = built(three()).to_vec();
    let len = batch.len();
    let limits = BatchLimits { max_bytes: len, ..BatchLimits::default() };
    assert!(check(batch.clone(), &limits).is_ok());
    batch[17] ^= 1;
    let error = check(batch, &BatchLimits { max_bytes: len - 1, ..limits }).expect_err("too large");
    assert_eq!(error, BatchError::TooLarge { len, max: len - 1 });
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
}

#[test]
fn a_batch_over_its_unpacked_size_is_refused() {
    let unpacked = built(three()).len() - HEADER_LEN;
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = built(three_packed(codec));
        let limits = BatchLimits { max_decompressed_bytes: unpacked, ..BatchLimits::default() };
        assert!(check(batch.clone(), &limits).is_ok(), "{codec}");
        let limits = BatchLimits { max_decompressed_bytes: unpacked - 1, ..limits };
        let error = check(batch, &limits).expect_err("too large");
        assert_eq!(error, BatchError::Codec(CodecError::TooLarge { max: unpacked - 1 }), "{codec}");
        assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    }
}

#[test]
fn a_compacted_topic_names_each_record_without_a_key() {
    let limits = BatchLimits { require_key: true, ..BatchLimits::default() };
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new().codec(codec);
        builder.push(NOW, None, Some(b"a")).push(NOW, Some(b""), None).push(NOW, None, None);
        let batch = built(builder);
        assert!(check(batch.clone(), &BatchLimits::default()).is_ok());
        let error = check(batch, &limits).expect_err("no keys");
        let named: Vec<_> = error.record_errors().iter().map(|e| (e.index, e.fault)).collect();
        assert_eq!(named, [(0, RecordFault::MissingKey), (2, RecordFault::MissingKey)], "{codec}");
        assert_eq!(error.code(), ErrorCode::InvalidRecord);
    }
}

#[test]
fn timestamps_must_lie_in_the_window_of_the_topic() {
    let limits = BatchLimits { now: NOW, before_max_ms: 10, after_max_ms: 5, ..BatchLimits::default() };
    let mut builder = BatchBuilder::new();
    for delta in [0, -10, -11, 5, 6] {
        builder.push(Timestamp(NOW.0 + delta), None, None);
    }
    builder.push(Timestamp::NONE, None, None); // no timestamp is never wrong
    let batch = built(builder);
    let error = check(batch.clone(), &limits).expect_err("two are outside");
    let named: Vec<_> = error.record_errors().iter().map(|e| e.index).collect();
    assert_eq!(named, [2, 4]);
    assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
    // Where the leader's time counts, the client's is not looked at.
    let limits = BatchLimits { timestamp_type: TimestampType::LogAppendTime, ..limits };
    assert!(check(batch, &limits).is_ok());
}

#[test]
fn an_error_lists_a_bounded_number_of_records() {
    let mut builder = BatchBuilder::new();
    for _ in 0..RECORD_ERRORS_MAX + 50 {
        builder.push(NOW, None, None);
    }
    let limits = BatchLimits { require_key: true, ..BatchLimits::default() };
    let error = check(built(builder), &limits).expect_err("no keys");
    assert_eq!(error.record_errors().len(), RECORD_ERRORS_MAX);
}

/// Some clients put anything into the header's max timestamp, or the bit of LogAppendTime. Kafka sets both
/// right.
#[test]
fn max_timestamp_and_type_are_set_right() {
    for codec in Codec::ALL {
        let batch = built(three_packed(codec));
        let wrong = with_header(&batch, |h| {
            h.max_timestamp = Timestamp(5);
            h.attributes = h.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        });
        let right = check(wrong, &BatchLimits::default()).expect("valid");
        let appended = right.assign(Offset(0), LeaderEpoch::NONE, None);
        assert_eq!(appended.to_bytes(), batch, "{codec}");
    }
}

#[test]
fn assigning_sets_offset_and_epoch_and_shares_the_records() {
    let batch = built(three());
    let appended = check(batch.clone(), &BatchLimits::default()).expect("valid").assign(
        Offset(1 << 40),
        LeaderEpoch(9),
        None,
    );
    assert_eq!(appended.body.as_ptr(), batch[HEADER_LEN..].as_ptr(), "not copied");
    let view = BatchView::parse(appended.to_bytes()).expect("a batch");
    view.check_crc().expect("CRC does not cover what was set");
    let header = view.header();
    assert_eq!((header.base_offset, header.partition_leader_epoch), (Offset(1 << 40), LeaderEpoch(9)));
    assert_eq!((header.last_offset(), header.next_offset()), (Offset((1 << 40) + 2), Offset((1 << 40) + 3)));
}

#[test]
fn the_broker_itself_may_write_control_batches_but_not_packed_ones() {
    let limits = BatchLimits { origin: Origin::Broker, ..BatchLimits::default() };
    let control = |codec| {
        let mut builder = BatchBuilder::new().codec(codec);
        builder.push_control(NOW, &ControlRecord::Commit { coordinator_epoch: 1 });
        built(builder)
    };
    assert!(check(control(Codec::None), &limits).is_ok());
    let error = check(control(Codec::Zstd), &limits).expect_err("packed");
    assert_eq!(error, BatchError::Header(HeaderFault::CompressedControl));
}

/// Offsets that are committed in a transaction carry the producer, but are not part of its sequence.
#[test]
fn the_broker_itself_may_write_for_a_producer_without_a_sequence() {
    let batch = built(three_of(ProducerId(1), Sequence::NONE));
    assert!(check(batch.clone(), &BatchLimits { origin: Origin::Broker, ..BatchLimits::default() }).is_ok());
    assert_eq!(refused(batch), BatchError::Header(HeaderFault::Sequence(-1)));
}

#[test]
fn builder_refuses_offsets_that_a_batch_cannot_hold() {
    let at = |offsets: &[i64]| {
        let mut builder = BatchBuilder::new().base_offset(Offset(10));
        for &offset in offsets {
            builder.push_at(Offset(offset), NOW, None, None, &[]);
        }
        builder.build()
    };
    assert!(at(&[10, 12, 10 + i64::from(i32::MAX) - 1]).is_ok());
    for offsets in [&[9][..], &[12, 11], &[10, 10], &[10 + i64::from(i32::MAX)], &[i64::MAX]] {
        assert!(matches!(at(offsets), Err(BatchError::Build(_))), "{offsets:?}");
    }
    let mut later =
        BatchBuilder::in_place_of(&BatchHeader::parse(&built(three())).expect("a header")).expect("ok");
    later.push_at(Offset(3), NOW, None, None, &[]);
    assert!(matches!(later.build(), Err(BatchError::Build(_))), "after the last offset of the old batch");
}
