//! Zstandard (RFC 8878).
//!
//! Unpacked in one go, so that the output is the window: a frame that asks for a large window costs nothing
//! until it has filled the output. (Unpacking as a stream would set up to 128 MiB aside for a window on a
//! frame's word.)

use std::fmt;

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{self, CCtx, DCtx};

use super::codec::{Codec, CodecError};

/// Output is first given at least this much room.
const FIRST_ROOM_BYTES: usize = 64 * 1024;
/// Records pack to about this part of their size: the first room is that many times the input.
const USUAL_EXPANSION: usize = 4;
/// An output that did not fit is tried again with this many times the room, so all tries together cost little
/// more than the last one.
const ROOM_GROWTH: usize = 4;

pub fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let failed = |what| CodecError::Failed { codec: Codec::Zstd, what };
    let mut context = CCtx::try_create().ok_or(failed("out of memory"))?;
    let start = out.len();
    out.resize(start + zstd_safe::compress_bound(input.len()), 0);
    let packed = context
        .compress(&mut out[start..], input, level)
        .map_err(|code| failed(zstd_safe::get_error_name(code)))?;
    out.truncate(start + packed);
    Ok(())
}

/// What zstd sets up to unpack: worth keeping by one who unpacks often.
#[derive(Default)]
pub struct ZstdContext(Option<DCtx<'static>>);

impl ZstdContext {
    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let corrupt = |what| CodecError::Corrupt { codec: Codec::Zstd, what };
        if self.0.is_none() {
            self.0 = DCtx::try_create();
        }
        let no_memory = CodecError::Failed { codec: Codec::Zstd, what: "out of memory" };
        let context = self.0.as_mut().ok_or(no_memory)?;
        let mut room = input.len().saturating_mul(USUAL_EXPANSION).max(FIRST_ROOM_BYTES).min(max);
        loop {
            out.clear();
            out.reserve_exact(room);
            match context.decompress(out, input) {
                Ok(len) if len > max => return Err(CodecError::TooLarge { max }),
                Ok(_) => return Ok(()),
                Err(code) if !is_too_small(code) => return Err(corrupt(zstd_safe::get_error_name(code))),
                Err(_) if out.capacity() >= max => return Err(CodecError::TooLarge { max }),
                Err(_) => room = out.capacity().saturating_mul(ROOM_GROWTH).min(max),
            }
        }
    }
}

impl fmt::Debug for ZstdContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ZstdContext").field(&self.0.is_some()).finish()
    }
}

fn is_too_small(code: usize) -> bool {
    zstd_safe::is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(packed: &[u8], max: usize) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::new();
        ZstdContext::default().decompress(packed, max, &mut out).map(|()| out)
    }

    #[test]
    fn frames_one_after_another_are_one_stream() {
        let mut packed = Vec::new();
        compress(3, b"one ", &mut packed).unwrap();
        compress(22, b"two", &mut packed).unwrap();
        assert_eq!(unpack(&packed, 100).unwrap(), b"one two");
    }

    #[test]
    fn a_window_of_128_mib_is_read_and_costs_nothing() {
        // A streamed frame (no content size) with a window of 2^27 bytes, as level 22 writes it: one stored
        // block.
        let packed = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x19, 0x00, 0x00, b'a', b'b', b'c'];
        let mut out = Vec::new();
        ZstdContext::default().decompress(&packed, 1 << 30, &mut out).unwrap();
        assert_eq!(out, b"abc");
        assert!(out.capacity() <= FIRST_ROOM_BYTES, "{}", out.capacity());
    }

    #[test]
    fn room_grows_up_to_the_cap_and_no_further() {
        let mut packed = Vec::new();
        compress(1, &vec![0; 10_000_000], &mut packed).unwrap();
        assert_eq!(unpack(&packed, 10_000_000).unwrap().len(), 10_000_000);
        let mut out = Vec::new();
        let refused = ZstdContext::default().decompress(&packed, 9_999_999, &mut out);
        assert_eq!(refused, Err(CodecError::TooLarge { max: 9_999_999 }));
        assert!(out.capacity() <= 10_000_000);
    }
}
