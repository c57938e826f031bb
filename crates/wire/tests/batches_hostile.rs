//! Bytes from strangers: nothing panics, nothing is let in, nothing is allocated on a stranger's word.

use bytes::Bytes;
use ottla_wire::batch::{
    BatchBuilder, BatchHeader, BatchLimits, BatchView, ControlRecord, HEADER_LEN, Header, Record,
    SCRATCH_KEEP_BYTES, Scratch, Stamp, batches, validate,
};
use ottla_wire::compress::{Codec, CodecError, compress, decompress};
use ottla_wire::{Offset, Timestamp};

/// A small generator, so that a failure is the same every time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

fn batch(codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new().codec(codec);
    let header = Header { key: Bytes::from_static(b"trace"), value: Some(Bytes::from_static(b"abc")) };
    for i in 0..6i64 {
        let value = b"some text that repeats, some text that repeats".repeat(i as usize);
        builder.push_with_headers(
            Timestamp(1000 + i * 77),
            Some(b"key"),
            Some(&value),
            std::slice::from_ref(&header),
        );
    }
    builder.build().expect("builds")
}

/// Everything that reads a batch, on bytes that may be anything.
fn read_all(bytes: &Bytes, scratch: &mut Scratch) {
    let limits = BatchLimits { max_decompressed_bytes: 1 << 16, ..BatchLimits::default() };
    let _ = validate(bytes.clone(), &limits, scratch).map(|batch| batch.assign(Offset(1), 2.into(), None));
    for batch in batches(bytes.clone()).flatten() {
        let header = batch.header();
        let _ = (header.last_offset(), header.next_offset(), header.last_sequence(), header.delete_horizon());
        for record in batch.records(1 << 16).into_iter().flatten().flatten() {
            let _ = ControlRecord::parse(record.key.as_ref(), record.value.as_ref());
        }
        let records = batch.records(1 << 16).into_iter().flatten();
        let stamps = batch.stamps(1 << 16).into_iter().flatten();
        let stamp = |record: Record| Stamp { offset: record.offset, timestamp: record.timestamp };
        assert!(records.map(|record| record.map(stamp)).eq(stamps), "the stamps are those of the records");
    }
}

#[test]
fn no_bit_of_a_batch_can_flip_unseen() {
    let mut scratch = Scratch::default();
    for codec in Codec::ALL {
        let good = batch(codec);
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let outcome = validate(bad.into(), &BatchLimits::default(), &mut scratch);
            // The leader sets base offset and leader epoch; what a client puts there does not count.
            let ignored = matches!(bit / 8, 0..8 | 12..16);
            assert_eq!(outcome.is_ok(), ignored, "{codec}, bit {bit}: {outcome:?}");
        }
    }
}

/// With a CRC that fits, so that what lies behind the CRC is reached.
#[test]
fn no_change_makes_a_reader_panic() {
    let mut noise = Noise(0x5eed_0001);
    let mut scratch = Scratch::default();
    for codec in Codec::ALL {
        let good = batch(codec);
        for _ in 0..3000 {
            let mut bad = good.to_vec();
            for _ in 0..=noise.below(4) {
                // Half of the changes hit the header or the first bytes of the body.
                let span = if noise.below(2) == 0 { (HEADER_LEN + 16).min(bad.len()) } else { bad.len() };
                let at = 12 + noise.below(span - 12);
                bad[at] = if noise.below(3) == 0 { 0xff } else { noise.next() as u8 };
            }
            if noise.below(4) == 0 {
                bad.truncate(noise.below(bad.len()));
            }
            if bad.len() >= HEADER_LEN {
                bad[16] = 2;
                let crc = crc32c::crc32c(&bad[21..]);
                bad[17..21].copy_from_slice(&crc.to_be_bytes());
                let length = (bad.len() - 12) as i32;
                bad[8..12].copy_from_slice(&length.to_be_bytes());
            }
            read_all(&bad.into(), &mut scratch);
        }
    }
}

