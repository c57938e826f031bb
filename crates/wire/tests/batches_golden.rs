//! Record batches as Kafka 4.3.1 builds them: each reads here as it reads there, and is built here to the
//! same bytes.

use std::fmt::Write;

use bytes::Bytes;
use ottla_wire::batch::{
    BatchBuilder, BatchHeader, BatchLimits, BatchView, ControlRecord, Record, Scratch, TimestampType,
    batches, end_txn_marker, recompress, validate,
};
use ottla_wire::compress::Codec;
use ottla_wire::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Lines of `name, hex, what a reader sees`, separated by tabs.
const GOLDEN: &str = include_str!("data/batches.golden.tsv");
const ROWS: usize = 20;
/// Texts longer than this are shortened in the golden file.
const SHOWN: usize = 40;
const MAX: usize = 1 << 20;

struct Row {
    name: &'static str,
    bytes: Bytes,
    seen: &'static str,
}

fn rows() -> Vec<Row> {
    GOLDEN.lines().map(row).collect()
}

fn row(line: &'static str) -> Row {
    let columns: Vec<&str> = line.split('\t').collect();
    let [name, hex, seen] = columns[..] else { panic!("three columns: {line}") };
    let digits = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("ASCII"));
    let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect();
    Row { name, bytes: bytes.into(), seen }
}

fn named(name: &str) -> Bytes {
    rows().into_iter().find(|row| row.name == name).expect(name).bytes
}

fn view(bytes: &Bytes) -> BatchView {
    BatchView::parse(bytes.clone()).expect("a batch")
}

fn records(batch: &BatchView) -> Vec<Record> {
    batch.records(MAX).expect("unpacks").map(|record| record.expect("a record")).collect()
}

/// What a reader sees, written as the golden file writes it.
fn seen(bytes: &Bytes) -> String {
    let mut out = String::new();
    for batch in batches(bytes.clone()) {
        let batch = batch.expect("a batch");
        batch.check_crc().expect("CRC");
        see_header(batch.header(), &mut out);
        for record in records(&batch) {
            see_record(&record, &mut out);
        }
    }
    out.trim_end().to_owned()
}

fn see_header(h: &BatchHeader, out: &mut String) {
    let (base, last, epoch) = (h.base_offset, h.last_offset(), h.partition_leader_epoch);
    let (pid, pepoch, seq) = (h.producer_id, h.producer_epoch, h.base_sequence);
    let (txn, control, codec) = (h.is_transactional(), h.is_control(), h.codec().expect("a known codec"));
    let (tstype, maxts, n, crc) = (h.timestamp_type(), h.max_timestamp, h.record_count, h.crc);
    let horizon =
        h.delete_horizon().map_or("OptionalLong.empty".to_owned(), |t| format!("OptionalLong[{t}]"));
    write!(
        out,
        "{{base={base} last={last} epoch={epoch} pid={pid} pepoch={pepoch} seq={seq} txn={txn} control={control} \
         codec={codec} tstype={tstype:?} maxts={maxts} horizon={horizon} n={n} crc={crc}}} "
    )
    .expect("a string takes it");
}

fn see_record(record: &Record, out: &mut String) {
    let Record { offset, timestamp, key, value, headers } = record;
    let (key, value) = (hex(key.as_ref()), hex(value.as_ref()));
    write!(out, "[off={offset} ts={timestamp} key={key} value={value}").expect("a string takes it");
    for header in headers {
        let key = str::from_utf8(&header.key).expect("UTF-8");
        write!(out, " h:{key}={}", hex(header.value.as_ref())).expect("a string takes it");
    }
    out.push_str("] ");
}

/// Of a long text the golden file has the start and, in brackets, the length in bytes.
fn hex(bytes: Option<&Bytes>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match bytes.get(..SHOWN) {
        Some(start) if bytes.len() > SHOWN => format!("{}..({})", digits(start), bytes.len()),
        _ => digits(bytes),
    }
}

/// The same batch from its parts, by the builder. The timestamps of records in a LogAppendTime batch are gone
/// for a reader, so they are read as if it were none.
fn rebuild(batch: &BatchView) -> Bytes {
    let header = batch.header();
    let mut bytes = batch.bytes().to_vec();
    bytes[22] &= !(1 << 3);
    let as_created = view(&Bytes::from(bytes));
    let mut builder = BatchBuilder::in_place_of(header).expect("a known codec");
    for record in records(&as_created) {
        builder.push_record(&record);
    }
    builder.build().expect("builds")
}

#[test]
fn every_batch_reads_as_kafka_reads_it() {
    let rows = rows();
    assert_eq!(rows.len(), ROWS);
    for Row { name, bytes, seen: expected } in rows {
        assert_eq!(seen(&bytes), expected, "{name}");
    }
}

#[test]
fn unpacked_batches_are_built_to_the_same_bytes() {
    let mut built = 0;
    for Row { name, bytes, .. } in rows() {
        for batch in batches(bytes) {
            let batch = batch.expect("a batch");
            if batch.header().codec() == Ok(Codec::None) {
                assert_eq!(rebuild(&batch), batch.bytes(), "{name}");
                built += 1;
            }
        }
    }
    assert_eq!(built, 11);
}

