//! The codecs of record batches, each with a cap on what it may unpack.
//!
//! What is unpacked here comes from strangers. A length that the packed bytes claim is never allocated for on
//! its word alone: the output grows with what was really produced (or with the most that the input could
//! produce), and stops at the cap of the caller with [`CodecError::TooLarge`].
//!
//! - `gzip`: RFC 1952, any number of members.
//! - `snappy`: the block framing of Java's snappy library ("xerial"), and a bare snappy block.
//! - `lz4`: the LZ4 frame format.
//! - `zstd`: RFC 8878, any number of frames.

mod gzip;
mod lz4;
mod snappy;
mod xxh32;
mod zstd;

use std::fmt;

pub use zstd::ZstdContext;

/// How the records of a batch are packed: bits 0 to 2 of its attributes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// Every codec, in the order of the ids.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The number in a batch's attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The codec of a number in a batch's attributes; `None` for 5 and up, which Kafka has not given out.
    pub fn from_id(id: u8) -> Option<Codec> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// The name as clients write it in `compression.type`. (Topics say `uncompressed` for `none`.)
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// Reads [`Codec::name`], and `uncompressed`.
    pub fn from_name(name: &str) -> Option<Codec> {
        if name == "uncompressed" {
            return Some(Codec::None);
        }
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// The level that is used where none is given: Kafka's defaults of `compression.<codec>.level`.
    pub fn default_level(self) -> i32 {
        match self {
            Codec::None | Codec::Snappy => 0,
            Codec::Gzip => -1,
            Codec::Lz4 => 9,
            Codec::Zstd => 3,
        }
    }

    /// True for a level that `compression.<codec>.level` takes: gzip -1 and 1 to 9, lz4 1 to 17, zstd -131072
    /// to 22. The others have no levels and take their default only.
    pub fn takes_level(self, level: i32) -> bool {
        match self {
            Codec::None | Codec::Snappy => level == self.default_level(),
            Codec::Gzip => level == -1 || (1..=9).contains(&level),
            Codec::Lz4 => (1..=17).contains(&level),
            Codec::Zstd => (-131_072..=22).contains(&level),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes could not be packed or unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// The unpacked bytes would be more than the caller allows. Nothing is said about how many more.
    #[error("unpacks to more than the {max} bytes that are allowed")]
    TooLarge { max: usize },
    /// The packed bytes are not what the codec writes.
    #[error("{codec} data is broken: {what}")]
    Corrupt { codec: Codec, what: &'static str },
    /// The codec has no such level.
    #[error("{codec} has no compression level {level}")]
    Level { codec: Codec, level: i32 },
    /// The codec failed for a reason that is not in the bytes (no memory).
    #[error("{codec} failed: {what}")]
    Failed { codec: Codec, what: &'static str },
}

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

/// Makes `out` `len` bytes long (zeros at the end) and keeps its capacity within `max`, where doubling would
/// pass it.
fn grow(out: &mut Vec<u8>, len: usize, max: usize) {
    if len > out.capacity() {
        let room = out.capacity().saturating_mul(2).min(max).max(len);
        out.reserve_exact(room - out.len());
    }
    out.resize(len, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_kafkas() {
        let expected = [(0, "none"), (1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")];
        for (codec, (id, name)) in Codec::ALL.into_iter().zip(expected) {
            assert_eq!((codec.id(), codec.name()), (id, name));
            assert_eq!(Codec::from_id(id), Some(codec));
            assert_eq!(Codec::from_name(name), Some(codec));
            assert!(codec.takes_level(codec.default_level()));
        }
        assert_eq!(Codec::from_id(5), None);
        assert_eq!(Codec::from_name("uncompressed"), Some(Codec::None));
    }

    #[test]
    fn a_level_that_kafka_refuses_is_refused() {
        let mut out = Vec::new();
        for (codec, level) in [(Codec::Gzip, 0), (Codec::Gzip, 10), (Codec::Lz4, 18), (Codec::Zstd, 23)] {
            assert_eq!(compress(codec, Some(level), b"x", &mut out), Err(CodecError::Level { codec, level }));
        }
        assert!(out.is_empty());
    }

    #[test]
    fn growth_stops_at_the_cap() {
        let mut out = vec![1; 600];
        grow(&mut out, 700, 1000);
        assert_eq!(out.len(), 700);
        assert!(out.capacity() <= 1024, "{}", out.capacity());
    }
}