#[test]
fn random_bytes_make_no_reader_panic() {
    let mut noise = Noise(0x5eed_0002);
    let mut scratch = Scratch::default();
    let mut out = Vec::new();
    for _ in 0..4000 {
        let len = noise.below(400);
        let mut bytes = noise.bytes(len);
        read_all(&Bytes::from(bytes.clone()), &mut scratch);
        for codec in Codec::ALL {
            let _ = decompress(codec, &bytes, 1 << 16, &mut out);
            assert!(out.len() <= 1 << 16);
            // Half of them with the start of a real stream.
            let mut start = Vec::new();
            compress(codec, None, b"", &mut start).expect("packs");
            let keep = start.len().min(bytes.len());
            bytes[..keep].copy_from_slice(&start[..keep]);
            let _ = decompress(codec, &bytes, 1 << 16, &mut out);
            assert!(out.len() <= 1 << 16);
        }
    }
}

#[test]
fn damaged_streams_make_no_codec_panic() {
    let mut noise = Noise(0x5eed_0003);
    let mut out = Vec::new();
    let text: Vec<u8> =
        (0..3000).map(|i| if i % 5 == 0 { noise.next() as u8 } else { (i / 50) as u8 }).collect();
    for codec in Codec::ALL {
        let mut good = Vec::new();
        compress(codec, None, &text, &mut good).expect("packs");
        for _ in 0..1500 {
            let mut bad = good.clone();
            for _ in 0..=noise.below(3) {
                let at = noise.below(bad.len());
                bad[at] = noise.next() as u8;
            }
            bad.truncate(bad.len() - noise.below(2) * noise.below(bad.len()));
            let _ = decompress(codec, &bad, 1 << 16, &mut out);
            assert!(out.len() <= 1 << 16);
        }
    }
}

#[test]
fn bombs_stop_at_the_cap() {
    const UNPACKED: usize = 8 << 20;
    const CAP: usize = 1 << 20;
    let zeros = vec![0; UNPACKED];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut bomb = Vec::new();
        compress(codec, None, &zeros, &mut bomb).expect("packs");
        assert!(bomb.len() < UNPACKED / 15, "{codec}: {} bytes are no bomb", bomb.len());
        let mut out = Vec::new();
        assert_eq!(
            decompress(codec, &bomb, CAP, &mut out),
            Err(CodecError::TooLarge { max: CAP }),
            "{codec}"
        );
        assert!(out.capacity() <= CAP + 4096, "{codec} took {} bytes", out.capacity());
        // And below the cap only what the input can be worth: this one is small.
        let mut small = Vec::new();
        compress(codec, None, &[7; 100], &mut small).expect("packs");
        let mut out = Vec::new();
        decompress(codec, &small, usize::MAX, &mut out).expect("unpacks");
        assert!(out.capacity() <= 64 << 10, "{codec} took {} bytes", out.capacity());
    }
}

/// A batch that says 2^31-1 records and has none is refused at once, not after as many rounds.
#[test]
fn a_record_count_is_not_believed() {
    let good = batch(Codec::None);
    let mut header = BatchHeader::parse(&good).expect("a header");
    (header.record_count, header.last_offset_delta) = (i32::MAX, i32::MAX - 1);
    header.seal(&good[HEADER_LEN..]).expect("not too long");
    let bytes: Bytes = [&header.encode()[..], &good[HEADER_LEN..]].concat().into();
    assert!(validate(bytes.clone(), &BatchLimits::default(), &mut Scratch::default()).is_err());
    let view = BatchView::parse(bytes).expect("a batch");
    let records = view.records(1 << 20).expect("not packed");
    assert_eq!(records.filter(|record| record.is_err()).count(), 1, "ends after the first error");
}

/// One large batch does not make a connection hold its room for ever.
#[test]
fn scratch_lets_go_of_large_room() {
    let mut builder = BatchBuilder::new().codec(Codec::Zstd);
    builder.push(Timestamp(0), None, Some(&vec![0; SCRATCH_KEEP_BYTES * 2]));
    let mut scratch = Scratch::default();
    let large = builder.build().expect("builds");
    validate(large, &BatchLimits::default(), &mut scratch).expect("valid");
    assert!(scratch.room() <= SCRATCH_KEEP_BYTES);
    validate(batch(Codec::Zstd), &BatchLimits::default(), &mut scratch).expect("valid");
    assert!((1..=SCRATCH_KEEP_BYTES).contains(&scratch.room()), "kept for the next batch");
}
