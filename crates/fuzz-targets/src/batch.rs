//! Record batches: what `validate` lets in can be read, placed in a log, packed anew and let in again.

use bytes::Bytes;
use ottla_wire::batch::{
    BatchBuilder, BatchError, BatchHeader, BatchLimits, BatchView, ControlRecord, HEADER_LEN, Origin, Record,
    Scratch, TimestampType, ValidatedBatch, batches, recompress, validate,
};
use ottla_wire::compress::Codec;
use ottla_wire::{LeaderEpoch, Offset, Timestamp};

/// What a batch may unpack to here.
const UNPACKED_MAX: usize = 1 << 20;

/// What the bits of the first byte ask for, from the lowest up.
struct Wishes {
    /// Length, magic and CRC are set right, so that what lies behind them is reached.
    sealed: bool,
    limits: BatchLimits,
    append_time: Option<Timestamp>,
    /// The codec to pack the batch with.
    codec: Codec,
}

impl Wishes {
    fn of(byte: u8) -> Wishes {
        let has = |bit: u8| byte & (1 << bit) != 0;
        let limits = BatchLimits {
            origin: if has(1) { Origin::Broker } else { Origin::Client },
            max_decompressed_bytes: UNPACKED_MAX,
            require_key: has(2),
            timestamp_type: if has(3) { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
            ..BatchLimits::default()
        };
        Wishes {
            sealed: has(0),
            limits,
            append_time: has(3).then_some(Timestamp(77)),
            codec: Codec::ALL[usize::from(byte >> 4) % Codec::ALL.len()],
        }
    }
}

/// One byte of wishes, then batches as Produce or a segment holds them.
pub fn batch(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let wishes = Wishes::of(first);
    let mut bytes = rest.to_vec();
    if wishes.sealed {
        seal(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    let mut scratch = Scratch::default();
    if let Ok(valid) = validate(bytes.clone(), &wishes.limits, &mut scratch) {
        check_valid(&bytes, valid, &wishes, &mut scratch);
    }
    let mut read = 0;
    for view in batches(bytes.clone()).map_while(Result::ok) {
        read += view.bytes().len();
        check_view(&view);
    }
    assert!(read <= bytes.len());
}

/// Sets length, magic and CRC of a batch as they must be.
pub fn seal(bytes: &mut [u8]) {
    let Some(covered) = bytes.get(21..).filter(|_| bytes.len() >= HEADER_LEN) else { return };
    let crc = crc32c::crc32c(covered);
    let length = (bytes.len() - 12) as i32; // inputs are far smaller
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn check_valid(bytes: &Bytes, valid: ValidatedBatch, wishes: &Wishes, scratch: &mut Scratch) {
    assert_eq!(valid.bytes(), bytes);
    let header = *valid.header();
    let records = records_of(bytes);
    assert_eq!(records.len() as i64, i64::from(header.record_count));
    for (i, record) in records.iter().enumerate() {
        assert_eq!(record.offset.0, header.base_offset.0.wrapping_add(i as i64));
        assert!(record.key.is_some() || !wishes.limits.require_key);
    }
    check_max_timestamp(bytes, &header);
    check_assigned(&valid, &records, wishes, scratch);

    let packed = recompress(valid.clone(), wishes.codec, None, UNPACKED_MAX, scratch);
    let packed = packed.expect("what unpacked once can be packed");
    if header.is_control() {
        assert_eq!(packed, valid);
        return;
    }
    assert_eq!(packed.header().codec(), Ok(wishes.codec));
    // Timestamps of records are not in the comparison: a client may have said LogAppendTime, which is not
    // believed.
    let contents = |records: &[Record]| -> Vec<_> {
        records.iter().map(|r| (r.offset, r.key.clone(), r.value.clone(), r.headers.clone())).collect()
    };
    assert_eq!(contents(&records_of(packed.bytes())), contents(&records));
    let generous = BatchLimits { max_bytes: usize::MAX, ..wishes.limits };
    let again = validate(packed.bytes().clone(), &generous, scratch).expect("packed anew it is as good");
    assert_eq!(again.header(), packed.header());
    check_assigned(&packed, &records, wishes, scratch);
}

/// The header says the latest time of the records, whatever came.
fn check_max_timestamp(bytes: &Bytes, header: &BatchHeader) {
    let mut plain = BatchView::parse(bytes.clone()).expect("was let in").into_bytes().to_vec();
    let attributes = header.attributes.0.to_be_bytes(); // CreateTime, so that each record shows its own
    plain[21..23].copy_from_slice(&attributes);
    let latest = records_of(&plain.into()).iter().map(|record| record.timestamp).max();
    assert_eq!(header.max_timestamp, latest.unwrap_or(Timestamp::NONE).max(Timestamp::NONE));
}

/// The batch in its place in a log: whole, with a good CRC, the same records at their new offsets, and still
/// let in.
fn check_assigned(valid: &ValidatedBatch, records: &[Record], wishes: &Wishes, scratch: &mut Scratch) {
    let (base, epoch) = (Offset(1 << 40), LeaderEpoch(7));
    let placed = valid.clone().assign(base, epoch, wishes.append_time);
    let bytes = placed.to_bytes();
    assert_eq!(bytes.len(), valid.total_len());
    let view = BatchView::parse(bytes.clone()).expect("a whole batch");
    assert_eq!(view.bytes().len(), bytes.len());
    assert_eq!(view.check_crc(), Ok(()));
    assert_eq!(view.header(), &placed.header);
    assert_eq!((view.header().base_offset, view.header().partition_leader_epoch), (base, epoch));
    let stored = records_of(&bytes);
    assert_eq!(stored.len(), records.len());
    for (i, (stored, record)) in stored.iter().zip(records).enumerate() {
        assert_eq!(stored.offset.0, base.0 + i as i64);
        assert_eq!(
            (&stored.key, &stored.value, &stored.headers),
            (&record.key, &record.value, &record.headers)
        );
        assert!(wishes.append_time.is_none_or(|now| stored.timestamp == now));
        assert!(wishes.append_time.is_some() || stored.timestamp <= view.header().max_timestamp);
    }
    let generous = BatchLimits { max_bytes: usize::MAX, ..wishes.limits };
    let again = validate(bytes, &generous, scratch).expect("what a leader stored is let in");
    if wishes.append_time.is_none() {
        assert_eq!(again.header(), view.header());
    }
}

fn records_of(bytes: &Bytes) -> Vec<Record> {
    let view = BatchView::parse(bytes.clone()).expect("a batch");
    let records = view.records(UNPACKED_MAX).expect("it was walked before");
    records.map(|record| record.expect("it was walked before")).collect()
}

/// A batch of which nothing is known: reading it ends, and compaction can put what was read in its place.
fn check_view(view: &BatchView) {
    let header = view.header();
    let _ = (header.last_offset(), header.next_offset(), header.last_sequence(), header.delete_horizon());
    let Ok(records) = view.records(UNPACKED_MAX) else { return };
    let records: Vec<Result<Record, BatchError>> = records.collect();
    let errors = records.iter().filter(|record| record.is_err()).count();
    assert!(errors <= 1, "the records end after an error");
    assert!(records.len() - errors <= UNPACKED_MAX.max(view.bytes().len()), "each record takes bytes");
    for record in records.iter().flatten() {
        if let Ok(Some(control)) = ControlRecord::parse(record.key.as_ref(), record.value.as_ref()) {
            let again =
                ControlRecord::parse(Some(&Bytes::copy_from_slice(&control.key())), Some(&control.value()));
            assert_eq!(again, Ok(Some(control)));
        }
    }
    let Ok(records) = records.into_iter().collect::<Result<Vec<Record>, _>>() else { return };
    let Ok(mut builder) = BatchBuilder::in_place_of(header) else { return };
    for record in &records {
        builder.push_record(record);
    }
    // Records out of order cannot be put anywhere, and are not in a log.
    let Ok(rebuilt) = builder.build() else { return };
    let rebuilt = BatchView::parse(rebuilt).expect("what was built is a batch");
    assert_eq!(rebuilt.check_crc(), Ok(()));
    let facts =
        |header: &BatchHeader| (header.base_offset, header.last_offset(), header.partition_leader_epoch);
    assert_eq!(facts(rebuilt.header()), facts(header));
    let again: Result<Vec<Record>, _> = rebuilt.records(usize::MAX).expect("unpacks").collect();
    assert_eq!(again.as_ref(), Ok(&records));
}
