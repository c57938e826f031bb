//! Snappy, as Kafka's clients frame it.
//!
//! Java's library writes a 16-byte header (magic, version, oldest version that can read it) and then blocks,
//! each with its packed length in front: `i32`, big-endian. Some clients of other languages write one bare
//! snappy block instead, and Kafka reads that too.

use super::codec::{Codec, CodecError};
use super::output::grow;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_LEN: usize = 16;

/// Unpacked bytes in a block that we write: the block size of Java's snappy stream.
const BLOCK_BYTES: usize = 32 * 1024;

/// No snappy element makes more out of less: a copy of 64 bytes takes 3.
const MAX_EXPANSION: usize = 22;

pub fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(BLOCK_BYTES) {
        let start = out.len();
        out.resize(start + 4 + snap::raw::max_compress_len(block.len()), 0);
        let failed = |_| CodecError::Failed { codec: Codec::Snappy, what: "the compressor failed" };
        let packed = encoder.compress(block, &mut out[start + 4..]).map_err(failed)?;
        // A block of 32 KiB packs to well under 2^31 bytes.
        out[start..start + 4].copy_from_slice(&(packed as i32).to_be_bytes());
        out.truncate(start + 4 + packed);
    }
    Ok(())
}

pub fn decompress(input: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    if !input.starts_with(&MAGIC) {
        return decompress_block(input, max, out);
    }
    let mut rest = input;
    while !rest.is_empty() {
        if rest.starts_with(&MAGIC) {
            // Streams may follow one another, each with its header. The versions in it have only ever been 1.
            rest = rest.get(HEADER_LEN..).ok_or(corrupt("header is cut off"))?;
            continue;
        }
        let (len, tail) = rest.split_first_chunk::<4>().ok_or(corrupt("block length is cut off"))?;
        let len = usize::try_from(i32::from_be_bytes(*len)).map_err(|_| corrupt("negative block length"))?;
        let (block, tail) = tail.split_at_checked(len).ok_or(corrupt("block is cut off"))?;
        decompress_block(block, max, out)?;
        rest = tail;
    }
    Ok(())
}

/// Appends one unpacked block.
fn decompress_block(block: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let claimed = snap::raw::decompress_len(block).map_err(|_| corrupt("no block length"))?;
    if claimed > block.len().saturating_mul(MAX_EXPANSION) {
        return Err(corrupt("claims more than its bytes can hold"));
    }
    let start = out.len();
    if claimed > max - start {
        return Err(CodecError::TooLarge { max });
    }
    grow(out, start + claimed, max);
    snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|_| corrupt("not a snappy block"))?;
    Ok(())
}

fn corrupt(what: &'static str) -> CodecError {
    CodecError::Corrupt { codec: Codec::Snappy, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(packed: &[u8], max: usize) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::new();
        decompress(packed, max, &mut out).map(|()| out)
    }

    #[test]
    fn a_bare_block_is_read() {
        let packed = snap::raw::Encoder::new().compress_vec(b"bare block").unwrap();
        assert_eq!(unpack(&packed, 100).unwrap(), b"bare block");
    }

    #[test]
    fn blocks_are_of_32_kib_and_streams_may_follow_one_another() {
        let text: Vec<u8> = (0..100_000u32).map(|i| (i / 7) as u8).collect();
        let mut packed = Vec::new();
        compress(&text[..70_000], &mut packed).unwrap();
        assert_eq!(packed[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
        let first = u32::from_be_bytes(packed[16..20].try_into().unwrap()) as usize;
        assert_eq!(snap::raw::decompress_len(&packed[20..20 + first]).unwrap(), 32 * 1024);
        compress(&text[70_000..], &mut packed).unwrap();
        assert_eq!(unpack(&packed, 100_000).unwrap(), text);
        assert_eq!(unpack(&packed, 99_999), Err(CodecError::TooLarge { max: 99_999 }));
    }

    #[test]
    fn a_block_that_claims_too_much_is_not_believed() {
        // The length of 4 GiB - 1 as snappy writes it, and two bytes of data.
        let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x04, 0x61];
        assert!(matches!(unpack(&lie, usize::MAX), Err(CodecError::Corrupt { .. })));
    }
}
