//! gzip (RFC 1952).

use std::io::{Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::{Compression, GzBuilder};

use super::codec::{Codec, CodecError};
use super::output::grow;

/// What the header says of the system that wrote it: unknown, as Java writes.
const OS_UNKNOWN: u8 = 255;

/// Output is first given this much room.
const FIRST_STEP_BYTES: usize = 16 * 1024;

pub fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let level = u32::try_from(level).map_or(Compression::default(), Compression::new);
    let failed = |_| CodecError::Failed { codec: Codec::Gzip, what: "the compressor failed" };
    let mut encoder = GzBuilder::new().operating_system(OS_UNKNOWN).write(out, level);
    encoder.write_all(input).map_err(failed)?;
    encoder.finish().map_err(failed)?;
    Ok(())
}

pub fn decompress(input: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut decoder = MultiGzDecoder::new(input);
    let mut filled = 0;
    loop {
        if filled == out.len() {
            // One byte more than is allowed, to tell an output that just fits from one that does not.
            let step = filled.max(FIRST_STEP_BYTES);
            grow(out, filled.saturating_add(step).min(max.saturating_add(1)), max.saturating_add(1));
        }
        match decoder.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(_) => return Err(CodecError::Corrupt { codec: Codec::Gzip, what: "not a gzip stream" }),
        }
        if filled > max {
            return Err(CodecError::TooLarge { max });
        }
    }
    out.truncate(filled);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_one_after_another_are_one_stream() {
        let mut packed = Vec::new();
        compress(-1, b"one ", &mut packed).unwrap();
        compress(9, b"two", &mut packed).unwrap();
        let mut out = Vec::new();
        decompress(&packed, 100, &mut out).unwrap();
        assert_eq!(out, b"one two");
    }

    #[test]
    fn the_cap_is_exact() {
        let mut packed = Vec::new();
        compress(-1, &[7; 1000], &mut packed).unwrap();
        let mut out = Vec::new();
        assert_eq!(decompress(&packed, 999, &mut out), Err(CodecError::TooLarge { max: 999 }));
        out.clear();
        assert_eq!(decompress(&packed, 1000, &mut out), Ok(()));
        assert_eq!(out, [7; 1000]);
    }
}
