//! Compression: nothing is unpacked beyond the cap, and what was unpacked can be packed and comes back.

use ottla_wire::compress::{Codec, ZstdContext, compress, decompress, decompress_with};

/// What input may unpack to here.
const UNPACKED_MAX: usize = 1 << 18;

/// What an output buffer may take beyond the cap.
const ROOM_BEYOND_MAX: usize = 4096;

/// Packed bytes, and plain ones.
pub fn gzip(data: &[u8]) {
    codec(Codec::Gzip, data);
}

/// As [`gzip`]; a bare block, or blocks behind the header of Java's library.
pub fn snappy(data: &[u8]) {
    codec(Codec::Snappy, data);
}

/// As [`gzip`].
pub fn lz4(data: &[u8]) {
    codec(Codec::Lz4, data);
}

/// As [`gzip`].
pub fn zstd(data: &[u8]) {
    codec(Codec::Zstd, data);
}

fn codec(codec: Codec, data: &[u8]) {
    check_packed(codec, data);
    check_plain(codec, data);
}

/// Reads `data` as packed bytes.
fn check_packed(codec: Codec, data: &[u8]) {
    let mut out = Vec::new();
    let outcome = decompress(codec, data, UNPACKED_MAX, &mut out);
    assert!(out.len() <= UNPACKED_MAX && out.capacity() <= UNPACKED_MAX + ROOM_BEYOND_MAX);
    // What was done before with the room and the context leaves no trace.
    let mut used = vec![0xaa; 100];
    let mut context = ZstdContext::default();
    for _ in 0..2 {
        assert_eq!(decompress_with(&mut context, codec, data, UNPACKED_MAX, &mut used), outcome);
    }
    if outcome.is_err() {
        return;
    }
    assert!(used == out);
    // The cap is what comes out at most, and exactly that.
    assert_eq!(decompress(codec, data, out.len(), &mut used), Ok(()), "capped at {}", out.len());
    assert!(used == out);
    if !out.is_empty() {
        assert!(decompress(codec, data, out.len() - 1, &mut used).is_err());
    }
    check_plain(codec, &out);
}

/// Packs `data`, and unpacks it.
fn check_plain(codec: Codec, data: &[u8]) {
    let mut packed = Vec::new();
    compress(codec, None, data, &mut packed).expect("anything can be packed");
    let mut out = Vec::new();
    assert_eq!(decompress(codec, &packed, data.len(), &mut out), Ok(()));
    assert!(out == data, "{codec} does not give back what it was given");
}