/// The golden file shows long values shortened; the unpacked rows have them in full.
#[test]
fn every_codec_of_kafka_unpacks_to_the_same_records() {
    for size in ["few", "many"] {
        let plain = records(&view(&named(&format!("none/{size}"))));
        for codec in ["gzip", "snappy", "lz4", "zstd"] {
            assert_eq!(records(&view(&named(&format!("{codec}/{size}")))), plain, "{codec}/{size}");
        }
    }
}

/// Other compressors than Java's give other bytes, so a packed batch is compared by what it unpacks to.
#[test]
fn packed_batches_are_built_to_the_same_records() {
    let mut built = 0;
    for Row { name, bytes, .. } in rows() {
        for batch in batches(bytes) {
            let batch = batch.expect("a batch");
            if batch.header().codec() == Ok(Codec::None) {
                continue;
            }
            let rebuilt = view(&rebuild(&batch));
            assert_eq!(records(&rebuilt), records(&batch), "{name}");
            let BatchHeader { batch_length, crc, .. } = *rebuilt.header();
            assert_eq!(*rebuilt.header(), BatchHeader { batch_length, crc, ..*batch.header() }, "{name}");
            built += 1;
        }
    }
    assert_eq!(built, 10);
}

#[test]
fn transaction_markers_are_built_to_the_same_bytes() {
    let coordinator_epoch = 12;
    for (name, outcome, offset) in [
        ("commit-marker", ControlRecord::Commit { coordinator_epoch }, 99),
        ("abort-marker", ControlRecord::Abort { coordinator_epoch }, 100),
    ] {
        let time = Timestamp(1_700_000_000_000);
        let marker = end_txn_marker(ProducerId(4000), ProducerEpoch(3), &outcome, time).expect("builds");
        let limits = BatchLimits { origin: ottla_wire::batch::Origin::Broker, ..BatchLimits::default() };
        let marker = validate(marker, &limits, &mut Scratch::default()).expect("brokers may write markers");
        let appended = marker.assign(Offset(offset), LeaderEpoch(7), None);
        assert_eq!(appended.to_bytes(), named(name), "{name}");
        let record = &records(&view(&named(name)))[0];
        let parsed = ControlRecord::parse(record.key.as_ref(), record.value.as_ref());
        assert_eq!(parsed, Ok(Some(outcome)));
    }
}

/// The golden LogAppendTime batch is the plain one, appended at offset 10 by a leader that puts its time in.
#[test]
fn log_append_time_is_put_in_as_kafka_does() {
    let limits = BatchLimits { timestamp_type: TimestampType::LogAppendTime, ..BatchLimits::default() };
    let batch = validate(named("none/few"), &limits, &mut Scratch::default()).expect("valid");
    let appended = batch.assign(Offset(10), LeaderEpoch::NONE, Some(Timestamp(1_700_000_001_234)));
    assert_eq!(appended.to_bytes(), named("log-append-time"));
    assert_eq!(view(&appended.to_bytes()).header(), &appended.header);
}

#[test]
fn what_kafkas_producers_send_is_valid_and_appended_as_it_came() {
    let mut scratch = Scratch::default();
    for Row { name, bytes, .. } in rows() {
        let sent = name.contains('/') || ["idempotent", "transactional", "sequence-wraps"].contains(&name);
        let batch = validate(bytes.clone(), &BatchLimits::default(), &mut scratch);
        assert_eq!(batch.is_ok(), sent || name == "log-append-time", "{name}: {batch:?}");
        if sent {
            let header = *view(&bytes).header();
            let (offset, epoch) = (header.base_offset, header.partition_leader_epoch);
            let appended = batch.expect(name).assign(offset, epoch, None);
            assert_eq!(appended.to_bytes(), bytes, "{name}");
        }
    }
}

#[test]
fn every_batch_can_be_packed_with_every_codec() {
    let mut scratch = Scratch::default();
    for name in
        ["none/few", "none/many", "gzip/many", "snappy/many", "lz4/many", "zstd/many", "transactional"]
    {
        let original = records(&view(&named(name)));
        for codec in Codec::ALL {
            let batch = validate(named(name), &BatchLimits::default(), &mut scratch).expect(name);
            let packed = recompress(batch, codec, None, MAX, &mut scratch).expect(name);
            assert_eq!(packed.header().codec(), Ok(codec));
            // It stands up to the same check again, and reads the same.
            let again = validate(packed.bytes().clone(), &BatchLimits::default(), &mut scratch);
            assert_eq!(again.as_ref(), Ok(&packed), "{name} {codec}");
            assert_eq!(records(&view(packed.bytes())), original, "{name} {codec}");
            let before = *view(&named(name)).header();
            let BatchHeader { attributes, batch_length, crc, .. } = *packed.header();
            assert_eq!(*packed.header(), BatchHeader { attributes, batch_length, crc, ..before });
            assert_eq!(attributes.with_codec(Codec::None), before.attributes.with_codec(Codec::None));
        }
    }
}
