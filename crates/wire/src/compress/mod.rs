//! The codecs of record batches, each with a cap on what it may unpack.
//!
//! What is unpacked here comes from strangers. A length that the packed bytes claim is never allocated for on
//! its word alone: the output grows with what was really produced (or with the most that the input could
//! produce), and stops at the cap of the caller with [`CodecError::TooLarge`].
//!
//! - `codec`: which codecs there are, and what can go wrong with one; `output`: the room for what comes out.
//! - `gzip`: RFC 1952, any number of members.
//! - `snappy`: the block framing of Java's snappy library ("xerial"), and a bare snappy block.
//! - `lz4`: the LZ4 frame format.
//! - `zstd`: RFC 8878, any number of frames.

mod codec;
mod gzip;
mod lz4;
mod output;
mod snappy;
mod xxh32;
mod zstd;

pub use codec::{Codec, CodecError};
pub use zstd::ZstdContext;

/// Packs `input` and appends the result to `out`. `level` is [`Codec::default_level`] unless given, and must
/// be one that [`Codec::takes_level`].
///
/// lz4: the level is checked but the fast compressor is used at each of them; the library has no other.
pub fn compress(codec: Codec, level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let level = level.unwrap_or(codec.default_level());
    if !codec.takes_level(level) {
        return Err(CodecError::Level { codec, level });
    }
    match codec {
        Codec::None => out.extend_from_slice(input),
        Codec::Gzip => gzip::compress(level, input, out)?,
        Codec::Snappy => snappy::compress(input, out)?,
        Codec::Lz4 => lz4::compress(input, out)?,
        Codec::Zstd => zstd::compress(level, input, out)?,
    }
    Ok(())
}

/// Unpacks all of `input` into `out`, whose former content is dropped and whose room is used again.
///
/// At most `max` bytes come out; more is [`CodecError::TooLarge`]. `out` is not grown beyond `max` (and a
/// small constant) bytes, whatever the input claims. After an error the content of `out` means nothing.
pub fn decompress(codec: Codec, input: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    decompress_with(&mut ZstdContext::default(), codec, input, max, out)
}

/// [`decompress`] for one who unpacks often and keeps what zstd needs for it.
pub fn decompress_with(
    zstd: &mut ZstdContext,
    codec: Codec,
    input: &[u8],
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    out.clear();
    match codec {
        Codec::None if input.len() > max => Err(CodecError::TooLarge { max }),
        Codec::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        Codec::Gzip => gzip::decompress(input, max, out),
        Codec::Snappy => snappy::decompress(input, max, out),
        Codec::Lz4 => lz4::decompress(input, max, out),
        Codec::Zstd => zstd.decompress(input, max, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_kafka_refuses_is_refused() {
        let mut out = Vec::new();
        for (codec, level) in [(Codec::Gzip, 0), (Codec::Gzip, 10), (Codec::Lz4, 18), (Codec::Zstd, 23)] {
            assert_eq!(compress(codec, Some(level), b"x", &mut out), Err(CodecError::Level { codec, level }));
        }
        assert!(out.is_empty());
    }
}
