//! Laws of batches, over batches of every shape.

use bytes::Bytes;
use ottla_wire::batch::{
    BatchBuilder, BatchHeader, BatchLimits, BatchView, HEADER_LEN, Header, Record, Scratch, recompress,
    validate,
};
use ottla_wire::compress::{Codec, compress, decompress};
use ottla_wire::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

const MAX: usize = 1 << 24;

fn codec() -> impl Strategy<Value = Codec> {
    (0..5u8).prop_map(|id| Codec::from_id(id).expect("there are five"))
}

fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), len).prop_map(Bytes::from)
}

fn header() -> impl Strategy<Value = Header> {
    (bytes(0..12), of(bytes(0..80))).prop_map(|(key, value)| Header { key, value })
}

/// Records with offsets that rise from the base, by one if `dense`.
fn records(base: i64, dense: bool) -> impl Strategy<Value = Vec<Record>> {
    let step = if dense { 0..1i64 } else { 0..100_000i64 };
    // Long values are rare, so that lengths of one, two and three bytes are all seen.
    let value = prop_oneof![9 => bytes(0..200), 1 => bytes(8_000..40_000)];
    let record = (step, any::<i64>(), of(bytes(0..100)), of(value), vec(header(), 0..4));
    vec(record, 1..40).prop_map(move |parts| {
        let mut next = base;
        let with_offset = |(gap, timestamp, key, value, headers)| {
            let offset = Offset(next + gap);
            next = offset.0 + 1;
            Record { offset, timestamp: Timestamp(timestamp), key, value, headers }
        };
        parts.into_iter().map(with_offset).collect()
    })
}

fn build(builder: BatchBuilder, records: &[Record]) -> Bytes {
    let mut builder = builder;
    for record in records {
        builder.push_record(record);
    }
    builder.build().expect("builds")
}

fn read(batch: &Bytes) -> Vec<Record> {
    let view = BatchView::parse(batch.clone()).expect("a batch");
    view.check_crc().expect("CRC");
    view.records(MAX).expect("unpacks").map(|record| record.expect("a record")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn build_then_read_is_identity(codec in codec(), records in records(1 << 33, false)) {
        let batch = build(BatchBuilder::new().base_offset(Offset(1 << 33)).codec(codec), &records);
        prop_assert_eq!(read(&batch), records);
    }

    #[test]
    fn what_is_built_is_valid_and_recompress_keeps_it(
        from in codec(),
        to in codec(),
        records in records(0, true),
        producer in of((0..i64::MAX, 0..i16::MAX, 0..i32::MAX)),
    ) {
        let mut builder = BatchBuilder::new().codec(from);
        if let Some((id, epoch, sequence)) = producer {
            builder = builder.producer(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence)).transactional();
        }
        let batch = build(builder, &records);
        let mut scratch = Scratch::default();
        let valid = validate(batch.clone(), &BatchLimits::default(), &mut scratch).expect("valid");
        let view = BatchView::parse(batch).expect("a batch");
        prop_assert_eq!(valid.header(), view.header());
        let packed = recompress(valid.clone(), to, None, MAX, &mut scratch).expect("recompresses");
        prop_assert_eq!(packed.header().codec(), Ok(to));
        prop_assert_eq!(read(packed.bytes()), records);
        let back = recompress(packed, from, None, MAX, &mut scratch).expect("recompresses");
        prop_assert_eq!(back.header().attributes, valid.header().attributes);
        let appended = back.assign(Offset(7), LeaderEpoch(3), Some(Timestamp(11))).to_bytes();
        prop_assert!(read(&appended).iter().all(|record| record.timestamp == Timestamp(11)));
    }

    #[test]
    fn header_encode_then_parse_is_identity(head in vec(any::<u8>(), HEADER_LEN), length in 49..i32::MAX) {
        let mut head = head;
        head[8..12].copy_from_slice(&length.to_be_bytes());
        head[16] = 2;
        let header = BatchHeader::parse(&head).expect("a header");
        prop_assert_eq!(&header.encode()[..], &head[..]);
    }

    #[test]
    fn compress_then_decompress_is_identity(
        codec in codec(),
        level in -200..20i32,
        chunks in vec((bytes(0..300), 1..400usize), 0..12),
    ) {
        let input: Vec<u8> = chunks.iter().flat_map(|(chunk, times)| chunk.repeat(*times)).collect();
        let mut packed = b"before".to_vec();
        let level = codec.takes_level(level).then_some(level);
        compress(codec, level, &input, &mut packed).expect("packs");
        prop_assert_eq!(&packed[..6], b"before");
        let mut out = b"dropped".to_vec();
        decompress(codec, &packed[6..], input.len(), &mut out).expect("unpacks");
        prop_assert!(out == input);
    }
}
